//! What to do after an error of a registry.

use anyhow::anyhow;
use cri::image::registry::Fault;
use cri::image::{Error, Reference};

/// Adds what to do next.
pub(crate) fn explain(error: Error, name: &Reference) -> anyhow::Error {
    let host = name.domain().to_owned();
    match &error {
        Error::Registry { faults, .. } => match faults.iter().find_map(|fault| advice(fault, &host)) {
            Some(advice) => anyhow!("{error}\n{advice}"),
            None => error.into(),
        },
        Error::NoPlatform { .. } => anyhow!("{error}\nchoose one of them with --platform OS/ARCH"),
        _ => error.into(),
    }
}

fn advice(fault: &Fault, host: &str) -> Option<String> {
    match fault {
        Fault::Status { status, .. } => match status.as_u16() {
            401 => Some(format!("log in with rtctl login {host}")),
            403 => Some(format!("the user may not do this; log in as another one with rtctl login {host}")),
            404 => Some("check the name and the tag; a private repository may hide itself: rtctl login".to_owned()),
            429 => Some(format!("the registry limits requests; log in with rtctl login {host}, or try again later")),
            _ => None,
        },
        Fault::Transport { cause, .. } => transport_advice(cause, host),
        Fault::Answer { .. } => None,
    }
}

fn transport_advice(cause: &str, host: &str) -> Option<String> {
    let cause = cause.to_lowercase();
    let certs = format!("/etc/rt/certs.d/{host}/hosts.toml");
    if cause.contains("certificate") || cause.contains("unknownissuer") {
        return Some(format!("if the registry is yours, name its CA certificate in {certs}: ca = \"/path/ca.crt\""));
    }
    if cause.contains("invalidcontenttype") || cause.contains("corrupt message") {
        return Some(format!("if the registry has no TLS, say so in {certs}: server = \"http://{host}\""));
    }
    if cause.contains("connect") || cause.contains("dns") || cause.contains("resolve") {
        return Some(format!("check the network and the host's name; mirrors are configured in {certs}"));
    }
    None
}

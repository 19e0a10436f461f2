//! What to do after an error of a registry.

use anyhow::anyhow;
use cri::image::registry::Fault;
use cri::image::{Error, Reference};

/// Adds what to do next.
pub(crate) fn explain(error: Error, name: &Reference) -> anyhow::Error {
    for_host(error, name.domain())
}

/// The same for an operation that is about a registry.
pub(crate) fn for_host(error: Error, host: &str) -> anyhow::Error {
    match &error {
        Error::Registry { faults, .. } => match faults.iter().rev().find_map(|fault| advice(fault, host)) {
            Some(advice) => anyhow!("{error}\n{advice}"),
            None => error.into(),
        },
        Error::NoPlatform { .. } => anyhow!("{error}\nchoose one of them with --platform OS/ARCH"),
        _ => error.into(),
    }
}

fn advice(fault: &Fault, host: &str) -> Option<String> {
    match fault {
        Fault::Status { call, status: 400, .. } if call.contains(" http://") => {
            Some(format!("if the registry has TLS, say so in {}: server = \"https://{host}\"", hosts_file(host)))
        }
        Fault::Status { status, .. } => match status {
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

fn hosts_file(host: &str) -> String {
    format!("/etc/rt/certs.d/{host}/hosts.toml")
}

fn transport_advice(cause: &str, host: &str) -> Option<String> {
    let cause = cause.to_lowercase();
    let certs = hosts_file(host);
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

//! What one value says about another.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::keys::Config;
use super::parse::Places;
use super::problem::{Place, Problem};
use crate::network::Family;

/// Longest path of a unix socket, unix(7).
const SOCKET: usize = 107;

/// The handler that is always there.
pub(super) const OWN: &str = "rt";

/// Finds contradictions.
pub(super) fn contradictions(config: &Config, places: &Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |key: &str, what: String| {
        let place = places.get(key).cloned().unwrap_or(Place::Default);
        problems.push(Problem { place, key: Some(key.to_owned()), what });
    };
    match (&config.stream_tls_cert, &config.stream_tls_key) {
        (Some(_), None) => wrong("stream_tls_cert", "stream_tls_key is missing".to_owned()),
        (None, Some(_)) => wrong("stream_tls_key", "stream_tls_cert is missing".to_owned()),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if config.stream_tls_client_ca.is_some() && config.stream_tls_cert.is_none() {
        wrong("stream_tls_client_ca", "stream_tls_cert is missing".to_owned());
    }
    if !config.handlers.contains_key(&config.default_handler) {
        let names: Vec<&str> = config.handlers.keys().map(String::as_str).collect();
        let what = format!("there is no handler {:?}; there is {}", config.default_handler, names.join(", "));
        wrong("default_handler", what);
    }
    for family in [Family::V4, Family::V6] {
        if config.pod_cidrs.iter().filter(|subnet| subnet.family() == family).count() > 1 {
            wrong("pod_cidrs", format!("there is more than one {family} subnet"));
        }
    }
    if config.listen.as_os_str().len() > SOCKET {
        wrong("listen", format!("the path of a socket has at most {SOCKET} bytes"));
    }
    if config.cni_bin_dirs.is_empty() {
        wrong("cni_bin_dirs", "at least one directory is needed".to_owned());
    }
    if let Some(dir) = config.cni_bin_dirs.iter().find(|dir| dir.as_os_str().as_encoded_bytes().contains(&b':')) {
        wrong("cni_bin_dirs", format!("{}: plugins are told of paths with : between them", dir.display()));
    }
    for (name, handler) in &config.handlers {
        let key = |inner: &str| format!("handlers.{name}.{inner}");
        match handler.path {
            Some(_) if name == OWN => {
                wrong(&key("path"), format!("{OWN} is the runtime within rtd's own shim; use another name"));
            }
            Some(_) => {}
            None if !handler.args.is_empty() => wrong(&key("args"), "path is missing".to_owned()),
            None if handler.root.is_some() => wrong(&key("root"), "path is missing".to_owned()),
            None => {}
        }
    }
    problems
}

impl Config {
    /// What on this host will not do when it is needed: files that a value names and that cannot be read or executed, a line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut need = |key: String, path: Option<&std::path::PathBuf>, right: AccessFlags| {
            if let Some(path) = path
                && let Err(problem) = usable(path, right)
            {
                warnings.push(format!("{key}: {problem}"));
            }
        };
        need("shim".to_owned(), self.shim.as_ref(), AccessFlags::X_OK);
        let files = [
            ("seccomp_default_profile", &self.seccomp_default_profile),
            ("stream_tls_cert", &self.stream_tls_cert),
            ("stream_tls_key", &self.stream_tls_key),
            ("stream_tls_client_ca", &self.stream_tls_client_ca),
            ("auth_file", &self.auth_file),
        ];
        for (key, path) in files {
            need(key.to_owned(), path.as_ref(), AccessFlags::R_OK);
        }
        for (name, handler) in &self.handlers {
            need(format!("handlers.{name}.path"), handler.path.as_ref(), AccessFlags::X_OK);
            need(format!("handlers.{name}.base_spec"), handler.base_spec.as_ref(), AccessFlags::R_OK);
        }
        warnings
    }
}

/// # Errors
/// It is not there, is no file, or not to be used like that.
fn usable(path: &Path, right: AccessFlags) -> Result<(), String> {
    access(path, right).map_err(|errno| format!("access({path:?}): {errno:?}"))?;
    if path.is_dir() { Err(format!("{path:?} is a directory")) } else { Ok(()) }
}

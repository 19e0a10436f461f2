//! Runtime handlers: what runs the containers of a pod, and what its containers get by that.

use runtime::json;
use std::collections::HashMap;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use nix::unistd::{AccessFlags, access};
use shim::layout::Program;

use super::engine::Engine;
use super::error::{Error, Io};
use super::plan::Runner;
use crate::config;

/// How long a program may take to tell its features.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a handler can do. CRI: RuntimeHandlerFeatures
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Mounts below a read-only mount are read-only, too.
    pub recursive_read_only_mounts: bool,
    /// Pods may have a user namespace.
    pub user_namespaces: bool,
}

/// What programs said of themselves, by their path and time of change.
pub(super) type Known = Mutex<HashMap<(PathBuf, SystemTime), Features>>;

/// Directory below `state` in which shims mount what programs run; empty for all others.
const BUNDLES: &str = "bundles";

impl Engine {
    /// Names of the handlers that a pod can have; the empty one is the default.
    #[must_use]
    pub fn handler_names(&self) -> Vec<String> {
        let config = self.0.settings.daemon.now();
        std::iter::once(String::new()).chain(config.handlers.keys().cloned()).collect()
    }

    /// The name of the handler that a pod asks for; the empty one means the default.
    pub(super) fn handler_name(&self, name: &str) -> String {
        if name.is_empty() { self.0.settings.daemon.now().default_handler.clone() } else { name.to_owned() }
    }

    /// The settings of a handler.
    ///
    /// # Errors
    /// [`Error::Handler`]: there is none of this name.
    pub fn handler(&self, name: &str) -> Result<config::Handler, Error> {
        let config = self.0.settings.daemon.now();
        let wanted = &self.handler_name(name);
        let found = config.handlers.get(wanted);
        found
            .cloned()
            .ok_or_else(|| Error::Handler { name: wanted.clone(), known: config.handlers.keys().cloned().collect() })
    }

    /// What a handler can do on this machine. The shim mounts and maps ids for all; whether containers can be in a user namespace is asked of the
    /// program (`PROGRAM features`), and one that does not know the verb is taken not to.
    pub async fn features(&self, name: &str) -> Features {
        let own = self.0.settings.features;
        let Ok(config::Handler { path: Some(path), args, .. }) = self.handler(name) else { return own };
        // One that is missing now is asked when it is there.
        let Ok(changed) = std::fs::metadata(&path).and_then(|file| file.modified()) else {
            return Features::default();
        };
        let key = (path, changed);
        let known = |known: &Known| known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(features) = known(&self.0.features) {
            return features;
        }
        let mut command = tokio::process::Command::new(&key.0);
        command.args(args).arg("features").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let user_namespaces = match tokio::time::timeout(PATIENCE, command.output()).await {
            Ok(Ok(said)) => said.status.success() && makes_user_namespaces(&said.stdout),
            // Asked again.
            Ok(Err(_)) | Err(_) => return Features { user_namespaces: false, ..own },
        };
        let features = Features { user_namespaces: own.user_namespaces && user_namespaces, ..own };
        self.0.features.lock().unwrap_or_else(PoisonError::into_inner).insert(key, features);
        features
    }

    /// What runs a new container of a pod of this handler.
    ///
    /// # Errors
    /// [`Error::Handler`]; its program is not there or its base spec cannot be read.
    pub(super) fn runner(&self, name: &str) -> Result<Runner, Error> {
        let handler = self.handler(name)?;
        let about = |error: Error| error.at("runtime handler");
        let program = handler.path.as_deref().map(|path| self.program(&handler, path)).transpose().map_err(about)?;
        let base = handler.base_spec.as_deref().map(read_base).transpose().map_err(about)?;
        let host_devices = !handler.privileged_without_host_devices;
        Ok(Runner { program, base, annotations: handler.annotations, host_devices })
    }

    fn program(&self, handler: &config::Handler, path: &Path) -> Result<Program, Error> {
        require_program(path)?;
        // A program in a user namespace must get to its root file system. Others get through, and find nothing that they may open.
        let state = &self.0.settings.state;
        let call = || format!("chmod({state:?}, 0711)");
        let before = std::fs::metadata(state).io(call)?.permissions();
        if before.mode() & 0o011 != 0o011 {
            std::fs::set_permissions(state, PermissionsExt::from_mode(before.mode() | 0o011)).io(call)?;
        }
        let bundles = state.join(BUNDLES);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&bundles);
        made.io(|| format!("mkdir({bundles:?}, 0711)"))?;
        Ok(Program { path: path.to_owned(), args: handler.args.clone(), root: handler.root.clone(), bundles })
    }
}

/// Whether a program says so. OCI runtime-spec features.md, `linux.namespaces`
fn makes_user_namespaces(text: &[u8]) -> bool {
    let Ok(said) = json::from_slice::<serde_json::Value>(text) else { return false };
    said["linux"]["namespaces"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "user"))
}

/// # Errors
/// It is not there, or cannot be executed.
fn require_program(path: &Path) -> Result<(), Error> {
    let found = std::fs::metadata(path).io(|| format!("stat({path:?})"))?;
    if !found.is_file() {
        return Err(Error::Invalid { field: "path".to_owned(), problem: format!("{} is no file", path.display()) });
    }
    access(path, AccessFlags::X_OK).map_err(std::io::Error::from).io(|| format!("access({path:?}, X_OK)"))
}

fn read_base(path: &Path) -> Result<runtime::spec::Spec, Error> {
    let text = runtime::spec::read(nix::fcntl::AT_FDCWD, path)?;
    Ok(runtime::spec::parse(&path.display().to_string(), &text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say() {
        for (text, expected) in [
            (r#"{"linux":{"namespaces":["mount","user"]}}"#, true),
            (r#"{"linux":{"namespaces":["mount"]}}"#, false),
            (r#"{"linux":{}}"#, false),
            ("unknown command features", false),
        ] {
            assert_eq!(makes_user_namespaces(text.as_bytes()), expected, "{text}");
        }
    }
}

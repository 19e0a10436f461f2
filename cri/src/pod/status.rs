//! Whether pods can be made.

use std::time::Duration;

use super::engine::{Engine, blocking};
use super::error::{Error, Io};
use crate::network::Subnet;
use crate::network::cni::Watcher;

/// Whether pods can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the shim is there; why not.
    pub runtime: Result<(), String>,
    /// Whether pods can be put on a network; why not.
    pub network: Result<(), String>,
}

impl Engine {
    /// Finds out whether pods can be made.
    pub async fn readiness(&self) -> Readiness {
        let engine = self.clone();
        let asked = blocking(move || {
            let shim = &engine.0.settings.shim;
            let runtime = nix::unistd::access(shim, nix::unistd::AccessFlags::X_OK)
                .map_err(|errno| format!("access({shim:?}, X_OK): {errno}; install rt-shim there"));
            Ok(Readiness { runtime, network: engine.0.network.ready() })
        });
        match asked.await {
            Ok(readiness) => readiness,
            Err(error) => Readiness { runtime: Err(error.to_string()), network: Err(error.to_string()) },
        }
    }

    /// Takes notice of the node's range of pod addresses. CRI: UpdateRuntimeConfig
    ///
    /// # Errors
    /// The record cannot be written.
    pub async fn note_subnets(&self, subnets: Vec<Subnet>) -> Result<(), Error> {
        let engine = self.clone();
        blocking(move || engine.0.network.note_subnets(&subnets)).await
    }

    /// Reads the configurations of CNI again whenever they change; for as long as this program runs.
    pub(super) fn watch_network(&self) -> Result<(), Error> {
        let (engine, dir) = (self.clone(), self.0.settings.cni.config_dir.clone());
        let mut watcher = Watcher::new(&dir)?;
        // What changed before is seen.
        engine.0.network.reload();
        let watch = move || loop {
            match watcher.wait(Duration::from_secs(3600)) {
                Ok(false) => {}
                Ok(true) => {
                    engine.0.network.reload();
                    tracing::info!("{}: read again: {}", dir.display(), engine.describe_network());
                }
                Err(error) => {
                    tracing::error!("{}: {error}; changes are not seen any more", dir.display());
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("cni-watch".to_owned()).spawn(watch);
        thread.io(|| "clone(CLONE_THREAD)".to_owned())?;
        Ok(())
    }

    /// What could not be undone yet of pods that did not come about, in detail.
    #[must_use]
    pub fn describe_undo(&self) -> serde_json::Value {
        self.0.debts.describe()
    }

    /// How pods get their network, in detail.
    #[must_use]
    pub fn describe_network(&self) -> serde_json::Value {
        serde_json::json!(self.0.network.describe())
    }
}

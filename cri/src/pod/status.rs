//! Whether pods can be made.

use super::engine::{Engine, blocking};

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

    /// Reads the configurations of CNI again.
    pub async fn reload_network(&self) {
        let engine = self.clone();
        // It cannot fail: what is wrong with a configuration is told by its status.
        let _ = blocking(move || {
            engine.0.network.reload();
            Ok(())
        })
        .await;
    }

    /// How pods get their network, in detail.
    #[must_use]
    pub fn describe_network(&self) -> serde_json::Value {
        serde_json::json!(self.0.network.describe())
    }
}

//! Registries: pulling and pushing images by the OCI distribution protocol.
//!
//! Blocking for its callers; within, one asynchronous runtime for each [`Registry`].
//!
//! Source: OCI distribution-spec 1.1; docker registry HTTP API V2.

mod credentials;
mod endpoint;
mod fault;
mod pull;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use super::cancel::Cancel;
use super::error::Error;

pub use credentials::Credentials;
pub use fault::Fault;
pub use pull::{Fresh, PullOptions, Pulled};

/// How registries are reached.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folders with a folder for each registry, in which `hosts.toml` says where it is; the first that has one counts.
    pub hosts_dirs: Vec<PathBuf>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a transfer may stand still.
    pub idle_timeout: Duration,
    /// How many layers are fetched at once, of all pulls together.
    pub downloads: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            hosts_dirs: vec!["/etc/rt/certs.d".into(), "/etc/containerd/certs.d".into()],
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            downloads: 6,
        }
    }
}

/// Connections to registries, shared by all pulls and pushes of a program.
#[derive(Debug)]
pub struct Registry {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Registry {
    /// Starts the threads that talk to registries.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(config: Config) -> Result<Registry, Error> {
        let failed = |source| Error::Io { what: "threads of the registry client".into(), source };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
        // Another part of the program may have chosen one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.idle_timeout)
            .build()
            .map_err(|error| Error::Registry {
                what: "http client".into(),
                faults: vec![Fault::transport("http client", &error)],
            })?;
        Ok(Registry { runtime, client })
    }

    fn client(&self) -> reqwest::Client {
        self.client.clone()
    }

    /// Runs `work` to its end, unless it is cancelled.
    fn block_on<T>(&self, cancel: &Cancel, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(Error::Cancelled),
                result = work => result,
            }
        })
    }
}

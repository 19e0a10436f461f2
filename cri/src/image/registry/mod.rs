//! Registries: pulling and pushing images by the OCI distribution protocol.
//!
//! ```text
//!  pull ─▶ hosts: places to ask ─▶ source: document or blob, place after place ─▶ exchange: redirects, attempts
//!                                                                                    └▶ challenge ─▶ token, credentials
//! ```
//!
//! Blocking for its callers; within, one asynchronous runtime for each [`Registry`].
//!
//! Source: OCI distribution-spec 1.1; docker registry HTTP API V2.

mod answer;
mod challenge;
mod credentials;
mod download;
mod endpoint;
mod exchange;
mod fault;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod helper;
mod hosts;
mod hosts_toml;
mod keychain;
mod login;
mod parts;
mod pull;
mod push;
mod source;
mod tags;
mod token;
mod transfer;
mod upload;

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cancel::Cancel;
use super::error::Error;

pub(crate) use download::{Download, Event, Follow, Listener};

pub use credentials::{AuthConfig, Credentials, Lookup};
pub use fault::{Again, Fault};
pub use keychain::{Kept, Keychain, server_name};
pub use pull::{Fresh, PullOptions, Pulled};
pub use push::{PushOptions, Pushed};

/// How registries are reached.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folders with a folder for each registry, in which `hosts.toml` says where it is; the first that has one counts.
    pub hosts_dirs: Vec<PathBuf>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a transfer may stand still.
    pub idle_timeout: Duration,
    /// How many transfers of layers there are at once, of all pulls together.
    pub downloads: usize,
    /// How many ranges of one layer are fetched at once, within that limit; 1: each is one stream.
    pub ranges: usize,
    /// The bytes of such a range; layers of less than two are one stream.
    pub range_bytes: u64,
    /// The bytes of a chunk of an upload that cannot be made in one request.
    pub chunk_bytes: u64,
    /// How often a request is made again after a failure that may pass.
    pub retries: u32,
    /// How long to wait before the first of these; doubled each time, 8 s at most.
    pub retry_delay: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            hosts_dirs: vec!["/etc/rt/certs.d".into(), "/etc/containerd/certs.d".into()],
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            downloads: 6,
            ranges: 4,
            range_bytes: 8 << 20,
            chunk_bytes: 32 << 20,
            retries: 5,
            retry_delay: Duration::from_millis(500),
        }
    }
}

/// Connections to registries, shared by all pulls and pushes of a program.
#[derive(Debug)]
pub struct Registry {
    runtime: tokio::runtime::Runtime,
    inner: Arc<Inner>,
}

/// What requests have in common.
pub(crate) struct Inner {
    config: Config,
    tokens: token::Tokens,
    downloads: tokio::sync::Semaphore,
    clients: Mutex<HashMap<hosts::ClientKey, reqwest::Client>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("config", &self.config).finish_non_exhaustive()
    }
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
        let downloads = tokio::sync::Semaphore::new(config.downloads.max(1));
        let (tokens, clients) = (token::Tokens::default(), Mutex::new(HashMap::new()));
        Ok(Registry { runtime, inner: Arc::new(Inner { config, tokens, downloads, clients }) })
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

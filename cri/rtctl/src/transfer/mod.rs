//! Images on their way from and to registries, as a person sees it: progress, Ctrl-C, and what to do after an error.

pub(crate) mod advice;
pub(crate) mod display;
pub(crate) mod fetch;
mod interrupt;

use std::path::PathBuf;

use anyhow::Result;
use cri::image::registry::{Config, Credentials, PullOptions, Pulled, Registry};
use cri::image::{Blobs, Cancel, Platform, Reference, Store};

use display::Display;
pub(crate) use interrupt::Interrupted;

/// How registries are found.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RegistryFlags {
    /// Folder with HOST/hosts.toml for registries and mirrors; default: /etc/rt/certs.d, /etc/containerd/certs.d
    #[arg(long, value_name = "DIR", env = "RT_HOSTS_DIR", value_delimiter = ':', hide_env = true)]
    pub(crate) hosts_dir: Vec<PathBuf>,
}

impl RegistryFlags {
    fn config(&self) -> Config {
        let mut config = Config::default();
        if !self.hosts_dir.is_empty() {
            config.hosts_dirs.clone_from(&self.hosts_dir);
        }
        config
    }
}

/// Whether the compressed layers are kept.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct BlobFlags {
    /// Do not keep the compressed layers: saves their space, but the image cannot be saved, pushed or repaired without its registry
    #[arg(long, env = "RT_DISCARD_BLOBS", hide_env = true)]
    discard_blobs: bool,
}

impl BlobFlags {
    /// As the store calls it.
    pub(crate) fn choice(self) -> Blobs {
        if self.discard_blobs { Blobs::Discard } else { Blobs::Keep }
    }
}

/// What is to be pulled.
#[derive(Debug)]
pub(crate) struct Pull<'a> {
    pub(crate) registries: &'a RegistryFlags,
    pub(crate) name: &'a Reference,
    pub(crate) platform: Option<&'a Platform>,
}

/// Pulls an image. Ctrl-C ends it cleanly: what was received is kept for the next time.
pub(crate) fn pull(store: &Store, pull: &Pull<'_>, display: &mut Display) -> Result<Pulled> {
    let pulled = interrupt::cancellable(|cancel: &Cancel| {
        let registry = Registry::new(pull.registries.config())?;
        let options = PullOptions {
            platform: pull.platform.cloned(),
            credentials: &|_| Ok(Credentials::Anonymous),
            cancel: cancel.clone(),
        };
        store.pull(&registry, pull.name, &options, &mut |progress| display.show(&progress))
    });
    display.end();
    pulled?.map_err(|error| advice::explain(error, pull.name))
}

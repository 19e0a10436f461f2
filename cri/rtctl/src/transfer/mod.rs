//! Images on their way from and to registries, as a person sees it: progress, Ctrl-C, and what to do after an error.

pub(crate) mod advice;
pub(crate) mod display;
pub(crate) mod fetch;
mod interrupt;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use cri::image::registry::{Config, Credentials, Keychain, Lookup, PullOptions, Pulled, PushOptions, Pushed, Registry};
use cri::image::{Blobs, Cancel, Error, Lost, Platform, Reference, Store};

use display::Display;
pub(crate) use interrupt::Interrupted;
use interrupt::cancellable;

/// How registries are found and who one is there.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RegistryFlags {
    /// Folder with HOST/hosts.toml for registries and mirrors; default: /etc/rt/certs.d, /etc/containerd/certs.d
    #[arg(long, value_name = "DIR", env = "RT_HOSTS_DIR", value_delimiter = ':', hide_env = true)]
    pub(crate) hosts_dir: Vec<PathBuf>,
    /// File with credentials; default: REGISTRY_AUTH_FILE, DOCKER_CONFIG/config.json, ~/.docker/config.json
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

impl RegistryFlags {
    fn registry(&self) -> Result<Registry, Error> {
        let mut config = Config::default();
        if !self.hosts_dir.is_empty() {
            config.hosts_dirs.clone_from(&self.hosts_dir);
        }
        Registry::new(config)
    }

    /// Where credentials are kept.
    pub(crate) fn keychain(&self) -> Result<Keychain, Error> {
        Keychain::open(self.authfile.clone())
    }

    /// Asked when a registry wants to know who one is. Whoever has no home has no credentials.
    fn lookup(&self) -> Lookup {
        let flags = self.clone();
        Arc::new(move |host| match flags.keychain() {
            Ok(keychain) => keychain.find(host),
            Err(_) => Ok(Credentials::Anonymous),
        })
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
    pub(crate) blobs: Blobs,
}

/// Pulls an image. Ctrl-C ends it cleanly: what was received is kept for the next time.
pub(crate) fn pull(store: &Store, pull: &Pull<'_>, display: &mut Display) -> Result<Pulled> {
    let pulled = cancellable(|cancel: &Cancel| {
        let registry = pull.registries.registry()?;
        let options = PullOptions {
            platform: pull.platform.cloned(),
            credentials: pull.registries.lookup(),
            cancel: cancel.clone(),
            blobs: pull.blobs,
        };
        store.pull(&registry, pull.name, &options, &mut |progress| display.show(&progress))
    });
    display.end();
    pulled?.map_err(|error| advice::explain(error, pull.name))
}

/// All tags that a repository has in its registry.
pub(crate) fn tags(name: &Reference, flags: &RegistryFlags) -> Result<Vec<Reference>> {
    let tags = cancellable(|cancel: &Cancel| flags.registry()?.tags(name, &flags.lookup(), cancel));
    tags?.map_err(|error| advice::explain(error, name))
}

/// Fetches what is lost of images from where they came from.
pub(crate) struct Refetch<'a> {
    pub(crate) store: &'a Store,
    pub(crate) registries: &'a RegistryFlags,
    pub(crate) display: Display,
    /// The signal that ended it.
    pub(crate) interrupted: Option<anyhow::Error>,
}

impl<'a> Refetch<'a> {
    /// Shows its progress on standard error.
    pub(crate) fn new(store: &'a Store, registries: &'a RegistryFlags, display: Display) -> Refetch<'a> {
        Refetch { store, registries, display, interrupted: None }
    }

    /// Fetches; nothing any more after a signal.
    pub(crate) fn fetch(&mut self, lost: &Lost) -> Result<(), Error> {
        if self.interrupted.is_some() {
            return Err(Error::Cancelled);
        }
        let (store, registries, display) = (self.store, self.registries, &mut self.display);
        let fetched = cancellable(|cancel: &Cancel| {
            let registry = registries.registry()?;
            let (credentials, cancel) = (registries.lookup(), cancel.clone());
            let options = PullOptions { platform: None, credentials, cancel, blobs: Blobs::Keep };
            store.refetch(&registry, lost, &options, &mut |progress| display.show(&progress))
        });
        self.display.end();
        fetched.unwrap_or_else(|signal| {
            self.interrupted = Some(signal);
            Err(Error::Cancelled)
        })
    }
}

/// Sends an image to the registry of its name.
pub(crate) fn push(
    store: &Store,
    target: &Reference,
    flags: &RegistryFlags,
    display: &mut Display,
) -> Result<Result<Pushed, Error>> {
    let pushed = cancellable(|cancel: &Cancel| {
        let registry = flags.registry()?;
        let (image, credentials, cancel) = (target.to_string(), flags.lookup(), cancel.clone());
        let options = PushOptions { image, credentials, cancel };
        store.push(&registry, target, &options, &mut |progress| display.show(&progress))
    });
    display.end();
    pushed
}

/// Shows credentials to a registry; gives what to keep.
pub(crate) fn login(
    flags: &RegistryFlags,
    host: &str,
    credentials: &Credentials,
) -> Result<Result<Credentials, Error>> {
    cancellable(|cancel: &Cancel| flags.registry()?.login(host, credentials, cancel))
}

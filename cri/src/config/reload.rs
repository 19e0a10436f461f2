//! The settings that count now, and how they change.

use std::sync::Arc;

use tokio::sync::watch;

use super::keys::Config;
use super::load::{Loaded, Source};
use super::problem::Invalid;

/// The settings that count now. Cheap to clone; whoever begins something asks anew.
#[derive(Debug, Clone)]
pub struct Settings {
    current: watch::Receiver<Arc<Config>>,
}

impl Settings {
    /// Settings that never change.
    #[must_use]
    pub fn fixed(config: Config) -> Settings {
        Settings { current: watch::channel(Arc::new(config)).1 }
    }

    /// The settings of this moment. One operation keeps what it got here, so that it sees one state.
    #[must_use]
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.current.borrow())
    }

    /// Waits until they are others than at the last call; never comes back when nothing can change them any more.
    pub async fn changed(&mut self) -> Arc<Config> {
        match self.current.changed().await {
            Ok(()) => Arc::clone(&self.current.borrow_and_update()),
            Err(_) => std::future::pending().await,
        }
    }
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that have another value now.
    pub applied: Vec<&'static str>,
    /// Keys that will have another value after a restart.
    pub waiting: Vec<&'static str>,
}

/// Reads the files again.
#[derive(Debug)]
pub struct Reloader {
    source: Source,
    current: watch::Sender<Arc<Config>>,
}

impl Reloader {
    /// What changes the settings, and where they are seen.
    #[must_use]
    pub fn new(source: Source, loaded: Loaded) -> (Reloader, Settings) {
        let (sender, current) = watch::channel(Arc::new(loaded.config));
        (Reloader { source, current: sender }, Settings { current })
    }

    /// Reads all files, and applies what can change while the daemon runs. What cannot keeps its value.
    ///
    /// # Errors
    /// What is wrong with the files; then nothing has changed.
    pub fn reload(&mut self) -> Result<Reloaded, Invalid> {
        let new = self.source.load()?.config;
        let mut config = Config::clone(&self.current.borrow());
        let mut reloaded = Reloaded::default();
        config.adopt(&new, &mut reloaded);
        if !reloaded.applied.is_empty() {
            self.current.send_replace(Arc::new(config));
        }
        Ok(reloaded)
    }
}

//! Reading the configuration again: when it was asked for by SIGHUP, and when a file has changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::notify;
use crate::config::Reloader;
use crate::metrics;
use crate::network::cni::Watcher;

/// How long files must be left alone: programs that change one often change another.
const QUIET: Duration = Duration::from_millis(100);

/// How long at most, if they are not left alone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the configuration again, for ever.
pub(super) async fn reload(mut reloader: Reloader, file: PathBuf, mut hangup: Signal, listen: String) {
    let mut watch = Watch::new(&file);
    // What has changed since the daemon read it, and before it watched.
    once(&mut reloader, false).await;
    loop {
        let asked = tokio::select! {
            Some(()) = hangup.recv() => true,
            () = watch.changed() => false,
        };
        if asked {
            notify::reloading();
        }
        once(&mut reloader, asked).await;
        if asked {
            notify::ready(&listen);
        }
    }
}

async fn once(reloader: &mut Reloader, asked: bool) {
    match reloader.reload() {
        Ok(reloaded) => {
            metrics::config_read(true);
            // Another file of the directory has changed, or one of ours to what it was.
            let nothing = reloaded.applied.is_empty() && reloaded.waiting.is_empty();
            if nothing && !asked {
                return;
            }
            let (applied, waiting) = (reloaded.applied.join(" "), reloaded.waiting.join(" "));
            tracing::info!(applied, needs_restart = waiting, "configuration read again");
        }
        Err(invalid) => {
            metrics::config_read(false);
            let problems = invalid.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            tracing::error!(problems, "configuration not taken, nothing has changed");
        }
    }
}

/// Tells of changes; where the kernel has no watch left, SIGHUP is the only way.
struct Watch(mpsc::Receiver<()>);

impl Watch {
    fn new(file: &Path) -> Watch {
        let (sender, receiver) = mpsc::channel(1);
        // The directory of drop-ins is a folder of this one.
        let directory = file.parent().unwrap_or(Path::new("/"));
        let watching = Watcher::new(directory).map_err(|error| error.to_string()).and_then(|watcher| {
            let thread = std::thread::Builder::new().name("config".to_owned());
            thread.spawn(move || watch(watcher, &sender)).map_err(|error| error.to_string())
        });
        if let Err(error) = watching {
            tracing::warn!(error, "changed files are not noticed; send SIGHUP");
        }
        Watch(receiver)
    }

    /// Waits until something has changed, and until nothing changes any more.
    async fn changed(&mut self) {
        if self.0.recv().await.is_none() {
            return std::future::pending().await;
        }
        let settle = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, self.0.recv()).await {} };
        let _ = tokio::time::timeout(PATIENCE, settle).await;
    }
}

/// Waits for changes on a thread of its own, as long as anybody wants to know.
fn watch(mut watcher: Watcher, sender: &mpsc::Sender<()>) {
    while !sender.is_closed() {
        match watcher.wait(Duration::from_secs(3600)) {
            Ok(true) => {
                // One that has not been seen yet says the same.
                let _ = sender.try_send(());
            }
            Ok(false) => {}
            Err(error) => {
                let error = error.to_string();
                return tracing::warn!(error, "changed files are not noticed any more; send SIGHUP");
            }
        }
    }
}

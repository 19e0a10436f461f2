//! Where everything is.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The two roots: what outlives a restart of the host, and what does not.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    /// `/var/lib/rt`
    pub(crate) root: PathBuf,
    /// `/run/rt`
    pub(crate) state: PathBuf,
}

impl Roots {
    /// Absolute roots; a relative one starts from the caller's directory.
    pub(crate) fn new(root: &Path, state: &Path) -> Result<Roots> {
        let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("{}", path.display()));
        Ok(Roots { root: absolute(root)?, state: absolute(state)? })
    }

    /// Makes what is missing, closed to other users: set-user-id programs and secrets lie there.
    pub(crate) fn prepare(&self) -> Result<()> {
        for dir in [&self.root, &self.state] {
            make_dir(dir)?;
            let meta = std::fs::metadata(dir).with_context(|| format!("stat({})", dir.display()))?;
            if meta.mode() & 0o022 != 0 {
                bail!("{}: others may write here (mode {:04o}); chmod 0700 it", dir.display(), meta.mode() & 0o7777);
            }
        }
        for dir in [self.local(), self.names(), self.root.join("upper"), self.volumes()] {
            make_dir(&dir)?;
        }
        Ok(())
    }

    /// Directory of all containers.
    pub(crate) fn local(&self) -> PathBuf {
        self.state.join("local")
    }

    /// Directory of a container.
    pub(crate) fn container(&self, id: &str) -> PathBuf {
        self.local().join(id)
    }

    /// Directory of all pods.
    pub(crate) fn pods(&self) -> PathBuf {
        self.state.join("pods-local")
    }

    /// Directory of a pod.
    pub(crate) fn pod(&self, id: &str) -> PathBuf {
        self.pods().join(id)
    }

    /// Directory of the names.
    pub(crate) fn names(&self) -> PathBuf {
        self.state.join("names")
    }

    /// Writable layer, work directory and log of a container.
    pub(crate) fn upper(&self, id: &str) -> PathBuf {
        self.root.join("upper").join(id)
    }

    /// Directory of all volumes.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }
}

/// Makes a directory and those above it with mode 0700; one that is there stays as it is.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("mkdir({}, 0700)", path.display()))
}

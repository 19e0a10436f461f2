//! A container that is being made: complete in the end, or gone.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use shim::local::{Directory, Lock, Wait};

use super::create::write;
use super::remove::{self, Force};
use super::roots::Roots;
use super::{id, name, view};
use crate::flag::create::CreateFlags;

/// A container that is being made. Dropped before [`Draft::keep`], it is removed.
pub(crate) struct Draft {
    roots: Roots,
    pub(super) id: String,
    pub(super) name: String,
    /// Given away when the container stays.
    lock: Option<Lock>,
    /// Files made outside of the container's directories.
    pub(super) files: Vec<PathBuf>,
    /// Its anonymous volumes.
    pub(super) volumes: Vec<PathBuf>,
}

impl Draft {
    /// Makes the directory, locks it, and takes the name.
    pub(super) fn begin(roots: &Roots, flags: &CreateFlags) -> Result<Draft> {
        let id = id::new()?;
        let names = name::lock(roots)?;
        let dir = roots.container(&id);
        DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("mkdir({})", dir.display()))?;
        let directory = Directory::open(&dir)?.context("the directory that was just made is gone")?;
        let mut draft = Draft {
            roots: roots.clone(),
            id,
            name: String::new(),
            lock: Some(directory.lock(Wait::No)?),
            files: Vec::new(),
            volumes: Vec::new(),
        };
        let name = match &flags.name {
            Some(name) => name.clone(),
            None => name::invent(roots)?,
        };
        // First the file: with it whoever removes what is left finds the link.
        write(&dir.join("name"), &name, 0o600)?;
        name::claim(roots, &names, &name, &draft.id)?;
        draft.name = name;
        Ok(draft)
    }

    /// The right to change the container.
    pub(crate) fn lock(&self) -> &Lock {
        self.lock.as_ref().expect("only keep takes the lock, and the draft with it")
    }

    /// The container stays.
    pub(crate) fn keep(mut self) -> Option<Lock> {
        self.lock.take()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let Some(lock) = &self.lock else { return };
        for file in &self.files {
            let _gone_already = std::fs::remove_file(file);
        }
        let removed = remove::remove_with(&self.roots, &self.id, lock, Force::Yes, &self.volumes);
        if let Err(error) = removed {
            eprintln!("rtctl: {error:#}; remove it with rtctl rm -f {}", id::short(&self.id));
        }
    }
}

/// Removes what programs that ended in the middle of [`create`] left.
pub(crate) fn sweep(roots: &Roots) -> Result<()> {
    for id in view::all_ids(roots)? {
        if roots.container(&id).join("container.json").try_exists().unwrap_or(true) {
            continue;
        }
        // With the names locked nobody is between making a directory and locking it.
        let names = name::lock(roots)?;
        let Some(directory) = Directory::open(&roots.container(&id))? else { continue };
        let lock = match directory.lock(Wait::No) {
            Err(shim::local::Error::Busy(_) | shim::local::Error::Removed(_)) => continue,
            lock => lock?,
        };
        drop(names);
        if roots.container(&id).join("container.json").try_exists().unwrap_or(true) {
            continue;
        }
        match directory.remove_dead(&lock) {
            // A shim that is removing its container.
            Ok(()) | Err(shim::local::Error::Alive { .. }) => {}
            Err(error) => eprintln!("rtctl: remains of container {}: {error}", id::short(&id)),
        }
    }
    Ok(())
}

//! Volumes: directories `volumes/<name>` with the data in `_data` and what is known of it in `volume.json`.
//!
//! A named one stays until somebody removes it. An anonymous one (64 hexadecimal digits) belongs to its container and goes
//! with it, or with `rm -v`.
//!
//! ```text
//!  .new-<id>/{volume.json,_data} ──rename──▶ <name>/ ──rename──▶ .gone-<id>/ ──▶ removed
//! ```
//!
//! A volume is there as a whole or not at all. Whoever makes a container with it holds its directory's flock(2) shared until the
//! container's record names it; whoever removes it holds the lock alone and asks all records. The hidden directories are held by
//! whoever is at work on them; the next command that changes volumes removes those that nobody holds.

mod attach;
pub(crate) mod backing;
mod hold;
pub(crate) mod record;
mod remove;
pub(crate) mod users;

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cri::copy::place::{Owner, copy_up};
use cri::copy::tree;

pub(crate) use self::hold::{Held, TopOwner, create, hold, hold_existing};
use self::record::Record;
pub(crate) use self::remove::{InUse, remove, sweep};
use super::roots::Roots;
use crate::flag::volume::volume_name;
use crate::rootfs;

/// A volume as commands see it.
pub(crate) struct Volume {
    pub(crate) name: String,
    /// Its directory, `_data` not included.
    pub(crate) dir: PathBuf,
    /// `volume.json`, or why it cannot be used.
    pub(crate) record: Result<Record, String>,
}

impl Volume {
    /// Reads a volume; `None` when there is none.
    pub(crate) fn load(roots: &Roots, name: &str) -> Result<Option<Volume>> {
        let dir = dir(roots, name);
        let meta = match std::fs::symlink_metadata(&dir) {
            Ok(meta) if meta.is_dir() => meta,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("stat({})", dir.display())),
        };
        let created = u64::try_from(meta.mtime()).unwrap_or(0).saturating_mul(1_000_000_000);
        let record = record::read(&dir, name, created);
        Ok(Some(Volume { name: name.to_owned(), dir, record }))
    }

    /// All volumes by name.
    pub(crate) fn list(roots: &Roots) -> Result<Vec<Volume>> {
        let mut list = Vec::new();
        for name in names(roots)? {
            list.extend(Volume::load(roots, &name)?);
        }
        Ok(list)
    }

    /// A volume that must be there.
    pub(crate) fn find(roots: &Roots, name: &str) -> Result<Volume> {
        match volume_name(name) {
            Ok(name) => match Volume::load(roots, &name)? {
                Some(volume) => Ok(volume),
                None => Err(missing(roots, &name).into()),
            },
            Err(_) => Err(missing(roots, name).into()),
        }
    }

    /// Where its content is.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("_data")
    }

    /// Whether it was made for one container.
    pub(crate) fn is_anonymous(&self) -> bool {
        match &self.record {
            Ok(record) => record.anonymous,
            Err(_) => super::id::is_id(&self.name),
        }
    }
}

/// There is no such volume.
#[derive(Debug)]
pub(crate) struct Missing {
    name: String,
    nearest: Option<String>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "no volume {:?}", self.name)?;
        match &self.nearest {
            Some(nearest) => write!(formatter, ", but {nearest:?}: rtctl volume ls lists them"),
            None => write!(formatter, ": rtctl volume ls lists them, rtctl volume create makes one"),
        }
    }
}

impl std::error::Error for Missing {}

fn missing(roots: &Roots, name: &str) -> Missing {
    let names = names(roots).unwrap_or_default();
    let nearest = crate::output::nearest::nearest(name, names.iter().map(String::as_str));
    Missing { name: name.to_owned(), nearest: nearest.map(str::to_owned) }
}

/// Directory of a volume, `_data` not included.
pub(crate) fn dir(roots: &Roots, name: &str) -> PathBuf {
    roots.volumes().join(name)
}

/// Names of all volumes, sorted.
pub(crate) fn names(roots: &Roots) -> Result<Vec<String>> {
    let dir = roots.volumes();
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{}", dir.display())),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("{}", dir.display()))?.file_name();
        names.extend(name.to_str().filter(|name| volume_name(name).is_ok()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// An empty volume gets what the image has where it is mounted, mode and owner included. One command at a time does it.
pub(crate) fn fill(held: &Held, root: &OwnedFd, destination: &str, data: &Path, owner: Owner) -> Result<()> {
    let _alone = held.alone()?;
    if !tree::is_empty(data)? {
        return Ok(());
    }
    copy_up(root, destination, rootfs::directory(data)?, owner)
        .with_context(|| format!("copying {destination} to {}", data.display()))
}

//! Volumes: directories `volumes/<name>/_data`.
//!
//! A named one stays until somebody removes it. An anonymous one (64 hexadecimal digits) belongs to its container and goes
//! with it, or with `rm -v`.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::roots::{Roots, make_dir};
use crate::copy::place::Owner;
use crate::copy::tree;
use crate::rootfs;

/// Whether the volume was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was made now.
    New,
    /// It was there.
    Old,
}

/// Directory of a volume, `_data` not included.
pub(crate) fn dir(roots: &Roots, name: &str) -> PathBuf {
    roots.volumes().join(name)
}

/// Makes the volume if it is not there; its content is in the directory returned.
pub(crate) fn ensure(roots: &Roots, name: &str) -> Result<(PathBuf, Found)> {
    let dir = dir(roots, name);
    make_dir(&dir)?;
    let data = dir.join("_data");
    match DirBuilder::new().mode(0o755).create(&data) {
        Ok(()) => Ok((data, Found::New)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok((data, Found::Old)),
        Err(error) => Err(error).with_context(|| format!("mkdir({})", data.display())),
    }
}

/// An empty volume gets what the image has where it is mounted, mode and owner included.
pub(crate) fn fill(root: &OwnedFd, destination: &str, data: &Path, owner: Owner) -> Result<()> {
    if !tree::is_empty(data)? {
        return Ok(());
    }
    rootfs::copy_up(root, destination, data, owner)
        .with_context(|| format!("copying {destination} to {}", data.display()))
}

//! A container's root file system as a directory that lookups cannot leave.
//!
//! A running container's is the one that its init sees, volumes included. A stopped one's is put together for the occasion:
//! a detached overlay that no mount table shows and that goes away with its descriptor.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use runtime::overlay::{self, Syncing};
use shim::layout::Layers;

use crate::store::view::Container;

/// Opens a directory of the host without reading it.
pub(crate) fn directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(AT_FDCWD, path, flags, Mode::empty()).with_context(|| format!("open({path:?}, O_PATH|O_DIRECTORY)"))
}

/// The layers of an image, read-only.
pub(crate) fn layers(lower: &[PathBuf]) -> Result<OwnedFd> {
    match lower {
        [] => bail!("the image has no layers"),
        // The kernel takes no overlay of a single layer.
        [only] => directory(only),
        lower => Ok(overlay::mount(lower, None, Syncing::OnRequest)?),
    }
}

/// The root file system of a container that does not run; the caller holds its lock.
pub(crate) fn stopped(container: &Container) -> Result<OwnedFd> {
    let task = container.task()?;
    match &task.layers {
        Some(Layers { lower, upper: Some(upper) }) => {
            forget_volatile(&upper.1)?;
            Ok(overlay::mount(lower, Some(upper), Syncing::OnRequest)?)
        }
        Some(Layers { lower, upper: None }) => layers(lower),
        None => {
            let spec = container.spec()?;
            let root = spec.root.context("config.json has no root")?;
            directory(Path::new(&root.path))
        }
    }
}

/// A volatile overlay marks its work directory and refuses to be mounted again; nothing crashed here, so nothing is lost.
/// kernel: filesystems/overlayfs.rst, "Volatile mount".
pub(crate) fn forget_volatile(work: &Path) -> Result<()> {
    let mark = work.join("work/incompat/volatile");
    match std::fs::remove_dir_all(&mark) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("rmdir({})", mark.display())),
    }
}

/// The root file system that the init process `pid` sees.
pub(crate) fn running(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd = openat(AT_FDCWD, path.as_str(), flags, Mode::empty()).with_context(|| format!("open({path:?})"))?;
    Ok(fd)
}

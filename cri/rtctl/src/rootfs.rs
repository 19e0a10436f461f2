//! A container's root file system as a directory that lookups cannot leave.
//!
//! A running container's is the one that its init sees, volumes included. A stopped one's is put together for the occasion:
//! a detached overlay that no mount table shows and that goes away with its descriptor.

use std::ffi::CString;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use runtime::root::{self, Links};
use runtime::sys::mount::{fsconfig_create, fsconfig_fd, fsconfig_string, fsmount, fsopen};
use shim::layout::Layers;

use crate::copy::place::{Owner, Place};
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
        lower => overlay(lower, None),
    }
}

/// A detached overlay. KERNEL(6.13) takes layers as descriptors; before, one string of at most 255 bytes names them all.
fn overlay(lower: &[PathBuf], upper: Option<&(PathBuf, PathBuf)>) -> Result<OwnedFd> {
    let layers = lower.iter().map(|path| directory(path)).collect::<Result<Vec<_>>>()?;
    let above = upper.map(|(upper, work)| anyhow::Ok((directory(upper)?, directory(work)?))).transpose()?;
    let fs = fsopen(c"overlay").context("fsopen(\"overlay\")")?;
    let by_descriptor = || {
        layers.iter().try_for_each(|layer| fsconfig_fd(&fs, c"lowerdir+", layer))?;
        above.iter().try_for_each(|(upper, work)| {
            fsconfig_fd(&fs, c"upperdir", upper)?;
            fsconfig_fd(&fs, c"workdir", work)
        })
    };
    let fs = match by_descriptor() {
        Ok(()) => fs,
        Err(Errno::EINVAL | Errno::EBADF) => {
            let fs = fsopen(c"overlay").context("fsopen(\"overlay\")")?;
            let link = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
            let set = |key, value: String| -> Result<()> {
                let text = CString::new(value.clone()).context("overlay path")?;
                fsconfig_string(&fs, key, &text).with_context(|| format!("fsconfig(<overlay>, {key:?}, {value:?})"))
            };
            set(c"lowerdir", layers.iter().map(link).collect::<Vec<_>>().join(":"))?;
            if let Some((upper, work)) = &above {
                set(c"upperdir", link(upper))?;
                set(c"workdir", link(work))?;
            }
            fs
        }
        Err(errno) => return Err(errno).context("fsconfig(<overlay>, lowerdir+)"),
    };
    fsconfig_create(&fs).context("fsconfig(<overlay>, FSCONFIG_CMD_CREATE)")?;
    fsmount(&fs, 0).context("fsmount(<overlay>)")
}

/// The root file system of a container that does not run; the caller holds its lock.
pub(crate) fn stopped(container: &Container) -> Result<OwnedFd> {
    let task = container.task()?;
    match &task.layers {
        Some(Layers { lower, upper: Some(upper) }) => {
            forget_volatile(&upper.1)?;
            overlay(lower, Some(upper))
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

/// Copies what is at `path` in `root` into the empty directory `to`: how a new volume gets the image's content, and a
/// container in a user namespace its files.
pub(crate) fn copy_up(root: &OwnedFd, path: &str, to: &Path, owner: Owner) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let source = match root::open_in(root, path.as_ref(), flags, Links::InRoot) {
        Ok(fd) => fd,
        // The image has nothing there.
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut place = Place::new(directory(to)?, owner, None);
    crate::copy::tree::read(source, &mut |entry, content| place.put(entry, content))?;
    place.finish()
}

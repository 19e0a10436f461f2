//! Overlay mounts that are attached nowhere: file systems from layers.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir};

use crate::sys::mount::{fsconfig_create, fsconfig_fd, fsconfig_flag, fsconfig_string, fsmount, fsopen};
use crate::sys::{Call, CallError};

/// Whether what is written is synced to disk when somebody asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncing {
    /// It is not (`volatile`): the writable layer of a container does not outlive a crash of the host. Such a layer is mounted
    /// again only after `work/incompat/volatile` of its work directory was removed.
    Never,
    /// It is.
    OnRequest,
}

/// What an overlay is mounted with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'a> {
    /// Of the writable layer.
    pub syncing: Syncing,
    /// Those of fsmount(2).
    pub attributes: u64,
    /// SELinux context of all files; none: each has that of its layer.
    pub context: Option<&'a CStr>,
}

pub(crate) fn directory(path: &Path) -> Result<OwnedFd, CallError> {
    openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| format!("open({path:?}, O_PATH|O_DIRECTORY)"))
}

/// A detached overlay of directories, the topmost first.
///
/// # Errors
/// The call that failed.
pub fn mount(lower: &[PathBuf], upper: Option<&(PathBuf, PathBuf)>, syncing: Syncing) -> Result<OwnedFd, CallError> {
    mount_with(lower, upper, Options { syncing, attributes: 0, context: None })
}

/// As [`mount`], with options.
pub(crate) fn mount_with(
    lower: &[PathBuf],
    upper: Option<&(PathBuf, PathBuf)>,
    options: Options<'_>,
) -> Result<OwnedFd, CallError> {
    let lower = lower.iter().map(|path| directory(path)).collect::<Result<Vec<_>, _>>()?;
    let upper = upper.map(|(upper, work)| Ok((directory(upper)?, directory(work)?))).transpose()?;
    mount_open(&lower, upper.as_ref(), options)
}

/// As [`mount_with`], of open directories. KERNEL(6.13) takes layers as descriptors; before, one string names them all.
pub(crate) fn mount_open(
    lower: &[OwnedFd],
    upper: Option<&(OwnedFd, OwnedFd)>,
    options: Options<'_>,
) -> Result<OwnedFd, CallError> {
    let fs = fsopen(c"overlay").call(|| "fsopen(\"overlay\")".to_owned())?;
    let by_descriptor = || {
        lower.iter().try_for_each(|layer| fsconfig_fd(&fs, c"lowerdir+", layer))?;
        upper.iter().try_for_each(|(upper, work)| {
            fsconfig_fd(&fs, c"upperdir", upper)?;
            fsconfig_fd(&fs, c"workdir", work)
        })
    };
    match by_descriptor() {
        // No such parameter, or not by descriptor: 6.1 answers EOPNOTSUPP.
        Err(Errno::EINVAL | Errno::EBADF | Errno::EOPNOTSUPP) => {
            return mount_by_path(lower, upper, options);
        }
        result => result.call(|| "fsconfig(<overlay>, lowerdir+, upperdir, workdir)".to_owned())?,
    }
    finish(&fs, upper.is_some(), options)
}

/// The layers by their names in /proc/self/fd, seen from there: fsconfig(2) takes no more than 255 bytes, enough for some 80
/// layers of two digits.
fn mount_by_path(
    lower: &[OwnedFd],
    upper: Option<&(OwnedFd, OwnedFd)>,
    options: Options<'_>,
) -> Result<OwnedFd, CallError> {
    let fs = fsopen(c"overlay").call(|| "fsopen(\"overlay\")".to_owned())?;
    let c_string = |text: String| CString::new(text).expect("descriptor numbers have no NUL byte");
    let names: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let names = c_string(names.join(":"));
    if names.as_bytes().len() > 255 {
        return Err(Errno::E2BIG).call(|| {
            format!("fsconfig(<overlay>, \"lowerdir\"): {} layers need a kernel of 6.13 or later", lower.len())
        });
    }
    let here = directory(Path::new("."))?;
    chdir("/proc/self/fd").call(|| "chdir(\"/proc/self/fd\")".to_owned())?;
    let configured: Result<(), Errno> = (|| {
        fsconfig_string(&fs, c"lowerdir", &names)?;
        if let Some((upper, work)) = upper {
            fsconfig_string(&fs, c"upperdir", &c_string(upper.as_raw_fd().to_string()))?;
            fsconfig_string(&fs, c"workdir", &c_string(work.as_raw_fd().to_string()))?;
        }
        Ok(())
    })();
    let mount = configured
        .call(|| format!("fsconfig(<overlay>, lowerdir={names:?}, upperdir, workdir)"))
        .and_then(|()| finish(&fs, upper.is_some(), options));
    fchdir(&here).call(|| "fchdir(<before>)".to_owned())?;
    mount
}

fn finish(fs: &OwnedFd, writable: bool, options: Options<'_>) -> Result<OwnedFd, CallError> {
    if writable && options.syncing == Syncing::Never {
        fsconfig_flag(fs, c"volatile").call(|| "fsconfig(<overlay>, \"volatile\")".to_owned())?;
    }
    if let Some(context) = options.context {
        fsconfig_string(fs, c"context", context)
            .call(|| format!("fsconfig(<overlay>, \"context\", {:?})", context.to_string_lossy()))?;
    }
    fsconfig_create(fs).call(|| "fsconfig(<overlay>, FSCONFIG_CMD_CREATE)".to_owned())?;
    fsmount(fs, options.attributes).call(|| "fsmount(<overlay>)".to_owned())
}

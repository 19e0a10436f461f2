//! Network namespaces: what a path leads to, and the loopback interface in one.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, fstat};
use runtime::rooted::Quoted;
use runtime::sys::network::loopback_up;
use runtime::sys::{Call, CallError};
use serde::{Deserialize, Serialize};

use super::error::Error;

/// Which namespace it is, not by what name: a path such as `/proc/PID/ns/net` leads to another one when the process id is
/// used again, which may be the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// The network namespace at `path`.
pub(crate) fn identify(path: &Path) -> Result<Identity, Error> {
    let fd = open(path)?;
    let refused = |reason: &str| Err(Error::Namespace { path: path.to_owned(), reason: reason.to_owned() });
    let name = link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    if !name.as_os_str().as_bytes().starts_with(b"net:[") {
        return refused("is no network namespace");
    }
    if name == link("/proc/thread-self/ns/net".to_owned())? {
        return refused("is the host's own, where nothing is attached and detached");
    }
    let stat = fstat(&fd).call(|| format!("fstat({path:?})"))?;
    Ok(Identity { device: stat.st_dev, inode: stat.st_ino })
}

/// Whether the namespace `identity` is still at `path`.
pub(crate) fn is_still(identity: Identity, path: &Path) -> Result<bool, Error> {
    match identify(path) {
        Ok(found) => Ok(found == identity),
        Err(Error::Namespace { .. }) => Ok(false),
        Err(Error::Call(CallError { errno: Errno::ENOENT | Errno::ENOTDIR | Errno::ESRCH, .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> Result<OwnedFd, CallError> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
        .call(|| format!("open({}, O_RDONLY)", Quoted(path.as_os_str().as_bytes())))
}

fn link(path: String) -> Result<PathBuf, CallError> {
    std::fs::read_link(&path).call(|| format!("readlink({path:?})"))
}

/// Brings the loopback interface of a network namespace up, without a plugin.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN and CAP_NET_ADMIN over the namespace.
pub fn bring_loopback_up(namespace: BorrowedFd<'_>) -> Result<(), CallError> {
    // A thread of its own goes there and ends: none that anybody uses is ever in another namespace.
    let inside = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).call(|| "setns(<network namespace>, CLONE_NEWNET)".to_owned())?;
        loopback_up().call(|| "ioctl(<socket>, SIOCSIFFLAGS, {lo, IFF_UP})".to_owned())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("loopback".to_owned()).spawn_scoped(scope, inside);
        let thread = thread.call(|| "clone(CLONE_THREAD)".to_owned())?;
        thread.join().unwrap_or(Err(CallError { call: "loopback thread".to_owned(), errno: Errno::EIO }))
    })
}

/// Opens the network namespace at `path`, for [`bring_loopback_up`].
///
/// # Errors
/// The kernel's answer.
pub fn open_namespace(path: &Path) -> Result<OwnedFd, CallError> {
    open(path)
}

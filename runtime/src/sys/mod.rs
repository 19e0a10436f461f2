//! System calls that nix does not have, each a thin safe wrapper with its man page.
//!
//! The only place with unsafe code in the workspace. Descriptors are `OwnedFd` and `BorrowedFd`, always close-on-exec.
//! Errors are plain `Errno` here; callers put the call around them with [`Call`].
#![allow(unsafe_code, reason = "raw system calls; every block says why it is sound")]

pub mod bpf;
pub mod caps;
pub mod clone;
pub mod entry;
pub mod landlock;
pub mod mount;
pub mod network;
pub mod own_program;
pub mod packet;
pub mod process;
pub mod scheduling;
pub mod seccomp;
pub mod signals;
pub mod tty;
pub mod xattr;

use nix::errno::Errno;

/// A system call that failed, as strace would print it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {errno}")]
pub struct CallError {
    /// The call with its arguments, paths behind descriptors included.
    pub call: String,
    /// The kernel's answer.
    pub errno: Errno,
}

/// Puts the call around an `Errno`.
pub trait Call<T> {
    /// Adds the call as strace would print it.
    ///
    /// # Errors
    /// The same as before, with the call.
    fn call(self, call: impl FnOnce() -> String) -> Result<T, CallError>;
}

impl<T> Call<T> for Result<T, Errno> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T, CallError> {
        self.map_err(|errno| CallError { call: call(), errno })
    }
}

impl<T> Call<T> for std::io::Result<T> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T, CallError> {
        self.map_err(|error| CallError {
            call: call(),
            errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        })
    }
}

/// The result of a raw system call.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}

/// The descriptor that a raw system call returned.
fn owned(result: libc::c_long) -> Result<std::os::fd::OwnedFd, Errno> {
    use std::os::fd::FromRawFd;
    let fd = check(result)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us and nothing else knows it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}

/// Takes over a descriptor that the kernel has just handed to this process by SCM_RIGHTS.
#[must_use]
pub fn adopt(fd: std::os::fd::RawFd) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: recvmsg(2) made this descriptor for us and nothing else owns it.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}

//! clone3(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::check;

/// Resets all signal handlers of the child; KERNEL(5.5).
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// Bears the child into a cgroup; KERNEL(5.7).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Whose child the new process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The caller's.
    Caller,
    /// The caller's parent's (CLONE_PARENT).
    Sibling,
}

/// Who one is after [`clone3`].
pub enum Clone3 {
    /// The caller: the child's process id (in the caller's pid namespace) and pidfd.
    Parent(Pid, OwnedFd),
    /// The new process.
    Child,
}

/// Makes a child with a copy of the caller's memory, as fork(2), in new namespaces (`namespaces`: CLONE_NEW* bits) and born
/// into the cgroup2 directory `cgroup`. Its signal handlers are reset, and what a program inherits over execve(2): no signal is
/// blocked, and SIGPIPE, which the Rust runtime ignores, ends it again.
///
/// The caller must have one thread: in the child, locks held by other threads would never be released. This is checked by no
/// one; the programs that use this start no threads.
///
/// # Errors
/// EPERM, EAGAIN (pids limit), ENOSPC (namespace limit), EBUSY (cgroup with controllers enabled for children), ...
pub fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>, parent: Parent) -> Result<Clone3, Errno> {
    let mut pidfd: i32 = -1;
    let mut flags = namespaces | u64::from(libc::CLONE_PIDFD.cast_unsigned()) | CLONE_CLEAR_SIGHAND;
    if cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    // A sibling tells its parent of its end by the signal that the caller's own end would send.
    let exit_signal = match parent {
        Parent::Caller => u64::from(libc::SIGCHLD.cast_unsigned()),
        Parent::Sibling => {
            flags |= u64::from(libc::CLONE_PARENT.cast_unsigned());
            0
        }
    };
    let args = libc::clone_args {
        flags,
        pidfd: (&raw mut pidfd).addr() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: without CLONE_VM and without a stack this is fork(2); `args` and `pidfd` live until the call returns. The caller
    // has one thread, so the child's copy of the memory is consistent.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        default_signals();
        return Ok(Clone3::Child);
    }
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?);
    // SAFETY: the kernel has just made this descriptor (CLONE_PIDFD) and nothing else knows it.
    Ok(Clone3::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// CLONE_CLEAR_SIGHAND leaves ignored signals ignored, and the mask as it is.
fn default_signals() {
    // SAFETY: SIG_DFL is a valid disposition; sigset_t is plain data that sigemptyset(3) fills in; both live long enough. None of
    // the calls can fail with these arguments.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Makes a child with a copy of the caller's memory, fork(2), where a filter does not let clone3(2) through. `None`: one is the
/// child. The caller must have one thread, as for [`clone3`].
///
/// # Errors
/// EAGAIN: too many processes.
pub fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the caller has one thread, so the child's copy of the memory is consistent.
    let pid = Errno::result(unsafe { libc::fork() })?;
    Ok((pid != 0).then(|| Pid::from_raw(pid)))
}

/// Who one is after [`with_same_files`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// The caller.
    Parent,
    /// The new process.
    Child,
}

/// Makes a child with a copy of the caller's memory and the caller's own table of descriptors, clone(2) with CLONE_FILES. The caller
/// must have one thread, as for [`clone3`].
///
/// # Errors
/// EAGAIN: too many processes.
pub fn with_same_files() -> Result<Same, Errno> {
    let flags = u64::from((libc::CLONE_FILES | libc::SIGCHLD).cast_unsigned());
    // SAFETY: without CLONE_VM and without a stack this is fork(2); the caller has one thread.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    Ok(if pid == 0 { Same::Child } else { Same::Parent })
}

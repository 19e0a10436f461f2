//! Signal dispositions and masks, rt_sigaction(2) and rt_sigprocmask(2).

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::SigSet;

/// Number of signals.
const SIGNALS: i32 = 64;

/// Sets every signal to its default: programs that are started later inherit no ignored one, whoever started this process. For
/// a program that blocks the signals it does not want; those that cannot be changed (SIGKILL, SIGSTOP) are left alone.
pub fn reset_all() {
    // The kernel's struct sigaction: handler, flags, restorer, mask.
    let default = [0_u64; 4];
    for signal in 1..=SIGNALS {
        let old: *mut libc::c_void = std::ptr::null_mut();
        // SAFETY: a zeroed sigaction is SIG_DFL without flags; it outlives the call and the old one is not asked for. EINVAL, the
        // only error, means a signal that cannot be changed.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, size_of::<u64>()) };
    }
}

/// Children that end are reaped by the kernel, SA_NOCLDWAIT, until execve(2); SIGCHLD is not ignored, which a program would inherit.
pub fn forget_children() {
    const SA_NOCLDWAIT: u64 = 2;
    let action = [0_u64, SA_NOCLDWAIT, 0, 0];
    let old: *mut libc::c_void = std::ptr::null_mut();
    // SAFETY: a sigaction of SIG_DFL with one flag; it outlives the call and the old one is not asked for. It cannot fail.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, libc::SIGCHLD, action.as_ptr(), old, size_of::<u64>()) };
}

/// Lets a program begin with no signal blocked, although its starter blocks some.
pub fn unblock_in(command: &mut Command) {
    let unblock = || SigSet::empty().thread_set_mask().map_err(std::io::Error::from);
    // SAFETY: between fork and execve it makes one system call and allocates nothing.
    unsafe { command.pre_exec(unblock) };
}

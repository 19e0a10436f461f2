//! Pseudo terminals, ioctl_tty(2).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::{check, owned};

/// The other end of a pseudo terminal by its master, without any path: TIOCGPTPEER. KERNEL(4.13). (CVE-2025-52565)
///
/// # Errors
/// EIO: the terminal is still locked.
pub fn peer(master: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the argument is a plain integer.
    owned(unsafe { libc::syscall(libc::SYS_ioctl, master.as_fd().as_raw_fd(), libc::TIOCGPTPEER, flags) })
}

/// Unlocks a new pseudo terminal, TIOCSPTLCK.
///
/// # Errors
/// ENOTTY: not a master.
pub fn unlock(master: impl AsFd) -> Result<(), Errno> {
    let unlocked: i32 = 0;
    // SAFETY: the pointer lives until the call returns.
    check(unsafe {
        libc::syscall(libc::SYS_ioctl, master.as_fd().as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked)
    })?;
    Ok(())
}

/// Makes the terminal the controlling one of the caller's new session, TIOCSCTTY.
///
/// # Errors
/// EPERM: not a session leader, or it controls another session.
pub fn set_controlling(terminal: impl AsFd) -> Result<(), Errno> {
    // SAFETY: the argument is a plain integer.
    check(unsafe { libc::syscall(libc::SYS_ioctl, terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) })?;
    Ok(())
}

/// Sets the size in characters, TIOCSWINSZ.
///
/// # Errors
/// ENOTTY: not a terminal.
pub fn set_size(terminal: impl AsFd, rows: u16, columns: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointer lives until the call returns.
    check(unsafe { libc::syscall(libc::SYS_ioctl, terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })?;
    Ok(())
}

/// The size in characters, rows first, TIOCGWINSZ.
///
/// # Errors
/// ENOTTY: not a terminal.
pub fn size(terminal: impl AsFd) -> Result<(u16, u16), Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointer lives until the call returns.
    check(unsafe { libc::syscall(libc::SYS_ioctl, terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}

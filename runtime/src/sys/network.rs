//! What a new network namespace needs, netdevice(7).

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::check;

/// Brings the loopback interface up: SIOCSIFFLAGS.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over the network namespace.
pub fn loopback_up() -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: ifreq is plain data for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP.try_into().map_err(|_| Errno::EINVAL)?;
    // SAFETY: the request lives until the call returns.
    check(unsafe { libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })?;
    Ok(())
}

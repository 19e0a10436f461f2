//! Packets with descriptors over unix sockets: recvmsg(2), accept4(2) and unix(7), with owned results.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::{check, owned};

/// Room for the most descriptors that the kernel passes in one message (SCM_MAX_FD, 253), so that none is cut off.
const CONTROL_WORDS: usize = 130;

/// Receives one packet of a `SOCK_SEQPACKET` or `SOCK_DGRAM` socket into `buffer`, appends the descriptors that came with it
/// (close-on-exec) to `fds` and returns the packet's size in bytes; 0 means that the peer has closed.
///
/// # Errors
/// EMSGSIZE: the packet or its descriptors did not fit; it is lost and its descriptors are closed. EAGAIN on a non-blocking
/// socket.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data for which zero is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    let socket = socket.as_fd();
    let length = loop {
        // SAFETY: the header points to buffers of the lengths given, all of which outlive the call.
        match Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) }) {
            Err(Errno::EINTR) => {}
            answer => break answer?.cast_unsigned(),
        }
    };
    let before = fds.len();
    // SAFETY: the kernel has filled in the control buffer, which is aligned for a cmsghdr, and set its length.
    let mut part = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !part.is_null() {
        // SAFETY: `part` points to a complete header inside the control buffer, as CMSG_FIRSTHDR and CMSG_NXTHDR promise.
        let (level, kind, bytes) = unsafe { ((*part).cmsg_level, (*part).cmsg_type, (*part).cmsg_len) };
        if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
            // SAFETY: pure arithmetic.
            let count = (bytes - unsafe { libc::CMSG_LEN(0) } as usize) / size_of::<i32>();
            // SAFETY: the data of this header.
            let data = unsafe { libc::CMSG_DATA(part) }.cast::<i32>();
            for index in 0..count {
                // SAFETY: within `cmsg_len`; the kernel has just made this descriptor and nothing else knows it.
                fds.push(unsafe { OwnedFd::from_raw_fd(data.add(index).read_unaligned()) });
            }
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        part = unsafe { libc::CMSG_NXTHDR(&raw const header, part) };
    }
    if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        fds.truncate(before);
        return Err(Errno::EMSGSIZE);
    }
    Ok(length)
}

/// Accepts a connection, accept4(2); the new socket is non-blocking and close-on-exec.
///
/// # Errors
/// EAGAIN: nobody waits. EMFILE, ENFILE: too many descriptors.
pub fn accept(listener: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let (address, length) = (std::ptr::null::<libc::sockaddr>(), std::ptr::null::<libc::socklen_t>());
    // SAFETY: null pointers ask for no address.
    owned(unsafe { libc::syscall(libc::SYS_accept4, listener.as_fd().as_raw_fd(), address, length, flags) })
}

/// Makes a descriptor non-blocking (or its open file description, to be exact), fcntl(2) F_SETFL.
///
/// # Errors
/// EPERM: the file is append-only and the flags say otherwise.
pub fn set_nonblocking(fd: impl AsFd) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: plain integers.
    let flags = check(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_GETFL) })?;
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFL, flags | libc::c_long::from(libc::O_NONBLOCK)) })?;
    Ok(())
}

//! What parent and child say while a process is being made.
//!
//! One SOCK_SEQPACKET pair; a packet is a message: a tag byte and, for some, text. End of file on the parent's side means that
//! execve has closed the child's end: the program runs (or the child was killed; its pidfd tells).
//!
//! ```text
//!  parent                                  child (init)
//!    │                                       │ born
//!    │ Go ── id maps are written ───────────▶│ only with a new user namespace
//!    │◀──────────────────────── Namespaces ──│ only with prestart/createRuntime hooks
//!    │ Go ── hooks have run ────────────────▶│
//!    │◀────────────── Console + descriptor ──│ only with Stdio::Terminal
//!    │◀──────────────────────────── Warning ─│ any number
//!    │◀─────────────────────────── Created ──│ not with StartMode::Immediately
//!    │ Go ── start(), let_go() ─────────────▶│ with StartMode::Listener the start comes by its socket, later
//!    │◀───────────── Listener + descriptor ──│ only with SCMP_ACT_NOTIFY
//!    │ Go ── it has arrived ────────────────▶│
//!    │◀───────────── Failed(step, errno, ..)─│ instead of any of the above, and after them
//!    │◀───────────────────────── end of file─│ execve
//! ```

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};

use crate::init::{Failure, Step};
use crate::sys::{Call, CallError, adopt};

/// Largest message in bytes.
const LIMIT: usize = 4096;

/// A message of the child.
pub(crate) enum Message {
    /// pidfd of the child that a bridge has made.
    Born(OwnedFd),
    /// The namespaces exist; runtime hooks are due.
    Namespaces,
    /// The master of the pseudo terminal.
    Console(OwnedFd),
    /// Something was done in part; to be logged.
    Warning(String),
    /// The listener of the filter.
    Listener(OwnedFd),
    /// Everything is set up; the program waits for the start.
    Created,
    /// A step failed; the child ends.
    Failed(Failure),
    /// End of file.
    Ended,
}

/// One end of the pair.
pub(crate) struct Channel(OwnedFd);

/// Makes a pair: the parent's and the child's end.
pub(crate) fn pair() -> Result<(Channel, Channel), CallError> {
    let (parent, child) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .call(|| "socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC)".to_owned())?;
    Ok((Channel(parent), Channel(child)))
}

impl Channel {
    /// Wraps a connection taken from elsewhere.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Tells the child to go on.
    pub(crate) fn go(&self) -> Result<(), CallError> {
        self.send(b"g", None)
    }

    /// Waits until the parent says to go on.
    ///
    /// # Errors
    /// EPIPE: the parent is gone.
    pub(crate) fn wait(&self) -> Result<(), CallError> {
        let mut buffer = [0; LIMIT];
        let (length, _) = self.receive(&mut buffer)?;
        if length == 0 { Err(Errno::EPIPE).call(|| "recvmsg(<parent>)".to_owned()) } else { Ok(()) }
    }

    pub(crate) fn namespaces(&self) -> Result<(), CallError> {
        self.send(b"n", None)
    }

    pub(crate) fn created(&self) -> Result<(), CallError> {
        self.send(b"c", None)
    }

    pub(crate) fn console(&self, master: BorrowedFd<'_>) -> Result<(), CallError> {
        self.send(b"t", Some(master))
    }

    pub(crate) fn born(&self, pidfd: BorrowedFd<'_>) -> Result<(), CallError> {
        self.send(b"b", Some(pidfd))
    }

    pub(crate) fn listener(&self, listener: BorrowedFd<'_>) -> Result<(), CallError> {
        self.send(b"l", Some(listener))
    }

    pub(crate) fn warning(&self, text: &str) -> Result<(), CallError> {
        let mut packet = Vec::with_capacity(LIMIT);
        packet.push(b'w');
        packet.extend_from_slice(&text.as_bytes()[..text.len().min(LIMIT - 1)]);
        self.send(&packet, None)
    }

    /// Reports the failure that ends the child. Nobody is left to tell when this fails, too.
    pub(crate) fn failed(&self, failure: &Failure) {
        let mut packet = Vec::with_capacity(LIMIT);
        packet.push(b'f');
        packet.push(failure.step.number());
        packet.extend_from_slice(&(failure.errno as i32).to_ne_bytes());
        packet.extend_from_slice(&failure.text.as_bytes()[..failure.text.len().min(LIMIT - 6)]);
        let _ = self.send(&packet, None);
    }

    /// The child's next message.
    pub(crate) fn next(&self) -> Result<Message, CallError> {
        let mut buffer = [0; LIMIT];
        let (length, fd) = self.receive(&mut buffer)?;
        let text = |from: usize| String::from_utf8_lossy(&buffer[from..length]).into_owned();
        match (buffer[..length].first(), fd) {
            (None, _) => Ok(Message::Ended),
            (Some(b'n'), _) => Ok(Message::Namespaces),
            (Some(b'c'), _) => Ok(Message::Created),
            (Some(b't'), Some(fd)) => Ok(Message::Console(fd)),
            (Some(b'b'), Some(fd)) => Ok(Message::Born(fd)),
            (Some(b'l'), Some(fd)) => Ok(Message::Listener(fd)),
            (Some(b'w'), _) => Ok(Message::Warning(text(1))),
            (Some(b'f'), _) if length >= 6 => {
                let errno = i32::from_ne_bytes([buffer[2], buffer[3], buffer[4], buffer[5]]);
                Ok(Message::Failed(Failure {
                    step: Step::from_number(buffer[1]),
                    errno: Errno::from_raw(errno),
                    text: text(6),
                }))
            }
            (Some(tag), _) => Err(Errno::EBADMSG).call(|| format!("recvmsg(<init>): message {tag:?}")),
        }
    }

    fn send(&self, packet: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), CallError> {
        let fds: Vec<i32> = fd.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(packet)], control, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                result => return result.map(|_| ()).call(|| "sendmsg(<peer>)".to_owned()),
            }
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>), CallError> {
        let mut control = cmsg_space!([std::os::fd::RawFd; 1]);
        loop {
            let mut parts = [IoSliceMut::new(buffer)];
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok((0, None)),
                Err(errno) => return Err(errno).call(|| "recvmsg(<peer>)".to_owned()),
                Ok(message) => {
                    let mut fd = None;
                    for control in message.cmsgs().call(|| "recvmsg(<peer>): control data".to_owned())? {
                        if let ControlMessageOwned::ScmRights(fds) = control {
                            fd = fds.into_iter().map(adopt).next_back();
                        }
                    }
                    return Ok((message.bytes, fd));
                }
            }
        }
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends `payload` with one descriptor to a unix socket, as console sockets expect it.
///
/// # Errors
/// The sendmsg(2) call.
pub(crate) fn send_fd(socket: BorrowedFd<'_>, payload: &[u8], fd: BorrowedFd<'_>) -> Result<(), CallError> {
    let fds = [fd.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(payload)], &control, MsgFlags::MSG_NOSIGNAL, None)
        .map(|_| ())
        .call(|| "sendmsg(<socket>, SCM_RIGHTS)".to_owned())
}

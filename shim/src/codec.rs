//! Packets of the protocol: JSON text and descriptors on a `SOCK_SEQPACKET` socket.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use runtime::sys::{Call, CallError, packet};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{FDS_LIMIT, PACKET_LIMIT};

/// Why a message did not get through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The socket did not take or give it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It is larger than a packet may be.
    #[error("message of {size} bytes: a packet holds at most {PACKET_LIMIT}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// It has too many descriptors.
    #[error("message with {count} descriptors: a packet holds at most {FDS_LIMIT}")]
    TooManyFds {
        /// How many.
        count: usize,
    },
    /// It is not what the protocol says.
    #[error("{0}")]
    Malformed(String),
}

impl Error {
    /// Whether a non-blocking socket has nothing now, or takes nothing now.
    #[must_use]
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Call(CallError { errno: Errno::EAGAIN, .. }))
    }
}

/// The text of a message.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let text = serde_json::to_vec(message).map_err(|error| Error::Malformed(error.to_string()))?;
    if text.len() > PACKET_LIMIT {
        return Err(Error::TooLarge { size: text.len() });
    }
    Ok(text)
}

/// A message from its text; `document` names it in errors.
///
/// # Errors
/// [`Error::Malformed`] with the JSON path of what is wrong.
pub fn decode<T: DeserializeOwned>(document: &str, text: &[u8]) -> Result<T, Error> {
    runtime::spec::parse(document, text).map_err(|error| Error::Malformed(error.to_string()))
}

/// Sends a packet; never a part of it.
///
/// # Errors
/// The kernel's answer: EAGAIN (non-blocking socket), EPIPE and ECONNRESET (the peer is gone), ...
pub fn send(socket: impl AsFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
    if fds.len() > FDS_LIMIT {
        return Err(Error::TooManyFds { count: fds.len() });
    }
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &rights[..0] } else { &rights[..] };
    let slices = [IoSlice::new(text)];
    let socket = socket.as_fd().as_raw_fd();
    let sent = loop {
        match sendmsg::<()>(socket, &slices, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            answer => break answer,
        }
    };
    sent.call(|| format!("sendmsg([{socket}]<shim socket>)"))?;
    Ok(())
}

/// A received packet.
#[derive(Debug)]
pub struct Packet {
    /// Its text.
    pub text: Vec<u8>,
    /// Its descriptors, at most [`FDS_LIMIT`].
    pub fds: Vec<OwnedFd>,
}

/// Receives a packet; asks for its size first, so that no buffer of [`PACKET_LIMIT`] bytes is kept. `None`: the peer has closed.
///
/// # Errors
/// The kernel's answer; [`Error::TooLarge`] and [`Error::TooManyFds`], after which the packet is gone.
pub fn receive(socket: impl AsFd) -> Result<Option<Packet>, Error> {
    let number = socket.as_fd().as_raw_fd();
    let call = || format!("recvmsg([{number}]<shim socket>)");
    let size = loop {
        match recv(number, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => break 0,
            answer => break answer.call(call)?,
        }
    };
    if size == 0 {
        return Ok(None);
    }
    let mut packet = Packet { text: vec![0; size.min(PACKET_LIMIT)], fds: Vec::new() };
    match packet::receive(socket, &mut packet.text, &mut packet.fds) {
        Err(Errno::EMSGSIZE) if size > PACKET_LIMIT => return Err(Error::TooLarge { size }),
        answer => answer.call(call)?,
    };
    if packet.fds.len() > FDS_LIMIT {
        return Err(Error::TooManyFds { count: packet.fds.len() });
    }
    Ok(Some(packet))
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use nix::unistd::pipe;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Reply, Request, Streams};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    #[test]
    fn messages_travel_with_their_descriptors() {
        let (ours, theirs) = pair();
        let (read, write) = pipe().unwrap();
        let request =
            Request::Attach { container: "c".into(), streams: Streams { stdout: true, ..Streams::default() } };
        send(&ours, &encode(&request).unwrap(), &[write.as_fd()]).unwrap();
        drop(write);
        let packet = receive(&theirs).unwrap().unwrap();
        let Request::Attach { container, streams } = decode("request", &packet.text).unwrap() else { panic!() };
        assert_eq!((container.as_str(), streams.stdin, streams.stdout), ("c", false, true));
        assert_eq!(packet.fds.len(), 1);
        nix::unistd::write(&packet.fds[0], b"x").unwrap();
        drop(packet);
        let mut bytes = [0; 2];
        assert_eq!(nix::unistd::read(&read, &mut bytes).unwrap(), 1);
        assert_eq!(nix::unistd::read(&read, &mut bytes).unwrap(), 0, "the received descriptor was the last one");
    }

    #[test]
    fn a_closed_peer_is_the_end() {
        let (ours, theirs) = pair();
        drop(ours);
        assert!(receive(&theirs).unwrap().is_none());
        let error = send(&theirs, b"{}", &[]).unwrap_err();
        assert!(matches!(error, Error::Call(CallError { errno: Errno::EPIPE, .. })), "{error}");
    }

    #[test]
    fn what_is_too_much_is_refused_and_closed() {
        let (ours, theirs) = pair();
        let long = Request::Start { container: "x".repeat(PACKET_LIMIT) };
        assert!(matches!(encode(&long), Err(Error::TooLarge { .. })));

        let (read, write) = pipe().unwrap();
        const MANY: usize = FDS_LIMIT + 1;
        assert_eq!(send(&ours, b"{}", &[write.as_fd(); MANY]), Err(Error::TooManyFds { count: MANY }));
        let numbers = [write.as_raw_fd(); MANY];
        let rights = [ControlMessage::ScmRights(&numbers)];
        sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(b"{}")], &rights, MsgFlags::empty(), None).unwrap();
        sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(&[b'x'; PACKET_LIMIT + 1])], &rights, MsgFlags::empty(), None)
            .unwrap();
        drop(write);
        assert_eq!(receive(&theirs).unwrap_err(), Error::TooManyFds { count: MANY });
        assert_eq!(receive(&theirs).unwrap_err(), Error::TooLarge { size: PACKET_LIMIT + 1 });
        assert_eq!(nix::unistd::read(&read, &mut [0; 1]).unwrap(), 0, "all descriptors were closed");
    }

    #[test]
    fn malformed_requests_name_what_is_wrong() {
        for (text, part) in [
            ("", "EOF"),
            ("{}", "expected value"),
            (r#"{"fly":{}}"#, "unknown variant `fly`"),
            (r#"{"kill":{"container":"c","signal":"nine","all":false}}"#, "expected i32"),
            (r#"{"start":{}}"#, "missing field `container`"),
        ] {
            let error = decode::<Request>("request", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part) && error.starts_with("request: "), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode::<Request>("request", &bytes);
            let _ = decode::<Reply>("reply", &bytes);
        }

        #[test]
        fn requests_survive_the_way(container in ".*", signal in any::<i32>(), all in any::<bool>()) {
            let text = encode(&Request::Kill { container: container.clone(), signal, all }).unwrap();
            let Request::Kill { container: back, signal: number, all: every } = decode("request", &text).unwrap() else { panic!() };
            prop_assert_eq!((back, number, every), (container, signal, all));
        }
    }
}

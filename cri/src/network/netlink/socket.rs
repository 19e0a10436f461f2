//! The socket: requests out, answers in.

use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkSerializable};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use nix::sys::socket::sockopt::SndBufForce;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket};
use runtime::sys::Call;

use crate::network::error::Error;

/// Bytes of a netlink header.
pub(super) const HEADER: usize = 16;
const ERROR: u16 = 2; // NLMSG_ERROR
const DONE: u16 = 3; // NLMSG_DONE
/// The kernel never makes a part of an answer larger than this: NLMSG_GOODSIZE for dumps is at most 32 KiB.
const PART: usize = 64 << 10;
/// How often a dump is asked for again that changes disturbed.
const DUMPS: usize = 64;

/// One message to the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) body: Vec<u8>,
    /// For errors, such as `RTM_NEWLINK(bridge rt0)`.
    pub(crate) what: String,
    /// Answers that are as good as success, such as EEXIST.
    pub(crate) fine: &'static [Errno],
}

impl Request {
    /// A routing message.
    pub(crate) fn route(message: &RouteNetlinkMessage, flags: u16, what: String) -> Request {
        let mut body = vec![0; message.buffer_len()];
        message.serialize(&mut body);
        Request { kind: message.message_type(), flags, body, what, fine: &[] }
    }

    /// The same, with answers that count as success.
    pub(crate) fn fine(mut self, fine: &'static [Errno]) -> Request {
        self.fine = fine;
        self
    }
}

/// One message from the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
    flags: u16,
    sequence: u32,
}

/// A netlink socket. It works on the network namespace in which it was opened, wherever its owner goes.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket for links, addresses and routes of the calling thread's network namespace.
    pub(crate) fn route() -> Result<Socket, Error> {
        Socket::open(SockProtocol::NetlinkRoute, "NETLINK_ROUTE")
    }

    /// A socket for nftables of the calling thread's network namespace.
    pub(crate) fn netfilter() -> Result<Socket, Error> {
        Socket::open(SockProtocol::NetlinkNetFilter, "NETLINK_NETFILTER")
    }

    fn open(protocol: SockProtocol, name: &str) -> Result<Socket, Error> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .call(|| format!("socket(AF_NETLINK, SOCK_RAW, {name})"))?;
        Ok(Socket { fd, sequence: 0, buffer: vec![0; PART] })
    }

    /// Sends all requests in one packet and returns what they answered.
    ///
    /// # Errors
    /// The first refusal. The requests after it were carried out all the same.
    pub(crate) fn run(&mut self, requests: &[Request]) -> Result<Vec<Reply>, Error> {
        let Some(last) = requests.last() else { return Ok(Vec::new()) };
        let first_sequence = self.sequence.wrapping_add(1);
        let mut packet = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            // Errors are told without being asked for; one acknowledgement, of the last, says that all is done.
            let acknowledge = if index + 1 == requests.len() { NLM_F_ACK } else { 0 };
            self.put(&mut packet, request, NLM_F_REQUEST | acknowledge | request.flags);
        }
        self.send(&packet, &last.what)?;
        let mut replies = Vec::new();
        let mut failure = None;
        loop {
            for reply in self.receive(&last.what)? {
                let index = reply.sequence.wrapping_sub(first_sequence) as usize;
                let Some(request) = requests.get(index) else { continue };
                if reply.kind != ERROR {
                    replies.push(reply);
                    continue;
                }
                if let Some(errno) = code(&reply, &request.what)?.filter(|errno| !request.fine.contains(errno)) {
                    failure.get_or_insert(Error::Netlink { what: request.what.clone(), errno });
                }
                if index + 1 == requests.len() {
                    return failure.map_or(Ok(replies), Err);
                }
            }
        }
    }

    /// Everything that a request with `NLM_F_DUMP` lists.
    pub(crate) fn dump(&mut self, request: &Request) -> Result<Vec<Reply>, Error> {
        for _ in 0..DUMPS {
            if let Some(replies) = self.dump_once(request)? {
                return Ok(replies);
            }
        }
        Err(Error::Netlink { what: request.what.clone(), errno: Errno::EINTR })
    }

    /// `None`: what was listed changed meanwhile, and the list may lack something.
    fn dump_once(&mut self, request: &Request) -> Result<Option<Vec<Reply>>, Error> {
        let mut packet = Vec::new();
        self.put(&mut packet, request, NLM_F_REQUEST | NLM_F_DUMP | request.flags);
        let sequence = self.sequence;
        self.send(&packet, &request.what)?;
        let mut replies = Vec::new();
        let mut whole = true;
        loop {
            for reply in self.receive(&request.what)?.into_iter().filter(|reply| reply.sequence == sequence) {
                whole &= reply.flags & NLM_F_DUMP_INTR == 0;
                match reply.kind {
                    DONE | ERROR => {
                        if let Some(errno) = code(&reply, &request.what)? {
                            return Err(Error::Netlink { what: request.what.clone(), errno });
                        }
                        return Ok(whole.then_some(replies));
                    }
                    _ => replies.push(reply),
                }
            }
        }
    }

    /// Appends a message to a packet; returns its sequence number.
    pub(crate) fn put(&mut self, packet: &mut Vec<u8>, request: &Request, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + request.body.len()).unwrap_or(u32::MAX);
        packet.extend(length.to_ne_bytes());
        packet.extend(request.kind.to_ne_bytes());
        packet.extend(flags.to_ne_bytes());
        packet.extend(self.sequence.to_ne_bytes());
        packet.extend([0; 4]);
        packet.extend(&request.body);
        packet.resize(packet.len().next_multiple_of(4), 0);
        self.sequence
    }

    pub(crate) fn send(&self, packet: &[u8], what: &str) -> Result<(), Error> {
        loop {
            match send(self.fd.as_raw_fd(), packet, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::Netlink { what: what.to_owned(), errno }),
            }
        }
    }

    /// Sends a packet of any size.
    pub(crate) fn send_large(&self, packet: &[u8], what: &str) -> Result<(), Error> {
        // Twice of it is what the kernel reckons with; what is smaller fits into the buffer that every socket has.
        if packet.len() > 64 << 10 {
            setsockopt(&self.fd, SndBufForce, &(packet.len() * 2))
                .call(|| format!("setsockopt(SO_SNDBUFFORCE, {})", packet.len() * 2))?;
        }
        self.send(packet, what)
    }

    /// The next part of the answer. The kernel has put it there already: EAGAIN means that none is left.
    pub(crate) fn receive(&mut self, what: &str) -> Result<Vec<Reply>, Error> {
        let length = loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::Netlink { what: what.to_owned(), errno }),
                Ok(length) => break length,
            }
        };
        let malformed = |reason| Error::Answer { what: what.to_owned(), reason };
        let mut rest = self.buffer.get(..length).ok_or_else(|| malformed("a part is larger than 64 KiB"))?;
        let mut replies = Vec::new();
        while let Some(head) = rest.first_chunk::<HEADER>() {
            let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let length = word(0) as usize;
            let body = rest.get(HEADER..length).ok_or_else(|| malformed("a length is larger than its packet"))?;
            replies.push(Reply {
                kind: u16::from_ne_bytes([head[4], head[5]]),
                flags: u16::from_ne_bytes([head[6], head[7]]),
                sequence: word(8),
                body: body.to_vec(),
            });
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(replies)
    }
}

impl Reply {
    /// The error that the message is, with the number of the request; `None` for acknowledgements and everything else.
    pub(crate) fn refusal(&self, what: &str) -> Result<Option<(u32, Errno)>, Error> {
        if self.kind != ERROR {
            return Ok(None);
        }
        Ok(code(self, what)?.map(|errno| (self.sequence, errno)))
    }

    /// Whether it says that the request of that number was carried out.
    pub(crate) fn acknowledges(&self, sequence: u32) -> bool {
        self.kind == ERROR && self.sequence == sequence && self.body.starts_with(&[0; 4])
    }
}

/// The error number of an NLMSG_ERROR or NLMSG_DONE; `None` is success.
fn code(reply: &Reply, what: &str) -> Result<Option<Errno>, Error> {
    let Some(code) = reply.body.first_chunk::<4>() else {
        return Err(Error::Answer { what: what.to_owned(), reason: "an error without a number" });
    };
    match i32::from_ne_bytes(*code) {
        0 => Ok(None),
        code => Ok(Some(Errno::from_raw(code.wrapping_neg()))),
    }
}

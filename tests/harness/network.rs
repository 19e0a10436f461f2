//! The network namespace of a test: what it makes there is nobody else's, and what it leaves there is seen.

use nix::sched::{CloneFlags, unshare};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{netlink, recv, send, socket_with};

const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const ACK: u16 = 4;

/// Moves the calling thread, and what it starts from now on, to a network namespace of its own with loopback up.
pub(crate) fn enter() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    // struct ifinfomsg (rtnetlink(7)): family, type, index of lo, flags, mask: RTM_NEWLINK sets IFF_UP.
    let mut up = vec![0, 0, 0, 0];
    up.extend(1_u32.to_ne_bytes());
    up.extend(1_u32.to_ne_bytes());
    up.extend(1_u32.to_ne_bytes());
    request(None, 16, REQUEST | ACK, &up).expect("every kernel that has network namespaces has rtnetlink(7)");
}

/// Names of the links here.
pub(crate) fn links() -> Vec<String> {
    let replies = request(None, 18, REQUEST | DUMP, &[0; 16]).expect("every kernel has rtnetlink(7)");
    replies.iter().filter_map(|reply| string(reply.get(16..)?, 3)).collect()
}

/// nft tables here: family and name; empty on a kernel without nf_tables.
pub(crate) fn tables() -> Vec<String> {
    // struct nfgenmsg (linux/netfilter/nfnetlink.h): any family, version 0, resource 0; NFT_MSG_GETTABLE of subsystem 10.
    let replies = request(Some(netlink::NETFILTER), 10 << 8 | 1, REQUEST | DUMP, &[0; 4]).unwrap_or_default();
    replies.iter().filter_map(|reply| Some(format!("{} {}", reply.first()?, string(reply.get(4..)?, 1)?))).collect()
}

/// Sends one message and collects what comes back, without headers, up to the end; nothing where the kernel does not know it.
fn request(protocol: Option<Protocol>, kind: u16, flags: u16, body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol).ok()?;
    let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    send(&socket, &message, SendFlags::empty()).unwrap();
    let mut replies = Vec::new();
    loop {
        let mut buffer = vec![0; 1 << 16];
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty()).unwrap();
        let mut rest = &buffer[..length];
        while rest.len() >= 16 {
            let length = usize::try_from(u32::from_ne_bytes(rest[..4].try_into().unwrap())).unwrap();
            let body = &rest[16..length];
            match u16::from_ne_bytes(rest[4..6].try_into().unwrap()) {
                // NLMSG_ERROR: an acknowledgement is one without an error.
                2 => return (body[..4] == [0; 4]).then_some(replies),
                // NLMSG_DONE.
                3 => return Some(replies),
                _ => replies.push(body.to_vec()),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The text of an attribute (struct nlattr: length, type, value, padding to four bytes).
fn string(mut attributes: &[u8], wanted: u16) -> Option<String> {
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes(attributes[..2].try_into().unwrap()));
        if u16::from_ne_bytes(attributes[2..4].try_into().unwrap()) == wanted {
            let text = attributes.get(4..length)?;
            return Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

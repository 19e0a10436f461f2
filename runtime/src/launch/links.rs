//! Network interfaces of the host that move into a container, rtnetlink(7).
//!
//! The kernel takes an interface's addresses away when it moves: they are read before and set again. Every interface is looked up before
//! the first one moves.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::unistd::Pid;

use super::errand::errand;
use super::error::{During, Error};
use super::open;
use crate::plan::Link;
use crate::sys::{Call, CallError};

const HEADER: usize = 16;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_LABEL: u16 = 3;
const IFA_CACHEINFO: u16 = 6;
const IFA_F_PERMANENT: u8 = 0x80;
const IFF_UP: u32 = 1;

/// Moves the interfaces to the network namespace of a process, with their global addresses, under their new names, and up.
pub(super) fn give(links: &[Link], pid: Pid) -> Result<(), Error> {
    if links.is_empty() {
        return Ok(());
    }
    let at = |link: &Link| format!("linux.netDevices[{:?}]", link.host);
    let namespace = open::namespace(format!("/proc/{pid}/ns/net").as_ref()).during(|| "linux.netDevices".to_owned())?;
    let host = rtnetlink().during(|| "linux.netDevices".to_owned())?;
    let inside = errand(|| {
        setns(&namespace, CloneFlags::CLONE_NEWNET).call(|| "setns(<network namespace>)".to_owned())?;
        rtnetlink()
    })
    .during(|| "linux.netDevices".to_owned())?;
    let mut found = Vec::with_capacity(links.len());
    for link in links {
        let index = index(&host, &link.host).during(|| at(link))?;
        found.push((link, index, addresses(&host, index).during(|| at(link))?));
    }
    for (link, old, addresses) in found {
        move_to(&host, old, &namespace, &link.name).during(|| at(link))?;
        let new = index(&inside, &link.name).during(|| at(link))?;
        for address in addresses {
            add(&inside, new, &address).during(|| at(link))?;
        }
        let mut up = link_message(new, IFF_UP);
        exchange(&inside, NEW_LINK, ACKNOWLEDGE, &mut up, |_, _| ())
            .call(|| format!("sendto(<rtnetlink>, RTM_NEWLINK {}, IFF_UP)", link.name))
            .during(|| at(link))?;
    }
    Ok(())
}

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;

fn rtnetlink() -> Result<OwnedFd, CallError> {
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
        .call(|| "socket(AF_NETLINK, NETLINK_ROUTE)".to_owned())
}

/// struct ifinfomsg: family, type, index, flags, mask of flags.
fn link_message(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("names and addresses are short");
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn index(socket: &OwnedFd, name: &str) -> Result<u32, CallError> {
    let mut message = link_message(0, 0);
    attribute(&mut message, IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
    let mut index = 0;
    exchange(socket, GET_LINK, 0, &mut message, |_, body| index = word(body, 4))
        .call(|| format!("sendto(<rtnetlink>, RTM_GETLINK {name})"))?;
    Ok(index)
}

fn move_to(socket: &OwnedFd, index: u32, namespace: &OwnedFd, name: &str) -> Result<(), CallError> {
    let mut message = link_message(index, 0);
    attribute(&mut message, IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    attribute(&mut message, IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
    exchange(socket, NEW_LINK, ACKNOWLEDGE, &mut message, |_, _| ())
        .call(|| format!("sendto(<rtnetlink>, RTM_NEWLINK {index}, IFLA_NET_NS_FD, {name:?})"))
}

/// Messages of the permanent addresses of global scope.
fn addresses(socket: &OwnedFd, index: u32) -> Result<Vec<Vec<u8>>, CallError> {
    let mut found = Vec::new();
    exchange(socket, GET_ADDRESS, DUMP, &mut vec![0; 8], |kind, body| {
        // struct ifaddrmsg: family, length of the prefix, flags, scope, index.
        let global = body.len() >= 8 && body[2] & IFA_F_PERMANENT != 0 && body[3] == 0;
        if kind == NEW_ADDRESS && global && word(body, 4) == index {
            found.push(body.to_vec());
        }
    })
    .call(|| "sendto(<rtnetlink>, RTM_GETADDR)".to_owned())?;
    Ok(found)
}

/// Sets an address as it was; its label was the old name of the interface.
fn add(socket: &OwnedFd, index: u32, address: &[u8]) -> Result<(), CallError> {
    let mut message = address[..4].to_vec();
    message.extend(index.to_ne_bytes());
    let mut rest = &address[8..];
    while rest.len() >= 4 {
        let (length, kind) = (usize::from(half(rest, 0)), half(rest, 2));
        if length < 4 || length > rest.len() {
            break;
        }
        if kind != IFA_LABEL && kind != IFA_CACHEINFO {
            attribute(&mut message, kind, &rest[4..length]);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    match exchange(socket, NEW_ADDRESS, ACKNOWLEDGE | CREATE, &mut message, |_, _| ()) {
        Err(Errno::EEXIST) => Ok(()),
        result => result.call(|| "sendto(<rtnetlink>, RTM_NEWADDR)".to_owned()),
    }
}

/// Sends a request and reads the answers to its end; `each` gets the kind and the body of each.
fn exchange(
    socket: &OwnedFd,
    kind: u16,
    flags: u16,
    body: &mut Vec<u8>,
    mut each: impl FnMut(u16, &[u8]),
) -> Result<(), Errno> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let length = u32::try_from(HEADER + body.len()).map_err(|_| Errno::EMSGSIZE)?;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend((REQUEST | flags).to_ne_bytes());
    request.extend([0; 8]);
    request.append(body);
    send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut buffer = vec![0; 32 << 10];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let (length, kind) = (word(rest, 0) as usize, half(rest, 4));
            if length < HEADER || length > rest.len() {
                return Err(Errno::EBADMSG);
            }
            let body = &rest[HEADER..length];
            match kind {
                ERROR if body.len() >= 4 => {
                    let errno = word(body, 0).cast_signed();
                    return if errno == 0 { Ok(()) } else { Err(Errno::from_raw(-errno)) };
                }
                DONE => return Ok(()),
                _ => each(kind, body),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        // Without an acknowledgement or a list, one answer is all.
        if flags == 0 {
            return Ok(());
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_ne_bytes([two[0], two[1]]))
}

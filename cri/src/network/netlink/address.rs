//! Addresses of links.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::attribute::attributes;
use super::socket::{Reply, Request};

/// Gives a link an address; one that is there already is fine.
///
/// An IPv6 address is not looked for on the link first (RFC 4862, 5.4): that takes seconds, and we know who has it.
pub(crate) fn new_address(index: u32, address: IpAddr, prefix: u8) -> Request {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    match address {
        IpAddr::V4(v4) => {
            message.header.family = AddressFamily::Inet;
            if prefix < 31 {
                let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
                message.attributes.push(AddressAttribute::Broadcast((u32::from(v4) | host).into()));
            }
        }
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    let what = format!("RTM_NEWADDR({address}/{prefix}, link {index})");
    let request = Request::route(&RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, what);
    request.fine(&[Errno::EEXIST])
}

/// Asks for all addresses.
pub(crate) fn addresses() -> Request {
    Request::route(&RouteNetlinkMessage::GetAddress(AddressMessage::default()), 0, "RTM_GETADDR(dump)".to_owned())
}

/// An address that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl Address {
    /// Reads an RTM_NEWADDR.
    pub(crate) fn parse(reply: &Reply) -> Option<Address> {
        const NEWADDR: u16 = 20;
        if reply.kind != NEWADDR {
            return None;
        }
        let (head, rest) = reply.body.split_at_checked(8)?; // struct ifaddrmsg
        let index = u32::from_ne_bytes(head.get(4..8)?.try_into().ok()?);
        // IFA_LOCAL (2) is the own address of a point-to-point link, IFA_ADDRESS (1) is always there.
        let find = |kind| attributes(rest).find(|attribute| attribute.kind == kind);
        let address = ip(find(2).or_else(|| find(1))?.value)?;
        Some(Address { index, address, prefix: head[1] })
    }
}

/// An address in network byte order.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

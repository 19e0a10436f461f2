//! Links: bridges, veth pairs, and what there is.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use nix::errno::Errno;

use super::attribute::attributes;
use super::socket::{Reply, Request};
use crate::network::mac::Mac;

/// A bridge to be made.
#[derive(Debug)]
pub(crate) struct Bridge<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: Mac,
    pub(crate) mtu: u32,
}

/// A veth pair to be made.
#[derive(Debug)]
pub(crate) struct Veth<'a> {
    /// The end on this host.
    pub(crate) name: &'a str,
    /// The bridge that this end becomes a port of.
    pub(crate) bridge: u32,
    pub(crate) mtu: u32,
    /// The namespace of the other end.
    pub(crate) netns: BorrowedFd<'a>,
    /// The other end's name.
    pub(crate) peer: &'a str,
    /// The other end's address.
    pub(crate) mac: Mac,
}

/// A link that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    /// Such as `bridge` and `veth`.
    pub(crate) kind: Option<String>,
    /// The link below, or the other end in its own namespace.
    pub(crate) peer: Option<u32>,
    pub(crate) mtu: Option<u32>,
    /// Whether it was brought up.
    pub(crate) up: bool,
}

fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    message
}

fn up(message: &mut LinkMessage) {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
}

/// A bridge without spanning tree, down.
pub(crate) fn new_bridge(bridge: &Bridge<'_>) -> Request {
    let data = InfoData::Bridge(vec![InfoBridge::ForwardDelay(0), InfoBridge::MulticastSnooping(false)]);
    let message = message(vec![
        LinkAttribute::IfName(bridge.name.to_owned()),
        LinkAttribute::Address(bridge.mac.0.to_vec()),
        LinkAttribute::Mtu(bridge.mtu),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(data)]),
    ]);
    let what = format!("RTM_NEWLINK(bridge {})", bridge.name);
    Request::route(&RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, what)
}

/// A veth pair, one end a port of a bridge, the other in another namespace; both down.
pub(crate) fn new_veth(veth: &Veth<'_>) -> Request {
    let peer = message(vec![
        LinkAttribute::IfName(veth.peer.to_owned()),
        LinkAttribute::Address(veth.mac.0.to_vec()),
        LinkAttribute::Mtu(veth.mtu),
        LinkAttribute::NetNsFd(veth.netns.as_raw_fd()),
    ]);
    let message = message(vec![
        LinkAttribute::IfName(veth.name.to_owned()),
        LinkAttribute::Mtu(veth.mtu),
        LinkAttribute::Controller(veth.bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ]);
    let what = format!("RTM_NEWLINK(veth {}, peer {})", veth.name, veth.peer);
    Request::route(&RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, what)
}

fn set(name: &str, attribute: LinkAttribute, what: String) -> Request {
    let message = message(vec![LinkAttribute::IfName(name.to_owned()), attribute]);
    Request::route(&RouteNetlinkMessage::SetLink(message), 0, what)
}

/// Sets a link's alias, a text for people.
pub(crate) fn set_alias(name: &str, alias: &str) -> Request {
    set(name, LinkAttribute::IfAlias(alias.to_owned()), format!("RTM_SETLINK({name}, alias)"))
}

/// No IPv6 link-local address on a link: a port of a bridge has no use for one. A kernel without IPv6 has none anyway.
pub(crate) fn no_link_local(name: &str) -> Request {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let spec = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]);
    set(name, spec, format!("RTM_SETLINK({name}, addrgenmode none)")).fine(&[Errno::EAFNOSUPPORT, Errno::EOPNOTSUPP])
}

/// What is special about a port of a bridge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    /// It sends frames back where they came from.
    pub(crate) hairpin: bool,
    /// It reaches no other port that is isolated.
    pub(crate) isolated: bool,
}

/// Sets what is special about a port of a bridge.
pub(crate) fn set_port(name: &str, port: Port) -> Request {
    let data = vec![InfoBridgePort::HairpinMode(port.hairpin), InfoBridgePort::Isolated(port.isolated)];
    let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(InfoPortData::BridgePort(data))];
    let message = message(vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(info)]);
    Request::route(&RouteNetlinkMessage::NewLink(message), 0, format!("RTM_NEWLINK({name}, {port:?})"))
}

/// Brings a link up.
pub(crate) fn set_up(name: &str) -> Request {
    let mut message = message(vec![LinkAttribute::IfName(name.to_owned())]);
    up(&mut message);
    Request::route(&RouteNetlinkMessage::SetLink(message), 0, format!("RTM_SETLINK({name}, up)"))
}

/// Removes a link, and its other end; already gone is done.
pub(crate) fn delete_link(name: &str) -> Request {
    let message = message(vec![LinkAttribute::IfName(name.to_owned())]);
    let request = Request::route(&RouteNetlinkMessage::DelLink(message), 0, format!("RTM_DELLINK({name})"));
    request.fine(&[Errno::ENODEV])
}

/// Asks for one link; the answer is for [`link_by_name`].
pub(crate) fn get_link(name: &str) -> Request {
    let message =
        message(vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])]);
    Request::route(&RouteNetlinkMessage::GetLink(message), 0, format!("RTM_GETLINK({name})"))
}

/// Asks for all links.
pub(crate) fn links() -> Request {
    let message = message(vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])]);
    Request::route(&RouteNetlinkMessage::GetLink(message), 0, "RTM_GETLINK(dump)".to_owned())
}

/// Asks for all links with what went through them.
pub(crate) fn links_with_counters() -> Request {
    Request::route(&RouteNetlinkMessage::GetLink(message(Vec::new())), 0, "RTM_GETLINK(dump, counters)".to_owned())
}

/// The link of that name among answers.
pub(crate) fn link_by_name(replies: &[Reply], name: &str) -> Option<Link> {
    replies.iter().filter_map(Link::parse).find(|link| link.name == name)
}

impl Link {
    /// Reads an RTM_NEWLINK.
    pub(crate) fn parse(reply: &Reply) -> Option<Link> {
        const NEWLINK: u16 = 16;
        const KIND: u16 = 1; // IFLA_INFO_KIND
        const HEADER: usize = 16; // struct ifinfomsg
        if reply.kind != NEWLINK {
            return None;
        }
        let (head, rest) = reply.body.split_at_checked(HEADER)?;
        let index = u32::from_ne_bytes(head.get(4..8)?.try_into().ok()?);
        let mut link =
            Link { index, name: String::new(), alias: None, kind: None, peer: None, mtu: None, up: head[8] & 1 != 0 };
        for attribute in attributes(rest) {
            match attribute.kind {
                3 => link.name = attribute.text()?.to_owned(), // IFLA_IFNAME
                4 => link.mtu = attribute.u32(),               // IFLA_MTU
                5 => link.peer = attribute.u32(),              // IFLA_LINK
                18 => {
                    // IFLA_LINKINFO
                    let kind = attribute.nested().find(|inner| inner.kind == KIND);
                    link.kind = kind.and_then(|kind| kind.text()).map(str::to_owned);
                }
                20 => link.alias = attribute.text().map(str::to_owned), // IFLA_IFALIAS
                _ => {}
            }
        }
        Some(link)
    }
}

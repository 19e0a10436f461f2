//! Routes.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::address::ip;
use super::attribute::attributes;
use super::socket::{Reply, Request};
use crate::network::subnet::Subnet;

/// A default route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gateway {
    pub(crate) gateway: IpAddr,
    /// The link it is on.
    pub(crate) index: u32,
    /// Lower ones come first.
    pub(crate) metric: u32,
}

fn default(route: &Gateway) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.header.protocol = RouteProtocol::Static;
    message.header.address_family = match route.gateway {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes.push(RouteAttribute::Gateway(route.gateway.into()));
    message.attributes.push(RouteAttribute::Oif(route.index));
    message.attributes.push(RouteAttribute::Priority(route.metric));
    message
}

fn what(kind: &str, route: &Gateway) -> String {
    format!("{kind}(default via {} metric {}, link {})", route.gateway, route.metric, route.index)
}

/// Adds a default route; one that is there already is fine.
pub(crate) fn new_default(route: &Gateway) -> Request {
    let message = RouteNetlinkMessage::NewRoute(default(route));
    Request::route(&message, NLM_F_CREATE | NLM_F_EXCL, what("RTM_NEWROUTE", route)).fine(&[Errno::EEXIST])
}

/// Removes a default route; already gone is done.
pub(crate) fn delete_default(route: &Gateway) -> Request {
    let message = RouteNetlinkMessage::DelRoute(default(route));
    Request::route(&message, 0, what("RTM_DELROUTE", route)).fine(&[Errno::ESRCH])
}

/// Asks for all routes of all tables.
pub(crate) fn routes(family: AddressFamily) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    Request::route(&RouteNetlinkMessage::GetRoute(message), 0, format!("RTM_GETROUTE(dump {family:?})"))
}

/// A route that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// `None` is the default route.
    pub(crate) destination: Option<Subnet>,
    pub(crate) link: Option<u32>,
}

impl Route {
    /// Reads an RTM_NEWROUTE for packets that go somewhere: unicast, also to nowhere on purpose.
    pub(crate) fn parse(reply: &Reply) -> Option<Route> {
        const NEWROUTE: u16 = 24;
        const UNICAST: u8 = 1;
        const BLACKHOLE: u8 = 6;
        const CLONED: u32 = 0x200;
        if reply.kind != NEWROUTE {
            return None;
        }
        let (head, rest) = reply.body.split_at_checked(12)?; // struct rtmsg
        let flags = u32::from_ne_bytes(head.get(8..12)?.try_into().ok()?);
        if !matches!(head[7], UNICAST | BLACKHOLE) || flags & CLONED != 0 {
            return None;
        }
        let find = |kind| attributes(rest).find(|attribute| attribute.kind == kind);
        let destination = match find(1) {
            Some(address) => Subnet::new(ip(address.value)?, head[1]).ok().filter(|_| head[1] > 0),
            None => None,
        };
        Some(Route { destination, link: find(4).and_then(|attribute| attribute.u32()) })
    }
}

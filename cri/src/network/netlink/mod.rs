//! A small synchronous netlink: several requests in one packet, answers read until the last one has come.
//!
//! ```text
//! Request* ──▶ one send(2) ──▶ the kernel does them in order ──▶ recv(2): answers, errors, one acknowledgement
//! ```
//!
//! The kernel works while send(2) runs, so nothing here ever waits. A request that fails does not keep the kernel
//! from doing the later ones of the packet: callers undo all of it.
//!
//! Source: netlink(7), rtnetlink(7), Documentation/userspace-api/netlink/intro.rst.

mod address;
mod attribute;
mod link;
mod route;
mod socket;

pub(crate) use address::{Address, addresses, new_address};
pub(crate) use attribute::attributes;
pub(crate) use link::{
    Bridge, Link, Port, Veth, delete_link, get_link, link_by_name, links, links_with_counters, new_bridge, new_veth,
    no_link_local, set_alias, set_port, set_up,
};
pub(crate) use route::{Gateway, Route, delete_default, new_default, routes};
pub(crate) use socket::{Reply, Request, Socket};

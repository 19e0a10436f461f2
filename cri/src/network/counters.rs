//! What went through the interfaces of a network namespace.

use std::os::fd::BorrowedFd;

use super::error::Error;
use super::netlink::{Reply, attributes, links_with_counters};
use super::plumb::inside;

/// What went through an interface since it was made, seen from inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Its name.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets received that were bad.
    pub rx_errors: u64,
    /// Packets received that were thrown away.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets to be sent that were thrown away.
    pub tx_dropped: u64,
}

/// The counters of all interfaces of a network namespace, loopback left out, in the order of their indexes.
///
/// No process is started and none is needed there: a thread enters and asks the kernel.
///
/// # Errors
/// [`Error::Call`] of setns(2); [`Error::Netlink`].
pub fn counters(netns: BorrowedFd<'_>) -> Result<Vec<InterfaceCounters>, Error> {
    let replies = inside(netns, |socket| socket.dump(&links_with_counters()))?;
    Ok(replies.iter().filter_map(parse).collect())
}

/// Reads an RTM_NEWLINK. rtnetlink(7), `struct rtnl_link_stats64` of linux/if_link.h
fn parse(reply: &Reply) -> Option<InterfaceCounters> {
    const NEWLINK: u16 = 16;
    const HEADER: usize = 16; // struct ifinfomsg
    const NAME: u16 = 3; // IFLA_IFNAME
    const STATS64: u16 = 23; // IFLA_STATS64
    const LOOPBACK: u32 = 0x8; // IFF_LOOPBACK
    if reply.kind != NEWLINK {
        return None;
    }
    let (head, rest) = reply.body.split_at_checked(HEADER)?;
    let flags = u32::from_ne_bytes(head.get(8..12)?.try_into().ok()?);
    if flags & LOOPBACK != 0 {
        return None;
    }
    let mut counters = InterfaceCounters::default();
    for attribute in attributes(rest) {
        match attribute.kind {
            NAME => counters.name = attribute.text()?.to_owned(),
            STATS64 => {
                let word = |at: usize| {
                    let bytes = attribute.value.get(at * 8..at * 8 + 8);
                    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
                };
                counters = InterfaceCounters {
                    name: counters.name,
                    rx_packets: word(0),
                    tx_packets: word(1),
                    rx_bytes: word(2),
                    tx_bytes: word(3),
                    rx_errors: word(4),
                    tx_errors: word(5),
                    rx_dropped: word(6),
                    tx_dropped: word(7),
                };
            }
            _ => {}
        }
    }
    Some(counters)
}

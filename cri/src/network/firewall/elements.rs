//! What networks and attachments put into the sets. Pure.

use std::net::IpAddr;

use super::ruleset::{
    ANY4, ANY6, BRIDGES, HOST4, HOST6, INTERNAL, ISOLATED, MASQUERADED, OWN4, OWN6, PORTS, QUIET, SAME, STATIONS,
};
use crate::network::definition::Network;
use crate::network::nft::Element;
use crate::network::publish::Published;
use crate::network::record::Attachment;

/// Elements of both tables.
#[derive(Debug, Default)]
pub(super) struct Elements {
    pub(super) packets: Vec<Element>,
    pub(super) frames: Vec<Element>,
}

impl Elements {
    pub(super) fn append(&mut self, mut other: Elements) {
        self.packets.append(&mut other.packets);
        self.frames.append(&mut other.frames);
    }
}

/// The name of an interface as keys have it.
fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// Bytes as a part of a concatenated key.
fn part(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn member(set: &'static str, parts: &[Vec<u8>]) -> Element {
    Element { set, key: parts.concat(), value: Vec::new() }
}

/// What the bridge of a network is.
pub(super) fn of_network(network: &Network) -> Elements {
    let bridge = interface(&network.bridge);
    let policy = &network.policy;
    let sets = [
        (BRIDGES, true),
        (INTERNAL, network.internal),
        (QUIET, !policy.icc),
        (ISOLATED, policy.isolate),
        (MASQUERADED, policy.masquerade && !network.internal),
    ];
    let mut packets: Vec<Element> =
        sets.iter().filter(|(_, is_in)| *is_in).map(|(set, _)| member(set, std::slice::from_ref(&bridge))).collect();
    packets.push(member(SAME, &[bridge.clone(), bridge]));
    Elements { packets, frames: Vec::new() }
}

/// What a container's addresses and ports are.
pub(super) fn of_attachment(network: &Network, attachment: &Attachment) -> Elements {
    let packets = attachment.ports.iter().filter_map(|port| published(port, attachment)).collect();
    let mut frames = Vec::new();
    if network.policy.guard {
        let veth = interface(&attachment.veth);
        let mac = part(&attachment.mac.octets());
        frames.push(member(PORTS, std::slice::from_ref(&veth)));
        frames.push(member(STATIONS, &[veth.clone(), mac.clone()]));
        for assigned in attachment.addresses() {
            let set = if assigned.address.is_ipv4() { OWN4 } else { OWN6 };
            frames.push(member(set, &[veth.clone(), mac.clone(), octets(assigned.address)]));
        }
    }
    Elements { packets, frames }
}

/// A published port: where packets to it go.
fn published(port: &Published, attachment: &Attachment) -> Option<Element> {
    let to = match port.host_ip {
        IpAddr::V4(_) => IpAddr::V4(attachment.ip?.address),
        IpAddr::V6(_) => IpAddr::V6(attachment.ip6?.address),
    };
    let number = |port: u16| part(&port.to_be_bytes());
    let service = [part(&[port.protocol.number()]), number(port.host_port)].concat();
    let value = [octets(to), number(port.container_port)].concat();
    let (set, key) = match (port.host_ip, port.host_ip.is_unspecified()) {
        (IpAddr::V4(_), true) => (ANY4, service),
        (IpAddr::V6(_), true) => (ANY6, service),
        (IpAddr::V4(ip), false) => (HOST4, [ip.octets().to_vec(), service].concat()),
        (IpAddr::V6(ip), false) => (HOST6, [ip.octets().to_vec(), service].concat()),
    };
    Some(Element { set, key, value })
}

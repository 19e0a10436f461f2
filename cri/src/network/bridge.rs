//! The bridge interface of a network: made by the first attachment, kept until the network is removed.

use super::definition::Network;
use super::error::Error;
use super::files::random;
use super::host::{self, set_sysctl, set_sysctl_v6};
use super::mac::Mac;
use super::netlink::{
    Bridge, Link, Socket, delete_link, get_link, link_by_name, new_address, new_bridge, set_alias, set_up,
};
use super::subnet::Family;

/// Largest packet on Ethernet.
const ETHERNET: u32 = 1500;

/// The bridge of a network as it is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) index: u32,
    pub(super) mtu: u32,
    /// Whether it was made, or completed, just now.
    pub(super) new: bool,
}

/// Finds the network's bridge, or makes it.
pub(super) fn ensure(socket: &mut Socket, links: &[Link], network: &Network) -> Result<Made, Error> {
    let found = links.iter().find(|link| link.name == network.bridge);
    if found.is_some_and(|link| !is_ours(link, network)) {
        return Err(Error::ForeignInterface { interface: network.bridge.clone(), network: network.name.clone() });
    }
    let link = match found {
        Some(link) => link.clone(),
        None => make(socket, links, network)?,
    };
    // Up is the last thing that becomes of a bridge: one that is not was left by a crash.
    if !link.up {
        finish(socket, network, &link)?;
    }
    Ok(Made { index: link.index, mtu: link.mtu.unwrap_or(ETHERNET), new: !link.up })
}

fn make(socket: &mut Socket, links: &[Link], network: &Network) -> Result<Link, Error> {
    let mtu = match network.mtu {
        Some(mtu) => mtu,
        None => host::way_out_mtu(socket, links)?.map_or(ETHERNET, |mtu| mtu.clamp(1280, ETHERNET)),
    };
    let bridge = Bridge { name: &network.bridge, mac: Mac::local(random()?), mtu };
    let alias = network.alias();
    // One packet: there is never a bridge that does not say whose it is.
    let requests = [new_bridge(&bridge), set_alias(&network.bridge, &alias), get_link(&network.bridge)];
    let replies = socket.run(&requests).map_err(|error| {
        error.or_missing("bridge devices", "networks of containers", "CONFIG_BRIDGE (module bridge)")
    })?;
    link_by_name(&replies, &network.bridge).ok_or_else(|| Error::Answer {
        what: format!("RTM_GETLINK({})", network.bridge),
        reason: "there is no link in it",
    })
}

/// Kernel parameters and addresses of a bridge; then it is brought up. May be done again.
pub(super) fn finish(socket: &mut Socket, network: &Network, link: &Link) -> Result<(), Error> {
    let bridge = &network.bridge;
    let v6 = network.range(Family::V6).is_some();
    set_sysctl_v6(&format!("ipv6/conf/{bridge}/disable_ipv6"), if v6 { "0" } else { "1" })?;
    // Containers are no routers for the host (CVE-2020-10749), and we know who has which address.
    set_sysctl_v6(&format!("ipv6/conf/{bridge}/accept_ra"), "0")?;
    set_sysctl_v6(&format!("ipv6/conf/{bridge}/accept_dad"), "0")?;
    if network.range(Family::V4).is_some() {
        // Packets from 127.0.0.1 to a published port leave by the bridge.
        set_sysctl(&format!("ipv4/conf/{bridge}/route_localnet"), "1")?;
    }
    let mut requests = vec![];
    for range in &network.subnets {
        requests.push(new_address(link.index, range.gateway, range.subnet.prefix()));
    }
    requests.push(set_up(bridge));
    socket.run(&requests)?;
    Ok(())
}

/// Whether there was a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    /// It is gone now.
    Yes,
    /// There was none.
    No,
}

/// Removes the network's bridge.
pub(super) fn remove(socket: &mut Socket, links: &[Link], network: &Network) -> Result<Removed, Error> {
    if !links.iter().any(|link| is_ours(link, network)) {
        return Ok(Removed::No);
    }
    socket.run(&[delete_link(&network.bridge)])?;
    Ok(Removed::Yes)
}

/// Whether the link is the bridge of this network.
pub(super) fn is_ours(link: &Link, network: &Network) -> bool {
    link.name == network.bridge
        && link.kind.as_deref() == Some("bridge")
        && link.alias.as_deref() == Some(&network.alias())
}

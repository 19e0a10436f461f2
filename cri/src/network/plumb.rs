//! The kernel's part of an attachment: a veth pair, and addresses and routes in the container.
//!
//! Done by a thread that enters the container's network namespace and ends there. Its socket for the host was opened
//! before, and goes on working on the host.

use std::os::fd::BorrowedFd;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use runtime::rooted::Shown;
use runtime::sys::{Call, CallError};

use super::error::Error;
use super::host::{get_sysctl, set_sysctl_v6};
use super::netlink::{
    Gateway, Port, Request, Socket, Veth, delete_default, get_link, link_by_name, new_address, new_default, new_veth,
    no_link_local, set_port, set_up,
};
use super::record::Attachment;
use super::subnet::Family;

/// IP6_RT_PRIO_USER: what the kernel makes of metric 0.
const METRIC_V6: u32 = 1024;

/// A default route of the container whose place among the others changes.
#[derive(Debug)]
pub(super) struct Move<'a> {
    pub(super) attachment: &'a Attachment,
    /// Its new metric.
    pub(super) metric: u32,
}

/// What is to be made.
#[derive(Debug)]
pub(super) struct Plumb<'a> {
    pub(super) netns: BorrowedFd<'a>,
    pub(super) attachment: &'a Attachment,
    pub(super) bridge: u32,
    pub(super) mtu: u32,
    /// Whether it may reach the other ports of the bridge.
    pub(super) icc: bool,
    pub(super) moves: Vec<Move<'a>>,
}

/// Makes the pair and everything in the container; returns the index of the end on the host.
pub(super) fn plumb(host: &mut Socket, plumb: &Plumb<'_>) -> Result<u32, Error> {
    inside(plumb.netns, |inner| pair(host, inner, plumb))
}

/// Runs `work` in a network namespace, with a socket for it.
pub(super) fn inside<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce(&mut Socket) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let enter = || {
        setns(netns, CloneFlags::CLONE_NEWNET).call(|| format!("setns({}, CLONE_NEWNET)", Shown(&netns)))?;
        work(&mut Socket::route()?)
    };
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, enter);
        let thread = spawned.call(|| "clone(CLONE_THREAD)".to_owned())?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn pair(host: &mut Socket, inner: &mut Socket, plumb: &Plumb<'_>) -> Result<u32, Error> {
    let attachment = plumb.attachment;
    let veth = Veth {
        name: &attachment.veth,
        bridge: plumb.bridge,
        mtu: plumb.mtu,
        netns: plumb.netns,
        peer: &attachment.interface,
        mac: attachment.mac,
    };
    let mut requests = vec![new_veth(&veth), no_link_local(&attachment.veth)];
    // With br_netfilter a port that leads back to the same container is turned around in the bridge itself.
    let hairpin = get_sysctl("bridge/bridge-nf-call-iptables").is_ok_and(|value| value == "1");
    if hairpin || !plumb.icc {
        requests.push(set_port(&attachment.veth, Port { hairpin, isolated: !plumb.icc }));
    }
    requests.push(set_up(&attachment.veth));
    requests.push(get_link(&attachment.veth));
    let replies = host.run(&requests).map_err(|error| match error {
        Error::Netlink { errno: Errno::EEXIST, .. } if inner.run(&[get_link(&attachment.interface)]).is_ok() => {
            Error::InterfaceInUse { interface: attachment.interface.clone(), container: attachment.container.clone() }
        }
        other => other.or_missing("veth devices", "containers on a network", "CONFIG_VETH (module veth)"),
    })?;
    let answer = |reason| Error::Answer { what: format!("RTM_GETLINK({})", attachment.veth), reason };
    let link = link_by_name(&replies, &attachment.veth).ok_or_else(|| answer("there is no link in it"))?;
    let peer = link.peer.ok_or_else(|| answer("the link has no other end"))?;
    sysctls(attachment)?;
    let requests = inner_requests(attachment, peer, plumb, inner)?;
    inner.run(&requests)?;
    Ok(link.index)
}

/// Kernel parameters of the container's interface, before it is up.
fn sysctls(attachment: &Attachment) -> Result<(), CallError> {
    let conf = format!("ipv6/conf/{}", attachment.interface);
    if attachment.ip6.is_none() {
        // Without it every container would have link-local addresses, past all rules for IPv4.
        return set_sysctl_v6(&format!("{conf}/disable_ipv6"), "1");
    }
    // A sandbox may have switched it off for all interfaces.
    set_sysctl_v6(&format!("{conf}/disable_ipv6"), "0")?;
    // A neighbour must not become the router (CVE-2020-13401).
    set_sysctl_v6(&format!("{conf}/accept_ra"), "0")?;
    set_sysctl_v6(&format!("{conf}/accept_dad"), "0")
}

fn inner_requests(
    attachment: &Attachment,
    peer: u32,
    plumb: &Plumb<'_>,
    inner: &mut Socket,
) -> Result<Vec<Request>, Error> {
    let mut requests = vec![set_up("lo"), set_up(&attachment.interface)];
    for assigned in attachment.addresses() {
        requests.push(new_address(peer, assigned.address, assigned.prefix));
    }
    // Others make room first: two default routes with the same metric cannot be.
    for moved in &plumb.moves {
        let replies = inner.run(&[get_link(&moved.attachment.interface)])?;
        let Some(link) = link_by_name(&replies, &moved.attachment.interface) else { continue };
        for (old, new) in gateways(moved.attachment, link.index, moved.attachment.metric).into_iter().zip(gateways(
            moved.attachment,
            link.index,
            moved.metric,
        )) {
            requests.push(new_default(&new));
            requests.push(delete_default(&old));
        }
    }
    requests.extend(gateways(attachment, peer, attachment.metric).iter().map(new_default));
    Ok(requests)
}

fn gateways(attachment: &Attachment, index: u32, metric: u32) -> Vec<Gateway> {
    let base = |family| if family == Family::V6 { METRIC_V6 } else { 0 };
    let gateways = attachment.addresses().into_iter().filter_map(|assigned| assigned.gateway);
    gateways.map(|gateway| Gateway { gateway, index, metric: metric + base(Family::of(gateway)) }).collect()
}

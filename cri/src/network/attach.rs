//! Putting a container on a network.
//!
//! ```text
//! lock ▸ reclaim ▸ choose addresses and ports ▸ bridge ▸ record, being made ▸ veth, addresses, routes ▸ record, made
//! ```
//!
//! A process that is killed on the way leaves a record that is being made, which the next one under the lock removes with all
//! that belongs to it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::stat::fstat;
use runtime::rooted::Shown;
use runtime::sys::Call;

use super::bridge;
use super::definition::{Network, Range};
use super::error::Error;
use super::files::random;
use super::firewall::obstacles;
use super::host::{self, get_sysctl, set_sysctl};
use super::ipam::{self, Full};
use super::mac::Mac;
use super::name;
use super::netlink::Socket;
use super::networks::{LOCK, Networks};
use super::plumb::{Move, Plumb, plumb};
use super::publish::Publish;
use super::record::{Assigned, Attachment, Book, file_name, last_key};
use super::reserve::reserve;
use super::subnet::Family;

/// Highest and lowest priority of a default route: what docker's `gw-priority` is used for fits well into it.
const PRIORITIES: std::ops::RangeInclusive<i32> = -1_000_000..=1_000_000;

/// Who is to be put on which network.
#[derive(Debug)]
pub struct Attach<'a> {
    /// The container's id.
    pub container: &'a str,
    /// Its network namespace, which may belong to a user namespace.
    pub netns: BorrowedFd<'a>,
    /// Name or id of the network.
    pub network: &'a str,
    /// The interface in the container; absent: the first of eth0, eth1, … that this container does not have.
    pub interface: Option<&'a str>,
    /// The IPv4 address; absent: one that is free.
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address; absent: one that is free.
    pub ip6: Option<Ipv6Addr>,
    /// The address on the link; absent: one made of the IPv4 address.
    pub mac: Option<Mac>,
    /// The network with the highest number has the default route; of equals the one attached first.
    pub gw_priority: i32,
    /// Names under which the others on the network find it, the container's own first.
    pub names: &'a [String],
    /// Ports of the host that lead to it.
    pub ports: &'a [Publish],
}

/// A container on a network, and what keeps its ports.
#[derive(Debug)]
pub struct Attached {
    /// What was made.
    pub record: Attachment,
    /// Sockets, bound and not listening, that keep programs of the host off the published ports; to be held open as long as the container lives.
    pub reserved: Vec<OwnedFd>,
    /// What was changed on the host that a person may want to know, one sentence each.
    pub notes: Vec<String>,
    /// What of the host is in the way of the container's packets, and what to do, one sentence each.
    pub obstacles: Vec<String>,
}

impl Networks {
    /// Puts a container on a network.
    ///
    /// # Errors
    /// An address or port that is in use, a range without free addresses, and the kernel's. Nothing is left then.
    pub fn attach(&self, attach: &Attach<'_>) -> Result<Attached, Error> {
        attach.check()?;
        let found = self.get(attach.network)?;
        let _lock = self.state.lock(LOCK)?;
        // Again: under the lock it is not removed.
        let network = self.read(&found.name)?.filter(|network| network.id == found.id);
        let network = network.ok_or(Error::NoNetwork { name: found.name })?;
        let file = file_name()?;
        let mut book = Book::read(&self.state, &file)?;
        let mut socket = Socket::route()?;
        let links = host::all_links(&mut socket)?;
        self.sweep(&mut book, &file, &mut socket, &links)?;

        let netns = fstat(attach.netns).call(|| format!("fstat({})", Shown(&attach.netns)))?.st_ino;
        // It was started again, and the kernel has not yet removed what it had in its former life.
        let former: Vec<Attachment> = book
            .attachments
            .iter()
            .filter(|old| old.container == attach.container && old.netns != netns)
            .cloned()
            .collect();
        if !former.is_empty() {
            self.bury(&mut book, &file, &mut socket, &former)?;
        }

        let mut record = plan(attach, &network, &book)?;
        record.netns = netns;
        let moves = rank(&mut record, &book);
        let reserved = reserve(attach.ports, &network, &record, &mut book)?;
        record.ports = reserved.ports;
        let notes = forwarding(&network)?;
        let mut in_the_way = Vec::new();
        let bridge = bridge::ensure(&mut socket, &links, &network)?;

        book.next = record.order + 1;
        for assigned in record.addresses() {
            book.last.insert(last_key(&network.id, Family::of(assigned.address)), assigned.address);
        }
        book.attachments.push(record.clone());
        book.write(&self.state, &file)?;

        let moving = moves.iter().filter_map(|(order, metric)| {
            let attachment = book.attachments.iter().find(|attachment| attachment.order == *order)?;
            Some(Move { attachment, metric: *metric })
        });
        let plan = Plumb {
            netns: attach.netns,
            attachment: &record,
            bridge: bridge.index,
            mtu: bridge.mtu,
            icc: network.policy.icc,
            moves: moving.collect(),
        };
        let made = plumb(&mut socket, &plan).and_then(|ifindex| {
            for attachment in &mut book.attachments {
                if attachment.order == record.order {
                    attachment.ifindex = ifindex;
                }
                if let Some((_, metric)) = moves.iter().find(|(order, _)| *order == attachment.order) {
                    attachment.metric = *metric;
                }
            }
            record.ifindex = ifindex;
            if bridge.new {
                in_the_way = obstacles(self.firewall.table())?;
                self.firewall.rebuild(&self.list()?, &book.attachments)?;
            } else {
                self.firewall.add(&network, &record, &self.list()?, &book.attachments)?;
            }
            book.write(&self.state, &file)
        });
        match made {
            Ok(()) => Ok(Attached { record, reserved: reserved.sockets, notes, obstacles: in_the_way }),
            Err(error) => {
                // The first error is what went wrong; what cannot be undone now is found by the next call.
                let _ = self.bury(&mut book, &file, &mut socket, &[record]);
                Err(error)
            }
        }
    }
}

/// Lets the host pass packets on. Says so when that was not so before.
fn forwarding(network: &Network) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    if network.internal {
        return Ok(notes);
    }
    if network.range(Family::V4).is_some() && get_sysctl("ipv4/ip_forward")? != "1" {
        set_sysctl("ipv4/ip_forward", "1")?;
        notes.push("IPv4 forwarding was off on this host and is on now (net.ipv4.ip_forward=1)".to_owned());
    }
    if network.range(Family::V6).is_some() && get_sysctl("ipv6/conf/all/forwarding")? != "1" {
        keep_router_advertisements()?;
        set_sysctl("ipv6/conf/all/forwarding", "1")?;
        notes.push("IPv6 forwarding was off on this host and is on now (net.ipv6.conf.all.forwarding=1)".to_owned());
    }
    Ok(notes)
}

/// A host that forwards ignores router advertisements, and would lose its own way out, unless accept_ra is 2.
fn keep_router_advertisements() -> Result<(), Error> {
    let path = "/proc/sys/net/ipv6/conf";
    for entry in std::fs::read_dir(path).call(|| format!("open(\"{path}\", O_RDONLY|O_DIRECTORY)"))? {
        let entry = entry.call(|| format!("getdents64({path})"))?;
        let Ok(interface) = entry.file_name().into_string() else { continue };
        let name = format!("ipv6/conf/{interface}/accept_ra");
        if interface != "all" && interface != "default" && get_sysctl(&name).is_ok_and(|value| value == "1") {
            set_sysctl(&name, "2")?;
        }
    }
    Ok(())
}

impl Attach<'_> {
    fn check(&self) -> Result<(), Error> {
        name::container(self.container)?;
        if let Some(interface) = self.interface {
            name::interface(interface)?;
        }
        if !PRIORITIES.contains(&self.gw_priority) {
            return Err(Error::invalid("gw-priority", self.gw_priority, "must be -1000000 to 1000000"));
        }
        self.names.iter().try_for_each(|alias| name::alias(alias))
    }
}

/// The record of a new attachment: everything chosen, nothing made.
fn plan(attach: &Attach<'_>, network: &Network, book: &Book) -> Result<Attachment, Error> {
    let own = || book.attachments.iter().filter(|attachment| attachment.container == attach.container);
    if own().any(|attachment| attachment.network_id == network.id) {
        return Err(Error::Attached { container: attach.container.to_owned(), network: network.name.clone() });
    }
    let interface = match attach.interface {
        Some(interface) => interface.to_owned(),
        None => {
            let is_free = |name: &String| !own().any(|attachment| attachment.interface == *name);
            (0..u16::MAX).map(|n| format!("eth{n}")).find(is_free).unwrap_or_default()
        }
    };
    if own().any(|attachment| attachment.interface == interface) {
        return Err(Error::InterfaceInUse { interface, container: attach.container.to_owned() });
    }
    let ip = match address(attach.ip.map(IpAddr::V4), Family::V4, network, book)? {
        Some((IpAddr::V4(address), range)) => Some(Assigned {
            address,
            prefix: range.subnet.prefix(),
            gateway: match range.gateway {
                IpAddr::V4(gateway) if !network.internal => Some(gateway),
                _ => None,
            },
        }),
        _ => None,
    };
    let ip6 = match address(attach.ip6.map(IpAddr::V6), Family::V6, network, book)? {
        Some((IpAddr::V6(address), range)) => Some(Assigned {
            address,
            prefix: range.subnet.prefix(),
            gateway: match range.gateway {
                IpAddr::V6(gateway) if !network.internal => Some(gateway),
                _ => None,
            },
        }),
        _ => None,
    };
    let bytes: [u8; 12] = random()?;
    let [a, b, c, d, e, f, rest @ ..] = bytes;
    let mac = attach.mac.unwrap_or_else(|| ip.map_or_else(|| Mac::local(rest), |ip| Mac::of(ip.address)));
    if let Some(other) = book.attachments.iter().find(|other| other.network_id == network.id && other.mac == mac) {
        return Err(Error::invalid("mac address", mac, format!("is in use by container {}", other.container)));
    }
    Ok(Attachment {
        container: attach.container.to_owned(),
        network: network.name.clone(),
        network_id: network.id.clone(),
        interface,
        mac,
        ip,
        ip6,
        names: attach.names.to_vec(),
        ports: Vec::new(),
        gw_priority: attach.gw_priority,
        metric: 0,
        order: book.next,
        netns: 0,
        veth: format!("rtv{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}"),
        ifindex: 0,
    })
}

/// The address of a family that was asked for, or the next free one; `None`: the network does not have the family.
fn address<'n>(
    asked: Option<IpAddr>,
    family: Family,
    network: &'n Network,
    book: &Book,
) -> Result<Option<(IpAddr, &'n Range)>, Error> {
    let Some(range) = network.range(family) else {
        let reason = format!("network {} has no {family} subnet", network.name);
        return asked.map_or(Ok(None), |ip| Err(Error::invalid("ip", ip, reason)));
    };
    let others = || book.attachments.iter().filter(|other| other.network_id == network.id);
    if let Some(address) = asked {
        if let Some(reason) = ipam::refusal(range, address) {
            return Err(Error::invalid("ip", address, reason));
        }
        if let Some(other) = others().find(|other| other.address(family) == Some(address)) {
            let by = format!("container {}", other.container);
            return Err(Error::AddressInUse { address, network: network.name.clone(), by });
        }
        return Ok(Some((address, range)));
    }
    let used: BTreeSet<IpAddr> = others().filter_map(|other| other.address(family)).collect();
    let last = book.last.get(&last_key(&network.id, family)).copied();
    match ipam::next(range, &used, last) {
        Ok(address) => Ok(Some((address, range))),
        Err(Full { used, total }) => {
            Err(Error::Exhausted { network: network.name.clone(), range: ipam::pool(range).to_string(), used, total })
        }
    }
}

/// Gives the default routes of the container their places: by priority, then by age. Returns the others whose place changes.
fn rank(record: &mut Attachment, book: &Book) -> Vec<(u64, u32)> {
    let mut all: Vec<&Attachment> =
        book.attachments.iter().filter(|attachment| attachment.container == record.container).collect();
    let new = record.clone();
    all.push(&new);
    all.sort_by_key(|attachment| (-attachment.gw_priority, attachment.order));
    let mut moves = Vec::new();
    let mut least = 0;
    for attachment in all {
        let mut metric = least;
        if attachment.order == record.order {
            record.metric = metric;
        } else {
            metric = metric.max(attachment.metric);
            if attachment.metric != metric {
                moves.push((attachment.order, metric));
            }
        }
        least = metric + 1;
    }
    // Each moves up: the last one first, so that it is never where another one is.
    moves.reverse();
    moves
}

//! Ports of the host for containers: which ones, and the sockets that keep programs of the host off them.
//!
//! A socket that is bound and does not listen takes no connection, but nobody else can bind its port. Packets never get to it:
//! the firewall sends them to the container before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, RcvBuf, ReuseAddr};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket};
use runtime::sys::{Call, CallError};

use super::definition::Network;
use super::error::Error;
use super::host::get_sysctl;
use super::publish::{Ports, Protocol, Publish, Published};
use super::record::{Attachment, Book};
use super::subnet::Family;

/// Most ports of one attachment: each is a socket.
const MOST: usize = 4096;

/// Ports that were chosen, and the sockets that keep them.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    pub(super) ports: Vec<Published>,
    pub(super) sockets: Vec<OwnedFd>,
}

/// Chooses and reserves all ports of a new attachment.
pub(super) fn reserve(
    asked: &[Publish],
    network: &Network,
    record: &Attachment,
    book: &mut Book,
) -> Result<Reserved, Error> {
    let Some(first) = asked.first() else { return Ok(Reserved::default()) };
    if network.internal {
        let reason = format!("network {} is internal: nothing gets in", network.name);
        return Err(Error::invalid("publish", first.container_ports, reason));
    }
    let count: usize = asked.iter().map(|publish| publish.container_ports.count()).sum();
    if count > MOST {
        return Err(Error::invalid("publish", count, format!("a container publishes at most {MOST} ports")));
    }
    let mut taking = Taking { container: &record.container, book, reserved: Reserved::default() };
    for publish in asked {
        let addresses = addresses(publish, network, record)?;
        for (index, container_port) in publish.container_ports.iter().enumerate() {
            let wanted = Wanted { addresses: &addresses, container_port, protocol: publish.protocol };
            match publish.host_ports {
                Some(ports) if ports.count() == publish.container_ports.count() => {
                    taking.take(&wanted, ports.iter().nth(index).unwrap_or_default())?;
                }
                Some(ports) => {
                    taking.first_free(&wanted, ports, None)?;
                }
                None => {
                    let last = taking.book.last_port;
                    taking.book.last_port = taking.first_free(&wanted, ephemeral()?, Some(last))?;
                }
            }
        }
    }
    Ok(taking.reserved)
}

/// The host's addresses that are meant.
fn addresses(publish: &Publish, network: &Network, record: &Attachment) -> Result<Vec<IpAddr>, Error> {
    let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let has = |address: &IpAddr| record.address(Family::of(*address)).is_some();
    let Some(address) = publish.host_ip.or(network.policy.host_ip) else {
        return Ok(any.into_iter().filter(has).collect());
    };
    if !has(&address) {
        let reason = format!("network {} has no {} subnet", network.name, Family::of(address));
        return Err(Error::invalid("publish", address, reason));
    }
    if address == Ipv6Addr::LOCALHOST {
        let reason = "the kernel sends no packets from ::1 to containers; publish on 127.0.0.1, or on another address";
        return Err(Error::invalid("publish", address, reason));
    }
    Ok(vec![address])
}

/// Ports that programs without a wish get: /proc/sys/net/ipv4/ip_local_port_range.
fn ephemeral() -> Result<Ports, Error> {
    let text = get_sysctl("ipv4/ip_local_port_range")?;
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    let range = numbers.next().zip(numbers.next()).and_then(|(first, last)| Ports::new(first, last));
    range.ok_or_else(|| Error::Damaged {
        path: "/proc/sys/net/ipv4/ip_local_port_range".to_owned(),
        reason: format!("{text:?} is no range"),
    })
}

/// A port of the container, and the addresses of the host that lead there.
#[derive(Debug)]
struct Wanted<'a> {
    addresses: &'a [IpAddr],
    container_port: u16,
    protocol: Protocol,
}

#[derive(Debug)]
struct Taking<'a> {
    container: &'a str,
    book: &'a mut Book,
    reserved: Reserved,
}

impl Taking<'_> {
    /// Takes one port on all addresses, or on none.
    fn take(&mut self, wanted: &Wanted<'_>, host_port: u16) -> Result<(), Error> {
        let mut ports = Vec::new();
        let mut sockets = Vec::new();
        for host_ip in wanted.addresses.iter().copied() {
            let port =
                Published { host_ip, host_port, container_port: wanted.container_port, protocol: wanted.protocol };
            if self.reserved.ports.contains(&port) {
                // Said twice.
                continue;
            }
            let own = self.reserved.ports.iter().map(|own| (own, self.container));
            let others = self
                .book
                .attachments
                .iter()
                .flat_map(|other| other.ports.iter().map(|port| (port, other.container.as_str())));
            if let Some((_, by)) = own.chain(others).find(|(other, _)| other.clashes(&port)) {
                return Err(Error::PortPublished { port: port.to_string(), by: by.to_owned() });
            }
            sockets.extend(keep(&port)?);
            ports.push(port);
        }
        self.reserved.ports.append(&mut ports);
        self.reserved.sockets.append(&mut sockets);
        Ok(())
    }

    /// Takes the first port that is free, from the one after `last` on.
    fn first_free(&mut self, wanted: &Wanted<'_>, range: Ports, last: Option<u16>) -> Result<u16, Error> {
        let after = |port: &u16| last.is_some_and(|last| *port <= last);
        let order = range.iter().filter(|port| !after(port)).chain(range.iter().filter(after));
        for port in order {
            match self.take(wanted, port) {
                Err(Error::PortPublished { .. } | Error::PortInUse { .. }) => {}
                other => return other.map(|()| port),
            }
        }
        Err(Error::NoPort { range: range.to_string(), protocol: wanted.protocol.name() })
    }
}

/// Whether a port may be bound that connections are still ending on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reuse {
    No,
    Yes,
}

/// Binds a port; `None`: the kernel does not have the protocol, so no program of the host can use it.
fn keep(port: &Published) -> Result<Option<OwnedFd>, Error> {
    let failed = |error: CallError| match error.errno {
        Errno::EADDRINUSE => Error::PortInUse { port: port.to_string(), call: error.to_string() },
        Errno::EADDRNOTAVAIL => Error::invalid("publish", port.host_ip, "is not an address of this host"),
        _ => Error::Call(error),
    };
    match bound(port, Reuse::No) {
        // Not a program that listens, perhaps, but connections that have just ended (TIME_WAIT). With SO_REUSEADDR the
        // kernel tells these apart.
        Err(CallError { errno: Errno::EADDRINUSE, .. }) if port.protocol == Protocol::Tcp => {
            bound(port, Reuse::Yes).map_err(failed)
        }
        other => other.map_err(failed),
    }
}

fn bound(port: &Published, reuse: Reuse) -> Result<Option<OwnedFd>, CallError> {
    let (family, name) = match port.host_ip {
        IpAddr::V4(_) => (AddressFamily::Inet, "AF_INET"),
        IpAddr::V6(_) => (AddressFamily::Inet6, "AF_INET6"),
    };
    let (kind, protocol) = match port.protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    let fd = match socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol) {
        Err(Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT) if port.protocol == Protocol::Sctp => return Ok(None),
        other => other.call(|| format!("socket({name}, {})", port.protocol))?,
    };
    if family == AddressFamily::Inet6 {
        setsockopt(&fd, Ipv6V6Only, &true).call(|| "setsockopt(IPV6_V6ONLY, 1)".to_owned())?;
    }
    if reuse == Reuse::Yes {
        setsockopt(&fd, ReuseAddr, &true).call(|| "setsockopt(SO_REUSEADDR, 1)".to_owned())?;
    }
    if port.protocol == Protocol::Udp {
        // Packets for ::1 are not sent on; the least that the kernel allows is kept of them.
        setsockopt(&fd, RcvBuf, &0).call(|| "setsockopt(SO_RCVBUF, 0)".to_owned())?;
    }
    let address = SocketAddr::new(port.host_ip, port.host_port);
    let storage = match address {
        SocketAddr::V4(v4) => SockaddrStorage::from(v4),
        SocketAddr::V6(v6) => SockaddrStorage::from(v6),
    };
    bind(fd.as_raw_fd(), &storage).call(|| format!("bind({address}/{})", port.protocol))?;
    Ok(Some(fd))
}

//! What the host's network has already: links, addresses, routes, name servers; and kernel parameters that we set.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use nix::errno::Errno;
use runtime::sys::{Call, CallError};

use super::create::Taken;
use super::error::Error;
use super::files::read_line;
use super::netlink::{Address, Link, Route, Socket, addresses, links, routes};
use super::subnet::{Family, Subnet};

/// All links.
pub(crate) fn all_links(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    Ok(socket.dump(&links())?.iter().filter_map(Link::parse).collect())
}

/// Subnets that the host uses: where it routes to, what it is, and where its name servers are.
pub(crate) fn taken(socket: &mut Socket) -> Result<Vec<Taken>, Error> {
    let mut taken = Vec::new();
    for address in socket.dump(&addresses())?.iter().filter_map(Address::parse) {
        if let Ok(subnet) = Subnet::new(address.address, address.prefix) {
            taken.push(Taken { subnet, by: format!("address {}/{} of this host", address.address, address.prefix) });
        }
    }
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let replies = match socket.dump(&routes(family)) {
            // A kernel without IPv6.
            Err(Error::Netlink { errno: Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT, .. }) => continue,
            other => other?,
        };
        for subnet in replies.iter().filter_map(Route::parse).filter_map(|route| route.destination) {
            taken.push(Taken { subnet, by: format!("route {subnet} of this host") });
        }
    }
    // No file, no name servers.
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    for server in name_servers(&text) {
        if let Ok(subnet) = Subnet::new(server, Family::of(server).bits()) {
            taken.push(Taken { subnet, by: format!("name server {server} in /etc/resolv.conf") });
        }
    }
    Ok(taken)
}

/// The addresses in resolv.conf(5).
fn name_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    let words = text.lines().map(str::split_whitespace);
    words.filter_map(|mut words| {
        let server = words.next().filter(|key| *key == "nameserver").and(words.next())?;
        server.split('%').next()?.parse().ok()
    })
}

/// The MTU of the host's way out.
pub(crate) fn way_out_mtu(socket: &mut Socket, links: &[Link]) -> Result<Option<u32>, Error> {
    let replies = socket.dump(&routes(AddressFamily::Inet))?;
    let default = replies.iter().filter_map(Route::parse).find(|route| route.destination.is_none());
    let index = default.and_then(|route| route.link);
    Ok(index.and_then(|index| links.iter().find(|link| link.index == index)?.mtu))
}

/// A parameter of the calling thread's network namespace, such as `ipv4/ip_forward`.
pub(crate) fn get_sysctl(name: &str) -> Result<String, CallError> {
    read_line(&format!("/proc/sys/net/{name}"))
}

/// Sets a parameter of the calling thread's network namespace; one that has the value already need not be writable.
pub(crate) fn set_sysctl(name: &str, value: &str) -> Result<(), CallError> {
    let path = format!("/proc/sys/net/{name}");
    let write = || OpenOptions::new().write(true).open(&path)?.write_all(value.as_bytes());
    match write().call(|| format!("write(\"{path}\", \"{value}\")")) {
        Err(error) if get_sysctl(name).is_ok_and(|now| now == value) => {
            drop(error);
            Ok(())
        }
        other => other,
    }
}

/// The same; without IPv6 in the kernel there is nothing to set.
pub(crate) fn set_sysctl_v6(name: &str, value: &str) -> Result<(), CallError> {
    match set_sysctl(name, value) {
        Err(CallError { errno: Errno::ENOENT, .. }) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let text = "# nameserver 1.1.1.1\nnameserver 10.0.0.2\n nameserver\tfe80::1%eth0 x\nsearch a\nnameserver bad\nnameserver";
        let found: Vec<String> = name_servers(text).map(|server| server.to_string()).collect();
        assert_eq!(found, ["10.0.0.2", "fe80::1"]);
    }
}

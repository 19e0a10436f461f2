//! Content of `/etc/resolv.conf`; resolv.conf(5).
//!
//! A container with the host's network gets the host's file. One with a network of its own cannot reach what listens on the host's
//! loopback interface, so those name servers are left out, and what systemd-resolved found behind its own is used instead.

use std::net::{IpAddr, Ipv4Addr};

/// Where systemd-resolved tells which name servers it asks; systemd-resolved.service(8).
pub const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Largest file that is read, in bytes; what is longer is no configuration.
pub const RESOLV_CONF_LIMIT: usize = 64 << 10;

/// Settings of the resolver; empty parts are taken from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers.
    pub servers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// Which addresses a container's network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    Ipv4,
    /// IPv4 and IPv6.
    Both,
}

/// What a resolv.conf says. Comments and lines that no resolver knows are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers as they are written: an IPv6 address may have a zone.
    pub servers: Vec<String>,
    /// Search domains; the last of several lines counts.
    pub search: Vec<String>,
    /// Options, those of all lines.
    pub options: Vec<String>,
    /// `sortlist` lines and other known ones, whole.
    pub others: Vec<String>,
}

impl ResolvConf {
    /// Reads the text.
    #[must_use]
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            // A comment begins a line; glibc knows none behind a value.
            if line.starts_with(['#', ';']) {
                continue;
            }
            let mut words = line.split_whitespace();
            let Some(keyword) = words.next() else { continue };
            let values = words.map(str::to_owned);
            match keyword {
                "nameserver" => conf.servers.extend(values.take(1)),
                "search" => conf.search = values.collect(),
                "domain" => conf.search = values.take(1).collect(),
                "options" => conf.options.extend(values),
                "sortlist" | "lookup" | "family" => {
                    conf.others.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
                }
                _ => {}
            }
        }
        conf
    }

    /// Whether the only name servers are those of systemd-resolved itself.
    #[must_use]
    pub fn is_resolved_stub(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|server| server == "127.0.0.53" || server == "127.0.0.54")
    }

    /// Takes the name servers out that a network of one's own does not lead to: those on loopback, those of a zone (an interface of
    /// the host), and IPv6 addresses on a network without. Returns them.
    pub fn retain_reachable(&mut self, families: Families) -> Vec<String> {
        let reachable = |server: &str| match server.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => !address.is_loopback() && address != Ipv4Addr::UNSPECIFIED,
            Ok(IpAddr::V6(address)) => {
                let local = address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local();
                let mapped = address.to_ipv4_mapped().is_some_and(|address| address.is_loopback());
                !local && !mapped && families == Families::Both
            }
            Err(_) => false,
        };
        let (kept, left_out) = std::mem::take(&mut self.servers).into_iter().partition(|server| reachable(server));
        self.servers = kept;
        left_out
    }

    /// Replaces the parts that are given. A single dot as search domain asks for no search at all.
    pub fn set(&mut self, given: &Resolver) {
        if !given.servers.is_empty() {
            self.servers = given.servers.iter().map(ToString::to_string).collect();
        }
        if !given.search.is_empty() {
            self.search = if given.search == ["."] { Vec::new() } else { given.search.clone() };
        }
        if !given.options.is_empty() {
            self.options.clone_from(&given.options);
        }
    }
}

impl std::fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        for (keyword, values) in [("search", &self.search), ("options", &self.options)] {
            if !values.is_empty() {
                writeln!(f, "{keyword} {}", values.join(" "))?;
            }
        }
        self.others.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// `/etc/resolv.conf` of a container with the host's network: the host's text, with the parts that are given replaced.
pub fn resolv_conf(host: &str, given: &Resolver) -> String {
    if *given == Resolver::default() {
        return host.to_owned();
    }
    let mut conf = ResolvConf::parse(host);
    conf.set(given);
    conf.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "# made by hand\nnameserver 10.0.0.1\nsearch corp.example\noptions ndots:2\n";

    fn given(servers: &[&str], search: &[&str], options: &[&str]) -> Resolver {
        Resolver {
            servers: servers.iter().map(|text| text.parse().unwrap()).collect(),
            search: search.iter().map(|text| (*text).to_owned()).collect(),
            options: options.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn with_the_hosts_network() {
        assert_eq!(resolv_conf(HOST, &Resolver::default()), HOST);
        assert_eq!(
            resolv_conf(HOST, &given(&["1.1.1.1", "::1"], &[], &[])),
            "nameserver 1.1.1.1\nnameserver ::1\nsearch corp.example\noptions ndots:2\n"
        );
        assert_eq!(resolv_conf(HOST, &given(&[], &["."], &["rotate"])), "nameserver 10.0.0.1\noptions rotate\n");
    }

    #[test]
    fn parsed() {
        let conf = ResolvConf::parse(
            "; x\nnameserver\t10.0.0.1 # first\nnameserver fe80::1%eth0\nnameserver\ndomain a.example b\nsearch c d\n\
             options ndots:5\noptions  rotate timeout:1\nsortlist 10.0.0.0/8\nfoo bar\n  search e\n",
        );
        assert_eq!(conf.servers, ["10.0.0.1", "fe80::1%eth0"]);
        assert_eq!(conf.search, ["e"]);
        assert_eq!(conf.options, ["ndots:5", "rotate", "timeout:1"]);
        assert_eq!(conf.others, ["sortlist 10.0.0.0/8"]);
    }

    #[test]
    fn reachable_servers() {
        for (servers, families, kept) in [
            (&["127.0.0.1", "10.0.0.1"] as &[&str], Families::Ipv4, &["10.0.0.1"] as &[&str]),
            (&["127.0.0.53", "127.1.2.3"], Families::Both, &[]),
            (&["::1", "::ffff:127.0.0.1", "fd00::1"], Families::Both, &["fd00::1"]),
            (&["fd00::1", "10.0.0.1"], Families::Ipv4, &["10.0.0.1"]),
            (&["fe80::1%eth0", "fe80::1", "0.0.0.0", "::"], Families::Both, &[]),
            (&["not-an-address"], Families::Both, &[]),
        ] {
            let servers = servers.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let mut conf = ResolvConf { servers: servers.clone(), ..ResolvConf::default() };
            let left_out = conf.retain_reachable(families);
            assert_eq!(conf.servers, kept, "{servers:?}");
            assert_eq!(left_out.len() + kept.len(), servers.len());
        }
    }

    #[test]
    fn stub_of_resolved() {
        for (text, stub) in [
            ("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n", true),
            ("nameserver 127.0.0.53\nnameserver 127.0.0.54\n", true),
            ("nameserver 127.0.0.53\nnameserver 10.0.0.1\n", false),
            ("nameserver 127.0.0.1\n", false),
            ("", false),
        ] {
            assert_eq!(ResolvConf::parse(text).is_resolved_stub(), stub, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_written(text in "(\\PC{0,20}\n?|nameserver [0-9a-f.:%]{0,12}\n|search \\PC{0,12}\n|options [a-z:0-9 ]{0,9}\n){0,8}") {
            let conf = ResolvConf::parse(&text);
            prop_assert_eq!(ResolvConf::parse(&conf.to_string()), conf);
        }

        #[test]
        fn nothing_on_loopback_is_kept(addresses in proptest::collection::vec(any::<IpAddr>(), 0..5), last in any::<u8>()) {
            let mut conf = ResolvConf { servers: addresses.iter().map(ToString::to_string).collect(), ..ResolvConf::default() };
            conf.servers.push(format!("127.0.0.{last}"));
            conf.retain_reachable(Families::Both);
            prop_assert!(conf.servers.iter().all(|server| !server.parse::<IpAddr>().unwrap().is_loopback()));
        }
    }
}

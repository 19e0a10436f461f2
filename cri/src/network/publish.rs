//! Ports of the host that lead to a container: what docker's `--publish` says, and what came of it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Error;

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// Its number in the header of IP packets.
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Ports one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// From `first` to `last`; `None` without order or with port 0.
    #[must_use]
    pub fn new(first: u16, last: u16) -> Option<Ports> {
        (first != 0 && first <= last).then_some(Ports { first, last })
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// What is asked for: `[[HOST-IP:]HOST-PORTS:]CONTAINER-PORTS[/PROTOCOL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The host's address; absent: all of them.
    pub host_ip: Option<IpAddr>,
    /// The host's ports: as many as the container's, or more for one port, of which one that is free is taken; absent: any that is free.
    pub host_ports: Option<Ports>,
    /// The container's ports.
    pub container_ports: Ports,
    /// The protocol.
    pub protocol: Protocol,
}

impl FromStr for Publish {
    type Err = Error;

    /// Reads docker's `--publish`, such as `8080:80`, `127.0.0.1::53/udp`, `[::1]:8000-8010:80-90`.
    fn from_str(text: &str) -> Result<Publish, Error> {
        let refused = |reason: String| Error::invalid("publish", text, reason);
        let (rest, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((rest, name)) => match name.to_ascii_lowercase().as_str() {
                "tcp" => (rest, Protocol::Tcp),
                "udp" => (rest, Protocol::Udp),
                "sctp" => (rest, Protocol::Sctp),
                _ => return Err(refused(format!("the protocol {name:?} must be tcp, udp or sctp"))),
            },
        };
        let (rest, container) = rest.rsplit_once(':').map_or((None, rest), |(rest, last)| (Some(rest), last));
        let (host_ip, host) = match rest {
            None => (None, ""),
            Some(rest) => rest.rsplit_once(':').map_or((None, rest), |(ip, ports)| (Some(ip), ports)),
        };
        let ports = |what: &str, text: &str| {
            let number = |text: &str| {
                let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
                text.parse::<u16>().ok().filter(|_| digits)
            };
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let range = number(first).zip(number(last)).and_then(|(first, last)| Ports::new(first, last));
            range.ok_or_else(|| {
                refused(format!("the {what} port {text:?} must be 1 to 65535, or a range such as 8000-8010"))
            })
        };
        let container_ports = ports("container", container)?;
        let host_ports = if host.is_empty() { None } else { Some(ports("host", host)?) };
        let host_ip = match host_ip {
            None | Some("") => None,
            Some(ip) => {
                Some(address(ip).ok_or_else(|| refused(format!("the host address {ip:?} must be an IP address")))?)
            }
        };
        if let Some(host) = host_ports
            && host.count() != container_ports.count()
            && container_ports.count() != 1
        {
            let reason = format!("{host} and {container_ports} must be equally many ports");
            return Err(refused(reason));
        }
        Ok(Publish { host_ip, host_ports, container_ports, protocol })
    }
}

/// An address of the host; IPv6 in brackets, as docker has it.
fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// A port that is published.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Published {
    /// The host's address; `0.0.0.0` and `::` are all of a family.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl Published {
    /// Whether both want the same packets.
    pub(crate) fn clashes(&self, other: &Published) -> bool {
        let any = self.host_ip.is_unspecified() || other.host_ip.is_unspecified();
        self.host_port == other.host_port
            && self.protocol == other.protocol
            && self.host_ip.is_ipv4() == other.host_ip.is_ipv4()
            && (any || self.host_ip == other.host_ip)
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", std::net::SocketAddr::new(self.host_ip, self.host_port), self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn publish(text: &str) -> Publish {
        text.parse().unwrap()
    }

    #[test]
    fn as_docker_writes_them() {
        let one = |first| Ports::new(first, first);
        let plain = publish("80");
        assert_eq!((plain.host_ip, plain.host_ports, Some(plain.container_ports)), (None, None, one(80)));
        assert_eq!(plain.protocol, Protocol::Tcp);
        assert_eq!(publish("8080:80").host_ports, one(8080));
        assert_eq!(publish("127.0.0.1::53/UDP").host_ports, None);
        assert_eq!(publish("127.0.0.1::53/UDP").host_ip, Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(publish("127.0.0.1::53/UDP").protocol, Protocol::Udp);
        assert_eq!(publish("[::1]:8000-8010:80-90").host_ip, Some("::1".parse().unwrap()));
        assert_eq!(publish("::1:80:80").host_ip, Some("::1".parse().unwrap()));
        assert_eq!(publish("8000-8010:80-90/sctp").host_ports, Ports::new(8000, 8010));
        assert_eq!(publish("8000-8010:80").host_ports.unwrap().count(), 11);
        assert_eq!(publish(":80"), publish("80"));
    }

    #[test]
    fn refused() {
        for (text, why) in [
            ("", "container port"),
            ("0", "container port"),
            ("65536", "container port"),
            ("+80", "container port"),
            ("90-80", "container port"),
            ("80/icmp", "tcp, udp or sctp"),
            ("x:80", "host port"),
            ("8000-8001:80-82", "equally many"),
            ("80:80-81", "equally many"),
            ("host:80:80", "IP address"),
            ("[127.0.0.1]:80:80", "IP address"),
            ("[::1:80:80", "IP address"),
        ] {
            let error = text.parse::<Publish>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn clashes() {
        let published = |ip: &str, port, protocol| Published {
            host_ip: ip.parse().unwrap(),
            host_port: port,
            container_port: 1,
            protocol,
        };
        let any = published("0.0.0.0", 80, Protocol::Tcp);
        assert!(any.clashes(&published("127.0.0.1", 80, Protocol::Tcp)));
        assert!(!published("127.0.0.2", 80, Protocol::Tcp).clashes(&published("127.0.0.1", 80, Protocol::Tcp)));
        assert!(!any.clashes(&published("127.0.0.1", 81, Protocol::Tcp)));
        assert!(!any.clashes(&published("127.0.0.1", 80, Protocol::Udp)));
        assert!(!any.clashes(&published("::", 80, Protocol::Tcp)));
    }

    proptest! {
        #[test]
        fn any_text(text in "[0-9a-f:.\\[\\]/-]{0,40}") {
            if let Ok(publish) = text.parse::<Publish>() {
                let host = publish.host_ports.map_or(1, Ports::count);
                prop_assert!(publish.container_ports.count() == 1 || publish.host_ports.is_none() || host == publish.container_ports.count());
            }
        }

        #[test]
        fn round_trips(ip in any::<std::net::Ipv6Addr>(), host in 1u16.., container in 1u16..) {
            let publish: Publish = format!("[{ip}]:{host}:{container}/udp").parse().unwrap();
            prop_assert_eq!(publish.host_ip, Some(ip.into()));
            prop_assert_eq!(publish.host_ports, Ports::new(host, host));
            prop_assert_eq!(publish.container_ports, Ports::new(container, container).unwrap());
        }
    }
}

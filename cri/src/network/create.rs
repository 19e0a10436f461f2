//! A new network from what the user said, and from what the host has. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::definition::{Network, Policy, Range, VERSION, check_mtu};
use super::error::Error;
use super::name;
use super::subnet::{Family, Subnet};

/// What a user says about a new network.
#[derive(Debug, Clone, Default)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// Its subnets, at most one of each family. An IPv4 one is chosen when there is none, unless `without_ipv4`.
    pub subnets: Vec<Subnet>,
    /// The bridge's own address in each subnet; the first one when there is none.
    pub gateways: Vec<IpAddr>,
    /// The part of each subnet that addresses are given out of.
    pub ip_ranges: Vec<Subnet>,
    /// Choose a unique local IPv6 subnet when none is given (RFC 4193).
    pub ipv6: bool,
    /// No IPv4.
    pub without_ipv4: bool,
    /// No way out of it.
    pub internal: bool,
    /// Options: `icc`, `isolate`, `masquerade`, `guard`, `mtu`, `host_ip`, and docker's names of them.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A subnet that is in use, and by what, for people.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) subnet: Subnet,
    pub(crate) by: String,
}

/// What a new network takes from the host.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    pub(crate) taken: &'a [Taken],
    pub(crate) bridge: String,
    pub(crate) id: [u8; 32],
    /// Nanoseconds since the epoch.
    pub(crate) now: u64,
}

/// Private IPv4 addresses (RFC 1918) in the order in which docker takes them: sixteens of 172.17/16 to 172.31/16, then twenties of 192.168/16.
fn pool_v4() -> impl Iterator<Item = Subnet> {
    let sixteens = (17..=31).map(|n| (IpAddr::from([172, n, 0, 0]), 16));
    let twenties = (0..=15).map(|n| (IpAddr::from([192, 168, n * 16, 0]), 20));
    sixteens.chain(twenties).filter_map(|(address, prefix)| Subnet::new(address, prefix).ok())
}

/// Unique local addresses (RFC 4193): fd, 40 random bits, 16 bits of subnet.
fn pool_v6(random: &[u8; 32]) -> impl Iterator<Item = Subnet> {
    let [a, b, c, d, e, ..] = *random;
    (0..=255u16).filter_map(move |n| {
        let [high, low] = n.to_be_bytes();
        let bytes = [0xfd, a, b, c, d, e, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
        Subnet::new(IpAddr::V6(Ipv6Addr::from(bytes)), 64).ok()
    })
}

/// Plans a network.
pub(crate) fn plan(new: &NewNetwork, given: Given<'_>) -> Result<Network, Error> {
    name::network(&new.name)?;
    let overlap = |subnet: &Subnet| given.taken.iter().find(|taken| taken.subnet.overlaps(subnet));
    let mut subnets = Vec::new();
    for family in [Family::V4, Family::V6] {
        let asked: Vec<&Subnet> = new.subnets.iter().filter(|subnet| subnet.family() == family).collect();
        let subnet = match (asked.as_slice(), family) {
            ([subnet], _) => {
                if let Some(taken) = overlap(subnet) {
                    return Err(Error::Overlap { subnet: subnet.to_string(), what: taken.by.clone() });
                }
                **subnet
            }
            ([], Family::V4) if new.without_ipv4 => continue,
            ([], Family::V6) if !new.ipv6 => continue,
            ([], Family::V4) => pool_v4().find(|subnet| overlap(subnet).is_none()).ok_or_else(|| Error::NoSubnet {
                pools: "172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16".to_owned(),
            })?,
            ([], Family::V6) => pool_v6(&given.id)
                .find(|subnet| overlap(subnet).is_none())
                .ok_or_else(|| Error::NoSubnet { pools: "fd00::/8".to_owned() })?,
            ([_, second, ..], _) => {
                return Err(Error::invalid("subnet", second, format!("a network has one {family} subnet at most")));
            }
        };
        let gateway = one("gateway", new.gateways.iter().copied().filter(|gateway| Family::of(*gateway) == family))?;
        let ip_range = one("ip-range", new.ip_ranges.iter().copied().filter(|range| range.family() == family))?;
        subnets.push(Range { subnet, gateway: gateway.unwrap_or_else(|| subnet.nth(1)), ip_range });
    }
    let lonely = |family| !subnets.iter().any(|range: &Range| range.subnet.family() == family);
    if let Some(gateway) = new.gateways.iter().find(|gateway| lonely(Family::of(**gateway))) {
        return Err(Error::invalid("gateway", gateway, "there is no subnet of its family"));
    }
    if let Some(range) = new.ip_ranges.iter().find(|range| lonely(range.family())) {
        return Err(Error::invalid("ip-range", range, "there is no subnet of its family"));
    }
    let mut network = Network {
        version: VERSION,
        id: given.id.iter().map(|byte| format!("{byte:02x}")).collect(),
        name: new.name.clone(),
        created: given.now,
        bridge: given.bridge,
        subnets,
        internal: new.internal,
        mtu: None,
        policy: Policy { icc: true, isolate: true, masquerade: true, guard: true, host_ip: None },
        options: new.options.clone(),
        labels: new.labels.clone(),
    };
    options(&mut network)?;
    network.check()?;
    Ok(network)
}

fn one<T: ToString>(field: &'static str, mut values: impl Iterator<Item = T>) -> Result<Option<T>, Error> {
    let first = values.next();
    match values.next() {
        Some(second) => Err(Error::invalid(field, second, "there is one at most for each subnet")),
        None => Ok(first),
    }
}

fn options(network: &mut Network) -> Result<(), Error> {
    for (key, value) in network.options.clone() {
        let short = key.strip_prefix("com.docker.network.").unwrap_or(&key);
        let yes = || match value.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(Error::invalid("option", format!("{key}={value}"), "must be true or false")),
        };
        match short {
            "icc" | "bridge.enable_icc" => network.policy.icc = yes()?,
            "isolate" => network.policy.isolate = yes()?,
            "masquerade" | "bridge.enable_ip_masquerade" => network.policy.masquerade = yes()?,
            "guard" => network.policy.guard = yes()?,
            "mtu" | "driver.mtu" => {
                let mtu = value.parse().map_err(|_| Error::invalid("mtu", &value, "must be a number of bytes"))?;
                check_mtu(mtu, network.range(Family::V6).is_some())?;
                network.mtu = Some(mtu);
            }
            "host_ip" | "bridge.host_binding_ipv4" => {
                let ip = value
                    .parse()
                    .map_err(|_| Error::invalid("option", format!("{key}={value}"), "must be an IP address"))?;
                network.policy.host_ip = Some(ip);
            }
            "bridge.name" => {
                name::interface(&value)?;
                network.bridge.clone_from(&value);
            }
            _ => {
                let allowed = "is not known; there are icc, isolate, masquerade, guard, mtu, host_ip and com.docker.network.bridge.name";
                return Err(Error::invalid("option", key, allowed));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(texts: &[&str]) -> Vec<Taken> {
        texts.iter().map(|text| Taken { subnet: text.parse().unwrap(), by: format!("route {text}") }).collect()
    }

    fn made(new: &NewNetwork, taken: &[Taken]) -> Result<Network, Error> {
        plan(new, Given { taken, bridge: "rt-000000000000".into(), id: [7; 32], now: 1 })
    }

    fn named(name: &str) -> NewNetwork {
        NewNetwork { name: name.into(), ..NewNetwork::default() }
    }

    #[test]
    fn subnets_are_chosen_around_what_is_there() {
        let free = made(&named("a"), &[]).unwrap();
        assert_eq!(free.subnets[0].subnet.to_string(), "172.17.0.0/16");
        assert_eq!(free.subnets[0].gateway.to_string(), "172.17.0.1");
        let next = made(&named("a"), &taken(&["172.17.3.0/24", "172.18.0.1/32", "172.16.0.0/12"][..2])).unwrap();
        assert_eq!(next.subnets[0].subnet.to_string(), "172.19.0.0/16");
        let late = made(&named("a"), &taken(&["172.16.0.0/12", "192.168.17.5/32"])).unwrap();
        assert_eq!(late.subnets[0].subnet.to_string(), "192.168.0.0/20");
        let none = made(&named("a"), &taken(&["172.16.0.0/12", "192.168.0.0/16"])).unwrap_err();
        assert!(none.to_string().contains("--subnet"), "{none}");
        let both = made(&NewNetwork { ipv6: true, ..named("a") }, &taken(&["fd07:707:707::/64"])).unwrap();
        assert_eq!(both.subnets[1].subnet.to_string(), "fd07:707:707:1::/64");
    }

    #[test]
    fn given_ones_are_checked() {
        let with = |subnets: &[&str]| NewNetwork {
            subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(),
            ..named("a")
        };
        let gateway = |text: &str| NewNetwork { gateways: vec![text.parse().unwrap()], ..with(&["10.1.0.0/24"]) };
        let range = |text: &str| NewNetwork { ip_ranges: vec![text.parse().unwrap()], ..with(&["10.1.0.0/24"]) };
        let option = |key: &str, value: &str| NewNetwork { options: [(key.into(), value.into())].into(), ..named("a") };
        assert_eq!(made(&gateway("10.1.0.254"), &[]).unwrap().subnets[0].gateway.to_string(), "10.1.0.254");
        for (new, why) in [
            (with(&["10.1.0.0/24", "10.2.0.0/24"]), "one IPv4 subnet"),
            (with(&["10.9.0.0/16"]), "overlaps route 10.0.0.0/8"),
            (with(&["11.1.0.0/31"]), "8 to 30"),
            (with(&["127.0.0.0/24"]), "hosts may have"),
            (with(&["224.1.0.0/16"]), "hosts may have"),
            (NewNetwork { without_ipv4: true, ..named("a") }, "needs a subnet"),
            (named("none"), "--network"),
            (option("nothing", "1"), "not known"),
            (option("icc", "maybe"), "true or false"),
            (option("mtu", "67"), "68 to 65535"),
            (option("com.docker.network.bridge.name", "a/b"), "interface name"),
        ] {
            let error = made(&new, &taken(&["10.0.0.0/8"])).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for (new, why) in [
            (gateway("10.1.0.0"), "may have"),
            (gateway("10.2.0.1"), "may have"),
            (gateway("fd00::1"), "no subnet of its family"),
            (range("10.2.0.0/25"), "part of"),
        ] {
            let error = made(&new, &[]).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let docker = made(&option("com.docker.network.bridge.enable_icc", "false"), &[]).unwrap();
        assert!(!docker.policy.icc && docker.policy.masquerade);
    }

    #[test]
    fn documents_round_trip() {
        let network = made(&NewNetwork { ipv6: true, internal: true, ..named("a") }, &[]).unwrap();
        let bytes = serde_json::to_vec(&network).unwrap();
        assert_eq!(Network::parse(&bytes, "a.json").unwrap(), network);
        let newer = String::from_utf8(bytes).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(Network::parse(newer.as_bytes(), "a.json").unwrap_err().to_string().contains("newer"));
    }
}

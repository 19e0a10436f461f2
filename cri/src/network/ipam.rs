//! Which address is next. Pure: what is in use is given.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::definition::Range;
use super::subnet::{Family, Subnet, number};

/// Why there is no address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Addresses in use.
    pub(crate) used: u128,
    /// Addresses there are.
    pub(crate) total: u128,
}

/// The addresses that are given out without being asked for.
pub(crate) fn pool(range: &Range) -> Subnet {
    range.ip_range.unwrap_or(range.subnet)
}

/// Whether a container may have the address, used or not.
pub(crate) fn refusal(range: &Range, address: IpAddr) -> Option<String> {
    if !range.subnet.contains(address) {
        return Some(format!("is not in the network's subnet {}", range.subnet));
    }
    if address == range.gateway {
        return Some("is the network's gateway".to_owned());
    }
    if range.subnet.is_usable(address) {
        return None;
    }
    let end = if address == range.subnet.first() { "network" } else { "broadcast" };
    Some(format!("is the {end} address of {}", range.subnet))
}

/// The next free address after the one that was given out last, so that an address rests before it is used again.
pub(crate) fn next(range: &Range, used: &BTreeSet<IpAddr>, last: Option<IpAddr>) -> Result<IpAddr, Full> {
    let pool = pool(range);
    let (first, end) = (number(pool.first()), number(pool.last()));
    let size = (end - first).saturating_add(1);
    let start = match last {
        Some(last) if pool.contains(last) => number(last) - first,
        _ => size - 1,
    };
    // Each step but three ends at an address in use: network, broadcast, gateway.
    let steps = (used.len() as u128).saturating_add(4).min(size);
    let candidates = (1..=steps).map(|step| pool.nth(start.wrapping_add(step) % size));
    for address in candidates {
        if refusal(range, address).is_none() && !used.contains(&address) {
            return Ok(address);
        }
    }
    let ours = |address: &IpAddr| pool.contains(*address) && *address != range.gateway;
    let reserved = [Some(range.subnet.first()), last_of(range), Some(range.gateway)];
    let reserved = reserved.into_iter().flatten().filter(|address| pool.contains(*address)).count();
    Err(Full { used: used.iter().filter(|address| ours(address)).count() as u128, total: size - reserved as u128 })
}

fn last_of(range: &Range) -> Option<IpAddr> {
    (range.subnet.family() == Family::V4).then(|| range.subnet.last())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(subnet: &str, gateway: &str, pool: Option<&str>) -> Range {
        let parse = |text: &str| text.parse().unwrap();
        Range { subnet: parse(subnet), gateway: gateway.parse().unwrap(), ip_range: pool.map(parse) }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_rest() {
        let range = range("10.0.0.0/29", "10.0.0.1", None);
        let mut used = BTreeSet::new();
        assert_eq!(next(&range, &used, None), Ok(ip("10.0.0.2")));
        assert_eq!(next(&range, &used, Some(ip("10.0.0.2"))), Ok(ip("10.0.0.3")));
        assert_eq!(next(&range, &used, Some(ip("10.0.0.6"))), Ok(ip("10.0.0.2")));
        used.extend((2..=6).map(|n| IpAddr::from([10, 0, 0, n])));
        assert_eq!(next(&range, &used, Some(ip("10.0.0.4"))), Err(Full { used: 5, total: 5 }));
        used.remove(&ip("10.0.0.3"));
        assert_eq!(next(&range, &used, Some(ip("10.0.0.3"))), Ok(ip("10.0.0.3")));
    }

    #[test]
    fn pools() {
        let small = range("10.0.0.0/24", "10.0.0.1", Some("10.0.0.0/30"));
        let used = BTreeSet::from([ip("10.0.0.2"), ip("10.0.0.200")]);
        assert_eq!(next(&small, &used, Some(ip("10.0.0.200"))), Ok(ip("10.0.0.3")));
        let six = range("fd00::/64", "fd00::1", None);
        assert_eq!(next(&six, &BTreeSet::new(), None), Ok(ip("fd00::2")));
        assert_eq!(next(&six, &BTreeSet::new(), Some(ip("fd00::ffff:ffff:ffff:ffff"))), Ok(ip("fd00::2")));
    }

    #[test]
    fn refusals() {
        let range = range("10.0.0.0/24", "10.0.0.1", None);
        for (address, why) in [
            ("10.0.1.2", "subnet"),
            ("10.0.0.1", "gateway"),
            ("10.0.0.0", "network"),
            ("10.0.0.255", "broadcast"),
            ("::1", "subnet"),
        ] {
            assert!(refusal(&range, ip(address)).unwrap().contains(why), "{address}");
        }
        assert_eq!(refusal(&range, ip("10.0.0.254")), None);
    }

    proptest! {
        #[test]
        fn all_are_given_out_once(prefix in 24u8..=30, gateway in 1u128..3, start in 0u128..300) {
            let subnet = Subnet::new(ip("10.0.0.0"), prefix).unwrap();
            let range = Range { subnet, gateway: subnet.nth(gateway), ip_range: None };
            let mut used = BTreeSet::new();
            let mut last = Some(subnet.nth(start));
            while let Ok(address) = next(&range, &used, last) {
                prop_assert!(used.insert(address));
                prop_assert!(subnet.is_usable(address) && address != range.gateway);
                last = Some(address);
            }
            prop_assert_eq!(used.len(), (1usize << (32 - prefix)) - 3);
        }
    }
}

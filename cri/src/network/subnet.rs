//! Subnets: an address and a prefix length, of either family, as ranges of numbers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Error;

/// Version of the internet protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Bits of an address.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// An address as a number.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// A subnet, such as `172.17.0.0/16`; no bits are set behind its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The subnet of `address`.
    ///
    /// # Errors
    /// A prefix longer than an address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Subnet, Error> {
        let family = Family::of(address);
        if prefix > family.bits() {
            let reason = format!("the prefix of an {family} subnet must be 0 to {}", family.bits());
            return Err(Error::invalid("subnet", format!("{address}/{prefix}"), reason));
        }
        let mask = host_mask(family, prefix);
        Ok(Subnet { address: family.address(number(address) & !mask), prefix })
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// Bits of the prefix.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The first address: that of the network.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.address
    }

    /// The last address: of IPv4 the broadcast address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.family().address(number(self.address) | host_mask(self.family(), self.prefix))
    }

    /// The `n`th address; the last one when there are fewer.
    #[must_use]
    pub fn nth(&self, n: u128) -> IpAddr {
        let number = number(self.address).saturating_add(n).min(number(self.last()));
        self.family().address(number)
    }

    /// Whether the address is one of its own.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && (number(self.address)..=number(self.last())).contains(&number(address))
    }

    /// Whether some address is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Whether every address of `other` is in this one.
    #[must_use]
    pub fn covers(&self, other: &Subnet) -> bool {
        self.contains(other.address) && self.prefix <= other.prefix
    }

    /// Addresses that hosts may have: of IPv4 neither the first nor the last, of IPv6 not the first (RFC 4291, 2.6.1).
    #[must_use]
    pub fn is_usable(&self, address: IpAddr) -> bool {
        let ends = address == self.first() || self.family() == Family::V4 && address == self.last();
        self.contains(address) && !ends
    }
}

/// The bits behind a prefix.
fn host_mask(family: Family, prefix: u8) -> u128 {
    let bits = u32::from(family.bits() - prefix);
    1u128.checked_shl(bits).unwrap_or(0).wrapping_sub(1)
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Subnet, Error> {
        let refused = |reason: &str| Error::invalid("subnet", text, reason);
        let form = "must be an address and a prefix length, such as 10.1.0.0/24 or fd00:1::/64";
        let (address, prefix) = text.split_once('/').ok_or_else(|| refused(form))?;
        let address: IpAddr = address.parse().map_err(|_| refused(form))?;
        if prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(refused(form));
        }
        let subnet = Subnet::new(address, prefix.parse().map_err(|_| refused(form))?)?;
        if subnet.address != address {
            return Err(refused(&format!("has bits behind its prefix; did you mean {subnet}?")));
        }
        Ok(subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = Error;

    fn try_from(text: String) -> Result<Subnet, Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn bounds() {
        let small = subnet("10.1.2.0/30");
        assert_eq!(small.last().to_string(), "10.1.2.3");
        assert_eq!(small.nth(1).to_string(), "10.1.2.1");
        assert_eq!(small.nth(99).to_string(), "10.1.2.3");
        assert!(!small.is_usable(small.first()) && !small.is_usable(small.last()));
        assert!(subnet("fd00::/64").is_usable(subnet("fd00::/64").last()));
        assert_eq!(subnet("0.0.0.0/0").last().to_string(), "255.255.255.255");
        assert_eq!(subnet("::/0").last().to_string(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert!(
            subnet("10.0.0.0/8").overlaps(&subnet("10.9.0.0/16"))
                && subnet("10.9.0.0/16").overlaps(&subnet("10.0.0.0/8"))
        );
        assert!(!subnet("10.8.0.0/16").overlaps(&subnet("10.9.0.0/16")));
        assert!(!subnet("0.0.0.0/0").overlaps(&subnet("::/0")));
        assert!(
            subnet("10.0.0.0/8").covers(&subnet("10.9.0.0/16")) && !subnet("10.9.0.0/16").covers(&subnet("10.0.0.0/8"))
        );
    }

    #[test]
    fn refused() {
        for (text, why) in [
            ("10.0.0.1/24", "did you mean 10.0.0.0/24"),
            ("10.0.0.0/33", "0 to 32"),
            ("fd00::/129", "0 to 128"),
            ("10.0.0.0", "prefix length"),
            ("10.0.0.0/", "prefix length"),
            ("10.0.0.0/+8", "prefix length"),
            ("x/8", "prefix length"),
        ] {
            let error = text.parse::<Subnet>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text(text in ".{0,40}") {
            let _ = text.parse::<Subnet>();
        }

        #[test]
        fn round_trips(bytes in any::<[u8; 16]>(), prefix in 0u8..=128, v4 in any::<bool>()) {
            let address = if v4 { IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]) } else { IpAddr::from(bytes) };
            let Ok(subnet) = Subnet::new(address, prefix) else { return Ok(()) };
            prop_assert!(subnet.contains(address) && subnet.contains(subnet.first()) && subnet.contains(subnet.last()));
            prop_assert_eq!(subnet.to_string().parse::<Subnet>().unwrap(), subnet);
        }
    }
}

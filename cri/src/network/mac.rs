//! Ethernet addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Error;

/// An Ethernet address of one station, written as `02:42:ac:11:00:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub(crate) [u8; 6]);

impl Mac {
    /// The address that goes with an IPv4 address: a neighbour that remembers the old one of a container that had the same
    /// address is right.
    #[must_use]
    pub(crate) fn of(address: Ipv4Addr) -> Mac {
        let [a, b, c, d] = address.octets();
        Mac([0x02, 0x42, a, b, c, d])
    }

    /// A locally administered address from random bytes.
    #[must_use]
    pub(crate) fn local(random: [u8; 6]) -> Mac {
        let [first, rest @ ..] = random;
        let [b, c, d, e, f] = rest;
        Mac([first & 0xfc | 0x02, b, c, d, e, f])
    }

    /// The six bytes.
    #[must_use]
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mac, Error> {
        let refused = |reason: &str| Err(Error::invalid("mac address", text, reason));
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            match parts.next() {
                Some(part) if part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                    *byte = u8::from_str_radix(part, 16).unwrap_or_default();
                }
                _ => return refused("must be six pairs of hexadecimal digits, such as 02:42:ac:11:00:02"),
            }
        }
        if parts.next().is_some() {
            return refused("must be six pairs of hexadecimal digits, such as 02:42:ac:11:00:02");
        }
        if bytes[0] & 1 != 0 {
            return refused("is a multicast address; the first byte must be even");
        }
        if bytes == [0; 6] {
            return refused("must not be all zero");
        }
        Ok(Mac(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;

    fn try_from(text: String) -> Result<Mac, Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts() {
        assert_eq!("02:42:AC-11-00:02".parse::<Mac>().unwrap().to_string(), "02:42:ac:11:00:02");
        assert_eq!(Mac::of(Ipv4Addr::new(172, 17, 0, 2)).to_string(), "02:42:ac:11:00:02");
        assert_eq!(Mac::local([0xff; 6]).0[0], 0xfe);
        for bad in ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "+2:42:ac:11:00:02", "2:42:ac:11:00:02"] {
            assert!(bad.parse::<Mac>().unwrap_err().to_string().contains("six pairs"), "{bad}");
        }
        assert!("01:42:ac:11:00:02".parse::<Mac>().unwrap_err().to_string().contains("multicast"));
        assert!("00:00:00:00:00:00".parse::<Mac>().unwrap_err().to_string().contains("zero"));
    }

    proptest! {
        #[test]
        fn any_text(text in ".{0,30}") {
            if let Ok(mac) = text.parse::<Mac>() {
                prop_assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
            }
        }
    }
}

//! What a network is: a JSON document that outlives restarts.

use runtime::json;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::name;
use super::subnet::{Family, Subnet};

/// Version of the document. A newer one is refused.
pub(crate) const VERSION: u32 = 1;

/// A network: a bridge of this host, and the addresses on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Version of the document.
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created: u64,
    /// The bridge interface.
    pub bridge: String,
    /// At most one of each family, IPv4 first.
    pub subnets: Vec<Range>,
    /// No way out of it, and none in.
    pub internal: bool,
    /// Largest packet in bytes; absent: that of the host's way out, at most 1500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// What is allowed on it.
    pub policy: Policy,
    /// Options as they were given, for `inspect`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Labels as they were given.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What is allowed on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Containers on it reach each other (docker's icc).
    pub icc: bool,
    /// Containers of other networks do not reach those on it, but through published ports.
    pub isolate: bool,
    /// What leaves the host has the host's address.
    pub masquerade: bool,
    /// A container sends from its own addresses alone.
    pub guard: bool,
    /// The host's address of ports that are published without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// Addresses of one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// All of them.
    pub subnet: Subnet,
    /// The bridge's own.
    pub gateway: IpAddr,
    /// Those that are given out without being asked for; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<Subnet>,
}

impl Network {
    /// The addresses of a family.
    #[must_use]
    pub fn range(&self, family: Family) -> Option<&Range> {
        self.subnets.iter().find(|range| range.subnet.family() == family)
    }

    /// Text of the bridge's alias: whose it is.
    pub(crate) fn alias(&self) -> String {
        format!("rt network {} {}", self.name, &self.id[..self.id.len().min(12)])
    }

    /// Reads a document.
    pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<Network, Error> {
        let damaged = |reason: String| Error::Damaged { path: file.to_owned(), reason };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if version > VERSION {
            let reason = format!("version {version} is newer than {VERSION}: use the programs that wrote it");
            return Err(damaged(reason));
        }
        let network: Network = json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        network.check().map_err(|error| damaged(error.to_string()))?;
        Ok(network)
    }

    /// Checks what must hold for every network, whoever wrote it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        name::network(&self.name)?;
        name::interface(&self.bridge)?;
        if self.id.len() != 64 || !self.id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::invalid("network id", &self.id, "must be 64 lower case hexadecimal digits"));
        }
        if let Some(mtu) = self.mtu {
            check_mtu(mtu, self.range(Family::V6).is_some())?;
        }
        for family in [Family::V4, Family::V6] {
            if self.subnets.iter().filter(|range| range.subnet.family() == family).count() > 1 {
                return Err(Error::invalid("subnet", &self.name, format!("a network has one {family} subnet at most")));
            }
        }
        if self.subnets.is_empty() {
            return Err(Error::invalid("subnet", &self.name, "a network needs a subnet"));
        }
        self.subnets.iter().try_for_each(Range::check)
    }
}

impl Range {
    fn check(&self) -> Result<(), Error> {
        let family = self.subnet.family();
        let longest = family.bits() - 2;
        if !(8..=longest).contains(&self.subnet.prefix()) {
            let reason = format!("the prefix of an {family} network must be 8 to {longest}");
            return Err(Error::invalid("subnet", self.subnet, reason));
        }
        let first = self.subnet.first();
        if first.is_loopback() || first.is_multicast() || first.is_unspecified() {
            return Err(Error::invalid("subnet", self.subnet, "must be of addresses that hosts may have"));
        }
        if !self.subnet.is_usable(self.gateway) {
            let reason = format!("must be an address that a host of {} may have", self.subnet);
            return Err(Error::invalid("gateway", self.gateway, reason));
        }
        match self.ip_range {
            Some(range) if !self.subnet.covers(&range) => {
                Err(Error::invalid("ip-range", range, format!("must be part of {}", self.subnet)))
            }
            _ => Ok(()),
        }
    }
}

/// Checks an MTU: IPv4 needs 68 bytes (RFC 791), IPv6 1280 (RFC 8200).
pub(crate) fn check_mtu(mtu: u32, has_v6: bool) -> Result<(), Error> {
    let least = if has_v6 { 1280 } else { 68 };
    if (least..=65535).contains(&mtu) {
        return Ok(());
    }
    Err(Error::invalid("mtu", mtu, format!("must be {least} to 65535")))
}

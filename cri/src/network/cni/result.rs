//! What ADD answers: one type for the results of all versions. Pure.
//!
//! Source: CNI specification, section 5 "Result types"; libcni's types for 0.3.1, 0.4.0, 1.0.0 and 1.1.0.

use runtime::json;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::version::Version;

/// Most elements of each list of a result.
const ELEMENTS: usize = 1024;

/// An address with the length of its prefix: `10.1.0.5/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The address, with the bits after the prefix.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub length: u8,
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:.80?} is not an address with the length of its prefix, such as 10.1.0.5/16");
        let (address, length) = text.split_once('/').ok_or_else(error)?;
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let good = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u8 = length.parse().ok().filter(|_| good).ok_or_else(error)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if length > most {
            return Err(error());
        }
        Ok(Self { address, length })
    }
}

impl Serialize for Prefix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How a container is attached to a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Interfaces that were made, on the host and in the container.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Addresses.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<Ip>,
    /// Routes.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Resolver.
    #[serde(default, deserialize_with = "plain")]
    pub dns: Dns,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Hardware address; empty where there is none.
    #[serde(default, deserialize_with = "plain", skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Largest packet, in bytes; since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Path of the network namespace, or another name of what it is in; empty on the host.
    #[serde(default, deserialize_with = "plain", skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// Socket of an interface that a program implements; since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// PCI address of a device; since 1.1.0.
    #[serde(default, rename = "pciID", skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// The address with its prefix.
    pub address: Prefix,
    /// Gateway of its subnet.
    #[serde(default, deserialize_with = "gateway", skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Index into the interfaces.
    #[serde(default, deserialize_with = "index", skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// A route in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination.
    pub dst: Prefix,
    /// Next hop; absent: the gateway of an address of the same family.
    #[serde(default, deserialize_with = "gateway", skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Largest packet on the way, in bytes; since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Largest TCP segment to announce, in bytes; since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Priority, lower wins; since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Routing table; since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Scope, rtnetlink(7); since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// Settings of a resolver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses of name servers, best first.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Local domain.
    #[serde(default, deserialize_with = "plain", skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to search.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options, resolv.conf(5).
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// `null` for a list is an empty list: programs in Go write it so.
fn list<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list = Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default();
    match list.len() > ELEMENTS {
        true => Err(serde::de::Error::custom(format!("{} elements, {ELEMENTS} are allowed", list.len()))),
        false => Ok(list),
    }
}

fn plain<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An empty string is no gateway: programs in Go write it so.
fn gateway<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    let address = |text: String| text.parse().map_err(|_| format!("{text:.80?} is not an IP address"));
    text.map(address).transpose().map_err(serde::de::Error::custom)
}

/// -1 is no interface.
fn index<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    match Option::<i64>::deserialize(deserializer)? {
        None | Some(-1) => Ok(None),
        Some(index) => usize::try_from(index).map(Some).map_err(|_| serde::de::Error::custom("a negative index")),
    }
}

impl Attachment {
    /// The addresses that the container has: on interfaces that are in a sandbox, or on none in particular.
    pub fn container_ips(&self) -> impl Iterator<Item = IpAddr> {
        let inside = |ip: &&Ip| match ip.interface.and_then(|index| self.interfaces.get(index)) {
            Some(interface) => !interface.sandbox.is_empty(),
            None => true,
        };
        self.ips.iter().filter(inside).map(|ip| ip.address.address)
    }

    /// As plugins of `version` read it.
    #[must_use]
    pub fn to_value(&self, version: Version) -> Value {
        let mut value = json!(self);
        let object = value.as_object_mut().expect("a struct with fields is an object");
        object.insert("cniVersion".to_owned(), json!(version.as_str()));
        if version.has_address_version() {
            let families = self.ips.iter().map(|ip| if ip.address.address.is_ipv4() { "4" } else { "6" });
            for (ip, family) in object.get_mut("ips").and_then(Value::as_array_mut).into_iter().flatten().zip(families)
            {
                ip["version"] = json!(family);
            }
        }
        value
    }
}

/// A result as it came, for the next plugin, and as it is understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) raw: Value,
    pub(crate) attachment: Attachment,
}

/// Reads a result. `version` is that of the network: one without a version has it, one of another is brought to it.
///
/// # Errors
/// The rule that is broken, with its place.
pub(crate) fn parse(bytes: &[u8], version: Version) -> Result<Answer, String> {
    let raw: Value = json::from_slice(bytes).map_err(|error| format!("is not JSON: {error}"))?;
    from_value(raw, version)
}

pub(crate) fn from_value(mut raw: Value, version: Version) -> Result<Answer, String> {
    let Value::Object(object) = &mut raw else { return Err("is not a JSON object".to_owned()) };
    let said = said_version(object)?;
    let attachment: Attachment = json::from_value(&*object).map_err(|error| error.to_string())?;
    for (at, ip) in attachment.ips.iter().enumerate() {
        if let Some(index) = ip.interface.filter(|index| *index >= attachment.interfaces.len()) {
            return Err(format!("ips[{at}].interface: there is no interfaces[{index}]"));
        }
    }
    match said {
        Some(said) if said == version => {}
        None => drop(object.insert("cniVersion".to_owned(), json!(version.as_str()))),
        Some(_) => raw = attachment.to_value(version),
    }
    Ok(Answer { raw, attachment })
}

fn said_version(object: &Map<String, Value>) -> Result<Option<Version>, String> {
    match object.get("cniVersion") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|error| format!("cniVersion: {error}")),
        Some(_) => Err("cniVersion: must be a string".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes() {
        for good in ["10.1.0.5/16", "0.0.0.0/0", "2001:db8::5/64", "::/0", "1.2.3.4/32", "::1/128"] {
            assert_eq!(good.parse::<Prefix>().unwrap().to_string(), good);
        }
        for bad in
            ["", "10.1.0.5", "10.1.0.5/", "10.1.0.5/33", "::/129", "10.1.0/16", "10.1.0.5/+1", "10.1.0.5/1 ", "a/1"]
        {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn of_0_4_0() {
        let text = br#"{"cniVersion": "0.4.0",
            "interfaces": [{"name": "cni0", "mac": "00:11"}, {"name": "eth0", "mac": "99:88", "sandbox": "/run/netns/b"}],
            "ips": [{"version": "4", "address": "10.0.0.5/24", "gateway": "10.0.0.1", "interface": 1},
                    {"version": "4", "address": "10.0.0.1/24", "interface": 0}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.0.0.9"}],
            "dns": {"nameservers": ["10.1.0.1"], "domain": "d", "search": ["s"], "options": ["o"]}}"#;
        let answer = parse(text, Version::V0_4_0).unwrap();
        let attachment = &answer.attachment;
        assert_eq!(attachment.container_ips().map(|ip| ip.to_string()).collect::<Vec<_>>(), ["10.0.0.5"]);
        assert_eq!(attachment.ips[0].gateway.unwrap().to_string(), "10.0.0.1");
        assert_eq!(attachment.routes[1].gw.unwrap().to_string(), "10.0.0.9");
        assert_eq!(attachment.dns.search, ["s"]);
        assert_eq!(answer.raw, serde_json::from_slice::<Value>(text).unwrap());
        // The next plugin is of a list with another version: it gets what it can read.
        let newer = parse(text, Version::V1_0_0).unwrap();
        assert_eq!(newer.raw["cniVersion"], "1.0.0");
        assert_eq!(newer.raw["ips"][0].get("version"), None);
        assert_eq!(newer.attachment, *attachment);
        let back = from_value(newer.raw, Version::V0_3_1).unwrap();
        assert_eq!((&back.raw["ips"][0]["version"], &back.raw["cniVersion"]), (&json!("4"), &json!("0.3.1")));
    }

    #[test]
    fn of_1_1_0() {
        let text = br#"{"cniVersion": "1.1.0",
            "interfaces": [{"name": "eth0", "mtu": 1400, "sandbox": "/n", "socketPath": "/s", "pciID": "0000:00:1f.6"}],
            "ips": [{"address": "2001:db8::5/64", "gateway": "2001:db8::1"}],
            "routes": [{"dst": "::/0", "mtu": 1300, "advmss": 1200, "priority": 5, "table": 100, "scope": 0}]}"#;
        let Answer { raw, attachment } = parse(text, Version::V1_1_0).unwrap();
        assert_eq!(raw["interfaces"][0]["pciID"], "0000:00:1f.6");
        let interface = &attachment.interfaces[0];
        assert_eq!((interface.mtu, interface.socket_path.as_deref()), (Some(1400), Some("/s")));
        assert_eq!(attachment.container_ips().count(), 1);
        let route = &attachment.routes[0];
        let all = (route.mtu, route.advmss, route.priority, route.table, route.scope);
        assert_eq!(all, (Some(1300), Some(1200), Some(5), Some(100), Some(0)));
    }

    #[test]
    fn nothing_where_go_writes_nothing() {
        let text = br#"{"interfaces": null, "ips": [{"address": "10.0.0.5/24", "gateway": "", "interface": -1}], "routes": null, "dns": {}}"#;
        let answer = parse(text, Version::V1_0_0).unwrap();
        assert_eq!(
            answer.attachment.ips[0],
            Ip { address: "10.0.0.5/24".parse().unwrap(), gateway: None, interface: None }
        );
        assert_eq!(answer.raw["cniVersion"], "1.0.0");
    }

    #[test]
    fn answers_that_are_none() {
        for (text, expected) in [
            ("", "is not JSON: EOF while parsing a value at line 1 column 0"),
            ("7", "is not a JSON object"),
            (
                r#"{"cniVersion": "0.2.0", "ip4": {}}"#,
                "cniVersion: CNI version \"0.2.0\" is not supported; supported are 0.3.1, 0.4.0, 1.0.0 and 1.1.0",
            ),
            (r#"{"cniVersion": 1}"#, "cniVersion: must be a string"),
            (
                r#"{"ips": [{"address": "10.0.0.5"}]}"#,
                "\"10.0.0.5\" is not an address with the length of its prefix, such as 10.1.0.5/16",
            ),
            (r#"{"ips": [{"address": "10.0.0.5/8", "gateway": "x"}]}"#, "\"x\" is not an IP address"),
            (r#"{"ips": [{"address": "10.0.0.5/8", "interface": 0}]}"#, "ips[0].interface: there is no interfaces[0]"),
            (r#"{"ips": [{"address": "10.0.0.5/8", "interface": -2}]}"#, "a negative index"),
            (r#"{"interfaces": [{}]}"#, "missing field `name`"),
        ] {
            assert_eq!(parse(text.as_bytes(), Version::V1_0_0).unwrap_err(), expected, "{text}");
        }
        let many = vec![r#"{"name": "a"}"#; 1025].join(",");
        let error = parse(format!(r#"{{"interfaces": [{many}]}}"#).as_bytes(), Version::V1_0_0).unwrap_err();
        assert_eq!(error, "1025 elements, 1024 are allowed");
    }

    fn attachment() -> impl Strategy<Value = Attachment> {
        let prefix = || {
            prop_oneof![
                (any::<std::net::Ipv4Addr>(), 0..=32u8).prop_map(|(ip, length)| Prefix { address: ip.into(), length }),
                (any::<std::net::Ipv6Addr>(), 0..=128u8).prop_map(|(ip, length)| Prefix { address: ip.into(), length }),
            ]
        };
        let interface = ("[a-z0-9]{1,15}", any::<Option<u32>>(), "(/[a-z]{1,5})?")
            .prop_map(|(name, mtu, sandbox)| Interface { name, mtu, sandbox, ..Interface::default() });
        let ip = (prefix(), any::<Option<IpAddr>>(), any::<bool>()).prop_map(|(address, gateway, first)| Ip {
            address,
            gateway,
            interface: first.then_some(0),
        });
        let route = (prefix(), any::<Option<IpAddr>>(), any::<Option<u32>>()).prop_map(|(dst, gw, mtu)| Route {
            dst,
            gw,
            mtu,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        });
        let lists = (
            proptest::collection::vec(interface, 1..4),
            proptest::collection::vec(ip, 0..4),
            proptest::collection::vec(route, 0..4),
        );
        lists.prop_map(|(interfaces, ips, routes)| Attachment { interfaces, ips, routes, dns: Dns::default() })
    }

    proptest! {
        #[test]
        fn every_version_holds_it(attachment in attachment()) {
            for version in Version::ALL {
                let answer = from_value(attachment.to_value(version), version).unwrap();
                prop_assert_eq!(&answer.attachment, &attachment);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, Version::V1_0_0);
        }

        #[test]
        fn prefixes_round_trip(text in "[0-9a-f:./]{0,30}") {
            if let Ok(prefix) = text.parse::<Prefix>() {
                prop_assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
            }
        }
    }
}

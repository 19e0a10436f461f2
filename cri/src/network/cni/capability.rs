//! Capability arguments: what a plugin that declares a capability gets as its `runtimeConfig`, and the arguments of CNI_ARGS.
//!
//! Source: CNI conventions ("Dynamic Plugin specific fields"); containerd and CRI-O for `io.kubernetes.cri.pod-annotations`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::result::Prefix;

/// A port of the host that leads to one of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port of the host.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Address of the host; absent: all.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Limits of the traffic, in bits per second and bits; 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// Into the container, bits per second.
    #[serde(default)]
    pub ingress_rate: u64,
    /// Into the container at once, bits.
    #[serde(default)]
    pub ingress_burst: u64,
    /// Out of the container, bits per second.
    #[serde(default)]
    pub egress_rate: u64,
    /// Out of the container at once, bits.
    #[serde(default)]
    pub egress_burst: u64,
}

/// Resolver settings for plugins that configure one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Addresses of name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Domains to search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<String>,
    /// Options, resolv.conf(5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Everything that a container asks of its network; a plugin gets what it declares to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// Limits of the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Resolver settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsConfig>,
    /// Addresses asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<Prefix>,
    /// Hardware address asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// InfiniBand GUID asked for.
    #[serde(default, rename = "infinibandGUID", skip_serializing_if = "Option::is_none")]
    pub infiniband_guid: Option<String>,
    /// Device of a device plugin.
    #[serde(default, rename = "deviceID", skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Other names of the container in the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The container's cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_path: Option<String>,
    /// Annotations of the pod.
    #[serde(default, rename = "io.kubernetes.cri.pod-annotations", skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,
}

impl Capabilities {
    /// The `runtimeConfig` of a plugin that declares `declared`. `None`: nothing of it was asked for.
    pub(crate) fn for_plugin(&self, declared: &[String]) -> Option<Map<String, Value>> {
        let Ok(Value::Object(mut all)) = serde_json::to_value(self) else { return None };
        all.retain(|name, _| declared.iter().any(|wanted| wanted == name));
        (!all.is_empty()).then_some(all)
    }
}

/// Annotations of a pod that limit its traffic: `kubernetes.io/ingress-bandwidth` and `kubernetes.io/egress-bandwidth`, as
/// quantities of bits per second between 1k and 1P. `None`: there are none.
///
/// # Errors
/// The annotation that is no such quantity.
pub fn bandwidth_of_pod(annotations: &BTreeMap<String, String>) -> Result<Option<Bandwidth>, String> {
    // A bucket that holds everything the plugin can be told: only the rate limits, as in other runtimes.
    const BURST: u64 = i32::MAX as u64;
    let rate = |key: &str| match annotations.get(key) {
        None => Ok(None),
        Some(text) => match quantity(text).filter(|rate| (1_000..=1_000_000_000_000_000).contains(rate)) {
            Some(rate) => Ok(Some(rate)),
            None => Err(format!("annotation {key}: {text:.80?} is not a quantity between 1k and 1P, such as 10M")),
        },
    };
    let (ingress, egress) = (rate("kubernetes.io/ingress-bandwidth")?, rate("kubernetes.io/egress-bandwidth")?);
    if ingress.is_none() && egress.is_none() {
        return Ok(None);
    }
    let burst = |rate: Option<u64>| if rate.is_some() { BURST } else { 0 };
    Ok(Some(Bandwidth {
        ingress_rate: ingress.unwrap_or_default(),
        ingress_burst: burst(ingress),
        egress_rate: egress.unwrap_or_default(),
        egress_burst: burst(egress),
    }))
}

/// A whole Kubernetes quantity: a decimal number with a suffix of powers of 1000 or 1024, or an exponent.
fn quantity(text: &str) -> Option<u64> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let factor: u128 = match suffix {
        "" => 1,
        "k" => 1000,
        "M" => 1000u128.pow(2),
        "G" => 1000u128.pow(3),
        "T" => 1000u128.pow(4),
        "P" => 1000u128.pow(5),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        exponent => 10u128.checked_pow(exponent.strip_prefix(['e', 'E'])?.parse::<u8>().ok()?.into())?,
    };
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    u64::try_from(digits.checked_mul(factor)?.div_ceil(scale)).ok()
}

/// Arguments of one container for all plugins, CNI_ARGS: pairs in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Args(Vec<(String, String)>);

impl Args {
    /// Adds a pair.
    ///
    /// # Errors
    /// A character that would make another pair of it, or that an environment cannot carry.
    pub fn push(&mut self, key: &str, value: &str) -> Result<(), String> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if key.is_empty() || !key.bytes().all(word) {
            return Err(format!("CNI_ARGS: key {key:.80?}: letters, digits and _ - . are allowed"));
        }
        if value.len() > 4096 || value.chars().any(|c| c == ';' || c.is_control()) {
            return Err(format!(
                "CNI_ARGS: {key}={value:.80?}: no ; and no control characters are allowed, 4096 bytes at most"
            ));
        }
        self.0.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Those by which plugins for Kubernetes know the pod.
    ///
    /// # Errors
    /// As [`Args::push`].
    pub fn of_pod(namespace: &str, name: &str, uid: &str, sandbox: &str) -> Result<Self, String> {
        let mut args = Self::default();
        args.push("IgnoreUnknown", "1")?;
        args.push("K8S_POD_NAMESPACE", namespace)?;
        args.push("K8S_POD_NAME", name)?;
        args.push("K8S_POD_INFRA_CONTAINER_ID", sandbox)?;
        args.push("K8S_POD_UID", uid)?;
        Ok(args)
    }

    /// As CNI_ARGS has them.
    pub(crate) fn joined(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(";")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn plugins_get_what_they_declare() {
        let all = Capabilities {
            port_mappings: vec![PortMapping {
                host_port: 8080,
                container_port: 80,
                protocol: Protocol::Tcp,
                host_ip: Some("127.0.0.1".parse().unwrap()),
            }],
            bandwidth: Some(Bandwidth { ingress_rate: 1000, ingress_burst: 2, egress_rate: 3, egress_burst: 4 }),
            dns: Some(DnsConfig { servers: vec!["10.0.0.10".into()], searches: vec!["a".into()], options: vec![] }),
            ips: vec!["10.1.0.5/16".parse().unwrap()],
            mac: Some("c2:11:22:33:44:55".into()),
            infiniband_guid: Some("c2:11:22:33:44:55:66:77".into()),
            device_id: Some("0000:04:00.5".into()),
            aliases: vec!["db".into()],
            cgroup_path: Some("/kubepods/x".into()),
            pod_annotations: BTreeMap::from([("a".into(), "b".into())]),
        };
        let get = |names: &[&str]| {
            let declared: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            all.for_plugin(&declared).map(Value::Object)
        };
        assert_eq!(get(&[]), None);
        assert_eq!(get(&["unheardOf"]), None);
        let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"}]);
        assert_eq!(get(&["portMappings", "other"]), Some(json!({"portMappings": ports})));
        let expected = json!({
            "portMappings": ports,
            "bandwidth": {"ingressRate": 1000, "ingressBurst": 2, "egressRate": 3, "egressBurst": 4},
            "dns": {"servers": ["10.0.0.10"], "searches": ["a"]},
            "ips": ["10.1.0.5/16"],
            "mac": "c2:11:22:33:44:55",
            "infinibandGUID": "c2:11:22:33:44:55:66:77",
            "deviceID": "0000:04:00.5",
            "aliases": ["db"],
            "cgroupPath": "/kubepods/x",
            "io.kubernetes.cri.pod-annotations": {"a": "b"},
        });
        let names: Vec<&str> = expected.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(get(&names), Some(expected.clone()));
        assert_eq!(Capabilities::default().for_plugin(&["portMappings".to_owned(), "dns".to_owned()]), None);
    }

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("1", Some(1)),
            ("10M", Some(10_000_000)),
            ("1.5k", Some(1500)),
            ("1Ki", Some(1024)),
            ("1Pi", Some(1 << 50)),
            (".5M", Some(500_000)),
            ("1e3", Some(1000)),
            ("1E6", Some(1_000_000)),
            ("0.0001", Some(1)),
            ("", None),
            (".", None),
            ("-1", None),
            ("1m", None),
            ("1.2.3", None),
            ("1e400", None),
            ("99999999999999999999999999999999999999999999999", None),
            ("10 M", None),
        ] {
            assert_eq!(quantity(text), expected, "{text}");
        }
    }

    #[test]
    fn bandwidth_of_annotations() {
        let of = |pairs: &[(&str, &str)]| {
            bandwidth_of_pod(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        assert_eq!(of(&[("other", "1")]), Ok(None));
        let both = of(&[("kubernetes.io/ingress-bandwidth", "10M"), ("kubernetes.io/egress-bandwidth", "1Gi")]);
        let burst = 2_147_483_647;
        let expected =
            Bandwidth { ingress_rate: 10_000_000, ingress_burst: burst, egress_rate: 1 << 30, egress_burst: burst };
        assert_eq!(both, Ok(Some(expected)));
        let one = of(&[("kubernetes.io/egress-bandwidth", "1k")]).unwrap().unwrap();
        assert_eq!((one.ingress_rate, one.ingress_burst, one.egress_rate), (0, 0, 1000));
        assert_eq!(
            of(&[("kubernetes.io/ingress-bandwidth", "999")]).unwrap_err(),
            "annotation kubernetes.io/ingress-bandwidth: \"999\" is not a quantity between 1k and 1P, such as 10M"
        );
    }

    #[test]
    fn args_of_a_pod() {
        let args = Args::of_pod("default", "web-0", "u-1", "s1").unwrap();
        let expected = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=s1;K8S_POD_UID=u-1";
        assert_eq!(args.joined(), expected);
        for (key, value) in [("A", "b;C=d"), ("A;B", "c"), ("A=", ""), ("", "x"), ("A", "x\ny"), ("A", "x\0")] {
            assert!(Args::default().push(key, value).is_err(), "{key:?} {value:?}");
        }
    }

    proptest! {
        #[test]
        fn quantities_never_panic(text in ".{0,40}") {
            let _ = quantity(&text);
        }
    }
}

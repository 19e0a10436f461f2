//! Networks and ports of a container in docker's shapes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cri::network::{Attachment, Publish, Published};
use serde_json::{Map, Value, json};

use crate::flag::network::{Endpoint, NetworkMode};
use crate::flag::port::{self, Port};

/// All published ports, in a stable order.
pub(crate) fn published(attachments: &[Attachment]) -> Vec<Published> {
    let mut ports: Vec<Published> = attachments.iter().flat_map(|attachment| attachment.ports.clone()).collect();
    ports.sort_by_key(|port| (port.container_port, port.protocol, port.host_ip, port.host_port));
    ports
}

/// A port of the container.
pub(crate) fn container_port(port: &Published) -> Port {
    Port { number: port.container_port, protocol: port.protocol }
}

/// As `ps` shows them: `0.0.0.0:8000-8002->80-82/tcp, 443/tcp`; ports one after the other are put together.
pub(crate) fn ports_text(published: &[Published], exposed: &[String]) -> String {
    /// First host port and container port, and how many there are.
    type Runs = Vec<(Option<IpAddr>, Option<u16>, Port, u16)>;
    let mut runs: Runs = Vec::new();
    let mut add = |address: Option<IpAddr>, host: Option<u16>, port: Port| {
        let follows = |(of, first, container, count): &(Option<IpAddr>, Option<u16>, Port, u16)| {
            *of == address
                && container.protocol == port.protocol
                && container.number.checked_add(*count) == Some(port.number)
                && first.map(|first| first.wrapping_add(*count)) == host
        };
        match runs.iter_mut().find(|run| follows(run)) {
            Some(run) => run.3 += 1,
            None => runs.push((address, host, port, 1)),
        }
    };
    for port in published {
        add(Some(port.host_ip), Some(port.host_port), container_port(port));
    }
    let exposed = exposed.iter().filter_map(|text| port::one(text).ok());
    for port in exposed.filter(|port| !published.iter().any(|other| container_port(other) == *port)) {
        add(None, None, port);
    }
    let range = |first: u16, count: u16| match count {
        1 => first.to_string(),
        _ => format!("{first}-{}", first + (count - 1)),
    };
    let text = runs.iter().map(|(address, host, port, count)| {
        let container = format!("{}/{}", range(port.number, *count), port.protocol);
        match (address, host) {
            (Some(IpAddr::V6(address)), Some(host)) => format!("[{address}]:{}->{container}", range(*host, *count)),
            (Some(IpAddr::V4(address)), Some(host)) => format!("{address}:{}->{container}", range(*host, *count)),
            (_, _) => container,
        }
    });
    text.collect::<Vec<_>>().join(", ")
}

/// Where on the host a port is, for people.
pub(crate) fn host_text(port: &Published) -> String {
    SocketAddr::new(port.host_ip, port.host_port).to_string()
}

/// `HostConfig.PortBindings`: what was asked for.
pub(crate) fn bindings(publish: &[String]) -> Value {
    let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for publish in publish.iter().filter_map(|text| port::read(text).ok()) {
        for (index, port) in port::ports(&publish).enumerate() {
            let binding = json!({
                "HostIp": publish.host_ip.map(|address| address.to_string()).unwrap_or_default(),
                "HostPort": wanted_port(&publish, index),
            });
            bindings.entry(port.to_string()).or_default().push(binding);
        }
    }
    json!(bindings)
}

/// The host's port for the container's port at `index`, as text: empty for any, a range for one of several.
fn wanted_port(publish: &Publish, index: usize) -> String {
    let Some(host) = publish.host_ports else { return String::new() };
    if host.count() == publish.container_ports.count() {
        host.iter().nth(index).map(|port| port.to_string()).unwrap_or_default()
    } else {
        host.to_string()
    }
}

/// `NetworkSettings` of `inspect`: `endpoints` are the networks it is to be on, `attachments` those it is on.
pub(crate) fn settings(
    mode: &NetworkMode,
    endpoints: &[Endpoint],
    exposed: &[String],
    attachments: &[Attachment],
) -> Value {
    let mut ports: BTreeMap<String, Value> = BTreeMap::new();
    if !attachments.is_empty() {
        ports.extend(exposed.iter().map(|port| (port.clone(), Value::Null)));
    }
    for port in published(attachments) {
        let list = ports.entry(container_port(&port).to_string()).or_insert(Value::Null);
        let binding = json!({ "HostIp": port.host_ip.to_string(), "HostPort": port.host_port.to_string() });
        match list {
            Value::Array(list) => list.push(binding),
            other => *other = json!([binding]),
        }
    }
    let mut networks = Map::new();
    for endpoint in endpoints {
        let attachment = attachments.iter().find(|attachment| attachment.network == endpoint.network);
        networks.insert(endpoint.network.clone(), network(Some(endpoint), attachment));
    }
    for attachment in attachments {
        if !networks.contains_key(&attachment.network) {
            networks.insert(attachment.network.clone(), network(None, Some(attachment)));
        }
    }
    if !matches!(mode, NetworkMode::Networks(_) | NetworkMode::Container(_)) {
        networks.insert(mode.show(), network(None, None));
    }
    let first = endpoints.first().and_then(|endpoint| attachments.iter().find(|own| own.network == endpoint.network));
    let mut settings = addresses(first.or(attachments.first()));
    settings.insert("Ports".to_owned(), json!(ports));
    settings.insert("Networks".to_owned(), Value::Object(networks));
    Value::Object(settings)
}

fn addresses(attachment: Option<&Attachment>) -> Map<String, Value> {
    let ip = attachment.and_then(|attachment| attachment.ip);
    let ip6 = attachment.and_then(|attachment| attachment.ip6);
    let text = |text: Option<String>| Value::from(text.unwrap_or_default());
    [
        ("MacAddress", text(attachment.map(|attachment| attachment.mac.to_string()))),
        ("Gateway", text(ip.and_then(|ip| ip.gateway).map(|gateway| gateway.to_string()))),
        ("IPAddress", text(ip.map(|ip| ip.address.to_string()))),
        ("IPPrefixLen", ip.map_or(0, |ip| ip.prefix).into()),
        ("IPv6Gateway", text(ip6.and_then(|ip| ip.gateway).map(|gateway| gateway.to_string()))),
        ("GlobalIPv6Address", text(ip6.map(|ip| ip.address.to_string()))),
        ("GlobalIPv6PrefixLen", ip6.map_or(0, |ip| ip.prefix).into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn network(endpoint: Option<&Endpoint>, attachment: Option<&Attachment>) -> Value {
    let mut value = addresses(attachment);
    let asked = |endpoint: &Endpoint| {
        let mut asked = Map::new();
        asked.extend(endpoint.ip.map(|ip: Ipv4Addr| ("IPv4Address".to_owned(), ip.to_string().into())));
        asked.extend(endpoint.ip6.map(|ip| ("IPv6Address".to_owned(), ip.to_string().into())));
        (!asked.is_empty()).then_some(Value::Object(asked))
    };
    value.insert("IPAMConfig".to_owned(), endpoint.and_then(asked).unwrap_or(Value::Null));
    value.insert("Aliases".to_owned(), json!(endpoint.map(|endpoint| &endpoint.aliases)));
    value.insert("DNSNames".to_owned(), json!(attachment.map(|attachment| &attachment.names)));
    value.insert("NetworkID".to_owned(), attachment.map_or("", |attachment| &attachment.network_id).into());
    value.insert("Interface".to_owned(), attachment.map_or("", |attachment| &attachment.interface).into());
    value.insert("GwPriority".to_owned(), attachment.map_or(0, |attachment| attachment.gw_priority).into());
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use cri::network::Protocol;

    use super::*;

    fn port(address: &str, host: u16, container: u16, protocol: Protocol) -> Published {
        Published { host_ip: address.parse().unwrap(), host_port: host, container_port: container, protocol }
    }

    #[test]
    fn text_of_ports() {
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        for (published, exposed, expected) in [
            (vec![], &[] as &[&str], ""),
            (vec![], &["80/tcp", "81/tcp", "53/udp"], "80-81/tcp, 53/udp"),
            (
                vec![port("0.0.0.0", 8080, 80, tcp), port("::", 8080, 80, tcp)],
                &["80/tcp", "443/tcp"],
                "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 443/tcp",
            ),
            (
                vec![port("0.0.0.0", 8000, 80, tcp), port("0.0.0.0", 8001, 81, tcp), port("0.0.0.0", 9000, 82, tcp)],
                &[],
                "0.0.0.0:8000-8001->80-81/tcp, 0.0.0.0:9000->82/tcp",
            ),
            (
                vec![port("127.0.0.1", 53, 53, tcp), port("127.0.0.1", 54, 54, udp)],
                &[],
                "127.0.0.1:53->53/tcp, 127.0.0.1:54->54/udp",
            ),
            (
                vec![port("0.0.0.0", 65534, 65534, tcp), port("0.0.0.0", 65535, 65535, tcp)],
                &[],
                "0.0.0.0:65534-65535->65534-65535/tcp",
            ),
        ] {
            let exposed: Vec<String> = exposed.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(ports_text(&published, &exposed), expected);
        }
    }

    #[test]
    fn what_was_asked_for() {
        let texts = ["127.0.0.1:8000-8001:80-81", "9000-9010:90/udp", "53/udp"].map(str::to_owned);
        let expected = json!({
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}],
            "81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8001"}],
            "90/udp": [{"HostIp": "", "HostPort": "9000-9010"}],
            "53/udp": [{"HostIp": "", "HostPort": ""}],
        });
        assert_eq!(bindings(&texts), expected);
    }

    #[test]
    fn settings_of_a_container() {
        let attachment: Attachment = serde_json::from_value(json!({
            "container": "a", "network": "mine", "network_id": "0123", "interface": "eth0", "mac": "02:42:ac:11:00:02",
            "ip": {"address": "10.1.0.2", "prefix": 24, "gateway": "10.1.0.1"}, "names": ["one"],
            "ports": [{"host_ip": "0.0.0.0", "host_port": 8080, "container_port": 80, "protocol": "tcp"}],
            "order": 0, "veth": "rtv0", "ifindex": 1,
        }))
        .unwrap();
        let mode = NetworkMode::Networks("mine".to_owned());
        let endpoint = |name: &str| Endpoint { network: name.to_owned(), ..Endpoint::default() };
        let endpoints = [endpoint("mine"), endpoint("other")];
        let exposed = ["80/tcp".to_owned(), "443/tcp".to_owned()];
        let shown = settings(&mode, &endpoints, &exposed, std::slice::from_ref(&attachment));
        assert_eq!(shown["IPAddress"], "10.1.0.2");
        assert_eq!(shown["Ports"], json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null}));
        assert_eq!(shown["Networks"]["mine"]["Gateway"], "10.1.0.1");
        assert_eq!(shown["Networks"]["mine"]["IPPrefixLen"], 24);
        assert_eq!(shown["Networks"]["other"]["IPAddress"], "");
        let stopped = settings(&mode, &endpoints, &exposed, &[]);
        assert_eq!((&stopped["Ports"], &stopped["IPAddress"]), (&json!({}), &json!("")));
        assert_eq!(stopped["Networks"].as_object().unwrap().len(), 2);
        assert!(settings(&NetworkMode::Host, &[], &[], &[])["Networks"]["host"].is_object());
    }
}

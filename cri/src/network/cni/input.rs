//! The document that a plugin reads: its own configuration and what is derived for one execution. Pure.
//!
//! Source: CNI specification, section 3 "Deriving execution configuration from plugin configuration".

use serde_json::{Map, Value, json};

use super::capability::Capabilities;
use super::config::{Network, Plugin};
use super::name::{ContainerId, InterfaceName};
use super::version::Version;

/// A plugin's input for ADD, DEL and CHECK.
pub(crate) fn for_container(
    network: &Network,
    version: Version,
    plugin: &Plugin,
    capabilities: &Capabilities,
    previous: Option<&Value>,
) -> Vec<u8> {
    let mut object = base(network, version, plugin);
    if let Some(wanted) = capabilities.for_plugin(&plugin.capabilities) {
        object.insert("runtimeConfig".to_owned(), Value::Object(wanted));
    }
    if let Some(previous) = previous {
        object.insert("prevResult".to_owned(), previous.clone());
    }
    bytes(object)
}

/// A plugin's input for GC: the attachments that are to stay.
pub(crate) fn for_gc(
    network: &Network,
    version: Version,
    plugin: &Plugin,
    valid: &[(ContainerId, InterfaceName)],
) -> Vec<u8> {
    let mut object = base(network, version, plugin);
    let valid: Vec<Value> = valid.iter().map(|(id, name)| json!({"containerID": id, "ifname": name})).collect();
    // The second is how the first text of 1.1.0 had it; plugins of both kinds are out there.
    object.insert("cni.dev/valid-attachments".to_owned(), json!(valid));
    object.insert("cni.dev/attachments".to_owned(), json!(valid));
    bytes(object)
}

/// A plugin's input for STATUS.
pub(crate) fn for_status(network: &Network, version: Version, plugin: &Plugin) -> Vec<u8> {
    bytes(base(network, version, plugin))
}

/// A plugin's input for VERSION.
pub(crate) fn for_version(version: Version) -> Vec<u8> {
    bytes(Map::from_iter([("cniVersion".to_owned(), json!(version.as_str()))]))
}

fn base(network: &Network, version: Version, plugin: &Plugin) -> Map<String, Value> {
    let mut object = plugin.object.clone();
    // Keys that are the client's: what a file says there would be taken for ours.
    object.retain(|key, _| !key.starts_with("cni.dev/"));
    for key in ["prevResult", "capabilities", "cniVersions"] {
        object.remove(key);
    }
    object.insert("name".to_owned(), json!(network.name));
    object.insert("cniVersion".to_owned(), json!(version.as_str()));
    object
}

fn bytes(object: Map<String, Value>) -> Vec<u8> {
    Value::Object(object).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::capability::{Bandwidth, Capabilities};
    use super::super::config::parse_list;
    use super::*;

    fn network() -> Network {
        let text = br#"{"cniVersion": "1.0.0", "name": "pods", "plugins": [
            {"type": "bridge", "name": "other", "cniVersion": "0.1.0", "args": {"a": 1}, "prevResult": 1, "cni.dev/x": 1},
            {"type": "bandwidth", "capabilities": {"bandwidth": true}, "runtimeConfig": {"own": true}}]}"#;
        parse_list(text).unwrap()
    }

    fn read(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn for_a_container() {
        let network = network();
        let bandwidth = Bandwidth { ingress_rate: 1, ingress_burst: 2, egress_rate: 3, egress_burst: 4 };
        let capabilities = Capabilities { bandwidth: Some(bandwidth), ..Capabilities::default() };
        let input = |index: usize, capabilities, previous| {
            read(&for_container(&network, Version::V1_0_0, &network.plugins[index], capabilities, previous))
        };
        let expected = json!({"type": "bridge", "name": "pods", "cniVersion": "1.0.0", "args": {"a": 1}});
        assert_eq!(input(0, &capabilities, None), expected);
        let previous = json!({"cniVersion": "1.0.0"});
        let rates = json!({"ingressRate": 1, "ingressBurst": 2, "egressRate": 3, "egressBurst": 4});
        let expected = json!({"type": "bandwidth", "name": "pods", "cniVersion": "1.0.0", "prevResult": previous,
            "runtimeConfig": {"bandwidth": rates}});
        assert_eq!(input(1, &capabilities, Some(&previous)), expected);
        assert_eq!(input(1, &Capabilities::default(), None)["runtimeConfig"], json!({"own": true}));
    }

    #[test]
    fn for_the_others() {
        let network = network();
        let plugin = &network.plugins[0];
        let valid = [("c1".parse().unwrap(), "eth0".parse().unwrap())];
        let list = json!([{"containerID": "c1", "ifname": "eth0"}]);
        let gc = read(&for_gc(&network, Version::V1_1_0, plugin, &valid));
        assert_eq!((&gc["cni.dev/valid-attachments"], &gc["cni.dev/attachments"]), (&list, &list));
        assert_eq!(gc["cniVersion"], "1.1.0");
        assert_eq!(read(&for_gc(&network, Version::V1_1_0, plugin, &[]))["cni.dev/valid-attachments"], json!([]));
        assert_eq!(read(&for_status(&network, Version::V1_1_0, plugin)).get("cni.dev/x"), None);
        assert_eq!(read(&for_version(Version::V1_1_0)), json!({"cniVersion": "1.1.0"}));
    }
}

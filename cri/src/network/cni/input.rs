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

//! What is kept of an attachment, so that it can be undone by another process, after another boot, with another configuration.
//! Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::capability::{Args, Capabilities};
use super::config::{ConfigError, Network, parse_list};
use super::error::Subject;
use super::name::{ContainerId, InterfaceName, NetworkName};
use super::namespace::Identity;
use super::version::Version;

/// Version of [`Record`] and [`Outcome`].
pub(crate) const VERSION: u32 = 1;

/// Which attachment: the key that plugins use, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) container: ContainerId,
    pub(crate) network: NetworkName,
    pub(crate) interface: InterfaceName,
}

impl Key {
    /// The beginning of its files' names. Neither of the first two parts can have an `@`.
    pub(crate) fn stem(&self) -> String {
        format!("{}@{}@{}", self.container, self.network, self.interface)
    }

    /// Reads what [`Key::stem`] wrote.
    pub(crate) fn of_stem(stem: &str) -> Option<Self> {
        let (container, rest) = stem.split_once('@')?;
        let (network, interface) = rest.split_once('@')?;
        Some(Self {
            container: container.parse().ok()?,
            network: network.parse().ok()?,
            interface: interface.parse().ok()?,
        })
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject { network: self.network.clone(), container: Some((self.container.clone(), self.interface.clone())) }
    }
}

/// An attachment that is about to be made, or was made. Never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// Kernel's boot id.
    pub(crate) boot_id: String,
    /// Nanoseconds since the epoch.
    pub(crate) created: u64,
    pub(crate) container: ContainerId,
    pub(crate) interface: InterfaceName,
    pub(crate) netns: PathBuf,
    pub(crate) netns_id: Identity,
    /// The configuration as it was, with the version in use.
    pub(crate) network: Value,
    pub(crate) args: Args,
    pub(crate) capabilities: Capabilities,
}

/// What ADD has answered so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// Every plugin has answered.
    pub(crate) complete: bool,
    /// The answer of the last one.
    pub(crate) result: Value,
}

/// A configuration, to be recorded.
pub(crate) fn of_network(network: &Network, version: Version) -> Value {
    let plugins: Vec<&serde_json::Map<String, Value>> = network.plugins.iter().map(|plugin| &plugin.object).collect();
    json!({
        "cniVersion": version.as_str(),
        "name": network.name,
        "disableCheck": network.disable_check,
        "disableGC": network.disable_gc,
        "loadOnlyInlinedPlugins": true,
        "plugins": plugins,
    })
}

/// A configuration that was recorded.
pub(crate) fn to_network(value: &Value) -> Result<Network, ConfigError> {
    parse_list(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let key = Key {
            container: "a.b".parse().unwrap(),
            network: "n-1".parse().unwrap(),
            interface: "e@0".parse().unwrap(),
        };
        assert_eq!(key.stem(), "a.b@n-1@e@0");
        assert_eq!(Key::of_stem("a.b@n-1@e@0"), Some(key));
        for bad in ["", "a", "a@b", "@b@c", "a@@c", "a@b@", "a/b@c@d"] {
            assert_eq!(Key::of_stem(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_configuration_comes_back() {
        let text = br#"{"cniVersions": ["0.4.0", "1.1.0"], "name": "n", "disableGC": true,
            "plugins": [{"type": "a", "x": {"y": [1, 2.5]}, "capabilities": {"mac": true}}]}"#;
        let network = parse_list(text).unwrap();
        let back = to_network(&of_network(&network, Version::V0_4_0)).unwrap();
        assert_eq!(back.versions, [Version::V0_4_0]);
        assert_eq!((back.plugins, back.disable_gc, back.disable_check), (network.plugins, true, false));
    }
}

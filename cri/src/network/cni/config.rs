//! Network configurations: bytes to a list of plugins. Pure.
//!
//! ```text
//! NAME.conflist          a list of plugins                     ─┐
//! NAME.conf, NAME.json   one plugin: a list of one              ├──▶ Network
//! <network name>/*.conf  more plugins of a list, after its own ─┘
//! ```
//!
//! Source: CNI specification, section 1 "Network configuration format"; libcni's `NetworkConfFromFile` for the folder.

use runtime::json;
use serde_json::{Map, Value};

use super::name::{NetworkName, PluginType};
use super::version::{Version, common};

/// Largest configuration file, in bytes.
pub(crate) const LIMIT: u64 = 1 << 20;

/// Most plugins in a list.
const PLUGINS: usize = 64;

/// What is wrong with a configuration: where in the document, and which rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A member is missing or wrong.
    #[error("{path}: {reason}")]
    Member {
        /// Where, such as `plugins[1].type`.
        path: String,
        /// The rule.
        reason: String,
    },
    /// The document is no JSON object.
    #[error("{0}")]
    Document(String),
}

/// A network: the plugins that attach a container to it, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Its name, unique on the host.
    pub name: NetworkName,
    /// The versions that both the configuration and this client know, oldest first; never empty.
    pub versions: Vec<Version>,
    /// CHECK must not be run.
    pub disable_check: bool,
    /// GC must not be run.
    pub disable_gc: bool,
    /// More plugins may come from the folder beside the file that is named after the network.
    pub(crate) open_ended: bool,
    /// The plugins, in the order of ADD; never empty once loaded.
    pub plugins: Vec<Plugin>,
}

/// One plugin of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// The name of its program.
    pub kind: PluginType,
    /// Capability arguments that it takes.
    pub capabilities: Vec<String>,
    /// The configuration as it was written.
    pub(crate) object: Map<String, Value>,
}

impl Network {
    /// The version in use: the highest in common.
    #[must_use]
    pub fn version(&self) -> Version {
        *self.versions.last().expect("checked when parsed: there is one in common")
    }
}

/// Reads a `.conflist`.
///
/// # Errors
/// What breaks the rules, with its place.
pub fn parse_list(bytes: &[u8]) -> Result<Network, ConfigError> {
    let object = object(bytes)?;
    if object.contains_key("type") && !object.contains_key("plugins") {
        return Err(member("type", "is for one plugin; a list has \"plugins\", or the file ends in .conf"));
    }
    let mut network = header(&object)?;
    network.open_ended = !switch(&object, "loadOnlyInlinedPlugins")?;
    network.plugins = match object.get("plugins") {
        None => Vec::new(),
        Some(Value::Array(plugins)) if plugins.len() > PLUGINS => {
            return Err(member("plugins", format!("has {} elements, {PLUGINS} are allowed", plugins.len())));
        }
        Some(Value::Array(plugins)) => {
            let each = |(index, value): (usize, &Value)| plugin(value, &format!("plugins[{index}]"));
            plugins.iter().enumerate().map(each).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(member("plugins", "must be a list")),
    };
    if network.plugins.is_empty() && !network.open_ended {
        return Err(member("plugins", "must name at least one plugin when loadOnlyInlinedPlugins is true"));
    }
    Ok(network)
}

/// Reads a `.conf` or `.json` of one plugin.
///
/// # Errors
/// What breaks the rules, with its place.
pub fn parse_single(bytes: &[u8]) -> Result<Network, ConfigError> {
    let object = object(bytes)?;
    if object.contains_key("plugins") {
        return Err(member("plugins", "a list of plugins belongs in a file that ends in .conflist"));
    }
    let mut network = header(&object)?;
    network.plugins = vec![plugin(&Value::Object(object), "")?];
    Ok(network)
}

/// Reads a plugin from the folder of a network: it needs neither name nor version.
pub(crate) fn parse_plugin(bytes: &[u8]) -> Result<Plugin, ConfigError> {
    plugin(&Value::Object(object(bytes)?), "")
}

/// Appends the plugins of the network's folder.
pub(crate) fn complete(mut network: Network, more: Vec<Plugin>) -> Result<Network, ConfigError> {
    network.plugins.extend(more);
    network.open_ended = false;
    match network.plugins.len() {
        0 => Err(member("plugins", format!("there is none, and no file {}/*.conf either", network.name))),
        1..=PLUGINS => Ok(network),
        count => {
            Err(member("plugins", format!("has {count} elements with those of its folder, {PLUGINS} are allowed")))
        }
    }
}

fn member(path: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Member { path: path.to_owned(), reason: reason.into() }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    match json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ConfigError::Document("must be a JSON object".to_owned())),
        Err(error) => Err(ConfigError::Document(format!("is not JSON: {error}"))),
    }
}

/// What lists and single plugins have in common.
fn header(object: &Map<String, Value>) -> Result<Network, ConfigError> {
    let name = text(object, "name", "")?.parse().map_err(|error| member("name", format!("{error}")))?;
    Ok(Network {
        name,
        versions: versions(object)?,
        disable_check: switch(object, "disableCheck")?,
        disable_gc: switch(object, "disableGC")?,
        open_ended: false,
        plugins: Vec::new(),
    })
}

fn versions(object: &Map<String, Value>) -> Result<Vec<Version>, ConfigError> {
    let mut offered = Vec::new();
    match object.get("cniVersion") {
        None => {}
        Some(Value::String(version)) => offered.push(version.as_str()),
        Some(_) => return Err(member("cniVersion", "must be a string")),
    }
    match object.get("cniVersions") {
        None => {}
        Some(Value::Array(versions)) => {
            for (index, version) in versions.iter().enumerate() {
                let version = version.as_str();
                offered.push(version.ok_or_else(|| member(&format!("cniVersions[{index}]"), "must be a string"))?);
            }
        }
        Some(_) => return Err(member("cniVersions", "must be a list")),
    }
    let versions = common(offered.iter().copied());
    if versions.is_empty() {
        let supported = "supported are 0.3.1, 0.4.0, 1.0.0 and 1.1.0";
        return Err(match offered.as_slice() {
            [] => member("cniVersion", format!("is missing; {supported}")),
            offered => member("cniVersion", format!("{} is not supported; {supported}", shown(offered))),
        });
    }
    Ok(versions)
}

fn shown(versions: &[&str]) -> String {
    let quoted: Vec<String> = versions.iter().take(8).map(|version| format!("{version:.40?}")).collect();
    quoted.join(", ")
}

/// A flag, which older configurations write as a string.
fn switch(object: &Map<String, Value>, key: &str) -> Result<bool, ConfigError> {
    match object.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(member(key, "must be true or false")),
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str, path: &str) -> Result<&'a str, ConfigError> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(member(&under(path, key), "must be a string")),
        None => Err(member(&under(path, key), "is missing")),
    }
}

fn under(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn plugin(value: &Value, path: &str) -> Result<Plugin, ConfigError> {
    let Value::Object(object) = value else { return Err(member(path, "must be an object")) };
    let kind = text(object, "type", path)?.parse().map_err(|error| member(&under(path, "type"), format!("{error}")))?;
    ipam(object, path)?;
    Ok(Plugin { kind, capabilities: capabilities(object, path)?, object: object.clone() })
}

/// The plugin executes the program of its IPAM by itself; a name that leads elsewhere is refused before that.
fn ipam(object: &Map<String, Value>, path: &str) -> Result<(), ConfigError> {
    let at = under(path, "ipam");
    match object.get("ipam") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(ipam)) => match ipam.get("type") {
            None => Ok(()),
            Some(Value::String(kind)) if kind.is_empty() => Ok(()),
            Some(Value::String(kind)) => match kind.parse::<PluginType>() {
                Ok(_) => Ok(()),
                Err(error) => Err(member(&under(&at, "type"), format!("{error}"))),
            },
            Some(_) => Err(member(&under(&at, "type"), "must be a string")),
        },
        Some(_) => Err(member(&at, "must be an object")),
    }
}

fn capabilities(object: &Map<String, Value>, path: &str) -> Result<Vec<String>, ConfigError> {
    let at = under(path, "capabilities");
    let Some(value) = object.get("capabilities") else { return Ok(Vec::new()) };
    let Value::Object(capabilities) = value else { return Err(member(&at, "must be an object")) };
    let mut names = Vec::new();
    for (name, wanted) in capabilities {
        match wanted {
            Value::Bool(true) => names.push(name.clone()),
            Value::Bool(false) => {}
            _ => return Err(member(&under(&at, name), "must be true or false")),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> Result<Network, String> {
        parse_list(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list() {
        let network = list(
            r#"{"cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.1.0", "7.0.0"], "name": "pods", "disableCheck": "true", "disableGC": true,
                "loadOnlyInlinedPlugins": true, "plugins": [
                {"type": "bridge", "ipam": {"type": "host-local"}},
                {"type": "portmap", "capabilities": {"portMappings": true, "bandwidth": false}, "snat": true}]}"#,
        )
        .unwrap();
        assert_eq!(network.name.as_str(), "pods");
        assert_eq!(network.versions, [Version::V0_4_0, Version::V1_0_0, Version::V1_1_0]);
        assert_eq!(network.version(), Version::V1_1_0);
        assert!(network.disable_check && network.disable_gc && !network.open_ended);
        let kinds: Vec<&str> = network.plugins.iter().map(|plugin| plugin.kind.as_str()).collect();
        assert_eq!(kinds, ["bridge", "portmap"]);
        assert_eq!(network.plugins[1].capabilities, ["portMappings"]);
        assert_eq!(network.plugins[1].object["snat"], true);
    }

    #[test]
    fn lists_that_are_none() {
        for (text, expected) in [
            ("", "is not JSON: EOF while parsing a value at line 1 column 0"),
            ("[]", "must be a JSON object"),
            ("{}", "name: is missing"),
            (r#"{"name": 1}"#, "name: must be a string"),
            (
                r#"{"name": "a/b"}"#,
                "name: network name \"a/b\": 1 to 100 letters, digits and _ . -, beginning with a letter or a digit, are allowed",
            ),
            (r#"{"name": "n"}"#, "cniVersion: is missing; supported are 0.3.1, 0.4.0, 1.0.0 and 1.1.0"),
            (
                r#"{"name": "n", "cniVersion": "0.1.0", "cniVersions": ["2.0.0"]}"#,
                "cniVersion: \"0.1.0\", \"2.0.0\" is not supported; supported are 0.3.1, 0.4.0, 1.0.0 and 1.1.0",
            ),
            (r#"{"name": "n", "cniVersion": 1}"#, "cniVersion: must be a string"),
            (r#"{"name": "n", "cniVersions": "1.0.0"}"#, "cniVersions: must be a list"),
            (r#"{"name": "n", "cniVersions": [1]}"#, "cniVersions[0]: must be a string"),
            (r#"{"name": "n", "cniVersion": "1.0.0", "disableGC": "yes"}"#, "disableGC: must be true or false"),
            (r#"{"name": "n", "cniVersion": "1.0.0", "plugins": {}}"#, "plugins: must be a list"),
            (r#"{"name": "n", "cniVersion": "1.0.0", "plugins": [1]}"#, "plugins[0]: must be an object"),
            (r#"{"name": "n", "cniVersion": "1.0.0", "plugins": [{}]}"#, "plugins[0].type: is missing"),
            (
                r#"{"name": "n", "cniVersion": "1.0.0", "plugins": [{"type": "a"}, {"type": "../sh"}]}"#,
                "plugins[1].type: plugin type \"../sh\": 1 to 100 letters, digits and _ . -, beginning with a letter or a digit, are allowed",
            ),
            (
                r#"{"name": "n", "cniVersion": "1.0.0", "plugins": [{"type": "a", "ipam": {"type": "/bin/sh"}}]}"#,
                "plugins[0].ipam.type: plugin type \"/bin/sh\": 1 to 100 letters, digits and _ . -, beginning with a letter or a digit, are allowed",
            ),
            (
                r#"{"name": "n", "cniVersion": "1.0.0", "plugins": [{"type": "a", "ipam": 1}]}"#,
                "plugins[0].ipam: must be an object",
            ),
            (
                r#"{"name": "n", "cniVersion": "1.0.0", "plugins": [{"type": "a", "capabilities": {"x": 1}}]}"#,
                "plugins[0].capabilities.x: must be true or false",
            ),
            (
                r#"{"name": "n", "cniVersion": "1.0.0", "loadOnlyInlinedPlugins": true}"#,
                "plugins: must name at least one plugin when loadOnlyInlinedPlugins is true",
            ),
            (
                r#"{"name": "n", "cniVersion": "1.0.0", "type": "bridge"}"#,
                "type: is for one plugin; a list has \"plugins\", or the file ends in .conf",
            ),
        ] {
            assert_eq!(list(text).unwrap_err(), expected, "{text}");
        }
        let many = vec![r#"{"type": "a"}"#; 65].join(",");
        let text = format!(r#"{{"name": "n", "cniVersion": "1.0.0", "plugins": [{many}]}}"#);
        assert_eq!(list(&text).unwrap_err(), "plugins: has 65 elements, 64 are allowed");
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(list(&deep).unwrap_err(), "is not JSON: recursion limit exceeded at line 1 column 128");
    }

    #[test]
    fn single_plugins() {
        let text = r#"{"cniVersion": "0.3.1", "name": "one", "type": "ptp", "mtu": 1400, "ipam": {}}"#;
        let network = parse_single(text.as_bytes()).unwrap();
        assert_eq!((network.plugins.len(), network.plugins[0].kind.as_str()), (1, "ptp"));
        assert!(!network.open_ended);
        let error = |text: &str| parse_single(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error(r#"{"cniVersion": "0.3.1", "name": "one"}"#), "type: is missing");
        assert_eq!(
            error(r#"{"cniVersion": "0.3.1", "name": "one", "plugins": []}"#),
            "plugins: a list of plugins belongs in a file that ends in .conflist"
        );
    }

    #[test]
    fn plugins_of_a_folder_come_last() {
        let network = list(r#"{"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "a"}]}"#).unwrap();
        assert!(network.open_ended);
        let more = parse_plugin(br#"{"type": "b"}"#).unwrap();
        let complete = complete(network, vec![more]).unwrap();
        let kinds: Vec<&str> = complete.plugins.iter().map(|plugin| plugin.kind.as_str()).collect();
        assert_eq!(kinds, ["a", "b"]);
        let empty = list(r#"{"cniVersion": "1.1.0", "name": "n"}"#).unwrap();
        let error = super::complete(empty, Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "plugins: there is none, and no file n/*.conf either");
    }

    /// JSON that is close to a configuration.
    fn close() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            prop_oneof!["[a-z./-]{0,12}", Just("1.0.0".to_owned()), Just("true".to_owned())].prop_map(Value::from),
        ];
        let keys = proptest::sample::select(vec![
            "name",
            "type",
            "plugins",
            "cniVersion",
            "cniVersions",
            "capabilities",
            "ipam",
            "disableCheck",
            "loadOnlyInlinedPlugins",
            "other",
        ]);
        leaf.prop_recursive(4, 64, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((keys.clone(), inner), 0..6).prop_map(|members| {
                    Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse_list(&bytes), parse_single(&bytes), parse_plugin(&bytes));
        }

        #[test]
        fn what_is_read_can_be_used(value in close()) {
            let bytes = value.to_string().into_bytes();
            for network in [parse_list(&bytes), parse_single(&bytes)].into_iter().flatten() {
                prop_assert!(!network.versions.is_empty());
                prop_assert!(network.open_ended || !network.plugins.is_empty());
                for plugin in &network.plugins {
                    prop_assert!(!plugin.kind.as_str().contains('/'));
                }
            }
        }
    }
}

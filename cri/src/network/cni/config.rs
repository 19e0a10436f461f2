//! Network configurations: bytes to a list of plugins. Pure.
//!
//! ```text
//! NAME.conflist          a list of plugins                     ─┐
//! NAME.conf, NAME.json   one plugin: a list of one              ├──▶ Network
//! <network name>/*.conf  more plugins of a list, after its own ─┘
//! ```
//!
//! Source: CNI specification, section 1 "Network configuration format"; libcni's `NetworkConfFromFile` for the folder.

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
    match serde_json::from_slice(bytes) {
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

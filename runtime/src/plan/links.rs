//! `linux.netDevices`: network interfaces of the host that a container gets (config-linux.md, "Network Devices").

use serde_json::Value;

use super::{Namespaces, PlanError};
use crate::spec::{Member, NamespaceKind};

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container.
    pub name: String,
}

/// Checks and converts the member.
pub(super) fn links(value: Option<&Value>, namespaces: &Namespaces) -> Result<Vec<Link>, PlanError> {
    let mut links: Vec<Link> = Vec::new();
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(links) };
    let member = Member::new(value, "linux.netDevices")?;
    for (host, device) in member.named()? {
        let name = match device.text("name")? {
            "" => host,
            name => name,
        };
        if !good(host) {
            return Err(device.own("is no name of an interface").into());
        }
        if !good(name) {
            return Err(device.wrong("name", format!("{name:?} is no name of an interface")).into());
        }
        if links.iter().any(|other| other.name == name) {
            return Err(device.wrong("name", format!("{name} is given twice")).into());
        }
        links.push(Link { host: host.to_owned(), name: name.to_owned() });
    }
    if !links.is_empty() && !namespaces.own(NamespaceKind::Network) {
        return Err(member.own("needs a network namespace in linux.namespaces").into());
    }
    Ok(links)
}

/// As the kernel has it (dev_valid_name), and no pattern.
fn good(name: &str) -> bool {
    (1..16).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c == '%' || c == '\0' || c.is_ascii_whitespace())
}

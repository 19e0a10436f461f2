//! `rtctl network inspect`

use anyhow::Result;
use cri::network::{Attachment, Family, Network, Networks};
use serde_json::{Map, Value, json};

use super::network_list::{BUILTIN, builtin_id};
use crate::flag::time;
use crate::output::list;
use crate::store::name;
use crate::store::network::{self, explain};
use crate::store::roots::Roots;

/// Show all that is known of networks
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rtctl network inspect mine\n  rtctl network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}' mine"
)]
pub(crate) struct Args {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Networks have nothing more to show
    #[arg(short, long, hide = true)]
    verbose: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        roots.prepare()?;
        let networks = network::open(roots)?;
        let mut documents = Vec::new();
        let mut code = 0;
        for query in &self.networks {
            match document(roots, &networks, query) {
                Ok(document) => documents.push(document),
                Err(error) => {
                    eprintln!("rtctl: {error:#}");
                    code = 1;
                }
            }
        }
        if self.format.is_none() || !documents.is_empty() {
            list::documents(self.format.as_deref(), &documents, &list::pretty(&documents)?)?;
        }
        Ok(code)
    }
}

/// The document of a network, in docker's shape.
pub(super) fn document(roots: &Roots, networks: &Networks, query: &str) -> Result<Value> {
    if let Some((name, driver)) = BUILTIN.iter().find(|(name, _)| *name == query) {
        return Ok(json!({
            "Name": name,
            "Id": builtin_id(name),
            "Scope": "local",
            "Driver": driver,
            "IPAM": { "Driver": "default", "Options": null, "Config": null },
            "Containers": {},
            "Options": {},
            "Labels": {},
        }));
    }
    let network = networks.get(query).map_err(explain)?;
    let mut attachments = networks.attachments()?;
    attachments.retain(|attachment| attachment.network_id == network.id);
    let containers = attachments.iter().map(|attachment| (attachment.container.clone(), container(roots, attachment)));
    Ok(json!({
        "Name": network.name,
        "Id": network.id,
        "Created": time::rfc3339(network.created),
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": network.range(Family::V4).is_some(),
        "EnableIPv6": network.range(Family::V6).is_some(),
        "IPAM": { "Driver": "default", "Options": {}, "Config": subnets(&network) },
        "Internal": network.internal,
        "Attachable": false,
        "Ingress": false,
        "Bridge": network.bridge,
        "Containers": containers.collect::<Map<_, _>>(),
        "Options": network.options,
        "Labels": network.labels,
    }))
}

fn subnets(network: &Network) -> Vec<Value> {
    let range = |range: &cri::network::Range| {
        let mut value = json!({ "Subnet": range.subnet.to_string(), "Gateway": range.gateway.to_string() });
        if let (Some(part), Value::Object(map)) = (&range.ip_range, &mut value) {
            map.insert("IPRange".to_owned(), part.to_string().into());
        }
        value
    };
    network.subnets.iter().map(range).collect()
}

fn container(roots: &Roots, attachment: &Attachment) -> Value {
    let assigned = attachment.addresses();
    let text = |v6: bool| {
        let own = assigned.iter().find(|assigned| assigned.address.is_ipv6() == v6);
        own.map(|own| format!("{}/{}", own.address, own.prefix)).unwrap_or_default()
    };
    json!({
        "Name": name::of(roots, &attachment.container).or_else(|| attachment.names.first().cloned()),
        "MacAddress": attachment.mac.to_string(),
        "IPv4Address": text(false),
        "IPv6Address": text(true),
        "Interface": attachment.interface,
    })
}

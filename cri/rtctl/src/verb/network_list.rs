//! `rtctl network ls`

use std::collections::BTreeSet;

use anyhow::Result;
use cri::image::Digest;
use cri::network::{DEFAULT, Network, Networks};
use serde_json::json;

use crate::flag::network_filter::{self, Filter, Subject};
use crate::flag::time;
use crate::output::list::{self, Layout};
use crate::store::endpoint::Endpoints;
use crate::store::roots::Roots;
use crate::store::view::Container;
use crate::store::{id, network};
use crate::template::Context;

/// List networks
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only those that match: name, id, driver, scope, label, label!, dangling, type, until
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = network_filter::filter)]
    filter: Vec<Filter>,
    /// json, a Go template, or "table TEMPLATE"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  rtctl network ls
  rtctl network ls --filter type=custom -q
  rtctl network ls --format '{{.Name}}: {{.Subnets}}'

Fields: ID Name Driver Scope Subnets IPv4 IPv6 Internal Labels CreatedAt";

/// Names of what is no network but can be given to `--network`, with docker's names of their drivers.
pub(super) const BUILTIN: &[(&str, &str)] = &[("host", "host"), ("none", "null")];

/// The id that something that is no network is shown with: always the same.
pub(super) fn builtin_id(name: &str) -> String {
    Digest::of(format!("network {name}").as_bytes()).hex().to_owned()
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        roots.prepare()?;
        let networks = network::open(roots)?;
        let all = all(&networks)?;
        let used = used(roots, &networks)?;
        let mut items = Vec::new();
        for network in &all {
            let (name, id) = (network.name.as_str(), network.id.as_str());
            let subject = Subject { name, id, driver: "bridge", network: Some(network), used: used.contains(name) };
            if network_filter::all_hold(&self.filter, &subject) {
                items.push(self.item(name, id, "bridge", Some(network)));
            }
        }
        for (name, driver) in BUILTIN {
            let id = builtin_id(name);
            let subject = Subject { name, id: &id, driver, network: None, used: false };
            if network_filter::all_hold(&self.filter, &subject) {
                items.push(self.item(name, &id, driver, None));
            }
        }
        items.sort_by_key(|item| item.dot["Name"].to_string());
        if self.quiet && self.format.is_none() {
            return list::print(&Layout { format: Some("{{.ID}}"), table: "", headings: &[] }, &items).map(|()| 0);
        }
        let layout = Layout {
            format: self.format.as_deref(),
            table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}\t{{.Subnets}}",
            headings: &[
                ("ID", "NETWORK ID"),
                ("Name", "NAME"),
                ("Driver", "DRIVER"),
                ("Scope", "SCOPE"),
                ("Subnets", "SUBNETS"),
                ("IPv4", "IPV4"),
                ("IPv6", "IPV6"),
                ("Internal", "INTERNAL"),
                ("Labels", "LABELS"),
                ("CreatedAt", "CREATED AT"),
            ],
        };
        list::print(&layout, &items)?;
        Ok(0)
    }

    fn item(&self, name: &str, id: &str, driver: &str, network: Option<&Network>) -> Context {
        let labels = network.map(|network| network.labels.clone()).unwrap_or_default();
        let text: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let subnets: Vec<String> = network
            .map(|network| network.subnets.iter().map(|range| range.subnet.to_string()).collect())
            .unwrap_or_default();
        let has =
            |v6: bool| network.is_some_and(|network| network.subnets.iter().any(|range| range.gateway.is_ipv6() == v6));
        let dot = json!({
            "ID": if self.no_trunc { id } else { id::short(id) },
            "Name": name,
            "Driver": driver,
            "Scope": "local",
            "Subnets": subnets.join(", "),
            "IPv4": has(false).to_string(),
            "IPv6": has(true).to_string(),
            "Internal": network.is_some_and(|network| network.internal).to_string(),
            "Labels": text.join(","),
            "CreatedAt": network.map(|network| time::rfc3339(network.created)).unwrap_or_default(),
        });
        Context { dot, methods: [("Label", json!(labels))].into() }
    }
}

/// All networks, the default one, too, by name.
pub(super) fn all(networks: &Networks) -> Result<Vec<Network>> {
    networks.get(DEFAULT)?;
    let mut all = networks.list()?;
    all.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(all)
}

/// Names of the networks that containers are on, or will be on when they are started.
pub(super) fn used(roots: &Roots, networks: &Networks) -> Result<BTreeSet<String>> {
    let mut used: BTreeSet<String> = networks.attachments()?.into_iter().map(|attachment| attachment.network).collect();
    for container in Container::list(roots)? {
        // One that cannot be read keeps nothing from being removed but itself.
        let Ok(endpoints) = Endpoints::read(&container.dir) else { continue };
        used.extend(endpoints.networks.into_iter().map(|endpoint| endpoint.network));
    }
    Ok(used)
}

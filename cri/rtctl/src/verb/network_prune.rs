//! `rtctl network prune`

use anyhow::Result;
use cri::network::{DEFAULT, Error};

use super::{network_list, network_rm};
use crate::flag::network_filter::{self, Filter, Subject};
use crate::output::confirm::confirm;
use crate::output::say;
use crate::store::network;
use crate::store::roots::Roots;

/// Remove all networks that no container uses
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A network that a stopped container is to be on is used.\n\nExamples:\n  rtctl network prune\n  rtctl network prune -f --filter until=24h"
)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that match: until, label, label!
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
}

fn filter(text: &str) -> Result<Filter, String> {
    let parsed = network_filter::filter(text)?;
    match parsed {
        Filter::Label(..) | Filter::NotLabel(..) | Filter::Until(_) => Ok(parsed),
        Filter::Name(_)
        | Filter::Id(_)
        | Filter::Driver(_)
        | Filter::Scope(_)
        | Filter::Dangling(_)
        | Filter::Type(_) => Err(format!("{text:?}: must be until, label or label!")),
    }
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        if !self.force && !confirm("This removes all networks that no container uses. Go on?")? {
            return Ok(0);
        }
        let mut code = 0;
        let mut removed = Vec::new();
        for name in unused(roots, &self.filter)? {
            match network_rm::remove(roots, &name) {
                Ok(name) => removed.push(name),
                // Somebody took it, or removed it, meanwhile.
                Err(error) => match error.downcast_ref() {
                    Some(Error::InUse { .. } | Error::NoNetwork { .. }) => {}
                    _ => {
                        eprintln!("rtctl: {error:#}");
                        code = 1;
                    }
                },
            }
        }
        if !removed.is_empty() {
            say(&format!("Deleted Networks:\n{}", removed.join("\n")))?;
        }
        Ok(code)
    }
}

/// Names of the networks that no container is on or is to be on.
pub(crate) fn unused(roots: &Roots, filters: &[Filter]) -> Result<Vec<String>> {
    roots.prepare()?;
    let networks = network::open(roots)?;
    let used = network_list::used(roots, &networks)?;
    let mut unused = Vec::new();
    for network in network_list::all(&networks)? {
        if network.name == DEFAULT || used.contains(&network.name) {
            continue;
        }
        let subject =
            Subject { name: &network.name, id: &network.id, driver: "bridge", network: Some(&network), used: false };
        if network_filter::all_hold(filters, &subject) {
            unused.push(network.name.clone());
        }
    }
    Ok(unused)
}

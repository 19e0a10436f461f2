//! `rtctl network rm`

use anyhow::{Result, bail};
use cri::network::Error;

use crate::store::roots::Roots;
use crate::store::{name, network};

/// Remove networks that no container is on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl network rm mine")]
pub(crate) struct Args {
    /// What is not there need not be removed
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        Ok(super::each(&self.networks, |query| self.one(roots, query)))
    }

    fn one(&self, roots: &Roots, query: &str) -> Result<()> {
        match remove(roots, query) {
            Err(error) if self.force && matches!(error.downcast_ref(), Some(Error::NoNetwork { .. })) => {
                eprintln!("rtctl: {error:#}");
                Ok(())
            }
            result => result.map(drop),
        }
    }
}

/// Removes a network; its name.
pub(super) fn remove(roots: &Roots, query: &str) -> Result<String> {
    if ["none", "host"].contains(&query) {
        bail!("network {query} is predefined and cannot be removed");
    }
    match network::open(roots)?.remove(query) {
        Ok(network) => Ok(network.name),
        // By the names that people know.
        Err(Error::InUse { name, containers }) => {
            let containers = containers.iter().map(|id| name::of(roots, id).unwrap_or_else(|| id.clone())).collect();
            Err(Error::InUse { name, containers }.into())
        }
        Err(error) => Err(error.into()),
    }
}

//! `rtctl network disconnect`

use anyhow::{Result, bail};
use cri::network::Error;
use shim::local::Wait;

use super::network_connect::require_joins;
use crate::store::endpoint::Endpoints;
use crate::store::network::{self, explain};
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Take a container off a network, running or not
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl network disconnect mine web")]
pub(crate) struct Args {
    /// Also when the network is not there any more
    #[arg(short, long)]
    force: bool,
    /// Name or id of the network
    network: String,
    /// Name or id of the container
    container: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let name = match network::open(roots)?.get(&self.network) {
            Ok(network) => network.name,
            Err(Error::NoNetwork { .. }) if self.force => self.network.clone(),
            Err(error) => return Err(explain(error)),
        };
        let container = Container::find(roots, &self.container)?;
        let _changing = container.directory()?.lock(Wait::Yes)?;
        let container = Container::find(roots, &container.id)?;
        require_joins(&container)?;
        let mut endpoints = Endpoints::read(&container.dir)?;
        let before = endpoints.networks.len();
        endpoints.networks.retain(|endpoint| endpoint.network != name);
        if endpoints.networks.len() == before {
            bail!("container {} is not on network {name}", container.shown());
        }
        endpoints.write(&container.dir)?;
        network::leave_one(roots, &container, &name)?;
        Ok(0)
    }
}

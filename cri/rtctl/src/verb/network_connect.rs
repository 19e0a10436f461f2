//! `rtctl network connect`

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use cri::network::Mac;
use shim::local::Wait;

use crate::flag::network::{self as flag, DEFAULT, Endpoint, Link, NetworkMode};
use crate::store::endpoint::Endpoints;
use crate::store::network::{self, explain};
use crate::store::roots::Roots;
use crate::store::view::{Container, Phase};

/// Put a container on one more network, running or not
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl network connect --alias db mine web")]
pub(crate) struct Args {
    /// Another name for it on the network
    #[arg(long, value_name = "NAME", value_parser = flag::alias)]
    alias: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS", value_parser = flag::ip)]
    ip: Option<Ipv4Addr>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS", value_parser = flag::ip6)]
    ip6: Option<Ipv6Addr>,
    /// Hardware address
    #[arg(long, value_name = "MAC", value_parser = flag::mac)]
    mac_address: Option<Mac>,
    /// Know another container of the network by a name
    #[arg(long, value_name = "CONTAINER[:NAME]", value_parser = flag::link)]
    link: Vec<Link>,
    /// Name or id of the network
    network: String,
    /// Name or id of the container
    container: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let network = network::open(roots)?.get(&self.network).map_err(explain)?;
        if network.name == DEFAULT && !self.alias.is_empty() {
            bail!("--alias needs a network with names, which {DEFAULT} is not");
        }
        let container = Container::find(roots, &self.container)?;
        let _changing = container.directory()?.lock(Wait::Yes)?;
        let container = Container::find(roots, &container.id)?;
        require_joins(&container)?;
        let mut endpoints = Endpoints::read(&container.dir)?;
        if endpoints.networks.iter().any(|endpoint| endpoint.network == network.name) {
            bail!("container {} is on network {} already", container.shown(), network.name);
        }
        let endpoint =
            Endpoint { network: network.name, aliases: self.alias, ip: self.ip, ip6: self.ip6, mac: self.mac_address };
        for link in &self.link {
            let other = Container::find(roots, &link.container)?;
            endpoints.links.push(Link { container: other.id, alias: link.alias.clone() });
        }
        endpoints.networks.push(endpoint.clone());
        let before = Endpoints::read(&container.dir)?;
        // First what is wanted: should this program end now, the next start makes it so.
        endpoints.write(&container.dir)?;
        if container.phase().lives() {
            let shim = super::connect(&container)?;
            if let Err(error) = network::join_one(roots, &container, &endpoint, &shim) {
                before.write(&container.dir)?;
                return Err(error);
            }
        }
        Ok(0)
    }
}

/// An error unless it has a network namespace of its own that networks can be joined from.
pub(super) fn require_joins(container: &Container) -> Result<()> {
    if container.phase() == Phase::Removing {
        bail!("container {} is being removed", container.shown());
    }
    match &container.record()?.host.network {
        NetworkMode::Networks(_) => Ok(()),
        mode @ (NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::Path(_)) => bail!(
            "container {} was made with --network {}, and stays so; make it with --network NAME to change its networks later",
            container.shown(),
            mode.show()
        ),
    }
}

//! `rtctl port`

use anyhow::{Result, bail};

use crate::flag::port::{self, Port};
use crate::output::network::{container_port, host_text, published};
use crate::output::say;
use crate::store::network;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Show where on the host a container's published ports are
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl port web\n  rtctl port web 80\n  rtctl port dns 53/udp")]
pub(crate) struct Args {
    /// Name or id
    container: String,
    /// Only this port of the container
    #[arg(value_name = "PORT[/PROTOCOL]", value_parser = port::one)]
    port: Option<Port>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let container = Container::find(roots, &self.container)?;
        let ports = published(&network::attachments(roots, &container.id)?);
        let Some(wanted) = self.port else {
            for port in &ports {
                say(&format!("{} -> {}", container_port(port), host_text(port)))?;
            }
            return Ok(0);
        };
        let mut found = ports.iter().filter(|port| container_port(port) == wanted).peekable();
        if found.peek().is_none() {
            bail!("container {} publishes no port {wanted}", container.shown());
        }
        for port in found {
            say(&host_text(port))?;
        }
        Ok(0)
    }
}

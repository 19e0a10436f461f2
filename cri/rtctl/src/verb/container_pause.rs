//! `rtctl pause`

use anyhow::Result;
use shim::protocol::Request;

use crate::store::roots::Roots;

/// Freeze all processes of containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl pause web")]
pub(crate) struct Args {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let pause = |container: &crate::store::view::Container| Request::Pause { container: container.id.clone() };
        Ok(super::each(&self.containers, |query| super::ask(roots, query, pause)))
    }
}

//! `rtctl unpause`

use anyhow::Result;
use shim::protocol::Request;

use crate::store::roots::Roots;

/// Thaw containers that were paused
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl unpause web")]
pub(crate) struct Args {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let resume = |container: &crate::store::view::Container| Request::Resume { container: container.id.clone() };
        Ok(super::each(&self.containers, |query| super::ask(roots, query, resume)))
    }
}

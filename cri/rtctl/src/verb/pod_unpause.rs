//! `rtctl pod unpause`

use anyhow::Result;
use shim::protocol::Request;

use crate::store::pod::Pod;
use crate::store::roots::Roots;
use crate::store::view::{Container, Phase};

/// Thaw all processes of pods
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl pod unpause web")]
pub(crate) struct Args {
    /// Names or ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let request = |container: &Container| Request::Resume { container: container.id.clone() };
        Ok(super::each(&self.pods, |query| {
            let pod = Pod::find(roots, query)?;
            super::each_of(roots, &pod, Phase::Paused, request)
        }))
    }
}

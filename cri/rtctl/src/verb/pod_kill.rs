//! `rtctl pod kill`

use anyhow::Result;
use shim::protocol::Request;

use crate::flag::signal;
use crate::store::pod::Pod;
use crate::store::roots::Roots;
use crate::store::view::{Container, Phase};

/// Send a signal to all containers of pods; the pods stay
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl pod kill web\n  rtctl pod kill -s HUP web")]
pub(crate) struct Args {
    /// Signal, by name or number
    #[arg(short, long, default_value = "KILL", value_parser = signal::parse)]
    signal: i32,
    /// Names or ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let request =
            |container: &Container| Request::Kill { container: container.id.clone(), signal: self.signal, all: false };
        Ok(super::each(&self.pods, |query| {
            let pod = Pod::find(roots, query)?;
            super::each_of(roots, &pod, Phase::Running, request)
        }))
    }
}

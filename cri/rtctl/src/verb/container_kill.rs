//! `rtctl kill`

use anyhow::Result;
use shim::protocol::Request;

use crate::flag::signal;
use crate::store::roots::Roots;

/// Send a signal to containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl kill web\n  rtctl kill -s HUP web")]
pub(crate) struct Args {
    /// Signal, by name or number
    #[arg(short, long, default_value = "KILL", value_parser = signal::parse)]
    signal: i32,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        Ok(super::each(&self.containers, |query| {
            super::ask(roots, query, |container| Request::Kill {
                container: container.id.clone(),
                signal: self.signal,
                all: false,
            })
        }))
    }
}

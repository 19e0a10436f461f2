//! `rtctl logout`

use anyhow::Result;
use cri::image::registry::{Kept, server_name};

use crate::output::say;
use crate::transfer::RegistryFlags;

/// Forget the credentials for a registry
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl logout registry.example:5000")]
pub(crate) struct Args {
    #[command(flatten)]
    registries: RegistryFlags,
    /// The registry, HOST[:PORT]; docker.io where none is given
    #[arg(value_name = "SERVER", default_value = "docker.io", hide_default_value = true)]
    server: String,
}

impl Args {
    pub(crate) fn run(self) -> Result<u8> {
        let host = server_name(&self.server)?;
        match self.registries.keychain()?.forget(&host)? {
            Some(Kept::File(_) | Kept::Helper(_)) => say(&format!("Removing login credentials for {host}"))?,
            None => say(&format!("Not logged in to {host}"))?,
        }
        Ok(0)
    }
}

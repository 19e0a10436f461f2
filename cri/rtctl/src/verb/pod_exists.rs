//! `rtctl pod exists`

use anyhow::Result;

use crate::store::pod::{Missing, Pod};
use crate::store::roots::Roots;

/// Ask whether there is a pod: exit code 0, or 1
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl pod exists web || rtctl pod create --name web")]
pub(crate) struct Args {
    /// Name or id
    #[arg(value_name = "POD")]
    pod: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        match Pod::find(roots, &self.pod) {
            Ok(_) => Ok(0),
            Err(error) if error.is::<Missing>() => Ok(1),
            Err(error) => Err(error),
        }
    }
}

//! `rtctl volume rm`

use anyhow::Result;

use crate::store::roots::Roots;
use crate::store::volume;

/// Remove volumes that no container uses
#[derive(Debug, clap::Args)]
#[command(after_help = "Containers that use a volume are removed first: rtctl rm.\n\nExample:\n  rtctl volume rm data")]
pub(crate) struct Args {
    /// One that is not there is no error
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        volume::sweep(roots)?;
        Ok(super::each(&self.volumes, |name| {
            // A name that none can have must not become a path.
            let removed = volume::Volume::find(roots, name).and_then(|volume| volume::remove(roots, &volume.name));
            match removed {
                Err(error) if self.force && error.is::<volume::Missing>() => Ok(()),
                answer => answer,
            }
        }))
    }
}

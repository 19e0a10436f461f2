//! `rtctl pod rm`

use anyhow::Result;

use crate::store::pod::remove::remove_pod;
use crate::store::pod::{Missing, Pod};
use crate::store::remove::Force;
use crate::store::roots::Roots;

/// Remove pods with their containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl pod rm web\n  rtctl pod rm -f web db")]
pub(crate) struct Args {
    /// Kill containers that run; clean up whatever there is
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let force = if self.force { Force::Yes } else { Force::No };
        Ok(super::each(&self.pods, |query| match Pod::find(roots, query) {
            Ok(pod) => remove_pod(roots, &pod.id, force),
            // What is not there need not be removed.
            Err(error) if self.force && error.is::<Missing>() => {
                eprintln!("rtctl: {error:#}");
                Ok(())
            }
            Err(error) => Err(error),
        }))
    }
}

//! `rtctl pod prune`

use anyhow::Result;

use crate::output::confirm::confirm;
use crate::output::say;
use crate::store::pod::Pod;
use crate::store::pod::remove::remove_pod;
use crate::store::remove::Force;
use crate::store::roots::Roots;

/// Remove all pods of which nothing runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl pod prune -f")]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        if !self.force && !confirm("This removes all pods that are not running, with their containers. Go on?")? {
            return Ok(0);
        }
        crate::store::pod::remove::sweep(roots)?;
        let mut code = 0;
        for pod in Pod::list(roots)? {
            let containers = pod.containers(roots)?;
            if pod.record.is_err() || containers.iter().any(|container| container.phase().lives()) {
                continue;
            }
            match remove_pod(roots, &pod.id, Force::No) {
                Ok(()) => say(&pod.id)?,
                Err(error) => {
                    eprintln!("rtctl: {error:#}");
                    code = 1;
                }
            }
        }
        Ok(code)
    }
}

//! `rtctl pod start`

use anyhow::{Result, bail};

use super::{container_start, each};
use crate::store::pod::Pod;
use crate::store::pod::serve::serve;
use crate::store::roots::Roots;

/// Start pods with all their containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl pod start web")]
pub(crate) struct Args {
    /// Names or ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        Ok(each(&self.pods, |query| start(roots, &Pod::find(roots, query)?)))
    }
}

/// Starts a pod, then its containers, the oldest first; goes on after one that does not start.
pub(super) fn start(roots: &Roots, pod: &Pod) -> Result<()> {
    drop(serve(roots, &pod.id)?);
    let mut problems = Vec::new();
    for container in pod.containers(roots)? {
        if let Err(error) = container_start::background(roots, &container.id) {
            problems.push(format!("container {}: {error:#}", container.shown()));
        }
    }
    if problems.is_empty() { Ok(()) } else { bail!("pod {}: {}", pod.shown(), problems.join("; ")) }
}

//! `rtctl pod top`

use anyhow::{Result, bail};

use super::container_top;
use crate::store::pod::Pod;
use crate::store::roots::Roots;

/// Show the processes of all containers of a pod, with their numbers on the host
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl pod top web\n  rtctl pod top web -o pid,rss,args")]
pub(crate) struct Args {
    /// Name or id, then options for ps(1)
    #[arg(value_name = "POD [OPTION...]", trailing_var_arg = true, required = true)]
    words: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let Some((query, options)) = self.words.split_first() else { bail!("name a pod") };
        let pod = Pod::find(roots, query)?;
        let running: Vec<_> =
            pod.containers(roots)?.into_iter().filter(|container| container.pid().is_some()).collect();
        if running.is_empty() {
            bail!("no container of pod {0} is running; rtctl pod start {0} first", pod.shown());
        }
        container_top::show(&running, options)
    }
}

//! `rtctl pod ...`

use anyhow::Result;
use clap::Subcommand;

use super::{
    pod_create, pod_exists, pod_inspect, pod_kill, pod_list, pod_pause, pod_prune, pod_restart, pod_rm, pod_start,
    pod_stop, pod_top, pod_unpause,
};
use crate::store::roots::Roots;

/// Containers that share namespaces
#[derive(Debug, Subcommand)]
pub(crate) enum PodCommand {
    Create(Box<pod_create::Args>),
    #[command(visible_aliases = ["ps", "list"])]
    Ls(pod_list::Args),
    Inspect(pod_inspect::Args),
    Exists(pod_exists::Args),
    Start(pod_start::Args),
    Stop(pod_stop::Args),
    Restart(pod_restart::Args),
    Kill(pod_kill::Args),
    Pause(pod_pause::Args),
    Unpause(pod_unpause::Args),
    #[command(alias = "remove")]
    Rm(pod_rm::Args),
    Top(pod_top::Args),
    Prune(pod_prune::Args),
}

impl PodCommand {
    /// Carries it out; the exit code.
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        match self {
            PodCommand::Create(args) => args.run(roots),
            PodCommand::Ls(args) => args.run(roots),
            PodCommand::Inspect(args) => args.run(roots),
            PodCommand::Exists(args) => args.run(roots),
            PodCommand::Start(args) => args.run(roots),
            PodCommand::Stop(args) => args.run(roots),
            PodCommand::Restart(args) => args.run(roots),
            PodCommand::Kill(args) => args.run(roots),
            PodCommand::Pause(args) => args.run(roots),
            PodCommand::Unpause(args) => args.run(roots),
            PodCommand::Rm(args) => args.run(roots),
            PodCommand::Top(args) => args.run(roots),
            PodCommand::Prune(args) => args.run(roots),
        }
    }
}

//! The command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::store::roots::Roots;
// A verb is a module with `Args`: all of them are commands.
use crate::verb::*;

/// Runs containers and keeps images; needs no daemon.
#[derive(Debug, Parser)]
#[command(name = "rtctl", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Directory of images, layers, volumes and writable layers
    #[arg(long, value_name = "DIR", env = "RT_ROOT", default_value = "/var/lib/rt", hide_env = true)]
    pub(crate) root: PathBuf,
    /// Directory of what is true until the host restarts
    #[arg(long, value_name = "DIR", env = "RT_STATE", default_value = "/run/rt", hide_env = true)]
    pub(crate) state: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  rtctl load -i busybox.tar                  get an image from an archive
  rtctl run --rm busybox echo hello          run a program in a new container
  rtctl run --rootfs /:O -it sh              the same without any image
  rtctl run -d --name web -m 64m busybox httpd -f
  rtctl logs -f web
  rtctl exec -it web sh
  rtctl rm -f web

Environment: RT_ROOT and RT_STATE for --root and --state, RT_SHIM for the path of rt-shim.
Exit codes: 125 what rtctl itself could not do, 126 the command cannot be executed, 127 it is not there;
otherwise the command's own, 128+n after signal n.";

/// All commands. Containers' and images' have a long spelling, too: `rtctl container ls`, `rtctl image ls`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(container_run::Args),
    Create(container_create::Args),
    Start(container_start::Args),
    Stop(container_stop::Args),
    Restart(container_restart::Args),
    Kill(container_kill::Args),
    Rm(container_rm::Args),
    Ps(container_list::Args),
    Logs(container_logs::Args),
    Exec(container_exec::Args),
    Attach(container_attach::Args),
    Wait(container_wait::Args),
    Inspect(container_inspect::Args),
    Pause(container_pause::Args),
    Unpause(container_unpause::Args),
    Top(container_top::Args),
    Stats(container_stats::Args),
    Cp(container_cp::Args),
    Update(container_update::Args),
    Rename(container_rename::Args),
    Diff(container_diff::Args),
    Export(container_export::Args),
    Port(container_port::Args),
    Pull(image_pull::Args),
    Load(image_load::Args),
    Save(image_save::Args),
    Images(image_list::Args),
    Rmi(image_rm::Args),
    Tag(image_tag::Args),
    History(image_history::Args),
    Version(system_version::Args),
    Info(system_info::Args),
    Events(system_events::Args),
    /// Commands on containers
    #[command(subcommand)]
    Container(ContainerCommand),
    /// Commands on images
    #[command(subcommand)]
    Image(ImageCommand),
    Completion(system_completion::Args),
    #[command(name = "__complete", hide = true)]
    Complete(system_completion::CompleteArgs),
    Man(system_man::Args),
    /// Commands on networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Commands on everything
    #[command(subcommand)]
    System(SystemCommand),
    /// Commands on volumes
    #[command(subcommand)]
    Volume(VolumeCommand),
}

/// `rtctl volume ...`
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    Create(volume_create::Args),
    #[command(visible_alias = "list")]
    Ls(volume_list::Args),
    Inspect(volume_inspect::Args),
    #[command(alias = "remove")]
    Rm(volume_rm::Args),
    Prune(volume_prune::Args),
}

/// `rtctl container ...`
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    Run(container_run::Args),
    Create(container_create::Args),
    Start(container_start::Args),
    Stop(container_stop::Args),
    Restart(container_restart::Args),
    Kill(container_kill::Args),
    #[command(alias = "remove")]
    Rm(container_rm::Args),
    #[command(visible_alias = "ps")]
    Ls(container_list::Args),
    Logs(container_logs::Args),
    Exec(container_exec::Args),
    Attach(container_attach::Args),
    Wait(container_wait::Args),
    Inspect(container_inspect::ContainerArgs),
    Pause(container_pause::Args),
    Unpause(container_unpause::Args),
    Top(container_top::Args),
    Stats(container_stats::Args),
    Cp(container_cp::Args),
    Update(container_update::Args),
    Rename(container_rename::Args),
    Diff(container_diff::Args),
    Export(container_export::Args),
    Prune(container_prune::Args),
    Port(container_port::Args),
}

/// `rtctl image ...`
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    #[command(visible_alias = "list")]
    Ls(image_list::Args),
    Inspect(image_inspect::Args),
    Pull(image_pull::Args),
    Load(image_load::Args),
    Save(image_save::Args),
    #[command(alias = "remove")]
    Rm(image_rm::Args),
    Tag(image_tag::Args),
    History(image_history::Args),
    #[command(visible_alias = "verify")]
    Fsck(image_fsck::Args),
    Prune(image_prune::Args),
}

/// `rtctl system ...`
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    Df(system_df::Args),
    Info(system_info::Args),
}

/// `rtctl network ...`
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    Create(network_create::Args),
    #[command(visible_alias = "list")]
    Ls(network_list::Args),
    Inspect(network_inspect::Args),
    #[command(alias = "remove")]
    Rm(network_rm::Args),
    Connect(network_connect::Args),
    Disconnect(network_disconnect::Args),
    Prune(network_prune::Args),
    #[command(hide = true)]
    Release(network_release::Args),
}

impl Command {
    /// Carries it out; the exit code.
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        match self {
            Command::Run(args) => args.run(roots),
            Command::Create(args) => args.run(roots),
            Command::Start(args) => args.run(roots),
            Command::Stop(args) => args.run(roots),
            Command::Restart(args) => args.run(roots),
            Command::Kill(args) => args.run(roots),
            Command::Rm(args) => args.run(roots),
            Command::Ps(args) => args.run(roots),
            Command::Logs(args) => args.run(roots),
            Command::Exec(args) => args.run(roots),
            Command::Attach(args) => args.run(roots),
            Command::Wait(args) => args.run(roots),
            Command::Inspect(args) => args.run(roots),
            Command::Pause(args) => args.run(roots),
            Command::Unpause(args) => args.run(roots),
            Command::Top(args) => args.run(roots),
            Command::Stats(args) => args.run(roots),
            Command::Cp(args) => args.run(roots),
            Command::Update(args) => args.run(roots),
            Command::Rename(args) => args.run(roots),
            Command::Diff(args) => args.run(roots),
            Command::Export(args) => args.run(roots),
            Command::Port(args) => args.run(roots),
            Command::Pull(args) => args.run(roots),
            Command::Load(args) => args.run(roots),
            Command::Save(args) => args.run(roots),
            Command::Images(args) => args.run(roots),
            Command::Rmi(args) => args.run(roots),
            Command::Tag(args) => args.run(roots),
            Command::History(args) => args.run(roots),
            Command::Version(args) => args.run(),
            Command::Info(args) => args.run(roots),
            Command::Events(args) => args.run(roots),
            Command::Container(command) => command.run(roots),
            Command::Image(command) => command.run(roots),
            Command::Completion(args) => args.run(),
            Command::Complete(args) => args.run(roots),
            Command::Man(args) => args.run(),
            Command::Network(command) => command.run(roots),
            Command::System(command) => command.run(roots),
            Command::Volume(command) => command.run(roots),
        }
    }

    /// Whether the exit code may be that of a program in a container: then 125 is our own, else 1.
    pub(crate) fn runs_programs(&self) -> bool {
        match self {
            Command::Run(_) | Command::Create(_) | Command::Exec(_) => true,
            Command::Start(args) => args.attaches(),
            Command::Container(ContainerCommand::Run(_) | ContainerCommand::Create(_) | ContainerCommand::Exec(_)) => {
                true
            }
            Command::Container(ContainerCommand::Start(args)) => args.attaches(),
            _ => false,
        }
    }
}

impl ContainerCommand {
    fn run(self, roots: &Roots) -> Result<u8> {
        match self {
            ContainerCommand::Run(args) => args.run(roots),
            ContainerCommand::Create(args) => args.run(roots),
            ContainerCommand::Start(args) => args.run(roots),
            ContainerCommand::Stop(args) => args.run(roots),
            ContainerCommand::Restart(args) => args.run(roots),
            ContainerCommand::Kill(args) => args.run(roots),
            ContainerCommand::Rm(args) => args.run(roots),
            ContainerCommand::Ls(args) => args.run(roots),
            ContainerCommand::Logs(args) => args.run(roots),
            ContainerCommand::Exec(args) => args.run(roots),
            ContainerCommand::Attach(args) => args.run(roots),
            ContainerCommand::Wait(args) => args.run(roots),
            ContainerCommand::Inspect(args) => args.run(roots),
            ContainerCommand::Pause(args) => args.run(roots),
            ContainerCommand::Unpause(args) => args.run(roots),
            ContainerCommand::Top(args) => args.run(roots),
            ContainerCommand::Stats(args) => args.run(roots),
            ContainerCommand::Cp(args) => args.run(roots),
            ContainerCommand::Update(args) => args.run(roots),
            ContainerCommand::Rename(args) => args.run(roots),
            ContainerCommand::Diff(args) => args.run(roots),
            ContainerCommand::Export(args) => args.run(roots),
            ContainerCommand::Prune(args) => args.run(roots),
            ContainerCommand::Port(args) => args.run(roots),
        }
    }
}

impl ImageCommand {
    fn run(self, roots: &Roots) -> Result<u8> {
        match self {
            ImageCommand::Ls(args) => args.run(roots),
            ImageCommand::Inspect(args) => args.run(roots),
            ImageCommand::Pull(args) => args.run(roots),
            ImageCommand::Load(args) => args.run(roots),
            ImageCommand::Save(args) => args.run(roots),
            ImageCommand::Rm(args) => args.run(roots),
            ImageCommand::Tag(args) => args.run(roots),
            ImageCommand::History(args) => args.run(roots),
            ImageCommand::Fsck(args) => args.run(roots),
            ImageCommand::Prune(args) => args.run(roots),
        }
    }
}

impl SystemCommand {
    fn run(self, roots: &Roots) -> Result<u8> {
        match self {
            SystemCommand::Df(args) => args.run(roots),
            SystemCommand::Info(args) => args.run(roots),
        }
    }
}

impl VolumeCommand {
    fn run(self, roots: &Roots) -> Result<u8> {
        match self {
            VolumeCommand::Create(args) => args.run(roots),
            VolumeCommand::Ls(args) => args.run(roots),
            VolumeCommand::Inspect(args) => args.run(roots),
            VolumeCommand::Rm(args) => args.run(roots),
            VolumeCommand::Prune(args) => args.run(roots),
        }
    }
}

impl NetworkCommand {
    fn run(self, roots: &Roots) -> Result<u8> {
        match self {
            NetworkCommand::Create(args) => args.run(roots),
            NetworkCommand::Ls(args) => args.run(roots),
            NetworkCommand::Inspect(args) => args.run(roots),
            NetworkCommand::Rm(args) => args.run(roots),
            NetworkCommand::Connect(args) => args.run(roots),
            NetworkCommand::Disconnect(args) => args.run(roots),
            NetworkCommand::Prune(args) => args.run(roots),
            NetworkCommand::Release(args) => args.run(roots),
        }
    }
}

//! `rtctl exec`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cri::spec::{CapabilityChange, EnvChange, Host};
use runtime::spec::{Process, User};
use shim::protocol::{ExecOptions, Reply, Request, Streams};

use crate::flag::env;
use crate::rootfs;
use crate::session::detach::DetachKeys;
use crate::session::foreground::begin;
use crate::session::relay::{self, Caller, Manner, Outcome, PassSignals, Peer};
use crate::session::{signal_code, terminal};
use crate::store::id;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Run one more command in a running container
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "rtctl exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    after_help = "Examples:\n  rtctl exec web ps\n  rtctl exec -it -u nobody -w /tmp web sh"
)]
pub(crate) struct Args {
    /// Leave it in the background
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave it running
    #[arg(long, value_name = "KEYS", value_parser = DetachKeys::parse)]
    detach_keys: Option<DetachKeys>,
    /// Set a variable; NAME alone passes on the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// All capabilities for the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo terminal
    #[arg(short, long)]
    tty: bool,
    /// User and group, names or numbers
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Container, then the command and its arguments; flags end here
    #[arg(value_name = "CONTAINER COMMAND [ARG...]", trailing_var_arg = true, required = true)]
    words: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let Some((query, command)) = self.words.split_first() else { bail!("name a container and a command") };
        if command.is_empty() {
            bail!("name a command to run in container {query}");
        }
        if self.tty && self.interactive && !self.detach && !terminal::stdin_is_terminal() {
            bail!("the input is not a terminal; leave out -t, or -i");
        }
        let container = Container::find(roots, query)?;
        let pid = container.require_running()?;
        let process = self.process(&container, pid, command)?;
        let connection = super::connect(&container)?;
        let exec_id = id::new()?.get(..16).unwrap_or_default().to_owned();
        let streams = match self.detach {
            true => Streams::default(),
            false => Streams { stdin: self.interactive, stdout: true, stderr: !self.tty },
        };
        let peer = Peer { container: container.id.clone(), exec_id: Some(exec_id.clone()), terminal: self.tty };
        let request = Request::Exec {
            container: container.id.clone(),
            exec_id,
            process: Box::new(process),
            streams,
            options: ExecOptions::default(),
        };
        if self.detach {
            return match connection.request(&request, &[])? {
                Reply::Started { .. } => Ok(0),
                other => bail!("unexpected answer of the shim: {other:?}"),
            };
        }
        let manner = Manner { detach: self.detach_keys.unwrap_or_default(), signals: PassSignals::Yes };
        let caller = Caller::prepare(&manner, self.tty && self.interactive)?;
        let (mut session, pipes, reply) = begin(connection, &request, streams)?;
        match reply {
            Reply::Started { .. } => {}
            other => bail!("unexpected answer of the shim: {other:?}"),
        }
        let outcome = relay::relay(&mut session, pipes, &caller, &peer, manner)?;
        drop(caller);
        match outcome {
            Outcome::Exited(exit) => Ok(super::exit_code(exit.code)),
            Outcome::Detached => Ok(0),
            Outcome::Signal(signal) => Ok(signal_code(signal)),
            Outcome::BrokenPipe => Ok(signal_code(nix::libc::SIGPIPE)),
            Outcome::Gone => bail!("the shim of container {} ended", container.shown()),
        }
    }

    /// What runs: the container's own process, with the command and what the flags change.
    fn process(&self, container: &Container, pid: i32, command: &[String]) -> Result<Process> {
        let record = container.record()?;
        let own = container.spec()?.process.context("config.json has no process")?;
        if let Some(workdir) = &self.workdir
            && !workdir.starts_with('/')
        {
            bail!("--workdir {workdir:?}: must be an absolute path in the container");
        }
        let root = rootfs::running(pid)?;
        let user = self.user.as_ref().unwrap_or(&record.config.user);
        let identity = cri::image::identity::resolve(&root, user, &record.host.group_add)?;
        let changes = env::environment(&self.env_file, &self.env)?;
        let unset: Vec<&str> = changes
            .iter()
            .filter_map(|change| match change {
                EnvChange::Set(..) => None,
                EnvChange::Unset(name) => Some(name.as_str()),
            })
            .collect();
        let merged = cri::spec::merged_environment(&record.config.env, &changes);
        let hostname = Some(record.config.hostname.as_str()).filter(|name| !name.is_empty());
        let bounding = own.capabilities.as_ref().map(|sets| sets.bounding.clone()).unwrap_or_default();
        let capabilities = if self.privileged {
            let host = Host::read().context("reading the host's capabilities")?;
            let all = cri::spec::effective_capabilities(&CapabilityChange::default(), true, &host)?;
            cri::spec::capability_sets(&all.iter().map(ToString::to_string).collect::<Vec<_>>(), identity.uid)
        } else {
            cri::spec::capability_sets(&bounding, identity.uid)
        };
        Ok(Process {
            terminal: self.tty,
            console_size: terminal::size().filter(|_| self.tty),
            user: User {
                uid: identity.uid,
                gid: identity.gid,
                umask: own.user.umask,
                additional_gids: identity.additional_gids.clone(),
            },
            args: command.to_vec(),
            env: cri::spec::environment(&merged, &unset, self.tty, hostname, &identity.home),
            cwd: self.workdir.clone().unwrap_or(own.cwd),
            capabilities: Some(capabilities),
            ..own
        })
    }
}

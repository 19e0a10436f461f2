//! What `rt-shim` does: one thread, one loop over requests, exits, output and timers.
//!
//! ```text
//!            ┌────────────── poller (epoll) ──────────────┐
//!   listener │ connections │ SIGCHLD │ output │ input │ clients' pipes │ timers
//!      │           │            │        └───────┴──────────┴── relay
//!    accept     request ─▶ verbs table ─▶ start, stop, exec, attach, update, removal
//!                               │
//!                      exits: reap ▸ kill the rest ▸ drain output ▸ status.json ▸ tell
//! ```
//!
//! Nothing here waits for a client: all its descriptors are non-blocking and what is kept for it is bounded. The shim waits only
//! for the kernel and, while a container is being made, for that container's init and hooks.

mod attach;
mod connection;
mod container;
mod create;
mod event;
mod exec;
mod exit;
mod health;
mod oom_score;
mod pod;
mod poller;
mod process;
mod program;
mod relay;
mod removal;
mod request;
mod sandbox;
mod signal;
mod startup;
mod timers;
mod tracers;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signalfd::SignalFd;
use runtime::cgroup;
use runtime::launch::Bundles;
use runtime::sys::{Call, CallError};

use crate::layout::Ends;
use crate::protocol::FailureKind;
use attach::Attachment;
use connection::Connection;
use container::{Container, Phase};
use poller::{Poller, Token};
use process::Process;
use sandbox::Sandbox;
use startup::Inherited;
use timers::{Timer, Timers};

pub use startup::serve;

/// A request that was not carried out.
#[derive(Debug)]
struct Failure {
    kind: FailureKind,
    message: String,
}

impl Failure {
    fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    fn internal(error: impl ToString) -> Self {
        Self::new(FailureKind::Internal, error.to_string())
    }
}

/// The shim.
struct Server {
    poller: Poller,
    timers: Timers,
    /// Source of ids; none is used twice.
    last_id: u64,
    listener: OwnedFd,
    children: SignalFd,
    /// The shim's directory, and its absolute path.
    dir: OwnedFd,
    path: PathBuf,
    /// What status records say of the shim.
    boot_id: String,
    identity: (i32, u64),
    /// What the shim changed of itself.
    inherited: Inherited,
    /// Most clients that wait for something at a time.
    sessions_limit: usize,
    /// Found when it is first needed.
    host: Option<cgroup::Host>,
    /// OOM kills in the slice of the pod's scopes, as far as it is known whose they are.
    oom_kills_charged: u64,
    connections: BTreeMap<u64, Connection>,
    containers: BTreeMap<String, Container>,
    processes: BTreeMap<u64, Process>,
    attachments: BTreeMap<u64, Attachment>,
    sandbox: Sandbox,
    /// Containers that are frozen while another one enters their pid namespace.
    frozen: Vec<String>,
    /// Bundles of containers that other runtimes run; made with the first.
    bundles: Option<Bundles>,
    /// Whether that runtime can put a process into a group below its container's; found when it is first needed.
    program_takes_cgroup: Option<bool>,
    /// Most descriptors that are held for clients.
    held_limit: usize,
    /// Buffers to work in: what was read, and log records.
    scratch: Vec<u8>,
    gather: Vec<u8>,
    /// The directory of the shim has been removed, or could not be and is left to whoever removes it by hand.
    removed: bool,
}

impl Server {
    /// Serves until nothing is left to serve.
    fn run(&mut self) -> Result<(), CallError> {
        let mut tokens = Vec::new();
        while !self.finished() {
            tokens.clear();
            self.poller.wait(self.timers.next(), &mut tokens).call(|| "epoll_wait()".to_owned())?;
            for token in &tokens {
                self.ready(*token);
            }
            while let Some(timer) = self.timers.take(Instant::now()) {
                match timer {
                    Timer::Stop(container) => self.stop_overdue(&container),
                    Timer::Restart(container) => self.restart_due(&container),
                    Timer::Drain(process) => self.drain_overdue(process),
                    Timer::Health(container) => self.health_due(&container),
                    Timer::Check(process) => self.check_overdue(process),
                    Timer::ExecLimit(process) => self.exec_overdue(process),
                    Timer::OnExit => self.on_exit_overdue(),
                    Timer::StopSandbox => self.stop_sandbox_overdue(),
                    Timer::Entering => self.entering_overdue(),
                }
            }
            self.thaw_tracers();
            self.release_if_stopped();
        }
        Ok(())
    }

    fn ready(&mut self, token: Token) {
        match token {
            Token::Listener => self.accept(),
            Token::Children => self.reap(),
            Token::Connection(id) => self.connection_ready(id),
            Token::Output(process, stream) => self.output_ready(process, stream),
            Token::Input(process) => self.input_ready(process),
            Token::Source(attachment) => self.source_ready(attachment),
            Token::Sink(attachment, stream) => self.sink_ready(attachment, stream),
            Token::Journal(process) => self.journal_ready(process),
            Token::Memory(process) => self.memory_changed(process),
        }
    }

    /// Whether the shim has nothing to do and never will.
    fn finished(&mut self) -> bool {
        if self.removed {
            return true;
        }
        let idle = self.connections.is_empty()
            && self.processes.is_empty()
            && self.containers.values().all(|container| matches!(container.phase, Phase::Exited));
        if idle {
            // Whoever has just knocked is served first.
            self.accept();
        }
        if !idle || !self.connections.is_empty() {
            return false;
        }
        match &self.sandbox {
            Sandbox::None => true,
            Sandbox::Releasing(_) => false,
            Sandbox::Ready(ready) if ready.ends == Ends::OnRequest => false,
            // Whoever wanted it has gone before there was a container.
            Sandbox::Ready(_) => {
                self.release_sandbox();
                matches!(self.sandbox, Sandbox::None)
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The cgroup hierarchies of this machine.
    fn host(&mut self) -> Result<&cgroup::Host, cgroup::Error> {
        let host = match self.host.take() {
            Some(host) => host,
            None => cgroup::Host::detect()?,
        };
        Ok(self.host.insert(host))
    }
}

/// Whether a read or write would have to wait.
fn would_wait(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::EINTR)
}

//! A container: its configuration, its state, its record.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use runtime::cgroup::{Below, Cgroup, OomFd};
use runtime::spec::Spec;

use super::health::Check;
use super::{Failure, Server};
use crate::layout::{Exit, Health, State, Status, Task, VERSION};
use crate::log::Log;
use crate::protocol::FailureKind;
use crate::record;
use crate::verbs::{Condition, Verb, allowed};

/// A container of the shim.
pub(super) struct Container {
    pub(super) dir: OwnedFd,
    /// Absolute path of its directory.
    pub(super) path: PathBuf,
    pub(super) home: Home,
    pub(super) spec: Spec,
    /// Namespaces of others that it joins, held open; the spec names them by descriptor.
    #[expect(dead_code, reason = "held, not read")]
    pub(super) joined: Vec<OwnedFd>,
    pub(super) task: Task,
    /// Whether its /dev/shm is the sandbox's.
    pub(super) shares_shm: bool,
    /// The pid namespace of others that it enters, by its number.
    pub(super) entered: Option<u64>,
    /// Whether a process of it may trace others that are not its own.
    pub(super) traces: bool,
    pub(super) cgroup: Option<Cgroup>,
    /// Groups of exec sessions that have ended and left processes behind.
    pub(super) left: Vec<Below>,
    /// Its path, for the record.
    pub(super) cgroup_path: String,
    pub(super) log: Option<Log>,
    pub(super) phase: Phase,
    /// Start of the current or last run, in nanoseconds since the epoch.
    pub(super) started_at: u64,
    /// The same on the clock that does not jump.
    pub(super) started: Option<Instant>,
    pub(super) last_exit: Option<Exit>,
    pub(super) restart_count: u32,
    /// The pause before this run, if the restart policy started it.
    pub(super) pause: Option<Duration>,
    /// Somebody stopped it by hand.
    pub(super) stopped: bool,
    /// OOM kills in its cgroup before this run.
    pub(super) oom_kills: u64,
    /// Tells of OOM kills of this run at once, where the cgroup may be gone before its processes' ends are known.
    pub(super) oom: Option<OomFd>,
    /// OOM kills as last told by it.
    pub(super) oom_kills_seen: u64,
    /// What its health checks found, if there are any.
    pub(super) health: Option<Health>,
    /// The one that runs.
    pub(super) check: Option<Check>,
    /// It is started again when it has ended, whatever its policy says.
    pub(super) again: bool,
    pub(super) error: Option<String>,
    /// Whether the record says already that the log loses output.
    pub(super) log_problem_told: bool,
}

/// Whose a container's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// The shim's own: it is removed along with the container, and the shim ends then.
    Shim,
    /// The container's, given by descriptor: removed along with it.
    Own,
    /// Below the shim's; whoever made it removes it.
    Below,
}

/// State of a container; numbers are of its init process in `Server::processes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its init process is being made.
    Creating,
    /// It waits for Start.
    Created(u64),
    /// It runs.
    Running(u64),
    /// It is frozen.
    Paused(u64),
    /// It has ended; output is still read.
    Ending(u64),
    /// It has ended and that is recorded; its sandbox is being let go.
    Releasing,
    /// It starts again at this time, in nanoseconds since the epoch.
    Restarting(u64),
    /// It has ended, or could not be made.
    Exited,
}

impl Phase {
    /// The state as requests see it. While a container is being made no request is served.
    pub(super) fn condition(self) -> Condition {
        match self {
            Self::Creating | Self::Created(_) => Condition::Created,
            Self::Running(_) => Condition::Running,
            Self::Paused(_) => Condition::Paused,
            Self::Ending(_) | Self::Releasing => Condition::Ending,
            Self::Restarting(_) => Condition::Restarting,
            Self::Exited => Condition::Exited,
        }
    }

    /// The init process, if there is one.
    pub(super) fn init(self) -> Option<u64> {
        match self {
            Self::Created(init) | Self::Running(init) | Self::Paused(init) => Some(init),
            Self::Creating | Self::Ending(_) | Self::Releasing | Self::Restarting(_) | Self::Exited => None,
        }
    }
}

impl Server {
    /// The container of a request, if the request is allowed now.
    ///
    /// # Errors
    /// There is none, or not now.
    pub(super) fn container(&mut self, id: &str, verb: Verb) -> Result<&mut Container, Failure> {
        let container = self.containers.get_mut(id).ok_or_else(|| not_found(id))?;
        match allowed(verb, container.phase.condition()) {
            Ok(()) => Ok(container),
            Err(reason) => Err(Failure::new(FailureKind::WrongState, reason)),
        }
    }

    /// The record of a container as it is now.
    pub(super) fn status(&self, container: &Container) -> Status {
        let init =
            |process: u64| self.processes.get(&process).map_or((0, 0), |init| (init.pid.as_raw(), init.start_time));
        let state = match container.phase {
            Phase::Creating => State::Creating,
            Phase::Created(process) => State::Created { init: init(process) },
            // Until its output has been read it counts as running; its process id is not reused before that.
            Phase::Running(process) | Phase::Ending(process) => State::Running { init: init(process) },
            Phase::Paused(process) => State::Paused { init: init(process) },
            Phase::Restarting(at) => State::Restarting { at },
            Phase::Releasing | Phase::Exited => State::Exited,
        };
        let log = container.log.as_ref();
        let lost = log.and_then(Log::problem).map(|problem| format!("the log loses output: {problem}"));
        Status {
            version: VERSION,
            boot_id: self.boot_id.clone(),
            shim: self.identity,
            cgroup: Some(container.cgroup_path.clone()),
            state,
            restart_count: container.restart_count,
            started_at: container.started_at,
            last_exit: container.last_exit.clone(),
            error: container.error.clone().or(lost),
            log_dropped: log.map_or(0, Log::dropped),
            health: container.health.as_ref().map(|health| health.status),
        }
    }

    /// Writes the record of a container.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(super) fn record(&mut self, id: &str) -> Result<(), Failure> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        record::write(&container.dir, &self.status(container)).map_err(Failure::internal)
    }

    /// Writes the record where there is nobody to tell that this failed (a full disk): the container goes on, `State` still knows
    /// the truth, and once the shim has gone the old record is read as "the shim died".
    pub(super) fn record_quietly(&mut self, id: &str) {
        let _ = self.record(id);
    }
}

/// There is no such container here.
pub(super) fn not_found(id: &str) -> Failure {
    Failure::new(FailureKind::NotFound, format!("no container {id:?} in this shim"))
}

//! Exec and KillExec.

use std::os::fd::OwnedFd;
use std::time::Instant;

use runtime::cgroup::Below;
use runtime::launch;
use runtime::spec::Process as ProcessSpec;

use super::container::{Phase, not_found};
use super::event::with_command;
use super::process::{Process, Role, streams};
use super::signal::{Targets, check_signal};
use super::timers::Timer;
use super::{Failure, Server};
use crate::layout::Stdin;
use crate::protocol::{ExecOptions, FailureKind, Reply, Streams};
use crate::record;
use crate::verbs::Verb;

/// An Exec request.
pub(super) struct Exec {
    pub(super) container: String,
    pub(super) name: String,
    pub(super) process: ProcessSpec,
    pub(super) streams: Streams,
    pub(super) options: ExecOptions,
    pub(super) fds: Vec<OwnedFd>,
}

impl Server {
    /// Exec: one more process, and a session that is told of its end.
    pub(super) fn exec(&mut self, connection: u64, exec: Exec) -> Result<Reply, Failure> {
        let Exec { container: id, name, mut process, streams: wanted, options, fds } = exec;
        self.inherited.give(&mut process);
        let phase = self.container(&id, Verb::Exec)?.phase;
        self.allow_exec(&id, &process)?;
        if self.find_exec(&id, &name).is_ok() {
            return Err(Failure::new(FailureKind::Invalid, format!("exec session {name:?} exists already")));
        }
        self.check_session_free(connection, self.sessions_limit)?;
        let clients = super::attach::check(wanted, fds)?;
        let takes_cgroup = options.limit.is_none() || self.takes_cgroup(&id);
        let init = phase.init().and_then(|number| self.processes.get(&number));
        let (Some(init), Some(container)) = (init, self.containers.get(&id)) else { return Err(not_found(&id)) };
        if options.container_env {
            let own = container.spec.process.iter().flat_map(|own| own.env.iter().cloned());
            process.env = own.chain(std::mem::take(&mut process.env)).collect();
            process.env_bytes = container.spec.process.iter().flat_map(|own| own.env_bytes.clone()).collect();
        }
        let stdin = if wanted.stdin { Stdin::Once } else { Stdin::Closed };
        let (stdio, mut ends) = streams(&process, &container.spec, stdin).map_err(Failure::internal)?;
        let by_program = container.task.program.is_some();
        let group = match (&container.cgroup, options.limit) {
            (Some(_), Some(_)) if by_program && !takes_cgroup => None,
            // By the number that the process gets: nobody else's as long as the shim lives.
            (Some(cgroup), Some(_)) => {
                let name = format!("exec-{}", self.last_id + 1);
                let below = if by_program { cgroup.below_for_others(&name) } else { cgroup.below(&name) };
                Some(below.map_err(Failure::internal)?)
            }
            (None, _) | (_, None) => None,
        };
        let executed = if by_program {
            self.exec_by_program(&id, &process, group.as_ref(), (stdio, &ends))
        } else {
            let executed = launch::exec(launch::Exec {
                init: init.pidfd(),
                spec: &container.spec,
                id: &id,
                bundle: &container.path,
                process: &process,
                cgroup: container.cgroup.as_ref(),
                below: group.as_ref(),
                unit: None,
                stdio,
                preserve_fds: 0,
                keyring: launch::Keyring::Own,
            });
            executed.map_err(|error| Failure::launch(&error))
        };
        let executed = match executed {
            Ok(executed) => executed,
            Err(error) => {
                // Nothing is in it, or it goes with the container.
                let _ = group.map(|group| group.remove());
                return Err(error);
            }
        };
        let connected = ends.connect(executed.console, stdin);
        let pid = executed.pid;
        let number = self.add_process(Process {
            container: id.clone(),
            role: Role::Exec { name: name.clone(), pidfd: executed.pidfd, group },
            pid,
            start_time: record::start_time(pid.as_raw()).ok().flatten().unwrap_or(0),
            ends,
            attachments: Vec::new(),
            exit: None,
        });
        if let Some(at) = options.limit.and_then(|limit| Instant::now().checked_add(limit)) {
            self.timers.set(at, Timer::ExecLimit(number));
        }
        let execution = [("execID", name)];
        for action in ["exec_create", "exec_start"] {
            self.event(&id, &with_command(action, &process.args), &execution);
        }
        if let Err(error) = connected {
            self.signal(number, 9)?;
            return Err(Failure::internal(error));
        }
        self.add_attachment(connection, &id, number, clients)?;
        Ok(Reply::Started { pid: pid.as_raw() })
    }

    /// An exec session takes too long.
    pub(super) fn exec_overdue(&mut self, number: u64) {
        let Some(process) = self.processes.get(&number) else { return };
        match &process.role {
            // What cannot be killed by its group is by what can be seen of it.
            Role::Exec { group: Some(group), .. } if group.kill().is_ok() => {}
            Role::Exec { .. } | Role::Init(_) | Role::Check { .. } => self.kill_descendants(number),
        }
    }

    /// An exec session has ended: its group is removed, once all that it left running has ended.
    pub(super) fn exec_over(&mut self, id: &str, number: u64, group: Option<Below>) {
        self.timers.cancel(&Timer::ExecLimit(number));
        if let Some(container) = self.containers.get_mut(id) {
            container.left.extend(group);
            // What cannot be removed goes with the container.
            container.left.retain(|group| group.remove().is_ok_and(|removed| !removed));
        }
    }

    /// KillExec: a signal for one of them.
    pub(super) fn kill_exec(&mut self, id: &str, name: &str, signal: i32, targets: Targets) -> Result<Reply, Failure> {
        check_signal(signal)?;
        let number = self.find_exec(id, name)?;
        if self.containers.get(id).is_some_and(|container| matches!(container.phase, Phase::Paused(_))) && signal != 9 {
            return Err(Failure::new(FailureKind::WrongState, "container is paused; resume it first"));
        }
        match targets {
            Targets::All if signal == 9 => self.exec_overdue(number),
            Targets::All | Targets::Init => self.signal(number, signal)?,
        }
        Ok(Reply::Done)
    }

    /// The process of an exec session.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn find_exec(&self, id: &str, name: &str) -> Result<u64, Failure> {
        let mut processes = self.processes.iter();
        let found = processes.find(|(_, process)| {
            process.container == id && matches!(&process.role, Role::Exec { name: other, .. } if other == name)
        });
        let missing = || Failure::new(FailureKind::NotFound, format!("container {id} has no exec session {name:?}"));
        found.map(|(number, _)| *number).ok_or_else(missing)
    }
}

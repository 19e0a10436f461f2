//! Exec and KillExec.

use std::os::fd::OwnedFd;

use runtime::launch;
use runtime::spec::Process as ProcessSpec;

use super::container::{Phase, not_found};
use super::event::with_command;
use super::process::{Process, Role, streams};
use super::signal::check_signal;
use super::{Failure, Server};
use crate::layout::Stdin;
use crate::protocol::{FailureKind, Reply, Streams};
use crate::record;
use crate::verbs::Verb;

/// An Exec request.
pub(super) struct Exec {
    pub(super) container: String,
    pub(super) name: String,
    pub(super) process: ProcessSpec,
    pub(super) streams: Streams,
    pub(super) fds: Vec<OwnedFd>,
}

impl Server {
    /// Exec: one more process, and a session that is told of its end.
    pub(super) fn exec(&mut self, connection: u64, exec: Exec) -> Result<Reply, Failure> {
        let Exec { container: id, name, mut process, streams: wanted, fds } = exec;
        self.inherited.give(&mut process);
        let phase = self.container(&id, Verb::Exec)?.phase;
        self.allow_exec(&id, &process)?;
        if self.find_exec(&id, &name).is_ok() {
            return Err(Failure::new(FailureKind::Invalid, format!("exec session {name:?} exists already")));
        }
        self.check_session_free(connection, self.sessions_limit)?;
        let clients = super::attach::check(wanted, fds)?;
        let init = phase.init().and_then(|number| self.processes.get(&number));
        let (Some(init), Some(container)) = (init, self.containers.get(&id)) else { return Err(not_found(&id)) };
        let stdin = if wanted.stdin { Stdin::Once } else { Stdin::Closed };
        let (stdio, mut ends) = streams(&process, &container.spec, stdin).map_err(Failure::internal)?;
        let executed = launch::exec(launch::Exec {
            init: init.pidfd(),
            spec: &container.spec,
            process: &process,
            cgroup: container.cgroup.as_ref(),
            stdio,
            preserve_fds: 0,
        })
        .map_err(|error| Failure::launch(&error))?;
        let connected = ends.connect(executed.console, stdin);
        let pid = executed.pid;
        let number = self.add_process(Process {
            container: id.clone(),
            role: Role::Exec { name: name.clone(), pidfd: executed.pidfd },
            pid,
            start_time: record::start_time(pid.as_raw()).ok().flatten().unwrap_or(0),
            ends,
            attachments: Vec::new(),
            exit: None,
        });
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

    /// KillExec: a signal for one of them.
    pub(super) fn kill_exec(&mut self, id: &str, name: &str, signal: i32) -> Result<Reply, Failure> {
        check_signal(signal)?;
        let number = self.find_exec(id, name)?;
        if self.containers.get(id).is_some_and(|container| matches!(container.phase, Phase::Paused(_))) && signal != 9 {
            return Err(Failure::new(FailureKind::WrongState, "container is paused; resume it first"));
        }
        self.signal(number, signal)?;
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

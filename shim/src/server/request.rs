//! Requests: one place that knows them all.

use std::os::fd::OwnedFd;

use runtime::spec::{ConsoleSize, Resources};
use runtime::sys::{Call, tty};

use super::connection::Session;
use super::container::{Phase, not_found};
use super::exec::Exec;
use super::signal::Targets;
use super::{Failure, Server, oom_score};
use crate::layout::RestartPolicy;
use crate::log::Stream;
use crate::protocol::{FailureKind, Reply, Request};
use crate::verbs::Verb;
use crate::{record, update};

impl Server {
    /// Carries out a request. `None`: the answer comes later.
    ///
    /// # Errors
    /// Why it was not carried out.
    pub(super) fn handle(
        &mut self,
        connection: u64,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<Option<Reply>, Failure> {
        let takes = matches!(
            request,
            Request::Create { .. } | Request::Exec { .. } | Request::Attach { .. } | Request::Hold {}
        );
        if !fds.is_empty() && !takes {
            return Err(Failure::new(FailureKind::Invalid, "descriptors come with create, exec, attach and hold only"));
        }
        match request {
            Request::Create { container, dir } => self.create(&container, &dir, fds).map(Some),
            Request::Start { container } => self.start(&container).map(Some),
            Request::Kill { container, signal, all } => {
                let targets = if all { Targets::All } else { Targets::Init };
                self.kill(&container, signal, targets).map(Some)
            }
            Request::Stop { container, signal, timeout } => self.stop(connection, &container, signal, timeout),
            Request::Pause { container } => self.pause(&container).map(Some),
            Request::Resume { container } => self.resume(&container).map(Some),
            Request::Update { container, resources, restart, oom_score_adj } => {
                self.update(&container, resources.map(|resources| *resources), restart, oom_score_adj).map(Some)
            }
            Request::Exec { container, exec_id, process, streams, options } => {
                let exec = Exec { container, name: exec_id, process: *process, streams, options, fds };
                self.exec(connection, exec).map(Some)
            }
            Request::Attach { container, streams } => self.attach(connection, &container, streams, fds).map(Some),
            Request::Resize { container, exec_id, size } => self.resize(&container, exec_id.as_deref(), size).map(Some),
            Request::KillExec { container, exec_id, signal, all } => {
                let targets = if all { Targets::All } else { Targets::Init };
                self.kill_exec(&container, &exec_id, signal, targets).map(Some)
            }
            Request::Wait { container } => self.wait(connection, &container),
            Request::State { container } => {
                let container = self.containers.get(&container).ok_or_else(|| not_found(&container))?;
                Ok(Some(Reply::Status { status: Box::new(self.status(container)) }))
            }
            Request::HealthCheck { container } => self.health_check(connection, &container),
            Request::ReopenLog { container } => {
                let container = self.containers.get_mut(&container).ok_or_else(|| not_found(&container))?;
                if let Some(log) = &mut container.log {
                    log.reopen().map_err(Failure::internal)?;
                }
                Ok(Some(Reply::Done))
            }
            Request::Sandbox {} => self.make_sandbox(connection).map(|()| None),
            Request::StopSandbox { timeout } => self.stop_sandbox(connection, timeout),
            Request::RemoveSandbox {} => self.remove_sandbox(connection),
            Request::Hold {} => self.hold_descriptors(fds).map(Some),
            Request::Remove { container, force } => self.remove(connection, &container, force),
        }
    }

    fn wait(&mut self, connection: u64, id: &str) -> Result<Option<Reply>, Failure> {
        let container = self.containers.get(id).ok_or_else(|| not_found(id))?;
        if container.phase == Phase::Exited {
            let exit = container.last_exit.clone();
            return Ok(Some(exit.map_or(Reply::Done, |exit| Reply::Exited { exit })));
        }
        self.set_session(connection, Session::Wait(id.to_owned()))?;
        Ok(None)
    }

    /// Update: the running container first, as it can refuse; then the files that a restart reads.
    fn update(
        &mut self,
        id: &str,
        resources: Option<Resources>,
        restart: Option<RestartPolicy>,
        oom_score_adj: Option<i32>,
    ) -> Result<Reply, Failure> {
        let container = self.container(id, Verb::Update)?;
        if restart.is_some_and(|policy| policy != RestartPolicy::No) && container.task.auto_remove {
            let message = "a container that is removed when it ends cannot have a restart policy";
            return Err(Failure::new(FailureKind::Invalid, message));
        }
        let old = container.spec.process.as_ref().and_then(|process| process.oom_score_adj);
        let scores = container.cgroup.as_ref().zip(old).zip(oom_score_adj);
        if let Some(((cgroup, old), new)) = scores {
            oom_score::change(cgroup, old, new)?;
        }
        if let (Some(resources), Some(cgroup)) = (&resources, &container.cgroup)
            && let Err(error) = cgroup.apply(resources)
        {
            // All or nothing; the refusal is what is told.
            if let Some(((cgroup, old), new)) = scores {
                let _ = oom_score::change(cgroup, new, old);
            }
            return Err(Failure::internal(error));
        }
        if let Some(resources) = resources.as_ref().filter(|_| container.task.program.is_some()) {
            self.update_by_program(id, resources).inspect_err(|_| self.reapply(id))?;
        }
        let container = self.container(id, Verb::Update)?;
        if let (Some(score), Some(process)) = (oom_score_adj, &mut container.spec.process) {
            process.oom_score_adj = Some(score);
        }
        if resources.is_some() || oom_score_adj.is_some() {
            let merged = container.spec.linux.get_or_insert_default().resources.get_or_insert_default();
            update::merge(merged, resources.unwrap_or_default());
            update::rewrite(&container.dir, merged, oom_score_adj).map_err(Failure::internal)?;
        }
        if let Some(policy) = restart {
            let container = self.container(id, Verb::Update)?;
            container.task.restart = policy;
            record::write(&container.dir, &container.task).map_err(Failure::internal)?;
        }
        Ok(Reply::Done)
    }

    /// Gives a container the limits again that its configuration has, after another runtime has refused new ones.
    fn reapply(&self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let before = container.spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
        if let (Some(cgroup), Some(before)) = (&container.cgroup, before) {
            // The refusal is what is told.
            let _ = cgroup.apply(before);
        }
    }

    fn resize(&mut self, id: &str, exec_id: Option<&str>, size: ConsoleSize) -> Result<Reply, Failure> {
        let number = match exec_id {
            Some(name) => self.find_exec(id, name)?,
            None => {
                let phase = self.container(id, Verb::Resize)?.phase;
                phase.init().ok_or_else(|| not_found(id))?
            }
        };
        let process = self.processes.get_mut(&number).ok_or_else(|| not_found(id))?;
        if !process.ends.terminal {
            return Err(Failure::new(FailureKind::Invalid, "the process has no terminal"));
        }
        if let Some(output) = process.output(Stream::Stdout) {
            let resized = tty::set_size(&output.fd, size.height, size.width);
            resized.call(|| format!("ioctl(<pty>, TIOCSWINSZ, {size:?})")).map_err(Failure::internal)?;
        }
        Ok(Reply::Done)
    }
}

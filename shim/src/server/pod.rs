//! The end of a pod: all its containers, its sandbox, its directory.

use std::time::{Duration, Instant};

use super::connection::Session;
use super::container::Phase;
use super::sandbox::Sandbox;
use super::timers::Timer;
use super::{Failure, Server};
use crate::layout::Ends;
use crate::local;
use crate::protocol::{FailureKind, Reply};

const SIGTERM: i32 = 15;

impl Server {
    /// StopSandbox: all containers are stopped at the same time, then the sandbox is let go.
    pub(super) fn stop_sandbox(
        &mut self,
        connection: u64,
        timeout: Option<Duration>,
    ) -> Result<Option<Reply>, Failure> {
        // One that was made in vain ends with no container: there is none that lives.
        if !self.containers.values().all(|container| container.phase == Phase::Exited) {
            self.refuse_standalone()?;
        }
        if matches!(self.sandbox, Sandbox::None) {
            return Ok(Some(Reply::Done));
        }
        self.set_session(connection, Session::StopSandbox)?;
        self.stop_containers(timeout);
        Ok(None)
    }

    /// RemoveSandbox: the same at once, and nothing is left.
    pub(super) fn remove_sandbox(&mut self, connection: u64) -> Result<Option<Reply>, Failure> {
        self.refuse_standalone()?;
        if matches!(self.sandbox, Sandbox::None) {
            self.remove_all()?;
            return Ok(Some(Reply::Done));
        }
        self.set_session(connection, Session::RemoveSandbox)?;
        self.stop_containers(Some(Duration::ZERO));
        Ok(None)
    }

    fn refuse_standalone(&self) -> Result<(), Failure> {
        match &self.sandbox {
            Sandbox::Ready(ready) if ready.ends == Ends::WithContainer => {
                let message = "the sandbox of a standalone container ends with it; stop the container";
                Err(Failure::new(FailureKind::WrongState, message))
            }
            Sandbox::Ready(_) | Sandbox::Releasing(_) | Sandbox::None => Ok(()),
        }
    }

    /// # Errors
    /// The sandbox is being stopped.
    pub(super) fn refuse_stopping(&self) -> Result<(), Failure> {
        match &self.sandbox {
            Sandbox::Ready(ready) if ready.stopping => {
                Err(Failure::new(FailureKind::WrongState, "the sandbox is being stopped; wait for it first"))
            }
            Sandbox::Ready(_) | Sandbox::Releasing(_) | Sandbox::None => Ok(()),
        }
    }

    /// Asks all containers to end; a second time can only shorten the grace period.
    pub(super) fn stop_containers(&mut self, timeout: Option<Duration>) {
        let Sandbox::Ready(ready) = &mut self.sandbox else { return };
        ready.stopping = true;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let under_way = self.timers.at(&Timer::StopSandbox);
        if let Some(deadline) = deadline.filter(|deadline| under_way.is_none_or(|before| *deadline < before)) {
            self.timers.set(deadline, Timer::StopSandbox);
        }
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            let Some(container) = self.containers.get_mut(&id) else { continue };
            container.stopped = true;
            let signal = container.task.stop_signal.unwrap_or(SIGTERM);
            let phase = container.phase;
            match phase {
                Phase::Restarting(_) => self.settle(&id),
                Phase::Created(_) => self.kill_all(&id),
                Phase::Running(_) | Phase::Paused(_) if timeout == Some(Duration::ZERO) => self.kill_all(&id),
                Phase::Running(init) | Phase::Paused(init) => {
                    // One that cannot be sent is made up for by SIGKILL.
                    let _ = self.signal(init, signal);
                    if matches!(phase, Phase::Paused(_)) {
                        let _ = self.thaw(&id, init);
                    }
                }
                Phase::Creating | Phase::Ending(_) | Phase::Releasing | Phase::Exited => {}
            }
        }
        self.release_if_stopped();
    }

    /// The grace period is over.
    pub(super) fn stop_sandbox_overdue(&mut self) {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            self.kill_all(&id);
        }
    }

    /// Lets the sandbox go that is being stopped, if its last container has ended.
    pub(super) fn release_if_stopped(&mut self) {
        let stopping = matches!(&self.sandbox, Sandbox::Ready(ready) if ready.stopping);
        let mut containers = self.containers.values();
        if stopping && self.processes.is_empty() && containers.all(|container| container.phase == Phase::Exited) {
            self.timers.cancel(&Timer::StopSandbox);
            self.release_sandbox();
        }
    }

    /// The sandbox has ended: tells those who waited, and removes it if that is asked for.
    pub(super) fn sandbox_over(&mut self) {
        let removers = self.end_sessions(&Session::RemoveSandbox);
        let stoppers = self.end_sessions(&Session::StopSandbox);
        let removed = if removers.is_empty() { Ok(()) } else { self.remove_all() };
        for connection in stoppers {
            self.reply(connection, &Reply::Done);
        }
        for connection in removers {
            let reply = match &removed {
                Ok(()) => Reply::Done,
                Err(Failure { kind, message }) => Reply::Failed { kind: *kind, message: message.clone() },
            };
            self.reply(connection, &reply);
        }
    }

    /// Removes all containers, and the directory of the shim.
    fn remove_all(&mut self) -> Result<(), Failure> {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            self.remove_container(&id)?;
        }
        local::remove_pod_files(&self.dir, &self.path).map_err(Failure::internal)?;
        self.removed = true;
        Ok(())
    }
}

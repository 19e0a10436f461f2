//! Kill, Stop, Pause and Resume.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use runtime::sys::process::{pidfd_open, pidfd_send_signal};
use runtime::sys::{Call, CallError};

use super::connection::Session;
use super::container::Phase;
use super::timers::Timer;
use super::{Failure, Server};
use crate::protocol::{FailureKind, Reply};
use crate::verbs::Verb;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Largest signal number.
const SIGNAL_LIMIT: i32 = 64;

/// Who gets a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Targets {
    /// The init process.
    Init,
    /// All processes.
    All,
}

impl Server {
    /// Kill: SIGKILL and the stop signal also mean that the container is not to be started again, as docker has it.
    pub(super) fn kill(&mut self, id: &str, signal: i32, targets: Targets) -> Result<Reply, Failure> {
        check_signal(signal)?;
        let container = self.containers.get(id).ok_or_else(|| super::container::not_found(id))?;
        let ends = signal == SIGKILL || signal == container.task.stop_signal.unwrap_or(SIGTERM);
        let container = self.container(id, Verb::Kill { ends })?;
        container.stopped |= ends;
        let phase = container.phase;
        self.event(id, "kill", &[("signal", signal.to_string())]);
        match phase {
            Phase::Restarting(_) => self.settle(id),
            // Nothing runs that could heed a signal.
            Phase::Created(_) if ends => self.kill_all(id),
            Phase::Created(init) | Phase::Running(init) | Phase::Paused(init) => {
                match targets {
                    Targets::All if signal == SIGKILL => self.kill_all(id),
                    Targets::All => self.signal_all(id, signal)?,
                    Targets::Init => self.signal(init, signal)?,
                }
                if let Phase::Paused(init) = phase {
                    self.thaw(id, init)?;
                }
            }
            Phase::Creating | Phase::Ending(_) | Phase::Releasing | Phase::Exited => {}
        }
        Ok(Reply::Done)
    }

    /// Stop: a second one joins the first and can only shorten its grace period.
    pub(super) fn stop(
        &mut self,
        connection: u64,
        id: &str,
        signal: i32,
        timeout: Option<Duration>,
    ) -> Result<Option<Reply>, Failure> {
        check_signal(signal)?;
        let container = self.container(id, Verb::Stop)?;
        let phase = container.phase;
        container.stopped = true;
        if phase == Phase::Exited {
            let exit = container.last_exit.clone();
            return Ok(Some(exit.map_or(Reply::Done, |exit| Reply::Exited { exit })));
        }
        self.set_session(connection, Session::Stop(id.to_owned()))?;
        let first = if timeout == Some(Duration::ZERO) { SIGKILL } else { signal };
        self.event(id, "kill", &[("signal", first.to_string())]);
        match phase {
            Phase::Restarting(_) => self.settle(id),
            // Nothing runs that could heed a signal.
            Phase::Created(_) => self.kill_all(id),
            Phase::Running(init) | Phase::Paused(init) => {
                let timer = Timer::Stop(id.to_owned());
                let under_way = self.timers.at(&timer);
                let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                if timeout == Some(Duration::ZERO) {
                    self.timers.cancel(&timer);
                } else if let Some(deadline) =
                    deadline.filter(|deadline| under_way.is_none_or(|before| *deadline < before))
                {
                    self.timers.set(deadline, timer);
                }
                if timeout == Some(Duration::ZERO) {
                    self.kill_all(id);
                } else {
                    self.signal(init, signal)?;
                }
                if let Phase::Paused(init) = phase {
                    self.thaw(id, init)?;
                }
            }
            Phase::Creating | Phase::Ending(_) | Phase::Releasing | Phase::Exited => {}
        }
        Ok(None)
    }

    /// The grace period of a Stop is over.
    pub(super) fn stop_overdue(&mut self, id: &str) {
        self.event(id, "kill", &[("signal", SIGKILL.to_string())]);
        self.kill_all(id);
    }

    /// Pause: freezes all processes.
    pub(super) fn pause(&mut self, id: &str) -> Result<Reply, Failure> {
        let container = self.container(id, Verb::Pause)?;
        let Phase::Running(init) = container.phase else { return Ok(Reply::Done) };
        if let Some(cgroup) = &container.cgroup {
            cgroup.freeze().map_err(Failure::internal)?;
        }
        container.phase = Phase::Paused(init);
        // What the record does not say may not be.
        self.record(id).inspect_err(|_| {
            let _ = self.thaw(id, init);
        })?;
        self.health_pause(id);
        self.event(id, "pause", &[]);
        Ok(Reply::Done)
    }

    /// Resume: thaws them.
    pub(super) fn resume(&mut self, id: &str) -> Result<Reply, Failure> {
        let container = self.container(id, Verb::Resume)?;
        if let Phase::Paused(init) = container.phase {
            if self.stays_frozen(id) {
                self.record(id)?;
            } else {
                self.thaw(id, init)?;
            }
        }
        Ok(Reply::Done)
    }

    /// Sends a signal to a process of the shim; one that has ended does not need it.
    pub(super) fn signal(&self, number: u64, signal: i32) -> Result<(), Failure> {
        if signal != SIGKILL && self.signal_by_program(number, signal)? {
            return Ok(());
        }
        let Some(process) = self.processes.get(&number) else { return Ok(()) };
        match pidfd_send_signal(process.pidfd(), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => {
                let call = format!("pidfd_send_signal([{}], {signal})", process.pid);
                Err(Failure::internal(CallError { call, errno }))
            }
        }
    }

    fn signal_all(&self, id: &str, signal: i32) -> Result<(), Failure> {
        let cgroup = self.containers.get(id).and_then(|container| container.cgroup.as_ref());
        let Some(cgroup) = cgroup else { return Ok(()) };
        for pid in cgroup.processes().map_err(Failure::internal)?.into_iter().filter(|pid| pid.as_raw() > 0) {
            // By descriptor, as a process that ends meanwhile may leave its number to another.
            match pidfd_open(pid).and_then(|pidfd| pidfd_send_signal(pidfd, signal)) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(Failure::internal(CallError {
                        call: format!("pidfd_send_signal([{pid}], {signal})"),
                        errno,
                    }));
                }
            }
        }
        Ok(())
    }

    pub(super) fn thaw(&mut self, id: &str, init: u64) -> Result<(), Failure> {
        let Some(container) = self.containers.get_mut(id) else { return Ok(()) };
        if let Some(cgroup) = &container.cgroup {
            cgroup.thaw().map_err(Failure::internal)?;
        }
        container.phase = Phase::Running(init);
        self.record(id)?;
        self.health_wait(id);
        self.event(id, "unpause", &[]);
        Ok(())
    }
}

/// # Errors
/// No such signal.
pub(super) fn check_signal(signal: i32) -> Result<(), Failure> {
    if (1..=SIGNAL_LIMIT).contains(&signal) {
        return Ok(());
    }
    let error = Err::<(), _>(Errno::EINVAL).call(|| format!("pidfd_send_signal(<process>, {signal})"));
    error.map_err(|error| {
        Failure::new(FailureKind::Invalid, format!("signal {signal} is not of 1 to {SIGNAL_LIMIT}: {error}"))
    })
}

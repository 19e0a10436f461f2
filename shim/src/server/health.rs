//! Health checks of containers.
//!
//! ```text
//!  start ▸ pause ▸ check: an exec process ▸ result ▸ health.json ─┬▸ pause ▸ ...
//!                    └ too long: killed with all it started       └▸ another status: status.json, event, on_failure
//! ```
//!
//! One check at a time; none while the container is paused. Without a health check no timer is ever set.

use std::time::{Duration, Instant};

use nix::unistd::Pid;
use runtime::launch;
use runtime::sys::process::{pidfd_open, pidfd_send_signal};

use super::connection::Session;
use super::container::{Phase, not_found};
use super::process::{Process, Role, streams};
use super::timers::Timer;
use super::{Failure, Server};
use crate::health::{OUTPUT_LIMIT, text};
use crate::layout::{CheckResult, Exit, Health, HealthStatus, OnFailure, Stdin};
use crate::protocol::{FailureKind, Reply};
use crate::record;
use crate::verbs::Verb;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Grace period of an unhealthy container that is stopped; `rtctl stop`'s.
const GRACE: Duration = Duration::from_secs(10);

/// How long after a check was killed its container may turn out to have ended.
const INIT_PATIENCE: Duration = Duration::from_millis(200);

/// How often processes of a check are looked for; each time those are killed that were born meanwhile.
const KILL_ROUNDS: usize = 10;

/// A health check that runs.
pub(super) struct Check {
    /// Its process.
    pub(super) number: u64,
    begun: Instant,
    /// Nanoseconds since the epoch.
    start: u64,
    timed_out: bool,
    /// It was killed by somebody else.
    killed: Option<CheckResult>,
}

impl Server {
    /// A run of a container begins.
    pub(super) fn health_begin(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.health = container.task.health.as_ref().map(|_| Health::default());
        container.check = None;
        if let Some(health) = &container.health {
            // A result that is not recorded is recorded with the next.
            let _ = record::write(&container.dir, health);
        }
        self.health_wait(id);
    }

    /// No more checks: the container ends or is paused. One that runs is killed, and its result does not count.
    pub(super) fn health_pause(&mut self, id: &str) {
        self.timers.cancel(&Timer::Health(id.to_owned()));
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(check) = container.check.take() else { return };
        self.timers.cancel(&Timer::Check(check.number));
        self.kill_check(check.number);
        let message = "the container does not run any more".to_owned();
        for connection in self.end_sessions(&Session::Check(id.to_owned())) {
            self.reply(connection, &Reply::Failed { kind: FailureKind::WrongState, message: message.clone() });
        }
    }

    /// Sets the timer of the next check.
    pub(super) fn health_wait(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let (Some(check), Some(health)) = (&container.task.health, &container.health) else { return };
        let since_start = container.started.map_or(Duration::ZERO, |started| started.elapsed());
        // A pause of centuries is no check at all.
        if let Some(at) = Instant::now().checked_add(health.pause(check, since_start)) {
            self.timers.set(at, Timer::Health(id.to_owned()));
        }
    }

    /// HealthCheck: checks now; joins a check that runs.
    pub(super) fn health_check(&mut self, connection: u64, id: &str) -> Result<Option<Reply>, Failure> {
        let container = self.container(id, Verb::Exec)?;
        if container.task.health.is_none() {
            return Err(Failure::new(FailureKind::Invalid, "container has no health check"));
        }
        self.set_session(connection, Session::Check(id.to_owned()))?;
        self.health_due(id);
        Ok(None)
    }

    /// It is time for a check.
    pub(super) fn health_due(&mut self, id: &str) {
        self.timers.cancel(&Timer::Health(id.to_owned()));
        let Some(container) = self.containers.get(id) else { return };
        let (Phase::Running(_), None, Some(check)) = (container.phase, &container.check, &container.task.health) else {
            return;
        };
        let (start, timeout) = (record::now(), check.timeout);
        match self.check(id) {
            Ok(number) => {
                let check = Check { number, begun: Instant::now(), start, timed_out: false, killed: None };
                if let Some(at) = check.begun.checked_add(timeout) {
                    self.timers.set(at, Timer::Check(number));
                }
                if let Some(container) = self.containers.get_mut(id) {
                    container.check = Some(check);
                }
            }
            Err(Failure { message, .. }) => {
                self.checked(id, CheckResult { start, end: record::now(), exit_code: -1, output: message });
            }
        }
    }

    /// Starts the check's process: the container's own, with another command.
    fn check(&mut self, id: &str) -> Result<u64, Failure> {
        let inherited = self.inherited;
        let container = self.containers.get(id).ok_or_else(|| not_found(id))?;
        let init = container.phase.init().and_then(|number| self.processes.get(&number));
        let (Some(init), Some(own), Some(check)) = (init, &container.spec.process, &container.task.health) else {
            return Err(not_found(id));
        };
        let mut process = own.clone();
        process.args = check.command.clone();
        process.terminal = false;
        process.console_size = None;
        inherited.give(&mut process);
        let (stdio, ends) = streams(&process, &container.spec, Stdin::Closed).map_err(Failure::internal)?;
        let executed = launch::exec(launch::Exec {
            init: init.pidfd(),
            spec: &container.spec,
            id,
            bundle: &container.path,
            process: &process,
            cgroup: container.cgroup.as_ref(),
            below: None,
            unit: None,
            stdio,
            preserve_fds: 0,
            keyring: launch::Keyring::Own,
        })
        .map_err(|error| Failure::launch(&error))?;
        let pid = executed.pid;
        Ok(self.add_process(Process {
            container: id.to_owned(),
            role: Role::Check { pidfd: executed.pidfd, output: Vec::new() },
            pid,
            start_time: record::start_time(pid.as_raw()).ok().flatten().unwrap_or(0),
            ends,
            attachments: Vec::new(),
            exit: None,
        }))
    }

    /// A check takes too long, or was killed and its container lives on.
    pub(super) fn check_overdue(&mut self, number: u64) {
        let of = |check: &Check| check.number == number;
        let found = self.containers.iter_mut().find(|(_, container)| container.check.as_ref().is_some_and(of));
        let Some((id, container)) = found else { return };
        if let Some(result) = container.check.as_mut().and_then(|check| check.killed.take()) {
            container.check = None;
            let id = id.clone();
            return self.checked(&id, result);
        }
        if let Some(check) = &mut container.check {
            check.timed_out = true;
        }
        self.kill_check(number);
    }

    /// A check's process has ended, and all of its output has been read.
    pub(super) fn check_over(&mut self, id: &str, number: u64, exit: &Exit, output: &[u8]) {
        self.timers.cancel(&Timer::Check(number));
        let Some(container) = self.containers.get_mut(id) else { return };
        // One that was given up counts no more.
        let Some(check) = container.check.as_mut().filter(|check| check.number == number) else { return };
        let timeout = container.task.health.as_ref().map_or(Duration::ZERO, |check| check.timeout);
        let (exit_code, output) = match check.timed_out {
            true => (-1, format!("Health check exceeded timeout ({timeout:?}): {}", text(output))),
            false => (exit.code, text(output)),
        };
        let result = CheckResult { start: check.start, end: exit.finished_at, exit_code, output };
        if exit.signal == Some(SIGKILL) && !check.timed_out {
            // The kernel does that to all processes of a container before its init process counts as ended.
            check.killed = Some(result);
            return self.timers.set(Instant::now() + INIT_PATIENCE, Timer::Check(number));
        }
        container.check = None;
        self.checked(id, result);
    }

    /// There is a result.
    fn checked(&mut self, id: &str, result: CheckResult) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let (Some(check), Some(health)) = (&container.task.health, &mut container.health) else { return };
        let since_start = Duration::from_nanos(result.start.saturating_sub(container.started_at));
        let changed = health.take(check, since_start, result.clone());
        let (status, on_failure) = (health.status, check.on_failure);
        let _ = record::write(&container.dir, health);
        if changed.is_some() {
            self.record_quietly(id);
            self.event(id, &format!("health_status: {}", status.word()), &[]);
        }
        for connection in self.end_sessions(&Session::Check(id.to_owned())) {
            self.reply(connection, &Reply::Checked { status, result: result.clone() });
        }
        self.health_wait(id);
        if changed == Some(HealthStatus::Unhealthy) {
            self.unhealthy(id, on_failure);
        }
    }

    /// Does what an unhealthy container gets.
    fn unhealthy(&mut self, id: &str, on_failure: OnFailure) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let signal = container.task.stop_signal.unwrap_or(SIGTERM);
        match on_failure {
            OnFailure::None => return,
            OnFailure::Kill => {
                self.event(id, "kill", &[("signal", SIGKILL.to_string())]);
                return self.kill_all(id);
            }
            OnFailure::Restart => container.again = true,
            OnFailure::Stop => container.stopped = true,
        }
        if let Phase::Running(init) = container.phase {
            self.event(id, "kill", &[("signal", signal.to_string())]);
            // One that cannot be signalled has ended, or is killed when its time is over.
            let _ = self.signal(init, signal);
            self.timers.set(Instant::now() + GRACE, Timer::Stop(id.to_owned()));
        }
    }

    /// Kills a check and all that it started.
    fn kill_check(&mut self, number: u64) {
        self.kill_descendants(number);
    }

    /// Kills a process and all that it started, as far as it is still in the process's session or below it.
    pub(super) fn kill_descendants(&mut self, number: u64) {
        let Some(process) = self.processes.get(&number) else { return };
        let leader = process.pid.as_raw();
        let group = self.containers.get(&process.container).and_then(|container| container.cgroup.as_ref());
        for _ in 0..KILL_ROUNDS {
            let all = group.and_then(|group| group.processes().ok()).unwrap_or_default();
            let mut killed = 0;
            for pid in all.into_iter().filter(|pid| pid.as_raw() > 0 && pid.as_raw() != leader) {
                // Opened first: the descriptor is of the process that is looked at, or of one that has ended.
                let Ok(pidfd) = pidfd_open(pid) else { continue };
                if descends(pid, leader) && pidfd_send_signal(&pidfd, SIGKILL).is_ok() {
                    killed += 1;
                }
            }
            if killed == 0 {
                break;
            }
        }
        // Last: as long as it is there, its number is not another's.
        if process.exit.is_none() {
            let _ = pidfd_send_signal(process.pidfd(), SIGKILL);
        }
    }

    /// Keeps output of a check.
    pub(super) fn keep_output(&mut self, number: u64, size: usize) {
        if let Some(Process { role: Role::Check { output, .. }, .. }) = self.processes.get_mut(&number) {
            // One byte more shows that there was more.
            let room = (OUTPUT_LIMIT + 1).saturating_sub(output.len());
            output.extend_from_slice(&self.scratch[..size.min(room)]);
        }
    }
}

/// Whether a living process is in the session of `leader`, or below it.
fn descends(pid: Pid, leader: i32) -> bool {
    const DEPTH: usize = 64;
    let mut at = pid.as_raw();
    for depth in 0..DEPTH {
        let Ok(Some((parent, session))) = record::family(at) else { return false };
        if parent == leader || (depth == 0 && session == leader) {
            return true;
        }
        if parent <= 1 {
            return false;
        }
        at = parent;
    }
    false
}

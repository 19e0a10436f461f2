//! The end of processes and of containers.
//!
//! ```text
//!  init reaped ▸ kill what is left ▸ OOM? ▸ drain output ▸ record ─┬▸ restart after a pause
//!                                                                 └▸ cgroup removed ▸ poststop ▸ tell ▸ [remove all]
//!  exec reaped ▸ drain output ▸ tell
//! ```

use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;
use runtime::cgroup::{self, Cgroup};
use runtime::sys::process::{Exited, pidfd_send_signal, wait_any};

use super::connection::Session;
use super::container::Phase;
use super::create::Moment;
use super::event;
use super::poller::{Interest, Token};
use super::process::Role;
use super::relay::watch_journal;
use super::timers::Timer;
use super::{Failure, Server};
use crate::layout::{Exit, RESTART_BACKOFF};
use crate::log::Stream;
use crate::protocol::Reply;
use crate::record;
use crate::restart;

const SIGKILL: i32 = 9;

/// How long output of an ended process is waited for, when something outside its container keeps the pipe open.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// How long the loop waits for killed processes to end; after that it looks again once in [`DRAIN_LIMIT`].
const KILL_PATIENCE: Duration = Duration::from_millis(500);

impl Server {
    /// Reaps all children that have ended: the shim's own, and orphans that came to it.
    pub(super) fn reap(&mut self) {
        // One signal may stand for many; its content does not matter.
        while let Ok(Some(_)) = self.children.read_signal() {}
        while let Ok(Some((pid, how))) = wait_any() {
            let ours = self.processes.iter().find(|(_, process)| process.pid == pid && process.exit.is_none());
            match ours {
                Some((&number, _)) => self.process_ended(number, how),
                None => self.sandbox_process_ended(pid, how),
            }
        }
    }

    fn process_ended(&mut self, number: u64, how: Exited) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        let signal = match how {
            Exited::Code(_) => None,
            Exited::Signal(signal) => Some(signal),
        };
        let mut exit = Exit { code: how.code(), signal, oom_killed: false, finished_at: record::now() };
        if matches!(process.role, Role::Init(_)) {
            let id = process.container.clone();
            if let Some(container) = self.containers.get_mut(&id) {
                container.phase = Phase::Ending(number);
                let kills = container.cgroup.as_ref().and_then(|cgroup| cgroup.oom_kills().ok()).unwrap_or(0);
                // Whichever process it was, as docker has it.
                exit.oom_killed = kills.max(container.oom_kills_seen) > container.oom_kills;
                if let Some(oom) = container.oom.take() {
                    // Gone with its counts: then the kills above it that are no other container's are its own.
                    let gone = oom.acknowledge().is_err() && !container.stopped;
                    let path = container.cgroup_path.clone();
                    let charged = self.oom_kills_charged;
                    self.charge_oom_kills(&path);
                    exit.oom_killed |= gone && self.oom_kills_charged > charged;
                }
            }
            self.timers.cancel(&Timer::Stop(id.clone()));
            self.health_pause(&id);
            self.kill_all(&id);
        }
        if let Some(process) = self.processes.get_mut(&number) {
            process.exit = Some(exit);
        }
        self.drain(number);
    }

    /// systemd removes a scope with all groups below as soon as nothing lives in it: OOM kills must be read before, when they happen.
    pub(super) fn watch_memory(&mut self, id: &str, number: u64) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.oom_kills_seen = container.oom_kills;
        if !container.cgroup_path.contains(".scope/") {
            return;
        }
        let path = container.cgroup_path.clone();
        if !self.containers.values().any(|other| other.oom.is_some()) {
            self.charge_oom_kills(&path);
        }
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(Ok(Some(oom))) = container.cgroup.as_ref().map(Cgroup::oom_fd) else { return };
        let interest = if oom.interest().contains(EpollFlags::EPOLLPRI) { Interest::Change } else { Interest::Read };
        // epoll_ctl(2) fails only for lack of memory; then the kills are read at the end.
        if self.poller.watch(&oom, Token::Memory(number), interest).is_ok() {
            container.oom = Some(oom);
        }
    }

    /// The memory of a container ran out, or came near to it; or its cgroup is gone.
    pub(super) fn memory_changed(&mut self, number: u64) {
        let Some(process) = self.processes.get(&number) else { return };
        let Some(container) = self.containers.get_mut(&process.container) else { return };
        let Some(oom) = &container.oom else { return };
        if oom.acknowledge().is_err() {
            // It stays ready for ever; at the end of the process it tells that the group is gone.
            self.poller.ignore(oom);
            return;
        }
        let kills = container.cgroup.as_ref().and_then(|cgroup| cgroup.oom_kills().ok()).unwrap_or(0);
        if kills > container.oom_kills_seen {
            container.oom_kills_seen = kills;
            let path = container.cgroup_path.clone();
            self.charge_oom_kills(&path);
        }
    }

    /// Notes that all OOM kills in the slice above a scope so far are known to be somebody's. What cannot be read changes nothing.
    fn charge_oom_kills(&mut self, path: &str) {
        let Some(Ok(slice)) = path.rsplitn(3, '/').nth(2).map(str::parse) else { return };
        let group = self.host().and_then(|host| Cgroup::open(host, &slice));
        if let Ok(Some(group)) = group
            && let Ok(kills) = group.oom_kills()
        {
            self.oom_kills_charged = kills;
        }
    }

    /// Kills everything of a container: its init process, exec processes and whatever else is in its cgroup.
    pub(super) fn kill_all(&mut self, id: &str) {
        for process in self.processes.values().filter(|process| process.container == id && process.exit.is_none()) {
            // ESRCH: it has ended already.
            let _ = pidfd_send_signal(process.pidfd(), SIGKILL);
        }
        if let Some(container) = self.containers.get_mut(id)
            && let Some(cgroup) = &container.cgroup
            && let Err(error) = cgroup.kill_within(KILL_PATIENCE)
        {
            container.error = Some(error.to_string());
        }
    }

    /// Whether nothing of a container lives. A process in an uninterruptible wait (a dead disk or server) can take its time.
    fn emptied(&mut self, id: &str) -> bool {
        let Some(container) = self.containers.get_mut(id) else { return true };
        match container.cgroup.as_ref().map(|cgroup| cgroup.kill_within(Duration::ZERO)) {
            None | Some(Ok(())) => true,
            Some(Err(cgroup::Error::Remaining { .. })) => false,
            Some(Err(error)) => {
                container.error = Some(error.to_string());
                true
            }
        }
    }

    /// Reads what an ended process has left in its pipes, for its log and for its clients.
    fn drain(&mut self, number: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.drain_stream(number, stream);
        }
        if self.outputs_ended(number) {
            return self.process_over(number);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            let Some(process) = self.processes.get_mut(&number) else { return };
            if let Some(output) = process.output(stream) {
                output.held = false;
                let _ = self.poller.watch(&output.fd, Token::Output(number, stream), Interest::Read);
            }
        }
        self.timers.set(Instant::now() + DRAIN_LIMIT, Timer::Drain(number));
    }

    /// Somebody outside the container keeps the pipes open: what is in them now is the last.
    pub(super) fn drain_overdue(&mut self, number: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.drain_stream(number, stream);
            self.end_output(number, stream);
        }
        let id = self.processes.get(&number).map(|process| process.container.clone());
        if let Some(log) = id.and_then(|id| self.containers.get_mut(&id)).and_then(|it| it.log.as_mut()) {
            log.abandon();
        }
        self.process_over(number);
    }

    /// Whether all output of an ended process has been read.
    pub(super) fn outputs_ended(&self, number: u64) -> bool {
        let process = self.processes.get(&number);
        process.is_some_and(|process| process.exit.is_some() && process.ends.outputs.iter().all(Option::is_none))
    }

    /// All output has been read: the exit is recorded, then told.
    pub(super) fn process_over(&mut self, number: u64) {
        self.timers.cancel(&Timer::Drain(number));
        let Some(process) = self.processes.get(&number) else { return };
        let (id, Some(exit)) = (process.container.clone(), process.exit.clone()) else { return };
        let init = matches!(process.role, Role::Init(_));
        // A terminal's end may be seen once more after the process was over.
        if init && self.containers.get(&id).is_some_and(|container| container.phase == Phase::Releasing) {
            return;
        }
        if init && (!self.emptied(&id) || self.journal_behind(&id, number)) {
            return self.timers.set(Instant::now() + DRAIN_LIMIT, Timer::Drain(number));
        }
        match self.processes.get_mut(&number).map(|process| &mut process.role) {
            Some(Role::Init(_)) => self.run_over(&id, exit),
            Some(Role::Exec { name, group, .. }) => {
                let group = group.take();
                let more = [("execID", name.clone()), ("exitCode", exit.code.to_string())];
                self.event(&id, "exec_die", &more);
                self.exec_over(&id, number, group);
            }
            Some(Role::Check { output, .. }) => {
                let output = std::mem::take(output);
                self.check_over(&id, number, &exit, &output);
            }
            None => return,
        }
        self.end_input(number);
        // Else it is told once `on_exit` has been run.
        if !self.containers.get(&id).is_some_and(|container| init && container.phase == Phase::Releasing) {
            self.tell_of(number);
        }
    }

    /// Tells of the end of a process, which is recorded: its clients, and if it was the container's end all who wait for that.
    pub(super) fn tell_of(&mut self, number: u64) {
        let Some(process) = self.processes.get(&number) else { return };
        let (id, Some(exit)) = (process.container.clone(), process.exit.clone()) else { return };
        if matches!(process.role, Role::Init(_)) {
            self.tell_if_exited(&id);
        }
        let attachments = self.processes.remove(&number).map_or_else(Vec::new, |process| process.attachments);
        for attachment in attachments {
            self.farewell(attachment, &exit);
        }
        self.remove_if_due(&id);
    }

    /// Whether the last output of a container waits for the journal. What it does not take in [`DRAIN_LIMIT`] is lost.
    fn journal_behind(&mut self, id: &str, number: u64) -> bool {
        let Some(log) = self.containers.get_mut(id).and_then(|container| container.log.as_mut()) else { return false };
        log.finish(record::now(), &mut self.gather);
        if log.is_behind() {
            watch_journal(&self.poller, log, number);
        }
        log.is_behind()
    }

    /// Drops an init process that never ran the program.
    pub(super) fn forget_process(&mut self, number: u64, failure: &Failure) {
        self.timers.cancel(&Timer::Drain(number));
        let Some(process) = self.processes.remove(&number) else { return };
        for attachment in process.attachments {
            let connection = self.attachments.get(&attachment).map(|attachment| attachment.connection);
            self.drop_attachment(attachment);
            if let Some(connection) = connection {
                let reply = Reply::Failed { kind: failure.kind, message: failure.message.clone() };
                self.reply(connection, &reply);
            }
        }
    }

    /// A run has ended and its output is in the log: records it and decides what comes next.
    fn run_over(&mut self, id: &str, exit: Exit) {
        let now = record::now();
        let Some(container) = self.containers.get_mut(id) else { return };
        if let Some(log) = &mut container.log {
            log.finish(now, &mut self.gather);
        }
        let run = restart::Run {
            code: exit.code,
            lasted: container.started.map_or(Duration::ZERO, |started| started.elapsed()),
            stopped: container.stopped || container.started.is_none(),
            restarts: container.restart_count,
            pause: container.pause,
        };
        let ran = container.started.take().is_some();
        if ran && exit.oom_killed {
            event::tell(container, id, "oom", &[]);
        }
        if ran {
            let duration = ("execDuration", run.lasted.as_secs().to_string());
            event::tell(container, id, "die", &[("exitCode", exit.code.to_string()), duration]);
        }
        container.last_exit = Some(exit);
        let again = std::mem::take(&mut container.again) && !container.stopped;
        let pause = restart::pause(container.task.restart, run).or(again.then_some(RESTART_BACKOFF));
        self.end_or_restart(id, pause);
    }

    /// Records the end of a run and, if there is a `pause`, sets the timer for the next.
    pub(super) fn end_or_restart(&mut self, id: &str, pause: Option<Duration>) {
        if let Some(pause) = pause {
            let at = record::now().saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
            let Some(container) = self.containers.get_mut(id) else { return };
            container.pause = Some(pause);
            container.phase = Phase::Restarting(at);
            self.timers.set(Instant::now() + pause, Timer::Restart(id.to_owned()));
            self.record_quietly(id);
            self.poststop(id);
        } else {
            self.end(id);
        }
    }

    /// A container has ended for good. Told is nobody yet.
    pub(super) fn end(&mut self, id: &str) {
        self.timers.cancel(&Timer::Restart(id.to_owned()));
        let Some(container) = self.containers.get_mut(id) else { return };
        container.phase = Phase::Exited;
        if let Some(cgroup) = container.cgroup.take()
            && let Err(error) = cgroup.remove()
        {
            container.error = Some(error.to_string());
        }
        self.record_quietly(id);
        self.poststop(id);
        self.release_with(id);
    }

    /// A failed poststop hook changes nothing any more (OCI runtime-spec runtime.md, "Lifecycle"); the record names it.
    fn poststop(&mut self, id: &str) {
        if let Err(failure) = self.delete_by_program(id).and_then(|()| self.run_hooks(id, 0, Moment::Poststop)) {
            if let Some(container) = self.containers.get_mut(id) {
                container.error = Some(failure.message);
            }
            self.record_quietly(id);
        }
    }

    /// A container that has no process will not run again: ends it, tells, and removes it if that is due.
    pub(super) fn settle(&mut self, id: &str) {
        self.end(id);
        self.tell_if_exited(id);
        self.remove_if_due(id);
    }

    /// Tells, unless it starts again.
    pub(super) fn tell_if_exited(&mut self, id: &str) {
        if self.containers.get(id).is_some_and(|container| container.phase == Phase::Exited) {
            self.tell(id);
        }
    }

    /// Tells everyone who waits for the end of a container.
    fn tell(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let reply = container.last_exit.clone().map_or(Reply::Done, |exit| Reply::Exited { exit });
        let stopped = self.end_sessions(&Session::Stop(id.to_owned()));
        if !stopped.is_empty() {
            self.event(id, "stop", &[]);
        }
        for connection in self.end_sessions(&Session::Wait(id.to_owned())).into_iter().chain(stopped) {
            self.reply(connection, &reply);
        }
    }
}

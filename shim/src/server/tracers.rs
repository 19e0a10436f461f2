//! Containers of one pid namespace, one of which may trace the others' processes.
//!
//! A process that enters such a namespace has the host's files for a while, and more rights than it will have until it executes
//! its program: whoever traced it would have them, too (CVE-2016-9962). So containers with CAP_SYS_PTRACE are frozen meanwhile.
//!
//! A container of a user namespace traces nobody: a process that enters is the host's until it executes its program.

use std::time::{Duration, Instant};

use runtime::spec::{NamespaceKind, Process, Spec};

use super::container::{Container, Phase};
use super::timers::Timer;
use super::{Failure, Server};
use crate::protocol::FailureKind;

/// How long a container may wait for its start while others are frozen for it.
const LIMIT: Duration = Duration::from_secs(10);

const CAPABILITY: &str = "CAP_SYS_PTRACE";

/// Whether processes of a container may trace what is not its own.
pub(super) fn may_trace(spec: &Spec) -> bool {
    let mapped = spec.linux.as_ref().is_some_and(|linux| !linux.uid_mappings.is_empty());
    !mapped && spec.process.as_ref().is_some_and(traces)
}

fn traces(process: &Process) -> bool {
    let sets = process.capabilities.as_ref();
    sets.is_some_and(|sets| sets.bounding.iter().any(|capability| capability == CAPABILITY))
}

fn shares_pids(container: &Container) -> bool {
    container.task.sandbox.contains(&NamespaceKind::Pid)
}

impl Server {
    /// Before a container's process is born: freezes those that could trace it.
    pub(super) fn freeze_tracers(&mut self, id: &str) -> Result<(), Failure> {
        if !self.containers.get(id).is_some_and(shares_pids) {
            return Ok(());
        }
        for (other, container) in &self.containers {
            let running = container.traces && shares_pids(container) && matches!(container.phase, Phase::Running(_));
            let Some(cgroup) = container.cgroup.as_ref().filter(|_| running && !self.frozen.contains(other)) else {
                continue;
            };
            self.frozen.push(other.clone());
            cgroup.freeze().map_err(Failure::internal)?;
        }
        if !self.frozen.is_empty() {
            self.timers.set(Instant::now() + LIMIT, Timer::Entering);
        }
        Ok(())
    }

    /// A container that shares pids and has not executed its program yet.
    fn entering(&self) -> Option<&str> {
        let waits = |container: &Container| {
            shares_pids(container) && matches!(container.phase, Phase::Creating | Phase::Created(_))
        };
        self.containers.iter().find(|(_, container)| waits(container)).map(|(id, _)| id.as_str())
    }

    /// Lets them go on once nobody is on the way in any more.
    pub(super) fn thaw_tracers(&mut self) {
        if self.frozen.is_empty() || self.entering().is_some() {
            return;
        }
        self.timers.cancel(&Timer::Entering);
        for id in std::mem::take(&mut self.frozen) {
            let Some(container) = self.containers.get_mut(&id) else { continue };
            // One that was paused meanwhile stays so.
            if let (Phase::Running(_), Some(cgroup)) = (container.phase, &container.cgroup)
                && let Err(error) = cgroup.thaw()
            {
                container.error = Some(error.to_string());
                self.record_quietly(&id);
            }
        }
    }

    /// Nobody started it in time: it ends, and the others go on.
    pub(super) fn entering_overdue(&mut self) {
        while let Some(id) = self.entering().map(str::to_owned) {
            let Some(container) = self.containers.get_mut(&id) else { return };
            container.stopped = true;
            let seconds = LIMIT.as_secs();
            container.error =
                Some(format!("not started within {seconds} s, for which others of its pid namespace were frozen"));
            let phase = container.phase;
            self.kill_all(&id);
            // Its end is on the way; it is counted as over.
            if let (Some(init), Some(container)) = (phase.init(), self.containers.get_mut(&id)) {
                container.phase = Phase::Ending(init);
            } else {
                return;
            }
        }
    }

    /// Whether a container that is resumed has to wait frozen; then it counts as running.
    pub(super) fn stays_frozen(&mut self, id: &str) -> bool {
        if self.entering().is_none() {
            return false;
        }
        let Some(container) = self.containers.get_mut(id) else { return false };
        let Phase::Paused(init) = container.phase else { return false };
        if !(container.traces && shares_pids(container)) {
            return false;
        }
        container.phase = Phase::Running(init);
        self.frozen.push(id.to_owned());
        true
    }

    /// Before the program of a container runs.
    ///
    /// # Errors
    /// It may trace another one that waits for its start.
    pub(super) fn refuse_tracer(&self, id: &str) -> Result<(), Failure> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        if !(container.traces && shares_pids(container)) {
            return Ok(());
        }
        let waits = |(other, container): &(&String, &Container)| {
            *other != id && shares_pids(container) && matches!(container.phase, Phase::Creating | Phase::Created(_))
        };
        match self.containers.iter().find(waits) {
            None => Ok(()),
            Some((other, _)) => {
                let message = format!(
                    "container {other} of the same pid namespace waits for its start and could be traced; start it first"
                );
                Err(Failure::new(FailureKind::WrongState, message))
            }
        }
    }

    /// Before one more process is born in a container.
    ///
    /// # Errors
    /// The container is frozen for another one, or would trace it.
    pub(super) fn allow_exec(&mut self, id: &str, process: &Process) -> Result<(), Failure> {
        let (entering, frozen) = (self.entering().is_some(), self.frozen.iter().any(|other| other == id));
        let Some(container) = self.containers.get_mut(id) else { return Ok(()) };
        let mapped = container.spec.linux.as_ref().is_some_and(|linux| !linux.uid_mappings.is_empty());
        let tracer = !mapped && traces(process);
        if frozen || (entering && tracer && shares_pids(container)) {
            let message = "another container of the same pid namespace is being started; try again when it runs";
            return Err(Failure::new(FailureKind::WrongState, message));
        }
        container.traces |= tracer;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_trace() {
        for (process, linux, expected) in [
            (r#"{"capabilities":{"bounding":["CAP_KILL","CAP_SYS_PTRACE"]}}"#, "{}", true),
            (r#"{"capabilities":{"bounding":["CAP_KILL"]}}"#, "{}", false),
            ("{}", "{}", false),
            (
                r#"{"capabilities":{"bounding":["CAP_SYS_PTRACE"]}}"#,
                r#"{"uidMappings":[{"containerID":0,"hostID":1000,"size":1}]}"#,
                false,
            ),
        ] {
            let text = format!(
                r#"{{"ociVersion":"1.0.2","process":{},"linux":{linux}}}"#,
                process.replacen('{', r#"{"cwd":"/","args":["x"]"#, 1).replace(r#"["x"]""#, r#"["x"],""#)
            );
            let spec: Spec = serde_json::from_str(&text).unwrap();
            assert_eq!(may_trace(&spec), expected, "{text}");
        }
    }
}

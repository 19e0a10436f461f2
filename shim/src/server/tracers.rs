//! Containers of one pid namespace, one of which may trace the others' processes.
//!
//! A process that enters such a namespace has the host's files for a while, and more rights than it will have until it executes
//! its program: whoever traced it would have them, too (CVE-2016-9962). So containers with CAP_SYS_PTRACE are frozen meanwhile: those of
//! a pod with shared pids, and one whose namespace another one enters to look at it.
//!
//! A container of a user namespace traces nobody: a process that enters is the host's until it executes its program.

use std::time::{Duration, Instant};

use nix::sys::stat::stat;
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

/// The pid namespace that a container enters and that others are in already, by its number; absent where it gets one of its own, or
/// uses the host's.
pub(super) fn entered(spec: &Spec) -> Option<u64> {
    let namespaces = &spec.linux.as_ref()?.namespaces;
    let path = namespaces.iter().find(|namespace| namespace.kind == NamespaceKind::Pid)?.path.as_deref()?;
    // What cannot be looked at cannot be joined either, and the runtime says why.
    stat(path).ok().map(|found| found.st_ino)
}

impl Server {
    /// Before a container's process is born: freezes those that could trace it.
    pub(super) fn freeze_tracers(&mut self, id: &str) -> Result<(), Failure> {
        let Some(entered) = self.containers.get(id).and_then(|container| container.entered) else { return Ok(()) };
        let traces = |(other, container): &(&String, &Container)| {
            matches!(container.phase, Phase::Running(_))
                && !self.frozen.contains(other)
                && self.traces_in(container, entered)
        };
        let tracers: Vec<String> = self.containers.iter().filter(traces).map(|(other, _)| other.clone()).collect();
        for other in tracers {
            let Some(cgroup) = self.containers.get(&other).and_then(|container| container.cgroup.as_ref()) else {
                continue;
            };
            cgroup.freeze().map_err(Failure::internal)?;
            self.frozen.push(other);
        }
        if !self.frozen.is_empty() {
            self.timers.set(Instant::now() + LIMIT, Timer::Entering);
        }
        Ok(())
    }

    /// Whether a container may trace others of a pid namespace: it is in it, too.
    fn traces_in(&self, container: &Container, namespace: u64) -> bool {
        container.traces && self.pid_namespace(container) == Some(namespace)
    }

    /// The pid namespace of a container, by its number.
    fn pid_namespace(&self, container: &Container) -> Option<u64> {
        let init = || {
            let pid = self.processes.get(&container.phase.init()?)?.pid;
            stat(format!("/proc/{pid}/ns/pid").as_str()).ok().map(|found| found.st_ino)
        };
        container.entered.or_else(init)
    }

    /// Containers that enter the pid namespace of others and have not executed their programs yet, with its number.
    fn entering(&self) -> impl Iterator<Item = (&str, u64)> {
        let waits = |container: &Container| matches!(container.phase, Phase::Creating | Phase::Created(_));
        let containers = self.containers.iter().filter(move |(_, container)| waits(container));
        containers.filter_map(|(id, container)| Some((id.as_str(), container.entered?)))
    }

    /// Lets them go on once nobody is on the way in any more.
    pub(super) fn thaw_tracers(&mut self) {
        if self.frozen.is_empty() || self.entering().next().is_some() {
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
        loop {
            let next = self.entering().next().map(|(id, _)| id.to_owned());
            let Some(id) = next else { return };
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
        let Some(container) = self.containers.get(id) else { return false };
        let Phase::Paused(init) = container.phase else { return false };
        if !self.entering().any(|(_, namespace)| self.traces_in(container, namespace)) {
            return false;
        }
        let Some(container) = self.containers.get_mut(id) else { return false };
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
        let mut entering = self.entering().filter(|(other, _)| *other != id);
        match entering.find(|(_, namespace)| self.traces_in(container, *namespace)) {
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
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        let mapped = container.spec.linux.as_ref().is_some_and(|linux| !linux.uid_mappings.is_empty());
        let tracer = !mapped && traces(process);
        let namespace = if tracer { self.pid_namespace(container) } else { None };
        let would = namespace.is_some() && self.entering().any(|(_, entered)| Some(entered) == namespace);
        if would || self.frozen.iter().any(|other| other == id) {
            let message = "another container of the same pid namespace is being started; try again when it runs";
            return Err(Failure::new(FailureKind::WrongState, message));
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.traces |= tracer;
        }
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

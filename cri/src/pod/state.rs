//! Pods and containers as they are known: the records, and what changes.
//!
//! ```text
//!  pod:        ready ──▶ not ready ──▶ removed
//!  container:  created ──▶ running ──▶ exited ──▶ removed
//! ```
//!
//! Nothing ever goes back. What changes is behind a lock that is held for a copy and never across a wait.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shim::layout::{State, Status};
use shim::local::UNKNOWN_EXIT;

use super::config::Resources;
use super::id::Id;
use super::record::{ContainerRecord, NetworkRecord, PodRecord, PodResources, StartFailure};

/// Reason of an exit that the OOM killer brought about; the kubelet knows this word.
pub const OOM_KILLED: &str = "OOMKilled";

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its program runs.
    Running {
        /// Nanoseconds since the epoch.
        started_at: u64,
        /// Process id of its program on the node.
        pid: i32,
    },
    /// It has ended.
    Exited(Ended),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Nanoseconds since the epoch; 0 when it never ran.
    pub started_at: u64,
    /// Nanoseconds since the epoch.
    pub finished_at: u64,
    /// Exit code, 128+n after signal n.
    pub code: i32,
    /// One word: Completed, Error, OOMKilled, StartError, ContainerStatusUnknown.
    pub reason: &'static str,
    /// In words, where there is more to say.
    pub message: String,
}

impl ContainerState {
    /// Its name in messages.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            ContainerState::Created => "created",
            ContainerState::Running { .. } => "running",
            ContainerState::Exited(_) => "exited",
        }
    }

    fn rank(&self) -> u8 {
        match self {
            ContainerState::Created => 0,
            ContainerState::Running { .. } => 1,
            ContainerState::Exited(_) => 2,
        }
    }

    /// What the records of a container say. `now` is for an end that nobody saw.
    #[must_use]
    pub fn of(status: Option<&Status>, failure: Option<&StartFailure>, now: u64) -> ContainerState {
        if let Some(failure) = failure {
            return ContainerState::Exited(Ended {
                started_at: 0,
                finished_at: failure.at,
                code: failure.code,
                reason: "StartError",
                message: failure.message.clone(),
            });
        }
        let Some(status) = status else { return ContainerState::Created };
        match &status.state {
            State::Creating | State::Created { .. } => ContainerState::Created,
            State::Running { init } | State::Paused { init } => {
                ContainerState::Running { started_at: status.started_at, pid: init.0 }
            }
            State::Restarting { .. } | State::Exited | State::Removing => ContainerState::Exited(ended(status, now)),
        }
    }
}

fn ended(status: &Status, now: u64) -> Ended {
    let message = status.error.clone().unwrap_or_default();
    let Some(exit) = &status.last_exit else {
        let (started_at, code, reason) = (status.started_at, UNKNOWN_EXIT, "StartError");
        return Ended { started_at, finished_at: now, code, reason, message };
    };
    let reason = match (exit.oom_killed, exit.code, status.error.is_some()) {
        (true, ..) => OOM_KILLED,
        (false, UNKNOWN_EXIT, true) => "ContainerStatusUnknown",
        (false, 0, _) => "Completed",
        (false, ..) => "Error",
    };
    Ended { started_at: status.started_at, finished_at: exit.finished_at, code: exit.code, reason, message }
}

/// A pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) record: Arc<PodRecord>,
    pub(super) dir: PathBuf,
    changing: Mutex<PodChanging>,
}

/// What changes of a pod.
#[derive(Debug, Default)]
pub(super) struct PodChanging {
    pub(super) phase: Phase,
    pub(super) network: Option<NetworkRecord>,
    pub(super) resources: Option<PodResources>,
    pub(super) containers: BTreeMap<Id, Arc<Container>>,
    /// Ends when the shim does.
    pub(super) watch: Option<tokio::task::AbortHandle>,
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Containers may be made and started.
    #[default]
    Ready,
    /// It is being stopped: still ready for whoever asks, but nothing new is begun.
    Stopping,
    /// It has ended.
    NotReady,
    /// It is being removed.
    Removing,
}

impl Pod {
    pub(super) fn new(record: PodRecord, dir: PathBuf, changing: PodChanging) -> Pod {
        Pod { record: Arc::new(record), dir, changing: Mutex::new(changing) }
    }

    pub(super) fn id(&self) -> &Id {
        &self.record.id
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, PodChanging> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to a later phase; whether that is a change.
    pub(super) fn advance(&self, phase: Phase) -> bool {
        let mut changing = self.lock();
        let later = phase > changing.phase;
        if later {
            changing.phase = phase;
        }
        later
    }

    pub(super) fn containers(&self) -> Vec<Arc<Container>> {
        self.lock().containers.values().cloned().collect()
    }

    /// A copy of what is known.
    pub(super) fn view(&self) -> PodView {
        let changing = self.lock();
        PodView {
            record: Arc::clone(&self.record),
            dir: self.dir.clone(),
            ready: matches!(changing.phase, Phase::Ready | Phase::Stopping),
            ips: changing.network.as_ref().map(|network| network.ips.clone()).unwrap_or_default(),
            resources: changing.resources.clone(),
        }
    }
}

/// A pod as it was when it was asked for.
#[derive(Debug, Clone)]
pub struct PodView {
    /// What never changes.
    pub record: Arc<PodRecord>,
    /// Its directory, where its shim's socket is.
    pub dir: PathBuf,
    /// Whether it is ready.
    pub ready: bool,
    /// Its addresses; none on the node's network.
    pub ips: Vec<IpAddr>,
    /// What UpdatePodSandboxResources said last.
    pub resources: Option<PodResources>,
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) record: Arc<ContainerRecord>,
    pub(super) dir: PathBuf,
    log_path: Option<PathBuf>,
    changing: Mutex<ContainerChanging>,
}

/// What changes of a container.
#[derive(Debug, Clone)]
pub(super) struct ContainerChanging {
    pub(super) state: ContainerState,
    pub(super) resources: Resources,
}

impl Container {
    pub(super) fn new(record: ContainerRecord, pod: &PodRecord, dir: PathBuf, known: ContainerChanging) -> Container {
        let log_path = match (&pod.config.log_directory, &record.config.log_path) {
            (Some(dir), Some(path)) => Some(dir.join(path)),
            (None, _) | (_, None) => None,
        };
        Container { record: Arc::new(record), dir, log_path, changing: Mutex::new(known) }
    }

    pub(super) fn id(&self) -> &Id {
        &self.record.id
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ContainerChanging> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> ContainerState {
        self.lock().state.clone()
    }

    /// Goes on to a later state; whether that is a change.
    pub(super) fn advance(&self, state: ContainerState) -> bool {
        let mut changing = self.lock();
        let later = state.rank() > changing.state.rank();
        if later {
            changing.state = state;
        }
        later
    }

    /// A copy of what is known.
    pub(super) fn view(&self) -> ContainerView {
        let changing = self.lock().clone();
        ContainerView {
            record: Arc::clone(&self.record),
            dir: self.dir.clone(),
            state: changing.state,
            resources: changing.resources,
            log_path: self.log_path.clone(),
        }
    }
}

/// A container as it was when it was asked for.
#[derive(Debug, Clone)]
pub struct ContainerView {
    /// What never changes.
    pub record: Arc<ContainerRecord>,
    /// Its directory, where its shim's socket and `config.json` are.
    pub dir: PathBuf,
    /// How it is.
    pub state: ContainerState,
    /// The limits it has.
    pub resources: Resources,
    /// Its log file.
    pub log_path: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use shim::layout::{Exit, VERSION};

    use super::*;

    fn status(state: State, exit: Option<(i32, bool)>, error: Option<&str>) -> Status {
        Status {
            version: VERSION,
            boot_id: String::new(),
            shim: (1, 1),
            cgroup: None,
            state,
            restart_count: 0,
            started_at: 5,
            last_exit: exit.map(|(code, oom_killed)| Exit { code, signal: None, oom_killed, finished_at: 7 }),
            error: error.map(str::to_owned),
            log_dropped: 0,
            health: None,
        }
    }

    #[test]
    fn reasons() {
        for (exit, error, code, reason, finished_at) in [
            (Some((0, false)), None, 0, "Completed", 7),
            (Some((1, false)), None, 1, "Error", 7),
            (Some((137, true)), None, 137, "OOMKilled", 7),
            (Some((255, false)), None, 255, "Error", 7),
            (Some((255, false)), Some("the shim died"), 255, "ContainerStatusUnknown", 7),
            (None, Some("the shim died"), 255, "StartError", 9),
        ] {
            let state = ContainerState::of(Some(&status(State::Exited, exit, error)), None, 9);
            let ContainerState::Exited(ended) = state else { panic!("{state:?}") };
            assert_eq!((ended.code, ended.reason, ended.finished_at), (code, reason, finished_at), "{exit:?}");
            assert_eq!(ended.message, error.unwrap_or_default());
        }
    }

    #[test]
    fn states_of_records() {
        assert_eq!(ContainerState::of(None, None, 9), ContainerState::Created);
        let created = status(State::Created { init: (3, 4) }, None, None);
        assert_eq!(ContainerState::of(Some(&created), None, 9), ContainerState::Created);
        let running = status(State::Running { init: (3, 4) }, None, None);
        assert_eq!(ContainerState::of(Some(&running), None, 9), ContainerState::Running { started_at: 5, pid: 3 });
        let failure = StartFailure { version: VERSION, at: 8, code: 128, message: "no".into() };
        let ContainerState::Exited(ended) = ContainerState::of(None, Some(&failure), 9) else { panic!() };
        assert_eq!((ended.started_at, ended.finished_at, ended.code, ended.reason), (0, 8, 128, "StartError"));
    }
}

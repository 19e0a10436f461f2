//! Pods on disk: containers that share namespaces, served by one shim.
//!
//! | file of `<state>/pods-local/<id>/` | writer |
//! |---|---|
//! | `name` | [`create`], first |
//! | `sandbox.json`, `pod.json` | [`create`], the latter last of all; never changed |
//! | `sandbox-status.json`, `shim.sock` | the shim |
//! | `removing` | [`remove`]: it is being removed, and whoever removes it again finishes that |
//! | `lock` | commands that start or remove it |
//!
//! Its containers are where all containers are, `<state>/local/<id>`; `container.json` names the pod, and `shim.sock` links to the
//! pod's. Locks are taken in the order names, container, pod.

pub(crate) mod create;
pub(crate) mod join;
pub(crate) mod record;
pub(crate) mod remove;
pub(crate) mod serve;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use shim::client::Connection;
use shim::layout::{SandboxState, SandboxStatus};
use shim::local::{self, Directory};

use super::id;
use super::roots::Roots;
use super::view::{Container, Phase};
use record::{PodRecord, VERSION};

/// A pod.
pub(crate) struct Pod {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    /// `pod.json`, or why it cannot be used.
    pub(crate) record: Result<PodRecord, String>,
    /// `sandbox-status.json` as it is true now, or why it cannot be used; `None`: never started.
    pub(crate) status: Result<Option<SandboxStatus>, String>,
    /// It is being removed.
    pub(crate) removing: bool,
}

/// State of a pod in podman's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodPhase {
    Created,
    Running,
    /// Some of its containers do not run.
    Degraded,
    Paused,
    Exited,
    Removing,
    /// Its records cannot be read.
    Dead,
}

impl PodPhase {
    /// The word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            PodPhase::Created => "Created",
            PodPhase::Running => "Running",
            PodPhase::Degraded => "Degraded",
            PodPhase::Paused => "Paused",
            PodPhase::Exited => "Exited",
            PodPhase::Removing => "Removing",
            PodPhase::Dead => "Dead",
        }
    }
}

impl Pod {
    /// Reads a pod; `None` when there is none, or not yet.
    pub(crate) fn load(roots: &Roots, id: &str) -> Result<Option<Pod>> {
        let dir = roots.pod(id);
        let Some(directory) = Directory::open(&dir)? else { return Ok(None) };
        let record = match runtime::spec::read_record(&directory, Path::new("pod.json")) {
            Ok(Some(text)) => parse(&text),
            Ok(None) => return Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let status = local::sandbox_status(&directory).map_err(|error| error.to_string());
        let removing = dir.join("removing").try_exists().unwrap_or(true);
        Ok(Some(Pod { id: id.to_owned(), dir, record, status, removing }))
    }

    /// All pods, newest first.
    pub(crate) fn list(roots: &Roots) -> Result<Vec<Pod>> {
        let mut list = Vec::new();
        for id in ids(roots)? {
            list.extend(Pod::load(roots, &id)?);
        }
        list.sort_by_key(|pod| {
            let created = pod.record.as_ref().map_or(0, |record| record.created);
            (std::cmp::Reverse(created), pod.id.clone())
        });
        Ok(list)
    }

    /// Finds a pod by name, id or the beginning of an id: in this order.
    pub(crate) fn find(roots: &Roots, query: &str) -> Result<Pod> {
        let mut list = Pod::list(roots)?;
        if let Some(index) = list.iter().position(|pod| pod.id == query || pod.shown() == query) {
            return Ok(list.swap_remove(index));
        }
        if !id::is_prefix(query) {
            return Err(Missing { query: query.to_owned() }.into());
        }
        list.retain(|pod| pod.id.starts_with(query));
        match list.len() {
            0 => Err(Missing { query: query.to_owned() }.into()),
            1 => Ok(list.remove(0)),
            _ => {
                let short: Vec<&str> = list.iter().map(|pod| id::short(&pod.id)).collect();
                bail!("{query:?} is ambiguous, it begins the ids of {}; give more digits", short.join(", "))
            }
        }
    }

    /// The record of a pod that must have a usable one.
    pub(crate) fn record(&self) -> Result<&PodRecord> {
        self.record.as_ref().map_err(|problem| anyhow!("pod {}: {problem}", self.shown()))
    }

    /// What the user calls it.
    pub(crate) fn shown(&self) -> &str {
        self.record.as_ref().map_or_else(|_| id::short(&self.id), |record| record.name.as_str())
    }

    /// Its directory, opened.
    pub(crate) fn directory(&self) -> Result<Directory> {
        Directory::open(&self.dir)?.ok_or_else(|| Missing { query: self.shown().to_owned() }.into())
    }

    /// Connects to its shim; `None` when it has none.
    pub(crate) fn connect(&self) -> Result<Option<Connection>> {
        let connected = Connection::connect(&self.dir);
        connected
            .with_context(|| format!("the shim of pod {0} does not answer (rtctl pod rm -f {0} ends it)", self.shown()))
    }

    /// Its containers, the oldest first.
    pub(crate) fn containers(&self, roots: &Roots) -> Result<Vec<Container>> {
        let mut list = Container::list(roots)?;
        list.retain(|container| container.pod() == Some(&self.id));
        list.reverse();
        Ok(list)
    }

    /// Its state, given its containers.
    pub(crate) fn phase(&self, containers: &[Container]) -> PodPhase {
        let phases: Vec<Phase> = containers.iter().map(Container::phase).collect();
        let status = self.status.as_ref().map(|status| status.as_ref().map(|status| status.state));
        phase(self.removing, self.record.is_ok(), status.map_err(|_| ()), &phases)
    }
}

/// The state of a pod with containers in these states.
fn phase(removing: bool, readable: bool, sandbox: Result<Option<SandboxState>, ()>, containers: &[Phase]) -> PodPhase {
    match (readable, sandbox) {
        _ if removing => PodPhase::Removing,
        (false, _) | (_, Err(())) => PodPhase::Dead,
        (true, Ok(None)) => PodPhase::Created,
        (true, Ok(Some(SandboxState::Ended))) => PodPhase::Exited,
        (true, Ok(Some(SandboxState::Ready))) => {
            let all = |wanted: &[Phase]| containers.iter().all(|phase| wanted.contains(phase));
            match containers.is_empty() {
                true => PodPhase::Running,
                false if all(&[Phase::Paused]) => PodPhase::Paused,
                false if all(&[Phase::Running, Phase::Paused]) => PodPhase::Running,
                false => PodPhase::Degraded,
            }
        }
    }
}

fn parse(text: &[u8]) -> Result<PodRecord, String> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let version: Version = runtime::spec::parse("pod.json", text).map_err(|error| error.to_string())?;
    if version.version > VERSION {
        return Err(format!(
            "pod.json is of version {}, this program knows {VERSION}: use the newer rtctl that made it",
            version.version
        ));
    }
    runtime::spec::parse("pod.json", text).map_err(|error| error.to_string())
}

/// The directories of pods, finished or not.
pub(crate) fn ids(roots: &Roots) -> Result<Vec<String>> {
    let dir = roots.pods();
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{}", dir.display())),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("{}", dir.display()))?.file_name();
        ids.extend(name.to_str().filter(|name| id::is_id(name)).map(str::to_owned));
    }
    Ok(ids)
}

/// There is no such pod.
#[derive(Debug)]
pub(crate) struct Missing {
    query: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "no pod {:?}: rtctl pod ls lists them", self.query)
    }
}

impl std::error::Error for Missing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        use Phase::{Created, Exited, Paused, Running};
        let ready = Ok(Some(SandboxState::Ready));
        for (removing, readable, sandbox, containers, expected) in [
            (false, true, Ok(None), &[][..], PodPhase::Created),
            (false, true, Ok(None), &[Created], PodPhase::Created),
            (false, true, ready, &[], PodPhase::Running),
            (false, true, ready, &[Running, Running], PodPhase::Running),
            (false, true, ready, &[Running, Paused], PodPhase::Running),
            (false, true, ready, &[Paused], PodPhase::Paused),
            (false, true, ready, &[Running, Exited], PodPhase::Degraded),
            (false, true, ready, &[Exited], PodPhase::Degraded),
            (false, true, Ok(Some(SandboxState::Ended)), &[Exited], PodPhase::Exited),
            (false, true, Err(()), &[], PodPhase::Dead),
            (false, false, ready, &[], PodPhase::Dead),
            (true, true, ready, &[Running], PodPhase::Removing),
        ] {
            assert_eq!(phase(removing, readable, sandbox, containers), expected, "{sandbox:?} {containers:?}");
        }
    }

    #[test]
    fn newer_and_damaged_records_are_named() {
        assert!(parse(format!(r#"{{"version": {}}}"#, VERSION + 1).as_bytes()).unwrap_err().contains("newer rtctl"));
        assert!(parse(b"{").is_err());
        assert!(parse(b"{\"version\": 1}").unwrap_err().contains("missing field"));
    }
}

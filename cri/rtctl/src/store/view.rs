//! Containers as commands see them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use shim::client::Connection;
use shim::layout::{State, Status, Task};
use shim::local::Directory;

use super::record::{Record, VERSION};
use super::roots::Roots;
use super::{id, name};

/// A container.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    /// Absent when it cannot be read.
    pub(crate) name: Option<String>,
    /// `container.json`, or why it cannot be used.
    pub(crate) record: Result<Record, String>,
    /// `status.json` as it is true now, or why it cannot be used; `None`: never started.
    pub(crate) status: Result<Option<Status>, String>,
}

/// State of a container in docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    /// Its records cannot be read.
    Dead,
}

impl Phase {
    /// Docker's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Phase::Created => "created",
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Restarting => "restarting",
            Phase::Removing => "removing",
            Phase::Exited => "exited",
            Phase::Dead => "dead",
        }
    }

    /// Whether it has processes.
    pub(crate) fn lives(self) -> bool {
        match self {
            Phase::Running | Phase::Paused | Phase::Restarting => true,
            Phase::Created | Phase::Removing | Phase::Exited | Phase::Dead => false,
        }
    }
}

impl Container {
    /// Reads a container; `None` when there is none, or not yet.
    pub(crate) fn load(roots: &Roots, id: &str) -> Result<Option<Container>> {
        let dir = roots.container(id);
        let Some(directory) = Directory::open(&dir)? else { return Ok(None) };
        let record = match runtime::spec::read_record(&directory, Path::new("container.json")) {
            Ok(Some(text)) => parse(&text),
            // Not finished, or half removed: see shim::local.
            Ok(None) => return Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let status = directory.status().map_err(|error| error.to_string());
        let name = name::of(roots, id);
        Ok(Some(Container { id: id.to_owned(), dir, name, record, status }))
    }

    /// All containers, newest first.
    pub(crate) fn list(roots: &Roots) -> Result<Vec<Container>> {
        let mut list = Vec::new();
        for id in ids(roots)? {
            list.extend(Container::load(roots, &id)?);
        }
        list.sort_by_key(|container| {
            let created = container.record.as_ref().map_or(0, |record| record.created);
            (std::cmp::Reverse(created), container.id.clone())
        });
        Ok(list)
    }

    /// Finds a container by name, id or the beginning of an id.
    pub(crate) fn find(roots: &Roots, query: &str) -> Result<Container> {
        let id = find_id(roots, query)?;
        if let Some(container) = Container::load(roots, &id)? {
            return Ok(container);
        }
        if let Some(directory) = Directory::open(&roots.container(&id))?
            && directory.has_own_shim()
            && let Ok(Some(shim)) = directory.connect()
        {
            match directory.status() {
                // Its shim is removing it: only say that there is none when nothing of it is left.
                Ok(None | Some(Status { state: State::Exited | State::Removing, .. })) => shim.closed()?,
                Ok(Some(_)) | Err(_) => {
                    bail!("container {query}: container.json is missing; remove it with rtctl rm -f {query}")
                }
            }
        }
        Err(missing(roots, query))
    }

    /// The record of a container that must have a usable one.
    pub(crate) fn record(&self) -> Result<&Record> {
        self.record.as_ref().map_err(|problem| anyhow!("container {}: {problem}", self.shown()))
    }

    /// The status of a container that must have a usable one.
    pub(crate) fn status(&self) -> Result<Option<&Status>> {
        match &self.status {
            Ok(status) => Ok(status.as_ref()),
            Err(problem) => Err(anyhow!("container {}: {problem}", self.shown())),
        }
    }

    /// `shim.json`.
    pub(crate) fn task(&self) -> Result<Task> {
        let task = self.directory()?.task()?;
        task.ok_or_else(|| anyhow!("container {}: shim.json is missing; remove it with rtctl rm -f", self.shown()))
    }

    /// `config.json`.
    pub(crate) fn spec(&self) -> Result<runtime::spec::Spec> {
        let spec = runtime::spec::load(self.directory()?, Path::new("config.json"));
        spec.map_err(|error| anyhow!("container {}: {error}", self.shown()))
    }

    /// Its directory, opened.
    pub(crate) fn directory(&self) -> Result<Directory> {
        Directory::open(&self.dir)?.ok_or_else(|| Missing { query: self.shown().to_owned(), nearest: None }.into())
    }

    /// What the user calls it.
    pub(crate) fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| id::short(&self.id))
    }

    /// Connects to its shim; `None` when it has none.
    pub(crate) fn connect(&self) -> Result<Option<Connection>> {
        let connection = self.directory()?.connect();
        connection.with_context(|| {
            format!("the shim of container {0} does not answer (rtctl rm -f {0} ends it)", self.shown())
        })
    }

    /// Id of the pod that it is in.
    pub(crate) fn pod(&self) -> Option<&String> {
        self.record.as_ref().ok()?.pod.as_ref()
    }

    /// Its state.
    pub(crate) fn phase(&self) -> Phase {
        match (&self.record, &self.status) {
            (Err(_), _) | (_, Err(_)) => Phase::Dead,
            (Ok(_), Ok(None)) => Phase::Created,
            (Ok(_), Ok(Some(status))) => phase(status),
        }
    }

    /// Process id of its init on the host.
    pub(crate) fn pid(&self) -> Option<i32> {
        match &self.status.as_ref().ok()?.as_ref()?.state {
            State::Running { init } | State::Paused { init } => Some(init.0),
            State::Creating | State::Created { .. } | State::Restarting { .. } | State::Exited | State::Removing => {
                None
            }
        }
    }

    /// An error unless it runs; `verb` says what for.
    pub(crate) fn require_running(&self) -> Result<i32> {
        match (self.phase(), self.pid()) {
            (Phase::Running, Some(pid)) => Ok(pid),
            (Phase::Paused, _) => bail!("container {0} is paused; rtctl unpause {0} first", self.shown()),
            (phase, _) => {
                bail!("container {0} is not running ({1}); rtctl start {0} first", self.shown(), phase.word())
            }
        }
    }
}

/// The state that a status means.
pub(crate) fn phase(status: &Status) -> Phase {
    match &status.state {
        // An init that waits has run nothing yet.
        State::Creating | State::Created { .. } => Phase::Created,
        State::Running { .. } => Phase::Running,
        State::Paused { .. } => Phase::Paused,
        State::Restarting { .. } => Phase::Restarting,
        State::Removing => Phase::Removing,
        State::Exited if status.last_exit.is_none() => Phase::Created,
        State::Exited => Phase::Exited,
    }
}

fn parse(text: &[u8]) -> Result<Record, String> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let version: Version = runtime::spec::parse("container.json", text).map_err(|error| error.to_string())?;
    if version.version > VERSION {
        return Err(format!(
            "container.json is of version {}, this program knows {VERSION}: use the newer rtctl that made it",
            version.version
        ));
    }
    runtime::spec::parse("container.json", text).map_err(|error| error.to_string())
}

fn ids(roots: &Roots) -> Result<Vec<String>> {
    let dir = roots.local();
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

/// The directories of containers, finished or not.
pub(crate) fn all_ids(roots: &Roots) -> Result<Vec<String>> {
    ids(roots)
}

/// There is no such container.
#[derive(Debug)]
pub(crate) struct Missing {
    query: String,
    nearest: Option<String>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.nearest {
            Some(nearest) => {
                write!(formatter, "no container {:?}, but {nearest:?}: rtctl ps -a lists them", self.query)
            }
            None => write!(formatter, "no container {:?}: rtctl ps -a lists them", self.query),
        }
    }
}

impl std::error::Error for Missing {}

fn missing(roots: &Roots, query: &str) -> anyhow::Error {
    let names = name::all(roots);
    let nearest = crate::output::nearest::nearest(query, names.iter().map(String::as_str));
    Missing { query: query.to_owned(), nearest: nearest.map(str::to_owned) }.into()
}

/// A whole id; a name; the beginning of an id: in this order, as docker does.
pub(crate) fn find_id(roots: &Roots, query: &str) -> Result<String> {
    let query = query.strip_prefix('/').unwrap_or(query);
    if id::is_id(query) && Directory::open(&roots.container(query))?.is_some() {
        return Ok(query.to_owned());
    }
    if name::parse(query).is_ok()
        && let Some(id) = name::target(roots, query)?
        && Directory::open(&roots.container(&id))?.is_some()
    {
        return Ok(id);
    }
    if !id::is_prefix(query) {
        return Err(missing(roots, query));
    }
    let mut matches: Vec<String> = ids(roots)?.into_iter().filter(|id| id.starts_with(query)).collect();
    match matches.len() {
        0 => Err(missing(roots, query)),
        1 => Ok(matches.remove(0)),
        _ => {
            matches.sort();
            let short: Vec<&str> = matches.iter().map(|id| id::short(id)).collect();
            bail!("{query:?} is ambiguous, it begins the ids of {}; give more digits", short.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_and_damaged_records_are_named() {
        let newer = format!(r#"{{"version": {}, "new": true}}"#, VERSION + 1);
        assert!(parse(newer.as_bytes()).unwrap_err().contains("use the newer rtctl"));
        assert!(parse(b"{").is_err());
        assert!(parse(b"{\"version\": 1}").unwrap_err().contains("missing field"));
        assert!(parse(b"").is_err());
    }
}

//! Removing a container, whatever state it is in.
//!
//! The shim removes what is its own; what is left of a container without a shim is removed here. A shim that does not answer
//! is killed when that is asked for: its container dies with it.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use runtime::cgroup::{self, Cgroup};
use runtime::sys::process::pidfd_open;
use shim::client::{Connection, Error};
use shim::layout::{RestartPolicy, Stdin, Task};
use shim::local::{self, Directory, Lock};
use shim::protocol::{FailureKind, Reply, Request};
use shim::record;

use super::roots::Roots;
use super::view::Container;
use super::{id, network};
use crate::events;

/// How long a shim may take to answer before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether a container that runs is removed, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    Yes,
    No,
}

/// Removes a container along with `paths` that belong to nobody else.
pub(crate) fn remove_with(roots: &Roots, id: &str, lock: &Lock, force: Force, paths: &[PathBuf]) -> Result<()> {
    if !paths.is_empty()
        && let Some(directory) = Directory::open(&roots.container(id))?
    {
        // So they go even if this program ends before them. On a full disk that cannot be noted.
        let _noted = directory.own(lock, paths);
    }
    remove(roots, id, lock, force)?;
    for path in paths {
        if let Err(problems) = shim::remove::tree(path) {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            bail!("{}: {}", path.display(), problems.join("; "));
        }
    }
    Ok(())
}

/// Removes a container; one that is gone is done.
pub(crate) fn remove(roots: &Roots, id: &str, lock: &Lock, force: Force) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let joins = network::joins(roots, id);
    // Its shim leaves its networks by itself; for one that was killed it is done here.
    let left = || if joins { network::release(roots, id) } else { Ok(()) };
    loop {
        let Some(directory) = Directory::open(&roots.container(id))? else { return Ok(()) };
        let asked = match directory.connect() {
            Ok(Some(connection)) => ask(&connection, &directory, force, until)?,
            Ok(None) => Asked::Gone,
            Err(Error::Silent) => Asked::Silent,
            Err(error) => return Err(error.into()),
        };
        match (asked, force) {
            (Asked::Done, _) => return Ok(()),
            (Asked::Gone, _) => {}
            (Asked::Silent, Force::No) => {
                bail!("the shim of container {0} does not answer; rtctl rm -f {0} ends it", id::short(id))
            }
            (Asked::Silent, Force::Yes) if !directory.has_own_shim() => {
                bail!("the shim of its pod does not answer; rtctl pod rm -f ends the pod")
            }
            (Asked::Silent, Force::Yes) => kill_shim(&directory)?,
        }
        let ours = Container::load(roots, id)?;
        match (directory.remove_dead(lock), force) {
            (Ok(()), _) => {
                // A shim would have told it.
                if let Some(Container { record: Ok(record), name, .. }) = &ours {
                    events::container(roots, "destroy", record, name.as_deref().unwrap_or_default(), &[]);
                }
                return left();
            }
            (Err(local::Error::Alive { pid, .. }), _) => wait_for_end(pid, until)?,
            (Err(local::Error::Record(error)), Force::Yes) if !matches!(error, record::Error::Newer { .. }) => {
                salvage(roots, id, &directory)?;
                directory.remove_dead(lock)?;
                return left();
            }
            (Err(error), _) => return Err(error.into()),
        }
    }
}

/// Makes a container with damaged records removable. Its shim does not listen; what must go is known without the records.
fn salvage(roots: &Roots, id: &str, directory: &Directory) -> Result<()> {
    let spec = runtime::spec::load(directory, Path::new("config.json")).unwrap_or_default();
    // Where `create` puts groups, should config.json be damaged as well.
    let usual = format!("/rt/{id}");
    let path = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref()).unwrap_or(&usual);
    if let Some(group) = Cgroup::open(&cgroup::Host::detect()?, &path.parse()?)? {
        group.kill()?;
        group.remove()?;
    }
    match std::fs::remove_file(roots.container(id).join("status.json")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context("unlink(status.json)"),
        Ok(()) | Err(_) => {}
    }
    let task = Task {
        program: None,
        version: shim::layout::VERSION,
        layers: None,
        log: None,
        stdin: Stdin::Closed,
        restart: RestartPolicy::No,
        auto_remove: false,
        owned: vec![roots.upper(id)],
        pid_file: None,
        stop_signal: None,
        init: false,
        health: None,
        events: None,
        image_mounts: Vec::new(),
        sandbox: Vec::new(),
    };
    Ok(record::write(directory, &task)?)
}

enum Asked {
    Done,
    Gone,
    Silent,
}

fn ask(connection: &Connection, directory: &Directory, force: Force, until: Instant) -> Result<Asked> {
    let own_shim = directory.has_own_shim();
    let request = Request::Remove { container: directory.id().to_owned(), force: force == Force::Yes };
    match connection.send(&request, &[]) {
        Ok(()) => {}
        Err(Error::Gone) => return Ok(Asked::Gone),
        Err(error) => return Err(error.into()),
    }
    if !readable(connection, until)? {
        return Ok(Asked::Silent);
    }
    match connection.receive() {
        Ok(Reply::Done) => {
            // That of a pod stays.
            if own_shim {
                connection.closed()?;
            }
            Ok(Asked::Done)
        }
        Ok(other) => bail!("unexpected answer of the shim: {other:?}"),
        // NotFound: its starter ended before the shim had the container.
        Err(Error::Gone | Error::Failed { kind: FailureKind::NotFound, .. }) => Ok(Asked::Gone),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn readable(fd: impl AsFd, until: Instant) -> Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll"),
        }
    }
}

fn kill_shim(directory: &Directory) -> Result<()> {
    let Some(status) = record::read::<shim::layout::Status>(directory)? else { return Ok(()) };
    Ok(shim::stuck::kill(status.shim, &status.boot_id, PATIENCE)?)
}

/// Waits until a shim has ended.
pub(crate) fn wait_for_end(pid: i32, until: Instant) -> Result<()> {
    let Ok(pidfd) = pidfd_open(Pid::from_raw(pid)) else { return Ok(()) };
    if readable(&pidfd, until)? { Ok(()) } else { bail!("the shim (pid {pid}) does not end") }
}

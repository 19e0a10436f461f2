//! Removing a container, whatever state it is in.
//!
//! The shim removes what is its own; what is left of a container without a shim is removed here. A shim that does not answer
//! is killed when that is asked for: its container dies with it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use runtime::sys::process::{pidfd_open, pidfd_send_signal};
use shim::client::{Connection, Error};
use shim::local::{self, Directory, Lock};
use shim::protocol::{Reply, Request};

use super::id;
use super::roots::Roots;

/// How long a shim may take to answer before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether a container that runs is removed, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    Yes,
    No,
}

/// Removes a container; one that is gone is done.
pub(crate) fn remove(roots: &Roots, id: &str, lock: &Lock, force: Force) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let Some(directory) = Directory::open(&roots.container(id))? else { return Ok(()) };
        if let Some(connection) = directory.connect()? {
            match ask(&connection, id, force, until) {
                Ok(Asked::Done) => return Ok(()),
                // It has just ended; look again.
                Ok(Asked::Gone) => continue,
                Ok(Asked::Silent) if force == Force::No => {
                    bail!("the shim of container {} does not answer", id::short(id))
                }
                Ok(Asked::Silent) => kill_shim(&directory)?,
                Err(error) => return Err(error),
            }
        }
        match directory.remove_dead(lock) {
            Ok(()) => return Ok(()),
            Err(local::Error::Alive { pid, .. }) => wait_for_end(pid, until)?,
            Err(error) => return Err(error.into()),
        }
    }
}

enum Asked {
    Done,
    Gone,
    Silent,
}

fn ask(connection: &Connection, id: &str, force: Force, until: Instant) -> Result<Asked> {
    let request = Request::Remove { container: id.to_owned(), force: force == Force::Yes };
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
            connection.closed()?;
            Ok(Asked::Done)
        }
        Ok(other) => bail!("unexpected answer of the shim: {other:?}"),
        Err(Error::Gone) => Ok(Asked::Gone),
        Err(error) => Err(error.into()),
    }
}

fn readable(fd: impl AsFd, until: Instant) -> Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(ready) => return Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll"),
        }
    }
}

fn kill_shim(directory: &Directory) -> Result<()> {
    let Some(status) = directory.status()? else { return Ok(()) };
    let Ok(pidfd) = pidfd_open(Pid::from_raw(status.shim.0)) else { return Ok(()) };
    // The descriptor is of the process that has this number now: only if it is still the one of the record.
    if local::alive(&status)? {
        pidfd_send_signal(&pidfd, nix::libc::SIGKILL).context("pidfd_send_signal(<rt-shim>, SIGKILL)")?;
        readable(&pidfd, Instant::now() + PATIENCE)?;
    }
    Ok(())
}

fn wait_for_end(pid: i32, until: Instant) -> Result<()> {
    let Ok(pidfd) = pidfd_open(Pid::from_raw(pid)) else { return Ok(()) };
    if readable(&pidfd, until)? { Ok(()) } else { bail!("the shim (pid {pid}) does not end") }
}

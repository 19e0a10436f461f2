//! What a start does first: ends plugins that a killed process left running, and undoes what another boot attached.

use std::fs::read_link;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use runtime::sys::process::{pidfd_open, pidfd_send_signal};

use super::client::{Client, Step};
use super::error::Error;
use super::name::ContainerId;

/// For how long a killed plugin may take to end.
const KILLED: Duration = Duration::from_secs(10);

/// What [`Client::recover`] found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Containers of this boot that are attached.
    pub attached: Vec<ContainerId>,
    /// Containers whose ADD or DEL did not come to its end, and those of another boot that could not be undone: they are to be deleted.
    pub unfinished: Vec<ContainerId>,
    /// Processes of plugins that were still running, and were ended.
    pub ended: Vec<i32>,
    /// What was executed.
    pub steps: Vec<Step>,
    /// What went wrong. Attachments that could not be undone stay recorded; records that cannot be read stay, too.
    pub errors: Vec<Error>,
}

impl Client {
    /// Puts the records in order, before anything else is done with them. What was attached in another boot is undone without
    /// a network namespace, then the plugins of the networks give back the rest by GC.
    pub fn recover(&self, deadline: Instant) -> Recovered {
        let mut found = Recovered { errors: self.ledger.damaged().collect(), ..Recovered::default() };
        let turn = match self.turns.gc(deadline) {
            Ok(turn) => turn,
            Err(error) => {
                found.errors.push(error);
                return found;
            }
        };
        let entries = self.ledger.list(None);
        if !entries.is_empty() {
            let ours = |id: &str| entries.iter().any(|entry| entry.key.container.as_str() == id);
            found.ended = end_plugins(&ours);
        }
        let (here, gone): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.record.boot_id == self.boot_id);
        for entry in here {
            let complete = self.ledger.outcome(&entry.key).is_some_and(|outcome| outcome.complete);
            let list = if complete { &mut found.attached } else { &mut found.unfinished };
            list.push(entry.key.container.clone());
        }
        let stale = !gone.is_empty();
        let (steps, errors) = self.undo_all(&gone, deadline);
        found.steps.extend(steps);
        found.errors.extend(errors);
        let left = gone.iter().filter(|entry| self.ledger.get(&entry.key).is_some());
        found.unfinished.extend(left.map(|entry| entry.key.container.clone()));
        if stale {
            for loaded in &self.configs().networks {
                self.gc_network(&loaded.network, deadline, &mut found.steps, &mut found.errors);
            }
        }
        drop(turn);
        found
    }
}

/// Ends plugins that work for one of our containers, and what they executed: all have their environment. Only this process may
/// have started any of them, and it has not yet.
fn end_plugins(ours: &dyn Fn(&str) -> bool) -> Vec<i32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = read_link("/proc/self/ns/pid").ok();
    let mut ended = Vec::new();
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // What a container runs sets its environment as it likes.
        if own.is_none() || read_link(format!("/proc/{pid}/ns/pid")).ok() != own || !works_for(pid, ours) {
            continue;
        }
        let Ok(pidfd) = pidfd_open(Pid::from_raw(pid)) else { continue };
        // Read again, now that the number cannot go to another process unnoticed.
        if works_for(pid, ours) && pidfd_send_signal(&pidfd, Signal::SIGKILL as i32).is_ok() && ends(&pidfd) {
            ended.push(pid);
        }
    }
    ended
}

fn works_for(pid: i32, ours: &dyn Fn(&str) -> bool) -> bool {
    let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
    let value = |name: &[u8]| environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(name));
    let id = value(b"CNI_CONTAINERID=").and_then(|id| std::str::from_utf8(id).ok());
    value(b"CNI_COMMAND=").is_some() && id.is_some_and(ours)
}

fn ends(pidfd: &OwnedFd) -> bool {
    let until = Instant::now() + KILLED;
    loop {
        let left = PollTimeout::try_from(until.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], left) {
            Err(Errno::EINTR) => {}
            Ok(count) => return count > 0,
            Err(_) => return false,
        }
    }
}

//! Signals to all processes of a group, and the wait for their end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::controller::Controller;
use super::dir::Dir;
use super::{Cgroup, Error, wait};
use crate::sys::process::{pidfd_open, pidfd_send_signal};

/// How long killed processes may take to end; one in an uninterruptible wait (a dead disk or server) may need for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Kills all processes in the group and below it, frozen ones too, and returns when none is left.
    ///
    /// # Errors
    /// [`Error::Remaining`] with those that do not end within 10 s.
    pub fn kill(&self) -> Result<(), Error> {
        self.kill_within(PATIENCE)
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// [`Error::Remaining`] with those that do not end in time.
    pub fn kill_within(&self, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        self.kill_in(self.main(), deadline)?;
        if self.v2.is_some()
            && let Some(dir) = self.v1_of(Controller::Freezer).or_else(|| self.v1_of(Controller::Pids))
        {
            // Hybrid: one that was moved out of the cgroup2 directory alone is still ours.
            self.kill_in(dir, deadline)?;
        }
        Ok(())
    }

    /// Sends a signal to all processes in the group and below it. For SIGKILL this is atomic on v2 (Linux 5.14), but it does
    /// not wait.
    ///
    /// # Errors
    /// [`Error::System`] of kill(2); processes that have ended meanwhile are none.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        if signal == Signal::SIGKILL && kill_file(self.main())? {
            return Ok(());
        }
        let mut met = Vec::new();
        for pid in self.main().processes()?.into_iter().filter(|pid| *pid > 0) {
            match kill(Pid::from_raw(pid), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    let object = format!("{pid}, {signal}");
                    met.push(Error::System { call: "kill", object, errno, advice: None });
                }
            }
        }
        Error::all(met)
    }

    /// Kills what is in one directory and waits until it is empty.
    pub(super) fn kill_in(&self, dir: &Dir, deadline: Instant) -> Result<(), Error> {
        let is_v2 = self.v2.as_ref().is_some_and(|v2| std::ptr::eq(&v2.dir, dir));
        if is_v2 && wait::event(dir, "populated", false, Instant::now())? {
            return Ok(());
        }
        if is_v2 && kill_file(dir)? {
            // A process that somebody froze by the v1 freezer of a hybrid host dies only when it thaws.
            if let Some(freezer) = self.v1_of(Controller::Freezer) {
                freezer.write("freezer.state", "THAWED")?;
            }
            if wait::event(dir, "populated", false, deadline)? {
                return Ok(());
            }
            return remaining(dir);
        }
        self.kill_one_by_one(dir, deadline)
    }

    /// Without `cgroup.kill`: freezes, so that nothing forks meanwhile, signals each process, thaws and waits for their
    /// ends; and again, until the group is empty.
    fn kill_one_by_one(&self, dir: &Dir, deadline: Instant) -> Result<(), Error> {
        let mut pause = wait::Pause::default();
        let mut before = Vec::new();
        loop {
            let pids = dir.processes()?;
            if pids.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::Remaining { path: dir.path().to_owned(), pids });
            }
            // The same again: all have ended and are still listed, or are in another pid namespace. No event tells when
            // that changes.
            if pids == before {
                pause.rest();
            }
            before = pids;
            // Best effort and short: without it the loop only needs more turns.
            let short = || deadline.min(Instant::now() + Duration::from_millis(200));
            let _ = self.freeze_until(short());
            let signalled = signal_all(dir);
            let _ = self.thaw_until(short());
            wait_for(&signalled?, deadline)?;
        }
    }
}

/// Writes `cgroup.kill`; `false` if the kernel does not have it. KERNEL(5.14)
pub(super) fn kill_file(dir: &Dir) -> Result<bool, Error> {
    match dir.write("cgroup.kill", "1") {
        Ok(()) => Ok(true),
        // ENOENT: older kernel or v1. EOPNOTSUPP: a threaded group.
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn remaining(dir: &Dir) -> Result<(), Error> {
    Err(Error::Remaining { path: dir.path().to_owned(), pids: dir.processes()? })
}

/// Sends SIGKILL to each process, by descriptors that mean them and no later ones.
pub(super) fn signal_all(dir: &Dir) -> Result<Vec<OwnedFd>, Error> {
    let mut pidfds = Vec::new();
    for pid in dir.processes()?.into_iter().filter(|pid| *pid > 0) {
        let failed = |call, errno| Error::System { call, object: format!("{pid}"), errno, advice: None };
        let fd = match pidfd_open(Pid::from_raw(pid)) {
            Ok(fd) => fd,
            Err(Errno::ESRCH) => continue,
            // Enough for now; the next turn takes the others.
            Err(Errno::EMFILE | Errno::ENFILE) if !pidfds.is_empty() => break,
            Err(errno) => return Err(failed("pidfd_open", errno)),
        };
        match pidfd_send_signal(&fd, libc::SIGKILL) {
            Ok(()) => pidfds.push(fd),
            Err(Errno::ESRCH) => {}
            Err(errno) => return Err(failed("pidfd_send_signal", errno)),
        }
    }
    Ok(pidfds)
}

/// Waits until all have ended or the time is over.
fn wait_for(pidfds: &[OwnedFd], deadline: Instant) -> Result<(), Error> {
    for fd in pidfds {
        // One after the other: the last has to be waited for anyway.
        while let Some(timeout) = wait::left(deadline) {
            match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => break,
                Err(errno) => {
                    return Err(Error::System { call: "poll", object: "pidfd".to_owned(), errno, advice: None });
                }
            }
        }
    }
    Ok(())
}

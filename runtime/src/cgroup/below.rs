//! A group below a container's, for one process and all that it starts.
//!
//! Who is in it descends from that process, whatever sessions and parents it has given itself since: all of them can be killed, and
//! nothing else of the container. It is made in the one hierarchy in which processes are counted; no controller is enabled in it, so
//! limits and statistics stay those of the container's group.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, mkdir, unlinkat};

use super::controller::Controller;
use super::dir::Dir;
use super::kill::{kill_file, signal_all};
use super::{Cgroup, Error};

/// How often processes are looked for that were born while others were killed, where the kernel has no `cgroup.kill`.
const ROUNDS: usize = 20;

/// A group below another.
#[derive(Debug)]
pub struct Below {
    dir: Dir,
    unified: bool,
    /// One of its hierarchy, and a colon.
    controller: &'static str,
}

impl Cgroup {
    /// Makes the group `name` below this one, or takes one that is there.
    ///
    /// # Errors
    /// [`Error::System`] of mkdir(2).
    pub fn below(&self, name: &str) -> Result<Below, Error> {
        self.below_in(self.main(), name)
    }

    /// As [`Cgroup::below`], where another runtime can put a process ([`Below::name`]): on a hybrid host they take groups of v1 alone.
    ///
    /// # Errors
    /// As [`Cgroup::below`].
    pub fn below_for_others(&self, name: &str) -> Result<Below, Error> {
        let v1 = self.v1_of(Controller::Freezer).or_else(|| self.v1_of(Controller::Pids));
        self.below_in(v1.unwrap_or_else(|| self.main()), name)
    }

    fn below_in(&self, parent: &Dir, name: &str) -> Result<Below, Error> {
        let path = parent.path().join(name);
        match mkdir(&path, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Error::on("mkdir", &path, errno)),
        }
        let dir = Dir::open(path.clone())?.ok_or_else(|| Error::on("open", &path, Errno::ENOENT))?;
        let controller = if self.v1_of(Controller::Freezer).is_some() { "freezer:" } else { "pids:" };
        let unified = self.v2.as_ref().is_some_and(|v2| std::ptr::eq(&v2.dir, parent));
        Ok(Below { dir, unified, controller })
    }

    /// [`Cgroup::procs_files`] for a process that is to be in `below`.
    ///
    /// # Errors
    /// [`Error::System`] of open(2).
    pub fn procs_files_below(&self, below: &Below) -> Result<Vec<OwnedFd>, Error> {
        let main = self.main();
        let dirs = self.v1.iter().map(|v1| if std::ptr::eq(&v1.dir, main) { &below.dir } else { &v1.dir });
        dirs.map(|dir| dir.open_file("tasks", OFlag::O_WRONLY)).collect()
    }
}

impl Below {
    /// Its name as `exec --cgroup` of runc and crun takes it: below the container's group, on v1 behind a controller of its hierarchy.
    pub fn name(&self) -> String {
        let name = self.dir.path().file_name().unwrap_or_default().to_string_lossy();
        let controller = if self.unified { "" } else { self.controller };
        format!("{controller}{name}")
    }

    /// As [`Cgroup::clone_into`].
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.unified.then(|| self.dir.as_fd())
    }

    /// Kills all processes in it; does not wait for their ends.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn kill(&self) -> Result<(), Error> {
        if self.unified && kill_file(&self.dir)? {
            return Ok(());
        }
        let (file, on, off) = match self.unified {
            true => ("cgroup.freeze", "1", "0"),
            false => ("freezer.state", "FROZEN", "THAWED"),
        };
        // Best effort, so that nothing forks meanwhile; without it there are more turns.
        let _ = self.dir.write(file, on);
        let mut outcome = Ok(());
        let mut before = 0;
        for _ in 0..ROUNDS {
            match signal_all(&self.dir) {
                Ok(pidfds) if pidfds.len() <= before => break,
                Ok(pidfds) => before = pidfds.len(),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let _ = self.dir.write(file, off);
        outcome
    }

    /// Removes it; `false` as long as it has processes.
    ///
    /// # Errors
    /// [`Error::System`] of rmdir(2). One that is gone is removed.
    pub fn remove(&self) -> Result<bool, Error> {
        match unlinkat(AT_FDCWD, self.dir.path(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::EBUSY) => Ok(false),
            Err(errno) => Err(Error::on("rmdir", self.dir.path(), errno)),
        }
    }
}

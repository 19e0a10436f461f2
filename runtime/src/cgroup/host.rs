//! Where this host has its control groups.

use std::path::{Path as FsPath, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};

use super::Error;
use super::controller::Controller;
use super::mountinfo::{self, Mounts, V1Mount};

const USUAL: &str = "/sys/fs/cgroup";

/// The mounted hierarchies, as this process sees them.
#[derive(Debug, Clone)]
pub struct Host {
    mounts: Mounts,
}

/// Which versions are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// v1 only.
    V1,
    /// v1 hierarchies, and a cgroup2 mount with what is left.
    Hybrid,
    /// v2 only.
    V2,
}

impl Host {
    /// Looks at the mount table, unless cgroup2 is at its usual place: then nothing else counts, one call tells, and the
    /// table (which grows with every container of a busy host) is not read.
    ///
    /// systemd's own v1 hierarchy counts only where systemd runs (sd_booted(3)).
    ///
    /// # Errors
    /// [`Error::System`] when the table cannot be read, [`Error::NotMounted`].
    pub fn detect() -> Result<Host, Error> {
        match statfs(USUAL) {
            Ok(usual) if usual.filesystem_type() == CGROUP2_SUPER_MAGIC => {
                return Ok(Host { mounts: Mounts { v1: Vec::new(), v2: Some(USUAL.into()) } });
            }
            Ok(_) | Err(Errno::ENOENT | Errno::EACCES) => {}
            Err(errno) => return Err(Error::on("statfs", USUAL.as_ref(), errno)),
        }
        let table = "/proc/self/mountinfo";
        let bytes = std::fs::read(table).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            Error::on("read", FsPath::new(table), errno)
        })?;
        let mut host = Host::from_mountinfo(&bytes)?;
        let is_named = |mount: &V1Mount| mount.controllers == [Controller::Systemd].into_iter().collect();
        if let Some(named) = host.mounts.v1.iter().position(is_named)
            && access("/run/systemd/system", AccessFlags::F_OK).is_err()
        {
            host.mounts.v1.remove(named);
        }
        Ok(host)
    }

    /// The same from the text of a mount table (proc_pid_mountinfo(5)).
    ///
    /// # Errors
    /// [`Error::NotMounted`].
    pub fn from_mountinfo(table: &[u8]) -> Result<Host, Error> {
        let mounts = mountinfo::parse(table);
        if mounts.v1.is_empty() && mounts.v2.is_none() { Err(Error::NotMounted) } else { Ok(Host { mounts }) }
    }

    /// Which versions are in use.
    pub fn mode(&self) -> Mode {
        match (self.mounts.v1.is_empty(), &self.mounts.v2) {
            (true, _) => Mode::V2,
            (false, Some(_)) => Mode::Hybrid,
            (false, None) => Mode::V1,
        }
    }

    /// Mount point of cgroup2.
    pub fn cgroup2(&self) -> Option<&FsPath> {
        self.mounts.v2.as_deref()
    }

    /// Mount points of the v1 hierarchies that containers get a group in.
    pub fn hierarchies(&self) -> impl Iterator<Item = &PathBuf> {
        self.mounts.v1.iter().map(|mount| &mount.point)
    }

    pub(super) fn mounts(&self) -> &Mounts {
        &self.mounts
    }
}

//! Out of memory: how often, and when.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::epoll::EpollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::uio::pread;
use nix::unistd::read;

use super::controller::Controller;
use super::dir::{Visit, read_record};
use super::{Cgroup, Error, wait};

/// A descriptor that becomes ready when the group may have run out of memory.
///
/// Register it with [`OomFd::interest`]. When it is ready call [`OomFd::acknowledge`] (or it stays ready) and ask
/// [`Cgroup::oom_kills`] what happened; it may be nothing. It is also ready once the group has been removed; from then on for
/// ever on v2, so take it out of the epoll set before [`Cgroup::remove`].
#[derive(Debug)]
pub struct OomFd {
    fd: OwnedFd,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// An eventfd that the v1 memory controller adds 1 to whenever the group's limit, or that of a group above, starts the
    /// OOM killer. A limit that the container sets on a group of its own below does not count.
    Eventfd,
    /// The open `memory.events`, which is ready in the sense of EPOLLPRI when it changed since it was last read: limits hit
    /// (`max`), OOM (`oom`) and kills (`oom_kill`) in the group and below it.
    Events,
}

impl OomFd {
    /// What to ask epoll for: `EPOLLIN` on v1, `EPOLLPRI` on v2 (where `EPOLLIN` is always true, and `EPOLLERR` comes along
    /// with `EPOLLPRI`).
    pub fn interest(&self) -> EpollFlags {
        match self.kind {
            Kind::Eventfd => EpollFlags::EPOLLIN,
            Kind::Events => EpollFlags::EPOLLPRI,
        }
    }

    /// Makes it not ready until the next event.
    ///
    /// # Errors
    /// [`Error::System`]: ENODEV on v2 when the group is gone.
    pub fn acknowledge(&self) -> Result<(), Error> {
        let mut buffer = [0; 512];
        let result = match self.kind {
            Kind::Eventfd => read(&self.fd, &mut buffer[..8]),
            Kind::Events => pread(&self.fd, &mut buffer, 0),
        };
        match result {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::System { call: "read", object: "oom events".to_owned(), errno, advice: None }),
        }
    }
}

impl AsFd for OomFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cgroup {
    /// How many processes of the group and of those below it the OOM killer has taken; 0 where memory is not controlled.
    ///
    /// v2: `oom_kill` of `memory.events`. v1: the sum of `oom_kill` of `memory.oom_control` (Linux 4.13) over the groups that
    /// still exist. Read it before the group is removed.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn oom_kills(&self) -> Result<u64, Error> {
        let Some(dir) = self.v1_of(Controller::Memory) else {
            let text = self.v2.as_ref().map(|v2| v2.dir.read_if_there("memory.events")).transpose()?.flatten();
            return Ok(text.and_then(|text| wait::value(&text, "oom_kill")).unwrap_or(0));
        };
        let mut kills = 0;
        dir.walk(|visit, path| {
            if let Visit::Enter(group) = visit {
                let file = "memory.oom_control";
                let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
                let text = nix::fcntl::openat(group, file, flags, nix::sys::stat::Mode::empty())
                    .and_then(|fd| read_record(fd.as_fd()));
                match text {
                    Ok(text) => kills += wait::value(&text, "oom_kill").unwrap_or(0),
                    Err(Errno::ENOENT | Errno::ENODEV) => {}
                    Err(errno) => return Err(Error::on("read", &path.join(file), errno)),
                }
            }
            Ok(())
        })?;
        Ok(kills)
    }

    /// A descriptor for epoll that tells when to look at [`Cgroup::oom_kills`]; `None` where memory is not controlled.
    ///
    /// It takes neither an inotify instance (128 per user by default) nor memory beyond an open file.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn oom_fd(&self) -> Result<Option<OomFd>, Error> {
        if let Some(dir) = self.v1_of(Controller::Memory) {
            let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                .map_err(|errno| Error::System { call: "eventfd", object: "0".to_owned(), errno, advice: None })?;
            let control = dir.open_file("memory.oom_control", OFlag::O_RDONLY)?;
            dir.write("cgroup.event_control", &format!("{} {}", fd.as_raw_fd(), control.as_raw_fd()))?;
            return Ok(Some(OomFd { fd: fd.into(), kind: Kind::Eventfd }));
        }
        let Some(v2) = &self.v2 else { return Ok(None) };
        match v2.dir.open_file("memory.events", OFlag::O_RDONLY) {
            Ok(fd) => {
                let oom = OomFd { fd, kind: Kind::Events };
                // A file that was never read counts as changed.
                oom.acknowledge()?;
                Ok(Some(oom))
            }
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

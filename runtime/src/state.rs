//! What `rt-runtime` keeps of a container between its commands.
//!
//! ```text
//! <root>/<id>/             0700; flock(2) on it serializes commands that change the container
//!     state.json           [`Record`], written by temp + rename, never synced: nothing of it is true after a reboot
//!     start.sock           init listens here until it executes the program
//!     notify/notify.sock   the program says here that it is ready, if NOTIFY_SOCKET was set
//! ```
//!
//! The status is not kept but looked at: a process id counts only together with its start time, `created` means that init
//! still listens.

use std::cell::Cell;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use crate::hooks::Status;
use crate::launch::Keyring;
use crate::root::magic_link;
use crate::spec::{LoadError, Spec, parse, read_record};
use crate::sys::process::{pidfd_open, users_at_start};
use crate::sys::{Call, CallError};
use crate::systemd::Scope;

/// Version of [`Record`].
const VERSION: u32 = 1;

/// Name of a container: letters, digits and `_+-.`, starting neither with a dot nor like an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerId(String);

impl ContainerId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let good = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if text.is_empty() || text.len() > 1024 || text.starts_with(['.', '-']) || !text.chars().all(good) {
            return Err(Error::Id(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What can be wrong with kept state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a container id.
    #[error("container id {0:?}: only letters, digits and _ + - . are allowed, and neither . nor - at the start")]
    Id(String),
    /// No such container.
    #[error("container {0} does not exist")]
    Missing(ContainerId),
    /// A container of this id is there already.
    #[error("container with given ID already exists: {0}")]
    Exists(ContainerId),
    /// The record is damaged.
    #[error(transparent)]
    Damaged(#[from] LoadError),
    /// The record is of a newer program.
    #[error("container {id}: state.json: version {found} is newer than {VERSION}, the newest this program knows")]
    Newer {
        /// The container.
        id: ContainerId,
        /// Its version.
        found: u32,
    },
    /// A system call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// `state.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Container id.
    pub id: String,
    /// Process id of init and its start time (field 22 of /proc/PID/stat); absent while it is being made.
    pub init: Option<(i32, u64)>,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Its cgroup; empty: it has none, or it is being made.
    pub cgroup: String,
    /// The unit that systemd made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Creation time, nanoseconds since the epoch.
    pub created: u64,
    /// User id of the creator.
    pub owner: u32,
    /// The session keyring that it was made with, and that processes which enter it have.
    #[serde(default, skip_serializing_if = "Keyring::is_own")]
    pub keyring: Keyring,
    /// The configuration as it was at creation.
    pub spec: Spec,
}

impl Record {
    /// A record of this program's version.
    #[must_use]
    pub fn new(id: &ContainerId, bundle: PathBuf, cgroup: String, spec: Spec) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            version: VERSION,
            id: id.as_str().to_owned(),
            init: None,
            bundle,
            cgroup,
            scope: None,
            created: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            owner: users_at_start().0,
            keyring: Keyring::Own,
            spec,
        }
    }
}

/// Whether other commands are kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// They are not.
    Look,
    /// Commands that change the container wait for their turn.
    Change,
}

/// A container's directory.
pub struct StateDir {
    id: ContainerId,
    parent: OwnedFd,
    directory: File,
    access: Access,
    /// Whether there may be a socket in it.
    socket: Cell<bool>,
}

impl StateDir {
    /// Makes the directory of a new container, and keeps other commands out.
    ///
    /// # Errors
    /// [`Error::Exists`].
    pub fn create(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let path = root.join(id.as_str());
        let make = || DirBuilder::new().mode(0o700).create(&path);
        let made = match make() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).recursive(true).create(root).call(|| format!("mkdir({root:?}, 0700)"))?;
                make()
            }
            result => result,
        };
        match made {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Exists(id.clone())),
            result => {
                result.call(|| format!("mkdir({path:?}, 0700)"))?;
                let made = Self::open(root, id, Access::Change)?;
                made.socket.set(false);
                Ok(made)
            }
        }
    }

    /// Opens the directory of a container.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn open(root: &Path, id: &ContainerId, access: Access) -> Result<Self, Error> {
        let directory = Self::find(root, id, access)?;
        match access {
            Access::Look => {}
            Access::Change => lock(&directory.directory, id)?,
        }
        Ok(directory)
    }

    /// Opens the directory of a container to change it, now or not at all: `None`, another command is changing it.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn try_open(root: &Path, id: &ContainerId) -> Result<Option<Self>, Error> {
        let directory = Self::find(root, id, Access::Change)?;
        match directory.directory.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).call(|| format!("flock({:?}, LOCK_EX|LOCK_NB)", id.as_str()))?
            }
            Ok(()) => still_there(&directory.directory, id)?,
        }
        Ok(Some(directory))
    }

    fn find(root: &Path, id: &ContainerId, access: Access) -> Result<Self, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let missing = |error: CallError| match error.errno {
            Errno::ENOENT => Error::Missing(id.clone()),
            _ => Error::Call(error),
        };
        let parent = openat(AT_FDCWD, root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        let parent = parent.call(|| format!("open({root:?})")).map_err(missing)?;
        let directory = openat(&parent, id.as_str(), flags, Mode::empty());
        let directory = directory.call(|| format!("openat({root:?}, {:?})", id.as_str())).map_err(missing)?;
        let directory = File::from(directory);
        Ok(Self { id: id.clone(), parent, directory, access, socket: Cell::new(true) })
    }

    /// Reads the record; `None`: the container's making was cut off before there was one.
    ///
    /// # Errors
    /// A damaged or newer record.
    pub fn read(&self) -> Result<Option<Record>, Error> {
        let Some(text) = read_record(&self.directory, Path::new("state.json"))? else { return Ok(None) };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = parse("state.json", &text)?;
        if version > VERSION {
            return Err(Error::Newer { id: self.id.clone(), found: version });
        }
        Ok(Some(parse("state.json", &text)?))
    }

    /// The init of a container that another command is changing, as far as is known: one that is being made has a record that is not
    /// published yet.
    ///
    /// # Errors
    /// What pidfd_open(2) answers.
    pub fn init_so_far(&self) -> Result<Option<Init>, Error> {
        let record = |name: &str| {
            // Half of one says nothing.
            let text = read_record(&self.directory, Path::new(name)).ok()??;
            parse::<Record>(name, &text).ok()?.init
        };
        match record("state.json").or_else(|| record("state.json.new")) {
            Some(init) => Ok(Init::find(init)?),
            None => Ok(None),
        }
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// The call that failed; the old record is still there then.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        self.prepare(record)?;
        self.publish()
    }

    /// Writes a record that [`StateDir::publish`] puts in the place of the old one.
    ///
    /// # Errors
    /// The call that failed.
    pub fn prepare(&self, record: &Record) -> Result<(), Error> {
        let text = serde_json::to_vec(record).expect("a record is plain data");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let call = |name: &str| format!("{name}({:?}, \"state.json.new\")", self.id.as_str());
        let file = openat(&self.directory, "state.json.new", flags, Mode::from_bits_truncate(0o600));
        let mut file = File::from(file.call(|| call("openat"))?);
        Ok(file.write_all(&text).call(|| call("write"))?)
    }

    /// Replaces the record by the one that was prepared.
    ///
    /// # Errors
    /// The call that failed; the old record is still there then.
    pub fn publish(&self) -> Result<(), Error> {
        let call = || format!("renameat({:?}, \"state.json.new\")", self.id.as_str());
        Ok(renameat(&self.directory, "state.json.new", &self.directory, "state.json").call(call)?)
    }

    /// The socket that init will listen on.
    ///
    /// # Errors
    /// The call that failed.
    pub fn listen(&self) -> Result<OwnedFd, Error> {
        let socket = seqpacket(SockFlag::empty())?;
        let address = self.socket_address()?;
        self.socket.set(true);
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &address).call(|| "bind(\"start.sock\")".to_owned())?;
        listen(&socket, Backlog::new(8).expect("8 is in range")).call(|| "listen(\"start.sock\")".to_owned())?;
        Ok(socket)
    }

    /// A connection to an init that still listens; `None`: it has executed the program, or ended. Waits for one that does not take
    /// connections at the moment.
    ///
    /// # Errors
    /// What connect(2) answers besides that.
    pub fn connect(&self) -> Result<Option<OwnedFd>, Error> {
        let socket = seqpacket(SockFlag::empty())?;
        Ok(self.reaches(&socket)?.then_some(socket))
    }

    /// Whether init still listens. Never waits: a frozen init takes no connections, and then the queue of those is full.
    fn listens(&self) -> Result<bool, Error> {
        self.reaches(&seqpacket(SockFlag::SOCK_NONBLOCK)?)
    }

    fn reaches(&self, socket: &OwnedFd) -> Result<bool, Error> {
        let address = self.socket_address()?;
        match connect(std::os::fd::AsRawFd::as_raw_fd(socket), &address) {
            Ok(()) | Err(Errno::EAGAIN) => Ok(true),
            Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno).call(|| "connect(\"start.sock\")".to_owned()).map_err(Error::Call),
        }
    }

    /// Lets other commands change the container, and remove it.
    ///
    /// # Errors
    /// flock(2).
    pub fn release(&self) -> Result<(), Error> {
        Ok(self.directory.unlock().call(|| format!("flock({:?}, LOCK_UN)", self.id.as_str()))?)
    }

    /// Keeps them out again.
    ///
    /// # Errors
    /// [`Error::Missing`]: one of them has removed it.
    pub fn retake(&self) -> Result<(), Error> {
        lock(&self.directory, &self.id)
    }

    /// By descriptor: the path of a state directory may be longer than an address.
    fn socket_address(&self) -> Result<UnixAddr, Error> {
        let path = format!("{}/start.sock", magic_link(&self.directory));
        Ok(UnixAddr::new(path.as_str()).call(|| format!("bind({path:?})"))?)
    }

    /// Removes the directory and all that is in it. Already gone is done.
    ///
    /// # Errors
    /// The call that failed.
    pub fn remove(&self) -> Result<(), Error> {
        self.unlink("state.json")?;
        if self.socket.get() {
            self.unlink("start.sock")?;
        }
        match self.remove_directory() {
            // A command that was cut off has left more, and who notifies systemd.
            Err(error) if error.errno == Errno::ENOTEMPTY => {
                for name in ["state.json.new", "start.sock", "notify/notify.sock"] {
                    self.unlink(name)?;
                }
                match unlinkat(&self.directory, "notify", UnlinkatFlags::RemoveDir) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(errno) => {
                        return Err(errno)
                            .call(|| format!("rmdir({:?}/notify)", self.id.as_str()))
                            .map_err(Error::Call);
                    }
                }
                Ok(self.remove_directory()?)
            }
            result => Ok(result?),
        }
    }

    fn unlink(&self, name: &str) -> Result<(), Error> {
        match unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => {
                Err(errno).call(|| format!("unlinkat({:?}, {name:?})", self.id.as_str())).map_err(Error::Call)
            }
        }
    }

    fn remove_directory(&self) -> Result<(), CallError> {
        match unlinkat(&self.parent, self.id.as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).call(|| format!("rmdir({:?})", self.id.as_str())),
        }
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }
}

/// Waits for the lock of a container, flock(2) on its directory. An init that is born while it is held closes its copy of
/// the descriptor first.
fn lock(directory: &File, id: &ContainerId) -> Result<(), Error> {
    directory.lock().call(|| format!("flock({:?}, LOCK_EX)", id.as_str()))?;
    still_there(directory, id)
}

/// Who held the lock may have removed the container.
fn still_there(directory: &File, id: &ContainerId) -> Result<(), Error> {
    match nix::sys::stat::fstat(directory).call(|| format!("fstat({:?})", id.as_str()))?.st_nlink {
        0 => Err(Error::Missing(id.clone())),
        _ => Ok(()),
    }
}

fn seqpacket(flags: SockFlag) -> Result<OwnedFd, CallError> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC | flags, None)
        .call(|| "socket(AF_UNIX, SOCK_SEQPACKET)".to_owned())
}

/// A process that is known to be the one of a record.
pub struct Init {
    /// Its process id.
    pub pid: Pid,
    /// Its pidfd.
    pub pidfd: OwnedFd,
}

impl Init {
    /// The init process of a record; `None`: it has ended, whoever has its number now.
    ///
    /// # Errors
    /// What pidfd_open(2) answers besides that.
    pub fn find(init: (i32, u64)) -> Result<Option<Self>, CallError> {
        let pid = Pid::from_raw(init.0);
        let pidfd = match pidfd_open(pid) {
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            result => result.call(|| format!("pidfd_open({pid})"))?,
        };
        // In this order: the start time is of the process behind the descriptor, or the number was taken over since.
        match process_stat(pid) {
            Some(stat) if stat.start_time == init.1 && stat.alive => Ok(Some(Self { pid, pidfd })),
            Some(_) | None => Ok(None),
        }
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// poll(2).
    pub fn wait(&self) -> Result<(), CallError> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        loop {
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                result => return result.map(|_| ()).call(|| "poll(<pidfd>)".to_owned()),
            }
        }
    }
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// Whether it runs; a zombie does not.
    pub alive: bool,
    /// Start time in ticks since boot, field 22.
    pub start_time: u64,
}

/// Reads `/proc/PID/stat`; `None`: there is no such process.
#[must_use]
pub fn process_stat(pid: Pid) -> Option<ProcessStat> {
    let mut stat = [0; 1024];
    let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut stat).ok()?;
    parse_stat(&stat[..length])
}

/// Fields are counted from the last parenthesis: the name before it can hold anything.
fn parse_stat(stat: &[u8]) -> Option<ProcessStat> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(end + 2..)?).ok()?.split(' ');
    let alive = !matches!(fields.next()?, "Z" | "X" | "x");
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(ProcessStat { alive, start_time })
}

/// Whether another process is changing the container.
fn being_changed(directory: &StateDir) -> bool {
    directory.access == Access::Look && directory.directory.try_lock_shared().is_err()
}

/// Looks at what a container is doing, and finds its init.
///
/// # Errors
/// A call that failed.
pub fn status(directory: &StateDir, record: Option<&Record>) -> Result<(Status, Option<Init>), Error> {
    let Some(init) = record.and_then(|record| record.init) else {
        // A creation that was cut off left nothing that runs: init ends when its maker does.
        let status = if being_changed(directory) { Status::Creating } else { Status::Stopped };
        return Ok((status, None));
    };
    match Init::find(init)? {
        None => Ok((Status::Stopped, None)),
        Some(init) if directory.listens()? => Ok((Status::Created, Some(init))),
        Some(init) => Ok((Status::Running, Some(init))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["a", "A9_+-.", "0", "_x", "+"] {
            assert!(good.parse::<ContainerId>().is_ok(), "{good}");
        }
        let long = "a".repeat(1025);
        for bad in ["", ".", "..", ".a", "-", "-x", "a/b", "../x", "a b", "a\n", "ä", "a\0", long.as_str()] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn stat_lines() {
        let line = b"42 (a) b) R 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 777 1000 2 3\n";
        assert_eq!(parse_stat(line), Some(ProcessStat { alive: true, start_time: 777 }));
        assert_eq!(parse_stat(b"42 (x) Z 1"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn own_start_time_is_found_and_another_is_not() {
        let pid = nix::unistd::getpid();
        let stat = process_stat(pid).unwrap();
        assert!(Init::find((pid.as_raw(), stat.start_time)).unwrap().is_some());
        assert!(Init::find((pid.as_raw(), stat.start_time + 1)).unwrap().is_none());
    }
}

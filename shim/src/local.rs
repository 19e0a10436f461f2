//! Directories of standalone containers, read and cleaned up from outside: what a shim left, alive or dead.
//!
//! The shim is the parent of everything in its container, and the container dies with it. So when the shim that wrote
//! `status.json` is not there any more, whatever the record says, the container has ended; [`truth`] says so, and
//! [`Directory::settle`] makes it so, should a process have escaped the parent death signal.
//!
//! Commands that change a container hold its [`Lock`]; a shim itself never takes it. `container.json` is the last file to be
//! written when a container is made and the first to go when it is removed: a directory without it is a remnant.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, openat, readlinkat};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};
use runtime::cgroup;
use runtime::spec::Spec;
use runtime::sys::process::pidfd_open;
use runtime::sys::{Call, CallError};

use crate::client::{self, Connection};
use crate::layout::{Exit, Program, SandboxState, SandboxStatus, State, Status, Task};
use crate::protocol::{FailureKind, Request};
use crate::{record, remove};

/// Time that a shim which serves nobody any more may need to end, in milliseconds.
const LAST_MOMENTS: u16 = 5000;

/// Exit code of a container whose end nobody saw.
pub const UNKNOWN_EXIT: i32 = 255;

/// Why a container's directory could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A record could not be used.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// The container has been removed.
    #[error("container {0} has been removed")]
    Removed(String),
    /// The shim did not do it.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// Another command is changing the container.
    #[error("container {0} is being changed by another command")]
    Busy(String),
    /// The container's shim lives: ask it.
    #[error("container {id} has a living shim (pid {pid})")]
    Alive {
        /// The container.
        id: String,
        /// Process id of the shim.
        pid: i32,
    },
    /// Not everything could be removed; trying again goes on.
    #[error("container {id} was not removed: {}", .problems.join("; "))]
    Left {
        /// The container.
        id: String,
        /// What stopped it.
        problems: Vec<String>,
    },
}

/// A container's directory.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    id: String,
}

/// The right to change a container; given back when dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its descriptor")] Flock<OwnedFd>);

/// Whether to wait for a [`Lock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until it is free.
    Yes,
    /// Not at all.
    No,
}

impl Directory {
    /// Opens `<state>/local/<id>`. `None`: there is no such container.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = match openat(AT_FDCWD, path, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            answer => answer.call(|| format!("openat({path:?}, O_DIRECTORY)"))?,
        };
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some(Self { fd, path: path.to_owned(), id }))
    }

    /// The container's id: the name of the directory.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the right to change the container.
    ///
    /// # Errors
    /// [`Error::Busy`] with [`Wait::No`]; [`Error::Removed`] when it was removed meanwhile.
    pub fn lock(&self, wait: Wait) -> Result<Lock, Error> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = match openat(&self.fd, "lock", flags, Mode::from_bits_truncate(0o600)) {
            Err(Errno::ENOENT) => return Err(Error::Removed(self.id.clone())),
            answer => answer.call(|| "openat(\"lock\", O_RDWR|O_CREAT)".to_owned())?,
        };
        let how = match wait {
            Wait::Yes => FlockArg::LockExclusive,
            Wait::No => FlockArg::LockExclusiveNonblock,
        };
        let lock = match Flock::lock(file, how) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Err(Error::Busy(self.id.clone())),
            Err((_, errno)) => return Err(CallError { call: "flock(\"lock\", LOCK_EX)".to_owned(), errno }.into()),
        };
        // Whoever had it before may have removed the container.
        if fstat(&*lock).call(|| "fstat(\"lock\")".to_owned())?.st_nlink == 0 {
            return Err(Error::Removed(self.id.clone()));
        }
        Ok(Lock(lock))
    }

    /// How the container is, whatever became of its shim. `None`: it has never been created.
    ///
    /// # Errors
    /// [`record::Error`].
    pub fn status(&self) -> Result<Option<Status>, Error> {
        let Some(status) = record::read::<Status>(&self.fd)? else { return Ok(None) };
        if alive(&status)? {
            return Ok(Some(status));
        }
        Ok(Some(truth(status, &record::boot_id()?, record::now())))
    }

    /// Connects to the shim. `None`: it has ended.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn connect(&self) -> Result<Option<Connection>, client::Error> {
        Connection::connect_at(&self.fd)
    }

    /// Whether its shim serves this container alone, and ends with it; the socket of a container in a pod is a link to the pod's.
    #[must_use]
    pub fn has_own_shim(&self) -> bool {
        readlinkat(&self.fd, client::SOCKET_NAME).is_err()
    }

    /// `shim.json`.
    ///
    /// # Errors
    /// [`record::Error`].
    pub fn task(&self) -> Result<Option<Task>, Error> {
        Ok(record::read(&self.fd)?)
    }

    /// Changes `shim.json` of a container without a shim.
    ///
    /// # Errors
    /// [`Error::Alive`]; the kernel's answer.
    pub fn set_task(&self, _lock: &Lock, task: &Task) -> Result<(), Error> {
        self.refuse_alive()?;
        Ok(record::write(&self.fd, task)?)
    }

    /// Makes `paths` go with the container when it is removed, by its shim or without one.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn own(&self, _lock: &Lock, paths: &[PathBuf]) -> Result<(), Error> {
        let Some(mut task) = record::read::<Task>(&self.fd)? else { return Ok(()) };
        let more: Vec<PathBuf> = paths.iter().filter(|path| !task.owned.contains(path)).cloned().collect();
        if !more.is_empty() {
            task.owned.extend(more);
            record::write(&self.fd, &task)?;
        }
        Ok(())
    }

    /// After the shim died: kills what is left of the container and records that it has ended.
    ///
    /// # Errors
    /// [`Error::Alive`]; what could not be killed.
    pub fn settle(&self, _lock: &Lock) -> Result<(), Error> {
        self.refuse_alive()?;
        let status = record::read::<Status>(&self.fd)?;
        remove_cgroup(status.as_ref()).map_err(|error| self.left(&error))?;
        if let Some(status) = status {
            let settled = truth(status.clone(), &record::boot_id()?, record::now());
            if settled != status {
                record::write(&self.fd, &settled)?;
            }
        }
        Ok(())
    }

    /// Removes a container without a shim: what is left of its processes, its cgroup, its directories and its name. Steps that are
    /// done already are skipped.
    ///
    /// # Errors
    /// [`Error::Alive`]; [`Error::Left`].
    pub fn remove_dead(&self, _lock: &Lock) -> Result<(), Error> {
        self.refuse_alive()?;
        let task = record::read::<Task>(&self.fd)?;
        let mut status = record::read::<Status>(&self.fd)?;
        if let Some(status) = &mut status {
            status.state = State::Removing;
            // A full disk is no reason to keep it: `remove_files` makes it a remnant first of all.
            let _ = record::write(&self.fd, status);
        }
        remove_cgroup(status.as_ref()).map_err(|error| self.left(&error))?;
        if let Some(program) = task.as_ref().and_then(|task| task.program.as_ref()) {
            forget(program, &self.id);
        }
        remove_files(self.fd.as_fd(), &self.id, task.as_ref())
    }

    /// Removes a container, by its shim if it has one; `force` kills it first.
    ///
    /// # Errors
    /// As [`Directory::remove_dead`]; the shim's answer.
    pub fn remove(&self, lock: &Lock, force: bool) -> Result<(), Error> {
        let own_shim = self.has_own_shim();
        if let Some(shim) = self.connect()? {
            let request = Request::Remove { container: self.id.clone(), force };
            match shim.request(&request, &[]) {
                // NotFound: it was started, and its starter ended, before it had the container.
                Err(client::Error::Gone | client::Error::Failed { kind: FailureKind::NotFound, .. }) => {}
                answer => {
                    answer?;
                    return if own_shim { Ok(shim.closed()?) } else { Ok(()) };
                }
            }
        }
        self.remove_dead(lock)
    }

    fn left(&self, error: &cgroup::Error) -> Error {
        Error::Left { id: self.id.clone(), problems: vec![error.to_string()] }
    }

    fn refuse_alive(&self) -> Result<(), Error> {
        let Some(status) = record::read::<Status>(&self.fd)? else { return Ok(()) };
        let pid = status.shim.0;
        let alive_error = || Error::Alive { id: self.id.clone(), pid };
        let pidfd = match pidfd_open(Pid::from_raw(pid)) {
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(()),
            answer => answer.call(|| format!("pidfd_open({pid})"))?,
        };
        if !alive(&status)? {
            return Ok(());
        }
        if !matches!(self.connect(), Ok(None)) {
            return Err(alive_error());
        }
        // It serves nobody any more, so it is about to end.
        let mut set = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut set, LAST_MOMENTS).call(|| format!("poll(<pidfd {pid}>)"))? {
            0 => Err(alive_error()),
            _ => Ok(()),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the shim that wrote the record lives.
///
/// # Errors
/// The kernel's answer.
pub fn alive(status: &Status) -> Result<bool, CallError> {
    let (pid, start) = status.shim;
    Ok(record::start_time(pid)? == Some(start) && record::boot_id()? == status.boot_id)
}

/// What a record of a shim that is gone means: `boot_id` is that of this boot, `now` in nanoseconds since the epoch.
#[must_use]
pub fn truth(status: Status, boot_id: &str, now: u64) -> Status {
    let why = if status.boot_id == boot_id { "the shim died" } else { "the host was restarted" };
    let unseen = || Some(Exit { code: UNKNOWN_EXIT, signal: None, oom_killed: false, finished_at: now });
    let ended = Status { state: State::Exited, error: Some(why.to_owned()), ..status.clone() };
    match status.state {
        State::Running { .. } | State::Paused { .. } => Status { last_exit: unseen(), ..ended },
        State::Creating | State::Created { .. } | State::Restarting { .. } => ended,
        State::Exited | State::Removing => status,
    }
}

/// Has a runtime forget a container whose shim died, where its records are not the shim's alone. What it cannot remove is its own:
/// nothing else of the container needs it.
fn forget(program: &Program, id: &str) {
    let Some(root) = &program.root else { return };
    let mut command = Command::new(&program.path);
    command.args(&program.args).arg("--root").arg(root).args(["delete", "--force", id]);
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// The path of a container's cgroup: `linux.cgroupsPath`, or its id.
#[must_use]
pub fn cgroup_path<'a>(spec: &'a Spec, id: &'a str) -> &'a str {
    spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref()).unwrap_or(id)
}

/// Kills what is in the container's cgroup and removes it. Without a record nothing was ever started.
fn remove_cgroup(status: Option<&Status>) -> Result<(), cgroup::Error> {
    let Some(path) = status.and_then(|status| status.cgroup.as_deref()) else { return Ok(()) };
    let Some(group) = cgroup::Cgroup::open(&cgroup::Host::detect()?, &path.parse()?)? else { return Ok(()) };
    group.kill()?;
    group.remove()
}

/// Removes the files of a container whose processes are gone: first what belongs to it elsewhere, then its name, then its own
/// directory.
///
/// # Errors
/// [`Error::Left`]: the directory stays then, so that removal can be tried again.
pub fn remove_files(dir: BorrowedFd<'_>, id: &str, task: Option<&Task>) -> Result<(), Error> {
    let left = |problems: Vec<CallError>| Error::Left {
        id: id.to_owned(),
        problems: problems.iter().map(ToString::to_string).collect(),
    };
    unlink(dir, "container.json").map_err(|error| left(vec![error]))?;
    let mut problems = Vec::new();
    for path in task.map_or(&[][..], |task| &task.owned) {
        problems.extend(remove::tree(path).err().into_iter().flatten());
    }
    problems.extend(remove_name(dir, id).err());
    if !problems.is_empty() {
        return Err(left(problems));
    }
    let parent = openat(dir, "..", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| "openat(\"..\", O_PATH)".to_owned())
        .map_err(|error| left(vec![error]))?;
    remove::tree_at(&parent, OsStr::new(id)).map_err(left)
}

/// Removes the directory of a pod whose processes are gone: its record first, so that what is left is known as a remnant.
///
/// # Errors
/// [`Error::Left`]: what could not be removed.
pub fn remove_pod_files(dir: impl AsFd, path: &Path) -> Result<(), Error> {
    let id = path.file_name().unwrap_or_default();
    let left = |problems: Vec<CallError>| Error::Left {
        id: id.to_string_lossy().into_owned(),
        problems: problems.iter().map(ToString::to_string).collect(),
    };
    unlink(&dir, "pod.json").map_err(|error| left(vec![error]))?;
    let parent = openat(&dir, "..", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| "openat(\"..\", O_PATH)".to_owned())
        .map_err(|error| left(vec![error]))?;
    remove::tree_at(&parent, id).map_err(left)
}

/// How the sandbox of a pod in the directory `dir` is, whatever became of its shim. `None`: it has never been made.
///
/// # Errors
/// [`record::Error`].
pub fn sandbox_status(dir: impl AsFd) -> Result<Option<SandboxStatus>, Error> {
    let Some(status) = record::read::<SandboxStatus>(dir)? else { return Ok(None) };
    let (pid, start) = status.shim;
    let boot = record::boot_id()?;
    if status.state == SandboxState::Ended || (record::start_time(pid)? == Some(start) && boot == status.boot_id) {
        return Ok(Some(status));
    }
    let why = if status.boot_id == boot { "the shim died" } else { "the host was restarted" };
    let error = Some(status.error.clone().unwrap_or_else(|| why.to_owned()));
    Ok(Some(SandboxStatus { state: SandboxState::Ended, ended_at: Some(record::now()), init: None, error, ..status }))
}

fn unlink(dir: impl AsFd, name: &str) -> Result<(), CallError> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(CallError { call: format!("unlinkat({name:?})"), errno }),
    }
}

/// Removes `<state>/names/<name>`, if it is this container's. An interrupted rename leaves two names.
fn remove_name(dir: BorrowedFd<'_>, id: &str) -> Result<(), CallError> {
    let text = match record::read_file(dir, "name") {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(()),
        Err(record::Error::Call(error)) => return Err(error),
        Err(_) => return Err(CallError { call: "read(\"name\")".to_owned(), errno: Errno::EFBIG }),
    };
    let names = match openat(dir, "../../names", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(()),
        answer => answer.call(|| "openat(\"../../names\", O_PATH)".to_owned())?,
    };
    for name in String::from_utf8_lossy(&text).lines().map(str::trim) {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            continue;
        }
        match readlinkat(&names, name) {
            Ok(target) if Path::new(&target) == Path::new("../local").join(id) => unlink(&names, name)?,
            Ok(_) | Err(Errno::ENOENT | Errno::EINVAL) => {}
            Err(errno) => return Err(CallError { call: format!("readlinkat(\"names/{name}\")"), errno }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};

    use super::*;
    use crate::codec;
    use crate::layout::VERSION;
    use crate::protocol::Reply;

    fn status(state: State) -> Status {
        Status {
            version: VERSION,
            boot_id: "this".into(),
            shim: (1, 1),
            cgroup: None,
            state,
            restart_count: 2,
            started_at: 5,
            last_exit: Some(Exit { code: 3, signal: None, oom_killed: false, finished_at: 4 }),
            error: None,
            log_dropped: 0,
            health: None,
        }
    }

    #[test]
    fn nothing_runs_without_its_shim() {
        let init = (7, 7);
        for (state, expected, code, error) in [
            (State::Creating, State::Exited, 3, Some("the shim died")),
            (State::Created { init }, State::Exited, 3, Some("the shim died")),
            (State::Running { init }, State::Exited, UNKNOWN_EXIT, Some("the shim died")),
            (State::Paused { init }, State::Exited, UNKNOWN_EXIT, Some("the shim died")),
            (State::Restarting { at: 9 }, State::Exited, 3, Some("the shim died")),
            (State::Exited, State::Exited, 3, None),
            (State::Removing, State::Removing, 3, None),
        ] {
            let after = truth(status(state.clone()), "this", 10);
            assert_eq!(after.state, expected, "{state:?}");
            assert_eq!(after.last_exit.unwrap().code, code, "{state:?}");
            assert_eq!(after.error.as_deref(), error, "{state:?}");
        }
        let after = truth(status(State::Running { init }), "other", 10);
        assert_eq!(after.error.as_deref(), Some("the host was restarted"));
        assert_eq!(after.last_exit.unwrap().finished_at, 10);
    }

    struct Place {
        root: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("state/local/abc")).unwrap();
            fs::create_dir_all(root.path().join("state/names")).unwrap();
            fs::create_dir_all(root.path().join("upper/abc/fs/dir")).unwrap();
            Self { root }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.root.path().join(path)
        }

        fn task(&self) -> Task {
            serde_json::from_value(serde_json::json!({
                "version": 1, "layers": null, "log": null, "stdin": "closed", "restart": "no", "auto_remove": false,
                "owned": [self.path("upper/abc")], "pid_file": null,
            }))
            .unwrap()
        }

        fn directory(&self) -> Directory {
            Directory::open(&self.path("state/local/abc")).unwrap().unwrap()
        }
    }

    #[test]
    fn a_dead_container_goes_with_all_it_owns() {
        let place = Place::new();
        let directory = place.directory();
        for name in ["container.json", "status.json.new"] {
            fs::write(place.path("state/local/abc").join(name), "{}").unwrap();
        }
        fs::write(place.path("state/local/abc/name"), "web\n").unwrap();
        symlink("../local/abc", place.path("state/names/web")).unwrap();
        symlink("../local/xyz", place.path("state/names/other")).unwrap();
        record::write(&directory, &place.task()).unwrap();
        record::write(&directory, &status(State::Exited)).unwrap();
        let lock = directory.lock(Wait::No).unwrap();
        directory.remove_dead(&lock).unwrap();
        assert!(!place.path("state/local/abc").try_exists().unwrap());
        assert!(!place.path("upper/abc").try_exists().unwrap());
        let names: Vec<_> =
            fs::read_dir(place.path("state/names")).unwrap().map(|name| name.unwrap().file_name()).collect();
        assert_eq!(names, ["other"]);
    }

    #[test]
    fn a_name_taken_by_another_container_stays() {
        let place = Place::new();
        fs::write(place.path("state/local/abc/name"), "web").unwrap();
        symlink("../local/xyz", place.path("state/names/web")).unwrap();
        let directory = place.directory();
        let lock = directory.lock(Wait::No).unwrap();
        directory.remove_dead(&lock).unwrap();
        assert!(fs::symlink_metadata(place.path("state/names/web")).is_ok());
    }

    #[test]
    fn one_command_at_a_time() {
        let place = Place::new();
        let (first, second) = (place.directory(), place.directory());
        let lock = first.lock(Wait::Yes).unwrap();
        assert_eq!(second.lock(Wait::No).unwrap_err().to_string(), "container abc is being changed by another command");
        let waiting = std::thread::spawn(move || second.lock(Wait::Yes));
        first.remove_dead(&lock).unwrap();
        drop(lock);
        let error = waiting.join().unwrap().unwrap_err().to_string();
        assert_eq!(error, "container abc has been removed");
    }

    #[test]
    fn a_living_shim_is_not_robbed() {
        let place = Place::new();
        let directory = place.directory();
        let own = i32::try_from(std::process::id()).unwrap();
        let start = record::start_time(own).unwrap().unwrap();
        let running = Status { shim: (own, start), boot_id: record::boot_id().unwrap(), ..status(State::Creating) };
        record::write(&directory, &running).unwrap();
        assert_eq!(directory.status().unwrap(), Some(running.clone()));
        let lock = directory.lock(Wait::No).unwrap();
        let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &client::address(directory.as_fd()).unwrap()).unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        let shim = std::thread::spawn(move || {
            let client = runtime::sys::packet::accept(&listener).unwrap();
            codec::send(&client, &codec::encode(&Reply::Ready { pid: own }).unwrap(), &[]).unwrap();
        });
        let error = directory.remove_dead(&lock).unwrap_err();
        assert!(matches!(error, Error::Alive { pid, .. } if pid == own), "{error}");
        shim.join().unwrap();

        let directory = place.directory();
        record::write(&directory, &Status { shim: (own, start + 1), ..running }).unwrap();
        assert_eq!(directory.status().unwrap().unwrap().state, State::Exited);
        directory.remove_dead(&lock).unwrap();
        assert!(!place.path("state/local/abc").try_exists().unwrap());
    }
}

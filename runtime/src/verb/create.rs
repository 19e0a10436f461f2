//! `create`: makes a container whose init waits for `start`.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use nix::unistd::Pid;
use runtime::cgroup::Cgroup;
use runtime::launch::{
    self, Create, Created, Keyring, Lifetime, ProcessOne, RootChange, Rootfs, Sharing, StartMode, Stdio,
};
use runtime::plan::Plan;
use runtime::rootless;
use runtime::spec::{self, NamespaceKind, Spec};
use runtime::state::{ContainerId, Record, StateDir, process_stat};
use runtime::sys::process::{pidfd_send_signal, users_at_start, wait};
use runtime::sys::{Call, CallError};

use super::delete::poststop;
use super::notify::Notify;
use super::place::Place;
use super::{Context, Failure, Verb, write_pid_file};
use crate::args::{Flag, Parsed};

pub(super) const BUNDLE: Flag = Flag {
    name: "bundle",
    short: Some('b'),
    value: Some("DIR"),
    help: "directory with config.json (default: the current one)",
};
pub(super) const CONSOLE_SOCKET: Flag = Flag {
    name: "console-socket",
    short: None,
    value: Some("PATH"),
    help: "unix socket that gets the terminal's master",
};
pub(super) const PID_FILE: Flag =
    Flag { name: "pid-file", short: None, value: Some("PATH"), help: "file that gets the process id" };
pub(super) const PRESERVE_FDS: Flag =
    Flag { name: "preserve-fds", short: None, value: Some("N"), help: "keep N descriptors from 3 on (default 0)" };
pub(super) const PIDFD_SOCKET: Flag = Flag {
    name: "pidfd-socket",
    short: None,
    value: Some("PATH"),
    help: "unix socket that gets a pidfd of the process",
};
pub(super) const NO_PIVOT: Flag = Flag {
    name: "no-pivot",
    short: None,
    value: None,
    help: "chroot instead of pivot_root, for a host on an initial ramdisk",
};
pub(super) const NO_NEW_KEYRING: Flag =
    Flag { name: "no-new-keyring", short: None, value: None, help: "keep the caller's session keyring" };

pub(super) const VERB: Verb = Verb {
    name: "create",
    usage: "create [options] ID",
    summary: "make a container that waits for start",
    flags: &[BUNDLE, CONSOLE_SOCKET, PIDFD_SOCKET, PID_FILE, PRESERVE_FDS, NO_PIVOT, NO_NEW_KEYRING],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: true,
    activation: true,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let request = Request::new(parsed)?;
    let terminal = request.spec.process.as_ref().is_some_and(|process| process.terminal);
    let stdio = match (&request.console_socket, terminal) {
        (Some(path), true) => Stdio::ConsoleSocket(connect_to("console-socket", path)?),
        (None, false) => Stdio::Inherit,
        (Some(_), false) => return Err(Failure::new("--console-socket: process.terminal is false in config.json")),
        (None, true) => {
            return Err(Failure::new(
                "config.json: process.terminal: needs --console-socket, as nobody stays to relay it",
            ));
        }
    };
    let made = make(context, request, stdio, |directory| Ok(StartMode::Listener(directory.listen()?)))?;
    drop(made);
    Ok(0)
}

/// What is to be made, checked as far as it can be before anything is made.
pub(super) struct Request {
    pub(super) id: ContainerId,
    pub(super) bundle: PathBuf,
    directory: Option<OwnedFd>,
    pub(super) spec: Spec,
    /// What `spec` comes to, once it was checked.
    plan: Option<Plan>,
    pub(super) console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    preserve_fds: u32,
    pidfd_socket: Option<OwnedFd>,
    sharing: Sharing,
}

impl Request {
    pub(super) fn new(parsed: &Parsed) -> Result<Self, Failure> {
        let id = parsed.positionals[0].parse()?;
        let bundle = std::path::absolute(parsed.value("bundle").unwrap_or(".")).call(|| "getcwd()".to_owned())?;
        let directory = nix::fcntl::open(
            &bundle,
            nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC,
            nix::sys::stat::Mode::empty(),
        )
        .call(|| format!("--bundle: open({bundle:?})"))?;
        let mut spec = spec::load(&directory, Path::new("config.json"))?;
        let sockets = super::listen_fds()?;
        if let (1.., Some(process)) = (sockets, &mut spec.process) {
            process.env.extend([format!("LISTEN_FDS={sockets}"), "LISTEN_PID=1".to_owned()]);
        }
        let pidfd_socket = parsed.value("pidfd-socket").map(|path| connect_to("pidfd-socket", Path::new(path)));
        let sharing = Sharing {
            keyring: if parsed.is_set("no-new-keyring") { Keyring::Inherited } else { Keyring::Own },
            root: if parsed.is_set("no-pivot") { RootChange::Chroot } else { RootChange::Pivot },
        };
        Ok(Self {
            id,
            bundle,
            directory: Some(directory),
            spec,
            plan: None,
            console_socket: parsed.value("console-socket").map(PathBuf::from),
            pid_file: parsed.value("pid-file").map(PathBuf::from),
            preserve_fds: super::preserved_fds(parsed, true)?,
            pidfd_socket: pidfd_socket.transpose()?,
            sharing,
        })
    }
}

/// A container that was made by this process.
pub(super) struct Made {
    pub(super) directory: StateDir,
    pub(super) record: Record,
    pub(super) created: Created,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) notify: Option<Notify>,
}

/// Makes a container: state directory ▸ cgroup ▸ init ▸ record. What was made is unmade when a later part fails.
pub(super) fn make(
    context: &Context<'_>,
    mut request: Request,
    stdio: Stdio,
    start: impl FnOnce(&StateDir) -> Result<StartMode, Failure>,
) -> Result<Made, Failure> {
    request.plan = Some(Plan::new(&request.spec)?);
    if users_at_start().1 != 0 {
        enter_user_namespace(&request.spec)?;
        // It is of the mount namespace before.
        request.directory = None;
    }
    let spec = std::mem::take(&mut request.spec);
    let mut record = Record::new(&request.id, request.bundle.clone(), String::new(), spec);
    record.keyring = request.sharing.keyring;
    Place::name(context, &mut record)?;
    let directory = StateDir::create(&context.root, &request.id)?;
    match fill(context, &directory, &mut record, &mut request, stdio, start) {
        Ok((created, cgroup, notify)) => {
            created.warnings.iter().for_each(|warning| context.log.warning(warning));
            context.log.debug(|| format!("container {}: init is process {}", record.id, created.pid));
            Ok(Made { directory, record, created, cgroup, notify })
        }
        Err(failure) => {
            directory.remove()?;
            // OCI runtime-spec runtime.md, "Lifecycle": a failing hook leads to the same end as `delete`.
            poststop(context, &request.id, &record);
            Err(failure)
        }
    }
}

/// An ordinary user makes containers in a user namespace of his own.
fn enter_user_namespace(spec: &Spec) -> Result<(), Failure> {
    let linux = spec.linux.as_ref();
    let new = |namespace: &spec::Namespace| namespace.kind == NamespaceKind::User && namespace.path.is_none();
    let Some(linux) = linux.filter(|linux| linux.namespaces.iter().any(new)) else {
        return Err(Failure::new(
            "config.json: linux.namespaces: containers of an ordinary user need a new user namespace; `rt-runtime spec \
             --rootless` writes a configuration that has one",
        ));
    };
    Ok(rootless::enter(&linux.uid_mappings, &linux.gid_mappings)?)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one container, used once")]
fn fill(
    context: &Context<'_>,
    directory: &StateDir,
    record: &mut Record,
    request: &mut Request,
    stdio: Stdio,
    start: impl FnOnce(&StateDir) -> Result<StartMode, Failure>,
) -> Result<(Created, Option<Cgroup>, Option<Notify>), Failure> {
    // From here on `delete --force` can find whatever a killed `create` leaves.
    directory.write(record)?;
    let notify = Notify::prepare(directory, &mut record.spec, &context.root)?;
    if notify.is_some() {
        // It has one more mount now.
        request.plan = None;
    }
    let place = Place::make(context, directory, record)?;
    let created = match populate(directory, record, place.cgroup.as_ref(), stdio, start, request) {
        Ok(created) => created,
        Err(failure) => {
            place.remove(record)?;
            return Err(failure);
        }
    };
    let cgroup = place.settle(record)?;
    Ok((created, cgroup, notify))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one container, used once")]
fn populate(
    directory: &StateDir,
    record: &mut Record,
    cgroup: Option<&Cgroup>,
    stdio: Stdio,
    start: impl FnOnce(&StateDir) -> Result<StartMode, Failure>,
    request: &mut Request,
) -> Result<Created, Failure> {
    let making = launch::begin(Create {
        id: &record.id,
        bundle: &record.bundle,
        directory: request.directory.take(),
        spec: &record.spec,
        plan: request.plan.take(),
        rootfs: Rootfs::Directory,
        images: Vec::new(),
        cgroup,
        unit: record.scope.as_ref(),
        stdio,
        start: start(directory)?,
        lifetime: Lifetime::Own,
        process_one: ProcessOne::Program,
        shm: None,
        preserve_fds: request.preserve_fds,
        sharing: request.sharing,
    })?;
    // Most of the record is written while init is at work.
    let init = start_of(making.pid());
    record.init = init.as_ref().ok().copied();
    let prepared = init.and_then(|_| Ok(directory.prepare(record)?));
    let mut created = making.complete()?;
    let written = prepared.and_then(|()| finish(directory, &mut created, request));
    if let Err(failure) = written {
        // Ours and not reaped: the kill hits nothing else.
        let _ = pidfd_send_signal(&created.pidfd, libc::SIGKILL);
        let _ = wait(&created.pidfd, runtime::sys::process::Block::Yes);
        return Err(failure);
    }
    Ok(created)
}

/// A process as a record has it.
fn start_of(pid: Pid) -> Result<(i32, u64), Failure> {
    let stat = process_stat(pid).ok_or_else(|| Failure::new(format!("read(\"/proc/{pid}/stat\"): init has ended")))?;
    Ok((pid.as_raw(), stat.start_time))
}

fn finish(directory: &StateDir, created: &mut Created, request: &Request) -> Result<(), Failure> {
    let pid = created.pid;
    directory.publish()?;
    if let Some(path) = &request.pid_file {
        write_pid_file(path, pid.as_raw())?;
    }
    if let Some(socket) = &request.pidfd_socket {
        send_pidfd(socket, &created.pidfd, "standard")?;
    }
    Ok(created.let_go()?)
}

/// Sends a process's pidfd to the connection of `--pidfd-socket`, with runc's word for the kind of process.
pub(super) fn send_pidfd(socket: &OwnedFd, pidfd: &OwnedFd, kind: &str) -> Result<(), CallError> {
    let fds = [pidfd.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    let payload = [IoSlice::new(kind.as_bytes())];
    sendmsg::<()>(socket.as_raw_fd(), &payload, &control, MsgFlags::MSG_NOSIGNAL, None)
        .map(|_| ())
        .call(|| "--pidfd-socket: sendmsg(<socket>, SCM_RIGHTS)".to_owned())
}

/// Connects to the socket of `--console-socket` or `--pidfd-socket`.
pub(super) fn connect_to(flag: &str, path: &Path) -> Result<OwnedFd, CallError> {
    let call = |name: &str| format!("--{flag}: {name}({path:?})");
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).call(|| call("socket"))?;
    let address = UnixAddr::new(path).call(|| call("connect"))?;
    connect(socket.as_raw_fd(), &address).call(|| call("connect"))?;
    Ok(socket)
}

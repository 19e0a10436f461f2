//! `create`: makes a container whose init waits for `start`.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use runtime::cgroup::{self, Cgroup};
use runtime::launch::{self, Create, Created, Lifetime, ProcessOne, Rootfs, StartMode, Stdio};
use runtime::plan::with_default_devices;
use runtime::spec::{self, Spec};
use runtime::state::{ContainerId, Record, StateDir, process_stat};
use runtime::sys::process::{pidfd_send_signal, wait};
use runtime::sys::{Call, CallError};

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
pub(super) const NO_PIVOT: Flag = Flag { name: "no-pivot", short: None, value: None, help: "not built yet" };
pub(super) const NO_NEW_KEYRING: Flag =
    Flag { name: "no-new-keyring", short: None, value: None, help: "not built yet" };

pub(super) const VERB: Verb = Verb {
    name: "create",
    usage: "create [options] ID",
    summary: "make a container that waits for start",
    flags: &[BUNDLE, CONSOLE_SOCKET, PID_FILE, PRESERVE_FDS, NO_PIVOT, NO_NEW_KEYRING],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: true,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let request = Request::new(parsed)?;
    let terminal = request.spec.process.as_ref().is_some_and(|process| process.terminal);
    let stdio = match (&request.console_socket, terminal) {
        (Some(path), true) => Stdio::ConsoleSocket(connect_to(path)?),
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
    pub(super) spec: Spec,
    pub(super) console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    preserve_fds: u32,
}

impl Request {
    pub(super) fn new(parsed: &Parsed) -> Result<Self, Failure> {
        for flag in ["no-pivot", "no-new-keyring"] {
            if parsed.is_set(flag) {
                return Err(Failure::new(format!("--{flag} is not built yet")));
            }
        }
        let id = parsed.positionals[0].parse()?;
        let bundle = std::path::absolute(parsed.value("bundle").unwrap_or(".")).call(|| "getcwd()".to_owned())?;
        let directory = nix::fcntl::open(
            &bundle,
            nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC,
            nix::sys::stat::Mode::empty(),
        )
        .call(|| format!("--bundle: open({bundle:?})"))?;
        let spec = spec::load(&directory, Path::new("config.json"))?;
        Ok(Self {
            id,
            bundle,
            spec,
            console_socket: parsed.value("console-socket").map(PathBuf::from),
            pid_file: parsed.value("pid-file").map(PathBuf::from),
            preserve_fds: super::preserved_fds(parsed)?,
        })
    }
}

/// A container that was made by this process.
pub(super) struct Made {
    pub(super) directory: StateDir,
    pub(super) record: Record,
    pub(super) created: Created,
    pub(super) cgroup: Cgroup,
}

/// Makes a container: state directory ▸ cgroup ▸ init ▸ record. What was made is unmade when a later part fails.
pub(super) fn make(
    context: &Context<'_>,
    request: Request,
    stdio: Stdio,
    start: impl FnOnce(&StateDir) -> Result<StartMode, Failure>,
) -> Result<Made, Failure> {
    let Request { id, bundle, spec, pid_file, preserve_fds, .. } = request;
    runtime::plan::Plan::new(&spec)?;
    let path = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.clone()).filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| id.as_str().to_owned());
    let group = cgroup::Path::from_str(&path)
        .map_err(|error| Failure::new(format!("config.json: linux.cgroupsPath: {error}")))?;
    let directory = StateDir::create(&context.root, &id)?;
    let mut record = Record::new(&id, bundle, path, spec);
    match fill(&directory, &mut record, &group, stdio, start, preserve_fds, pid_file.as_deref()) {
        Ok((created, cgroup)) => {
            created.warnings.iter().for_each(|warning| context.log.warning(warning));
            Ok(Made { directory, record, created, cgroup })
        }
        Err(failure) => {
            directory.remove()?;
            Err(failure)
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one container, used once")]
fn fill(
    directory: &StateDir,
    record: &mut Record,
    group: &cgroup::Path,
    stdio: Stdio,
    start: impl FnOnce(&StateDir) -> Result<StartMode, Failure>,
    preserve_fds: u32,
    pid_file: Option<&Path>,
) -> Result<(Created, Cgroup), Failure> {
    // From here on `delete --force` can find whatever a killed `create` leaves.
    directory.write(record)?;
    let host = cgroup::Host::detect()?;
    let cgroup = Cgroup::create(&host, group)?;
    match populate(directory, record, &cgroup, stdio, start, preserve_fds, pid_file) {
        Ok(created) => Ok((created, cgroup)),
        Err(failure) => {
            cgroup.kill()?;
            cgroup.remove()?;
            Err(failure)
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one container, used once")]
fn populate(
    directory: &StateDir,
    record: &mut Record,
    cgroup: &Cgroup,
    stdio: Stdio,
    start: impl FnOnce(&StateDir) -> Result<StartMode, Failure>,
    preserve_fds: u32,
    pid_file: Option<&Path>,
) -> Result<Created, Failure> {
    if let Some(resources) = record.spec.linux.as_ref().and_then(|linux| linux.resources.as_ref()) {
        cgroup.apply(&with_default_devices(resources))?;
    }
    let created = launch::create(Create {
        id: &record.id,
        bundle: &record.bundle,
        spec: &record.spec,
        rootfs: Rootfs::Directory,
        images: Vec::new(),
        cgroup: Some(cgroup),
        stdio,
        start: start(directory)?,
        lifetime: Lifetime::Own,
        process_one: ProcessOne::Program,
        shm: None,
        preserve_fds,
    })?;
    let written = finish(directory, record, &created, pid_file);
    if let Err(failure) = written {
        // Ours and not reaped: the kill hits nothing else.
        let _ = pidfd_send_signal(&created.pidfd, libc::SIGKILL);
        let _ = wait(&created.pidfd, runtime::sys::process::Block::Yes);
        return Err(failure);
    }
    Ok(created)
}

fn finish(
    directory: &StateDir,
    record: &mut Record,
    created: &Created,
    pid_file: Option<&Path>,
) -> Result<(), Failure> {
    let pid = created.pid;
    let stat = process_stat(pid).ok_or_else(|| Failure::new(format!("read(\"/proc/{pid}/stat\"): init has ended")))?;
    record.init = Some((pid.as_raw(), stat.start_time));
    directory.write(record)?;
    if let Some(path) = pid_file {
        write_pid_file(path, pid.as_raw()).map_err(|error| Failure::new(format!("--pid-file: {error}")))?;
    }
    Ok(())
}

/// Connects to the socket of `--console-socket`.
pub(super) fn connect_to(path: &Path) -> Result<OwnedFd, CallError> {
    let call = |name: &str| format!("--console-socket: {name}({path:?})");
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).call(|| call("socket"))?;
    let address = UnixAddr::new(path).call(|| call("connect"))?;
    connect(socket.as_raw_fd(), &address).call(|| call("connect"))?;
    Ok(socket)
}

//! From a program to a shim: detached, alone, listening.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{UnlinkatFlags, daemon, getpid, unlinkat};
use runtime::spec::{Process, Rlimit};
use runtime::sys::process::{CloseRange, close_range, ignore_sigpipe};
use runtime::sys::{Call, CallError, packet, signals};

use super::Server;
use super::connection::SPARE_CONNECTIONS;
use super::poller::{Interest, Poller, Token};
use super::sandbox::{Sandbox, held_limit};
use super::timers::Timers;
use crate::client::{Connection, SOCKET_NAME, address};
use crate::protocol::{FailureKind, Reply};
use crate::{codec, record};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 32;

/// Most clients that wait for something at a time, however many descriptors there may be.
const SESSIONS_LIMIT: usize = 1024;

/// oom_score_adj of a shim, where it may be lowered: its container goes first.
const OOM_SCORE_ADJ: &str = "-999";

/// Becomes the shim of the directory `dir` (absolute). Standard input is the first connection. Returns when the shim has nothing
/// left to do, in a process that its parent does not know.
///
/// # Errors
/// What stopped it before it served (the first connection is told) or while it served.
pub fn serve(dir: &Path) -> Result<(), CallError> {
    // Not what whoever started it has: log files are read by a group.
    umask(Mode::from_bits_truncate(0o022));
    // Whatever the starter forgot to close; nothing of ours is open yet.
    close_range(3, CloseRange::Now).call(|| "close_range(3, ~0)".to_owned())?;
    ignore_sigpipe().call(|| "sigaction(SIGPIPE, SIG_IGN)".to_owned())?;
    let first = std::io::stdin().as_fd().try_clone_to_owned().call(|| "fcntl(0, F_DUPFD_CLOEXEC)".to_owned())?;
    match start(dir, &first) {
        Ok(mut server) => {
            packet::set_nonblocking(&first).call(|| "fcntl(<first connection>, O_NONBLOCK)".to_owned())?;
            server.add_connection(first);
            let served = server.run();
            server.leave();
            served
        }
        Err(error) => {
            let reply = Reply::Failed { kind: FailureKind::Internal, message: format!("rt-shim: {error}") };
            // A starter that is gone learns nothing.
            let _ = codec::encode(&reply).and_then(|text| codec::send(&first, &text, &[]));
            Err(error)
        }
    }
}

/// What the shim had before it changed its own: processes get it that do not ask for something else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inherited {
    oom_score_adj: i32,
    /// RLIMIT_NOFILE, soft and hard.
    files: (u64, u64),
}

impl Inherited {
    pub(super) fn give(&self, process: &mut Process) {
        process.oom_score_adj.get_or_insert(self.oom_score_adj);
        const FILES: &str = "RLIMIT_NOFILE";
        if !process.rlimits.iter().any(|limit| limit.kind == FILES) {
            let (soft, hard) = self.files;
            process.rlimits.push(Rlimit { kind: FILES.to_owned(), soft, hard });
        }
    }
}

/// Most clients that wait for something at a time: their descriptors fit, and so do those of other requests.
fn sessions_limit(descriptors: u64) -> usize {
    /// Connection, three streams of the client, three of the process, pidfd.
    const EACH: usize = 8;
    /// The shim's own, and a process that is being made.
    const OWN: usize = 40;
    let room = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(OWN + SPARE_CONNECTIONS);
    (room / EACH).clamp(1, SESSIONS_LIMIT)
}

fn own_files() -> Result<(u64, u64), CallError> {
    getrlimit(Resource::RLIMIT_NOFILE).call(|| "getrlimit(RLIMIT_NOFILE)".to_owned())
}

/// Raises the soft limit of descriptors to the hard one; returns it.
fn raise_files() -> Result<u64, CallError> {
    let (_, hard) = own_files()?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).call(|| format!("setrlimit(RLIMIT_NOFILE, {hard}, {hard})"))?;
    Ok(hard)
}

fn start(dir: &Path, first: &OwnedFd) -> Result<Server, CallError> {
    let path = PathBuf::from(dir);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = open(dir, flags, Mode::empty()).call(|| format!("open({path:?}, O_DIRECTORY)"))?;
    nix::sys::socket::getsockname::<nix::sys::socket::UnixAddr>(std::os::fd::AsRawFd::as_raw_fd(first))
        .call(|| "getsockname(0): standard input must be the first connection".to_owned())?;
    // A session of its own, without a terminal, in "/" and with /dev/null for streams; a child of init.
    daemon(false, false).call(|| "daemon()".to_owned())?;
    nix::sys::prctl::set_name(c"rt-shim").call(|| "prctl(PR_SET_NAME)".to_owned())?;
    // Processes that enter a container come from here: nothing of it may look into them (CVE-2016-9962).
    nix::sys::prctl::set_dumpable(false).call(|| "prctl(PR_SET_DUMPABLE, 0)".to_owned())?;
    // Orphans of containers without a pid namespace come to the shim and not to init.
    nix::sys::prctl::set_child_subreaper(true).call(|| "prctl(PR_SET_CHILD_SUBREAPER)".to_owned())?;
    let (inherited, descriptors) =
        (Inherited { oom_score_adj: lower_oom_score()?, files: own_files()? }, raise_files()?);
    let children = block_signals()?;
    let listener = listen_in(&dir)?;
    let poller = Poller::new().call(|| "epoll_create1()".to_owned())?;
    poller.watch(&listener, Token::Listener, Interest::Read).call(|| "epoll_ctl(<listener>)".to_owned())?;
    poller.watch(&children, Token::Children, Interest::Read).call(|| "epoll_ctl(<signalfd>)".to_owned())?;
    let pid = getpid().as_raw();
    let start = record::start_time(pid)?;
    let identity = (pid, start.ok_or(Errno::ESRCH).call(|| "read(\"/proc/self/stat\")".to_owned())?);
    Ok(Server {
        poller,
        timers: Timers::default(),
        last_id: 0,
        listener,
        children,
        dir,
        path,
        boot_id: record::boot_id()?,
        identity,
        inherited,
        sessions_limit: sessions_limit(descriptors),
        host: None,
        oom_kills_charged: 0,
        connections: Default::default(),
        containers: Default::default(),
        processes: Default::default(),
        attachments: Default::default(),
        sandbox: Sandbox::None,
        frozen: Vec::new(),
        bundles: None,
        program_takes_cgroup: None,
        held_limit: held_limit(descriptors),
        scratch: Vec::new(),
        gather: Vec::new(),
        removed: false,
    })
}

/// Protects the shim from the OOM killer; returns the score that it had.
fn lower_oom_score() -> Result<i32, CallError> {
    const PATH: &str = "/proc/self/oom_score_adj";
    let text = std::fs::read_to_string(PATH).call(|| format!("read({PATH:?})"))?;
    // EACCES without CAP_SYS_RESOURCE: then it keeps the score of whoever started it.
    let _ = std::fs::write(PATH, OOM_SCORE_ADJ);
    text.trim_end().parse().map_err(|_| Errno::EBADMSG).call(|| format!("read({PATH:?})"))
}

/// Nothing but SIGKILL ends a shim before its containers have ended; SIGCHLD comes by descriptor.
fn block_signals() -> Result<SignalFd, CallError> {
    let mut blocked = SigSet::all();
    for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT, Signal::SIGTRAP] {
        blocked.remove(fault);
    }
    blocked.thread_set_mask().call(|| "rt_sigprocmask(SIG_SETMASK)".to_owned())?;
    // Containers inherit no ignored signal. A blocked SIGPIPE needs not be ignored: write(2) answers EPIPE.
    signals::reset_all();
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).call(|| "signalfd4()".to_owned())
}

fn listen_in(dir: &OwnedFd) -> Result<OwnedFd, CallError> {
    let other = Connection::served(dir)
        .map_err(|error| CallError { call: format!("connect({SOCKET_NAME:?}): {error}"), errno: Errno::EADDRINUSE })?;
    if other {
        return Err(Errno::EADDRINUSE).call(|| format!("bind({SOCKET_NAME:?}): another shim listens there"));
    }
    match unlinkat(dir, SOCKET_NAME, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno).call(|| format!("unlinkat({SOCKET_NAME:?})")),
    }
    let listener =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
            .call(|| "socket(AF_UNIX, SOCK_SEQPACKET)".to_owned())?;
    let mask = umask(Mode::from_bits_truncate(0o177));
    let bound = bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &address(dir.as_fd())?);
    umask(mask);
    bound.call(|| format!("bind({SOCKET_NAME:?})"))?;
    let backlog = Backlog::new(BACKLOG).call(|| "listen()".to_owned())?;
    listen(&listener, backlog).call(|| format!("listen({SOCKET_NAME:?})"))?;
    Ok(listener)
}

impl Server {
    /// The last thing: nobody finds the socket of a shim that has gone.
    fn leave(&self) {
        if !self.removed {
            // The directory may be gone along with it.
            let _ = unlinkat(&self.dir, SOCKET_NAME, UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_fit() {
        for (descriptors, expected) in [(0, 1), (64, 1), (256, 25), (1024, 121), (20_000, 1024), (u64::MAX, 1024)] {
            assert_eq!(sessions_limit(descriptors), expected, "{descriptors}");
        }
    }
}

//! The blocking side of the protocol, and starting a shim.
//!
//! ```text
//!  spawn:   rt-shim's file ─ open_tree(CLONE) ─ mount_setattr(RDONLY) ─ execve(/proc/self/fd/N, stdin = socket) ─ Ready
//!  connect: <dir>/shim.sock
//! ```
//!
//! A container that could reach the program of a process entering it (`/proc/PID/exe`) could overwrite it on the host
//! (CVE-2019-5736). The shim runs from a mount that is read-only and attached nowhere: there is nothing to write through.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, setsockopt, socket, socketpair, sockopt,
};
use nix::sys::stat::Mode;
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;
use runtime::spec::{ConsoleSize, NamespaceKind};
use runtime::sys::mount::{Attributes, Depth, attr, mount_setattr, open_tree};
use runtime::sys::{Call, CallError};

use crate::codec;
use crate::layout::Exit;
use crate::protocol::{FDS_LIMIT, FailureKind, Reply, Request};

/// Name of the socket in a shim's directory.
pub const SOCKET_NAME: &str = "shim.sock";

/// How long a shim may take to serve a connection.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The shim refused or could not do it.
    #[error("{message}")]
    Failed {
        /// Class of the failure.
        kind: FailureKind,
        /// Why.
        message: String,
    },
    /// The shim has ended, or is ending: its records say what became of the container.
    #[error("the shim has closed the connection")]
    Gone,
    /// The shim lives and says nothing: it is stopped, or waits for a dead disk.
    #[error("the shim does not answer; rtctl rm -f removes the container with it")]
    Silent,
    /// The message could not be made or read.
    #[error(transparent)]
    Codec(codec::Error),
    /// The shim did not start.
    #[error("{program:?} ended with {status} before it was ready")]
    NotStarted {
        /// The program.
        program: std::path::PathBuf,
        /// How it ended.
        status: String,
    },
    /// The answer does not fit the request.
    #[error("unexpected answer of the shim: {0}")]
    Unexpected(String),
}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Self {
        match error {
            codec::Error::Call(CallError { errno: Errno::EPIPE | Errno::ECONNRESET, .. }) => Self::Gone,
            codec::Error::Call(error) => Self::Call(error),
            other => Self::Codec(other),
        }
    }
}

/// A connection to a shim.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

/// A shim's sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// Its namespaces.
    pub namespaces: Vec<NamespaceKind>,
    /// Process 1 of its pid namespace.
    pub init: Option<Pid>,
    /// Its network namespace.
    pub network: Option<OwnedFd>,
    /// Number by which the shim itself keeps it: `/proc/SHIM/fd/NUMBER` leads there until the sandbox ends.
    pub network_number: Option<i32>,
}

impl AsFd for Connection {
    /// Readable when a packet has come or the shim has closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Connection {
    /// Connects to the shim of the directory `dir`. `None`: there is none, or it is about to end; a shim that has been connected
    /// to does not end before the connection does, unless it removes its container.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn connect(dir: &Path) -> Result<Option<Self>, Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = match openat(AT_FDCWD, dir, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            answer => answer.call(|| format!("openat({dir:?}, O_PATH)"))?,
        };
        Self::connect_at(&fd)
    }

    /// Connects to the shim of an open directory, as [`Connection::connect`].
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn connect_at(dir: impl AsFd) -> Result<Option<Self>, Error> {
        let Some(connection) = Self::open(dir)? else { return Ok(None) };
        match connection.ready() {
            Ok(_) => Ok(Some(connection)),
            // It has left its loop and will not be back.
            Err(Error::Gone) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a shim serves an open directory. Unlike [`Connection::connect_at`] this reads no message: the shim itself asks, and
    /// has no other use for the code that does.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(crate) fn served(dir: impl AsFd) -> Result<bool, Error> {
        let Some(connection) = Self::open(dir)? else { return Ok(false) };
        connection.readable()?;
        // The end is no packet.
        let size = recv(connection.socket.as_raw_fd(), &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC);
        Ok(size.is_ok_and(|size| size > 0))
    }

    fn open(dir: impl AsFd) -> Result<Option<Self>, Error> {
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
            .call(|| "socket(AF_UNIX, SOCK_SEQPACKET)".to_owned())?;
        let address = address(dir.as_fd())?;
        // A socket whose queue is full would make connect(2) wait for ever.
        let limit = |limit: Duration| {
            let time = TimeVal::microseconds(i64::try_from(limit.as_micros()).unwrap_or(i64::MAX));
            setsockopt(&socket, sockopt::SendTimeout, &time).call(|| "setsockopt(SO_SNDTIMEO)".to_owned())
        };
        limit(READY_LIMIT)?;
        let connected = loop {
            match connect(socket.as_raw_fd(), &address) {
                Err(Errno::EINTR) => {}
                answer => break answer,
            }
        };
        limit(Duration::ZERO)?;
        match connected {
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Ok(None),
            Err(Errno::EAGAIN) => return Err(Error::Silent),
            answer => answer.call(|| format!("connect({SOCKET_NAME:?})"))?,
        }
        Ok(Some(Self { socket }))
    }

    /// Sends a request and does not wait for the answer.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Codec`].
    pub fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        Ok(codec::send(&self.socket, &codec::encode(request)?, fds)?)
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// [`Error::Gone`]; [`Error::Failed`] for [`Reply::Failed`].
    pub fn receive(&self) -> Result<Reply, Error> {
        let Some(packet) = codec::receive(&self.socket)? else { return Err(Error::Gone) };
        match codec::decode("reply", &packet.text)? {
            Reply::Failed { kind, message } => Err(Error::Failed { kind, message }),
            reply => Ok(reply),
        }
    }

    /// Sends a request and waits for its answer. Not for a connection with a session: see [`Session`].
    ///
    /// # Errors
    /// As [`Connection::send`] and [`Connection::receive`].
    pub fn request(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply, Error> {
        self.send(request, fds)?;
        self.receive()
    }

    /// Makes the sandbox of the shim's directory, or finds it made ([`Request::Sandbox`]).
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn sandbox(&self) -> Result<Sandbox, Error> {
        self.send(&Request::Sandbox {}, &[])?;
        let Some(packet) = codec::receive(&self.socket)? else { return Err(Error::Gone) };
        match codec::decode("reply", &packet.text)? {
            Reply::Failed { kind, message } => Err(Error::Failed { kind, message }),
            Reply::Sandbox { namespaces, init, network: network_number } => {
                let (init, network) = (init.map(Pid::from_raw), packet.fds.into_iter().next());
                Ok(Sandbox { namespaces, init, network, network_number })
            }
            other => Err(Error::Unexpected(format!("{other:?}"))),
        }
    }

    /// Gives descriptors to the shim, which keeps them open until its sandbox ends ([`Request::Hold`]); in as many packets as it
    /// takes.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn hold(&self, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        for part in fds.chunks(FDS_LIMIT) {
            self.request(&Request::Hold {}, part)?;
        }
        Ok(())
    }

    /// Begins a session with [`Request::Exec`] or [`Request::Attach`]; returns it with the first answer.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn session(self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(Session, Reply), Error> {
        let reply = self.request(request, fds)?;
        Ok((Session { connection: self, exit: None }, reply))
    }

    /// Waits until the shim has closed the connection; what still comes is dropped. A shim that removes its container closes when
    /// all is removed.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn closed(&self) -> Result<(), Error> {
        loop {
            match self.receive() {
                Err(Error::Gone) => return Ok(()),
                Ok(_) | Err(Error::Failed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A connection that will be told of an exit.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    /// The exit, if it came while the answer to another request was awaited.
    exit: Option<Exit>,
}

impl AsFd for Session {
    /// Readable when [`Session::wait`] has something to read, too.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl Session {
    /// A request beside the session, such as [`Request::Resize`].
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn request(&mut self, request: &Request) -> Result<Reply, Error> {
        // A shim that has gone may have told the exit before: that is still to be read.
        let sent = match self.connection.send(request, &[]) {
            Err(Error::Gone) => Err(Error::Gone),
            answer => Ok(answer?),
        };
        loop {
            match self.connection.receive()? {
                Reply::Exited { exit } if self.exit.is_none() => self.exit = Some(exit),
                reply => return sent.map(|()| reply),
            }
        }
    }

    /// Changes the size of the session's terminal; one that has ended is left alone.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub fn resize(&mut self, container: &str, exec_id: Option<&str>, size: ConsoleSize) -> Result<(), Error> {
        let (container, exec_id) = (container.to_owned(), exec_id.map(str::to_owned));
        match self.request(&Request::Resize { container, exec_id, size }) {
            Ok(_) | Err(Error::Failed { kind: FailureKind::WrongState | FailureKind::NotFound, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether [`Session::wait`] answers at once although the descriptor may not be readable.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.exit.is_some()
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn wait(&mut self) -> Result<Exit, Error> {
        if let Some(exit) = self.exit.take() {
            return Ok(exit);
        }
        match self.connection.receive()? {
            Reply::Exited { exit } => Ok(exit),
            other => Err(Error::Unexpected(format!("{other:?}"))),
        }
    }

    /// The connection, after the end.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.connection
    }
}

/// Connects to the shim of the directory `dir` (absolute), or starts `program` as its shim. For callers that hold the
/// container's lock: two at a time would start two shims, one of which is refused.
///
/// # Errors
/// As [`Connection::connect`] and [`spawn`].
pub fn connect_or_spawn(program: &Path, dir: &Path) -> Result<Connection, Error> {
    match Connection::connect(dir)? {
        Some(connection) => Ok(connection),
        None => Ok(spawn(program, dir)?.0),
    }
}

/// Starts the shim `program` for the directory `dir` (absolute) and waits until it listens. Returns the first connection and the
/// shim's process id; it is no child of the caller.
///
/// # Errors
/// The kernel's answers, [`Error::NotStarted`], [`Error::Failed`] with the shim's own words.
pub fn spawn(program: &Path, dir: &Path) -> Result<(Connection, Pid), Error> {
    let image = read_only(program)?;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .call(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned())?;
    let path = format!("/proc/self/fd/{}", image.as_raw_fd());
    let mut command = Command::new(&path);
    // The first process forks and ends: the shim belongs to nobody here.
    std::os::unix::process::CommandExt::arg0(&mut command, "rt-shim");
    command.arg("--dir").arg(dir).env_clear().stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().call(|| format!("execve({path:?}</{}>)", program.display()))?;
    drop(command);
    let connection = Connection { socket: ours };
    let ready = connection.ready();
    let status = child.wait().call(|| "wait4(rt-shim)".to_owned())?;
    match ready {
        Ok(pid) => Ok((connection, pid)),
        Err(Error::Gone) => Err(Error::NotStarted { program: program.to_owned(), status: status.to_string() }),
        Err(error) => Err(error),
    }
}

impl Connection {
    fn ready(&self) -> Result<Pid, Error> {
        self.readable()?;
        match self.receive()? {
            Reply::Ready { pid } => Ok(Pid::from_raw(pid)),
            other => Err(Error::Unexpected(format!("{other:?}"))),
        }
    }

    /// Waits for the first packet or the end.
    fn readable(&self) -> Result<(), Error> {
        let timeout = PollTimeout::try_from(READY_LIMIT).unwrap_or(PollTimeout::NONE);
        let mut set = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut set, timeout) {
                Err(Errno::EINTR) => {}
                Ok(0) => return Err(Error::Silent),
                answer => {
                    answer.call(|| "poll(rt-shim)".to_owned())?;
                    return Ok(());
                }
            }
        }
    }
}

/// The file `program` on a read-only mount of its own that is attached nowhere.
fn read_only(program: &Path) -> Result<OwnedFd, CallError> {
    let path = CString::new(program.as_os_str().as_bytes())
        .map_err(|_| CallError { call: format!("open_tree({program:?})"), errno: Errno::EINVAL })?;
    let image =
        open_tree(AT_FDCWD, &path, Depth::Single).call(|| format!("open_tree({program:?}, OPEN_TREE_CLONE)"))?;
    let attributes = Attributes { set: attr::RDONLY | attr::NOSUID | attr::NODEV, ..Attributes::default() };
    mount_setattr(&image, Depth::Single, attributes)
        .call(|| format!("mount_setattr({program:?}, MOUNT_ATTR_RDONLY)"))?;
    Ok(image)
}

/// Address of the socket in `dir`, by descriptor: paths of sockets hold at most 107 bytes.
pub(crate) fn address(dir: BorrowedFd<'_>) -> Result<UnixAddr, CallError> {
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", dir.as_raw_fd());
    UnixAddr::new(path.as_str()).call(|| format!("sockaddr_un({path:?})"))
}

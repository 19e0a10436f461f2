//! NOTIFY_SOCKET, sd_notify(3): a socket of the container's own, from which "ready" is passed on to who asked for it.
//!
//! The host's socket is never in the container. The program's `READY=1` is passed on together with the process to watch.

use std::fs::{self, DirBuilder, Permissions};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::unistd::pipe2;
use runtime::spec::{Mount, Spec};
use runtime::state::StateDir;
use runtime::sys::{Call, CallError};

use super::Failure;

/// Where the container has it.
const DIRECTORY: &str = "/run/notify";

/// How long systemd may take to acknowledge what it was told.
const BARRIER_MS: u16 = 30_000;

/// The container's socket, and whom to tell.
pub(super) struct Notify {
    socket: UnixDatagram,
    host: UnixAddr,
}

impl Notify {
    /// Makes a directory for the socket and mounts it, if NOTIFY_SOCKET is set.
    pub(super) fn prepare(directory: &StateDir, spec: &mut Spec, root: &Path) -> Result<Option<Self>, Failure> {
        if host()?.is_none() {
            return Ok(None);
        }
        let path = place(directory, root);
        DirBuilder::new().mode(0o755).create(&path).call(|| format!("mkdir({path:?}, 0755)"))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755)).call(|| format!("chmod({path:?}, 0755)"))?;
        if let Some(process) = &mut spec.process {
            process.env.push(format!("NOTIFY_SOCKET={DIRECTORY}/notify.sock"));
        }
        spec.mounts.push(Mount {
            destination: DIRECTORY.to_owned(),
            source: Some(path.to_string_lossy().into_owned()),
            options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
            ..Mount::default()
        });
        Self::listen(directory, root)
    }

    /// Listens there, if the container was made with a socket and NOTIFY_SOCKET is set.
    pub(super) fn listen(directory: &StateDir, root: &Path) -> Result<Option<Self>, Failure> {
        let (Some(host), path) = (host()?, place(directory, root).join("notify.sock")) else { return Ok(None) };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).call(|| format!("unlink({path:?})")).map_err(Failure::from);
            }
            Ok(()) | Err(_) => {}
        }
        let socket = match UnixDatagram::bind(&path) {
            // Its maker was not asked to notify anybody.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            socket => socket.call(|| format!("bind({path:?})"))?,
        };
        fs::set_permissions(&path, Permissions::from_mode(0o777)).call(|| format!("chmod({path:?}, 0777)"))?;
        Ok(Some(Self { socket, host }))
    }

    /// Waits until the program is ready and says so; or until it has ended.
    pub(super) fn relay(&self, pidfd: &OwnedFd, pid: i32) -> Result<u8, Failure> {
        loop {
            let mut fds =
                [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                result => result.call(|| "poll()".to_owned())?,
            };
            if fds[0].any().unwrap_or(false) {
                if self.pass_on(pid)? {
                    return Ok(0);
                }
            } else if fds[1].any().unwrap_or(false) {
                return Ok(0);
            }
        }
    }

    /// The socket, for polling.
    pub(super) fn socket(&self) -> &UnixDatagram {
        &self.socket
    }

    /// Takes a message; whether the program is ready. Then it has been passed on, with `pid` as the process to watch.
    pub(super) fn pass_on(&self, pid: i32) -> Result<bool, CallError> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).call(|| "recv(<notify socket>)".to_owned())?;
        let mut lines = buffer[..length].split(|byte| *byte == b'\n');
        if !lines.any(|line| line == b"READY=1") {
            return Ok(false);
        }
        self.tell(b"READY=1\n", None)?;
        self.tell(format!("MAINPID={pid}\n").as_bytes(), None)?;
        // Who ends before systemd has looked is not known to it any more, sd_notify_barrier(3).
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).call(|| "pipe2()".to_owned())?;
        self.tell(b"BARRIER=1", Some(&theirs))?;
        drop(theirs);
        // Whoever does not know of barriers keeps the other end for a while.
        let _ = poll(&mut [PollFd::new(ours.as_fd(), PollFlags::POLLIN)], BARRIER_MS);
        Ok(true)
    }

    fn tell(&self, text: &[u8], fd: Option<&OwnedFd>) -> Result<(), CallError> {
        let fds: Vec<_> = fd.iter().map(|fd| fd.as_raw_fd()).collect();
        let control: Vec<_> = if fds.is_empty() { Vec::new() } else { vec![ControlMessage::ScmRights(&fds)] };
        let sent =
            sendmsg(self.socket.as_raw_fd(), &[IoSlice::new(text)], &control, MsgFlags::MSG_NOSIGNAL, Some(&self.host));
        sent.map(drop).call(|| format!("sendmsg($NOTIFY_SOCKET, {:?})", String::from_utf8_lossy(text)))
    }
}

fn place(directory: &StateDir, root: &Path) -> PathBuf {
    // It is a source of a mount: the path must be one from everywhere.
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    root.join(directory.id().as_str()).join("notify")
}

/// The socket of who asked.
fn host() -> Result<Option<UnixAddr>, Failure> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return Ok(None) };
    let address = match path.to_string_lossy().strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes()),
        None => UnixAddr::new(Path::new(&path)),
    };
    Ok(Some(address.call(|| format!("NOTIFY_SOCKET: connect({path:?})"))?))
}

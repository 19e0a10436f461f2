//! A process that the shim started, and its standard streams.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Pid, Uid, fchown, pipe2};
use runtime::cgroup::Below;
use runtime::launch::{self, Created};
use runtime::spec::{IdMapping, Process as ProcessSpec, Spec};
use runtime::sys::{Call, CallError, packet};

use crate::layout::{Exit, Stdin};
use crate::log::Stream;

/// A process and what connects it with clients.
pub(super) struct Process {
    /// The container's id.
    pub(super) container: String,
    pub(super) role: Role,
    pub(super) pid: Pid,
    /// Field 22 of /proc/PID/stat.
    pub(super) start_time: u64,
    pub(super) ends: Ends,
    pub(super) attachments: Vec<u64>,
    /// Set when it has been reaped.
    pub(super) exit: Option<Exit>,
}

/// What a process is to its container.
pub(super) enum Role {
    /// Its init process.
    Init(Box<Created>),
    /// One more.
    Exec {
        /// Name of its session.
        name: String,
        /// pidfd of it.
        pidfd: OwnedFd,
        /// That of the process and what it starts.
        group: Option<Below>,
    },
    /// A health check.
    Check {
        /// pidfd of it.
        pidfd: OwnedFd,
        /// The beginning of what it wrote.
        output: Vec<u8>,
    },
}

/// The shim's ends of a process's streams.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) input: Option<Input>,
    pub(super) outputs: [Option<Output>; 2],
    pub(super) terminal: bool,
}

/// What the process reads.
pub(super) struct Input {
    pub(super) fd: OwnedFd,
    /// When the process sees the end.
    pub(super) until: Stdin,
    /// Bytes that the process has not taken yet.
    pub(super) pending: Vec<u8>,
    /// The end comes after what is pending.
    pub(super) ending: bool,
}

/// What the process writes.
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    /// Not read for now: a client is behind.
    pub(super) held: bool,
}

impl Process {
    /// pidfd of it.
    pub(super) fn pidfd(&self) -> &OwnedFd {
        match &self.role {
            Role::Init(created) => &created.pidfd,
            Role::Exec { pidfd, .. } | Role::Check { pidfd, .. } => pidfd,
        }
    }

    /// The output of a stream, unless it has ended.
    pub(super) fn output(&mut self, stream: Stream) -> Option<&mut Output> {
        self.ends.outputs[stream as usize].as_mut()
    }
}

/// The process's ends and the shim's.
pub(super) fn streams(process: &ProcessSpec, spec: &Spec, stdin: Stdin) -> Result<(launch::Stdio, Ends), CallError> {
    if process.terminal {
        return Ok((launch::Stdio::Terminal, Ends { terminal: true, ..Ends::default() }));
    }
    let owner = Owner::of(process, spec);
    let (input, child_stdin) = match stdin {
        Stdin::Closed => {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            (None, open("/dev/null", flags, Mode::empty()).call(|| "open(\"/dev/null\", O_RDONLY)".to_owned())?)
        }
        Stdin::Once | Stdin::Open => {
            let (read, write) = pipe_of(&owner)?;
            packet::set_nonblocking(&write).call(|| "fcntl(<pipe>, O_NONBLOCK)".to_owned())?;
            (Some(Input::new(write, stdin)), read)
        }
    };
    let (stdout, child_stdout) = pipe_of(&owner)?;
    let (stderr, child_stderr) = pipe_of(&owner)?;
    for end in [&stdout, &stderr] {
        packet::set_nonblocking(end).call(|| "fcntl(<pipe>, O_NONBLOCK)".to_owned())?;
    }
    let output = |fd| Some(Output { fd, held: false });
    let ends = Ends { input, outputs: [output(stdout), output(stderr)], terminal: false };
    Ok((launch::Stdio::Files([child_stdin, child_stdout, child_stderr]), ends))
}

impl Ends {
    /// Adds the master of the process's terminal: its output, and its input by a second descriptor.
    pub(super) fn connect(&mut self, console: Option<OwnedFd>, stdin: Stdin) -> Result<(), CallError> {
        let Some(master) = console else {
            return if self.terminal { Err(Errno::ENOTTY).call(|| "recvmsg(<pty master>)".to_owned()) } else { Ok(()) };
        };
        packet::set_nonblocking(&master).call(|| "fcntl(<pty>, O_NONBLOCK)".to_owned())?;
        if stdin != Stdin::Closed {
            let input = master.as_fd().try_clone_to_owned().call(|| "fcntl(<pty>, F_DUPFD_CLOEXEC)".to_owned())?;
            // A terminal has no end of input; whoever wants one sends the character for it.
            self.input = Some(Input::new(input, Stdin::Open));
        }
        self.outputs[Stream::Stdout as usize] = Some(Output { fd: master, held: false });
        Ok(())
    }
}

impl Input {
    fn new(fd: OwnedFd, until: Stdin) -> Self {
        Self { fd, until, pending: Vec::new(), ending: false }
    }
}

/// Who may open a process's pipes again by /dev/stdout: its user, by host ids.
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn of(process: &ProcessSpec, spec: &Spec) -> Self {
        let (uids, gids) =
            spec.linux.as_ref().map_or((&[][..], &[][..]), |linux| (&linux.uid_mappings, &linux.gid_mappings));
        Self { uid: on_host(process.user.uid, uids), gid: on_host(process.user.gid, gids) }
    }
}

/// An id of the container on the host; one without a mapping stays root's (the container is refused later anyway).
fn on_host(id: u32, mappings: &[IdMapping]) -> u32 {
    if mappings.is_empty() {
        return id;
    }
    let mapping = mappings.iter().find(|map| id.checked_sub(map.container_id).is_some_and(|offset| offset < map.size));
    mapping.and_then(|map| map.host_id.checked_add(id - map.container_id)).unwrap_or(0)
}

/// A new pipe, so certainly ours to give away.
fn pipe_of(owner: &Owner) -> Result<(OwnedFd, OwnedFd), CallError> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).call(|| "pipe2(O_CLOEXEC)".to_owned())?;
    if (owner.uid, owner.gid) != (0, 0) {
        fchown(&read, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
            .call(|| format!("fchown(<pipe>, {}, {})", owner.uid, owner.gid))?;
    }
    Ok((read, write))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_on_the_host() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let two = [map(0, 100_000, 1000), map(1000, 5000, 1)];
        for (id, mappings, expected) in [
            (7, &[][..], 7),
            (0, &two, 100_000),
            (999, &two, 100_999),
            (1000, &two, 5000),
            (1001, &two, 0),
            (5, &[map(0, u32::MAX, 10)], 0),
            (u32::MAX, &[map(0, 0, u32::MAX)], 0),
        ] {
            assert_eq!(on_host(id, mappings), expected, "{id}");
        }
    }
}

//! Namespaces for several containers, or for several runs of one, without a process that keeps them.
//!
//! ```text
//!  parent                                      child
//!    check ▸ clone3(NEW*) ───────────────────▶   [ids] ▸ loopback ▸ names ▸ sysctls
//!    opens /proc/CHILD/ns/* ◀─────── Created ─   waits; as process 1 of a pid namespace: stays and reaps
//!    closes the channel ─────────────────────▶   ends
//! ```
//!
//! What keeps them afterwards are the descriptors: the namespaces go when the last one is closed and the last process in them has
//! ended. A pid namespace lives as long as its process 1, which ends along with the caller.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::birth::{Birth, Group, clone};
use super::create::{bury, how};
use super::error::{During, Error};
use super::id_map::write_maps;
use super::open;
use super::shm::Shm;
use super::sync::{Channel, Message, pair};
use crate::init;
use crate::plan::namespaces::flag;
use crate::plan::{SandboxPlan, SandboxSpec};
use crate::seccomp;
use crate::spec::{IdMapping, NamespaceKind, Seccomp, SeccompRule};
use crate::sys::clone::Clone3;
use crate::sys::process::{Block, close_many, pidfd_send_signal, wait};
use crate::sys::{Call, CallError};

/// Pinned namespaces.
#[derive(Debug)]
pub struct Sandbox {
    /// By kind, in the order in which they were asked for.
    pub namespaces: Vec<(NamespaceKind, OwnedFd)>,
    /// Process 1 of the pid namespace, a child of the caller: its id and pidfd.
    pub init: Option<(Pid, OwnedFd)>,
    /// A /dev/shm for all.
    pub shm: Option<Shm>,
}

impl Sandbox {
    /// The descriptor of a namespace.
    #[must_use]
    pub fn namespace(&self, kind: NamespaceKind) -> Option<&OwnedFd> {
        self.namespaces.iter().find(|(other, _)| *other == kind).map(|(_, namespace)| namespace)
    }

    /// Kills process 1, and with it all of its pid namespace, and reaps it if it ends within `patience`. It ends after all
    /// others there have been reaped by their parents, which may be other programs.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn end(self, patience: PollTimeout) -> Result<(), CallError> {
        let Some((pid, pidfd)) = &self.init else { return Ok(()) };
        match pidfd_send_signal(pidfd, libc::SIGKILL) {
            // It has ended and was reaped.
            Err(Errno::ESRCH) => return Ok(()),
            answer => answer.call(|| format!("pidfd_send_signal([{pid}], SIGKILL)"))?,
        }
        let mut set = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut set, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).call(|| format!("poll(<pidfd {pid}>)")),
        }
        match wait(pidfd, Block::No) {
            Ok(_) | Err(Errno::ECHILD) => Ok(()),
            Err(errno) => Err(errno).call(|| format!("waitid([{pid}])")),
        }
    }
}

/// Makes namespaces. Everything is checked before the first effect; when it fails, nothing is left.
///
/// # Errors
/// [`Error::Sandbox`] for what cannot be; the step that failed.
pub fn sandbox(spec: &SandboxSpec<'_>) -> Result<Sandbox, Error> {
    let plan = SandboxPlan::new(spec).map_err(Error::Sandbox)?;
    let process_one = plan.namespaces.makes(NamespaceKind::Pid);
    let filter = process_one.then(|| seccomp::compile(&waiting())).transpose().map_err(Error::Seccomp)?;
    let proc = (!plan.sysctls.is_empty()).then(procfs).transpose().during(|| "sysctl".to_owned())?;
    let shm = plan.shm_size.map(|size| shm(size, &plan)).transpose().during(|| "shm".to_owned())?;
    let (ours, theirs) = pair().during(|| "sync".to_owned())?;
    let child = init::Sandbox { plan: &plan, channel: theirs, proc, filter: filter.as_ref() };
    // Process 1 lets go of the host's root.
    let mounts = if process_one { flag(NamespaceKind::Mount) } else { 0 };
    let (pid, pidfd) = match clone(Birth::Here, plan.namespaces.clone_flags() | mounts, Group::default())? {
        Clone3::Child => {
            // Closed as all that is not the child's.
            std::mem::forget(ours);
            child.run()
        }
        Clone3::Parent(pid, pidfd) => (pid, pidfd),
    };
    close_many(child.into_descriptors()).call(|| "close_range()".to_owned()).during(|| "clone".to_owned())?;
    let pinned = prepare(&plan, pid, &pidfd, &ours).and_then(|()| pin(&plan, pid).during(|| "namespaces".to_owned()));
    let namespaces = match pinned {
        Ok(namespaces) => namespaces,
        Err(error) => return Err(bury(&pidfd, error)),
    };
    drop(ours);
    if process_one {
        return Ok(Sandbox { namespaces, init: Some((pid, pidfd)), shm });
    }
    wait(&pidfd, Block::Yes).call(|| "waitid(<sandbox>)".to_owned()).during(|| "namespaces".to_owned())?;
    Ok(Sandbox { namespaces, init: None, shm })
}

/// It belongs to the root of the user namespace, if there is one.
fn shm(size: u64, plan: &SandboxPlan) -> Result<Shm, CallError> {
    let root = |mappings: &[IdMapping]| {
        let first = mappings.iter().find(|mapping| mapping.container_id == 0);
        first.map_or(0, |mapping| mapping.host_id)
    };
    let (uid, gid) = (root(&plan.namespaces.uid_map), root(&plan.namespaces.gid_map));
    Shm::new(size, uid, gid, plan.mount_label.as_deref())
}

/// The parent's side until the child says that all is made.
fn prepare(plan: &SandboxPlan, pid: Pid, pidfd: &OwnedFd, channel: &Channel) -> Result<(), Error> {
    if plan.namespaces.makes(NamespaceKind::User) {
        write_maps(pid, &plan.namespaces.uid_map, &plan.namespaces.gid_map).during(|| "user namespace".to_owned())?;
        channel.go().during(|| "user namespace".to_owned())?;
    }
    match channel.next().during(|| "sandbox".to_owned())? {
        Message::Created if plan.process_label.is_some() => labelled(channel, pidfd),
        Message::Created => Ok(()),
        Message::Failed(failure) => Err(Error::Init(failure)),
        Message::Ended
        | Message::Born(_)
        | Message::Namespaces
        | Message::Console(_)
        | Message::Warning(_)
        | Message::Listener(_) => Err(Error::Killed(how(pidfd))),
    }
}

/// Process 1 takes its label last: what it may say then is the policy's, but the end of the channel tells.
fn labelled(channel: &Channel, pidfd: &OwnedFd) -> Result<(), Error> {
    match channel.next().during(|| "sandbox".to_owned())? {
        Message::Ended => Ok(()),
        Message::Failed(failure) => Err(Error::Init(failure)),
        Message::Created
        | Message::Born(_)
        | Message::Namespaces
        | Message::Console(_)
        | Message::Warning(_)
        | Message::Listener(_) => Err(Error::Killed(how(pidfd))),
    }
}

/// Opens the child's namespaces.
fn pin(plan: &SandboxPlan, pid: Pid) -> Result<Vec<(NamespaceKind, OwnedFd)>, CallError> {
    let open = |kind: &NamespaceKind| {
        let namespace = open::namespace(format!("/proc/{pid}/ns/{}", file(*kind)).as_ref())?;
        Ok((*kind, namespace))
    };
    plan.namespaces.new.iter().map(open).collect()
}

/// Name of a kind below /proc/PID/ns.
fn file(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Pid => "pid",
        NamespaceKind::Network => "net",
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::User => "user",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Time => "time",
    }
}

fn procfs() -> Result<OwnedFd, CallError> {
    openat(AT_FDCWD, "/proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| "open(\"/proc\", O_PATH|O_DIRECTORY)".to_owned())
}

/// The profile of a process that does nothing but wait: whoever traces it gets nothing else out of it.
fn waiting() -> Seccomp {
    // The C library waits by one of the first two, as the machine has it.
    let names = ["pause", "ppoll", "restart_syscall", "rt_sigreturn"].map(str::to_owned).to_vec();
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        syscalls: vec![SeccompRule { names, action: "SCMP_ACT_ALLOW".to_owned(), ..SeccompRule::default() }],
        ..Seccomp::default()
    }
}

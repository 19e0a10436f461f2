//! Starting processes in containers: the parent's side.
//!
//! The calling program must have one thread: the child of clone3(2) goes on with a copy of its memory.
//!
//! ```text
//!  create: check ▸ open rootfs, sources ▸ cgroup ▸ clone3 ─┬─▸ maps, hooks ▸ Created ──start()──▸ running
//!                                                   init:  └─▸ mounts ▸ pivot ▸ identity ▸ wait ▸ seccomp ▸ execve
//!  exec:   setns(pid) ▸ clone3(INTO_CGROUP) ─▸ child: setns(all) ▸ identity ▸ seccomp ▸ execve
//! ```

mod birth;
mod bundle;
mod create;
mod errand;
mod error;
mod exec;
mod foreign;
mod id_map;
mod layers;
mod links;
mod notify;
mod open;
mod sandbox;
mod shm;
mod sync;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cgroup::{Below, Cgroup};
use crate::plan::Plan;
use crate::spec::{Process, Spec};
use crate::systemd::Scope;

pub use bundle::{Bundle, Bundles};
pub use create::{Making, begin, create, start};
pub use error::{Error, Kind};
pub use exec::exec;
pub use layers::try_mapped_layers;
pub use notify::Notify;
pub use sandbox::{Sandbox, sandbox};
pub use shm::Shm;
pub(crate) use sync::{Channel, pair, send_fd};

/// A container to be made.
pub struct Create<'a> {
    /// Its id, for hooks and errors.
    pub id: &'a str,
    /// Directory that relative paths of the spec start from.
    pub bundle: &'a Path,
    /// That directory, where it is open already.
    pub directory: Option<OwnedFd>,
    /// What it is to be.
    pub spec: &'a Spec,
    /// What that comes to, where it is known already.
    pub plan: Option<Plan>,
    /// Where its root file system comes from.
    pub rootfs: Rootfs,
    /// What is mounted instead of the sources of bind mounts.
    pub images: Vec<ImageMount>,
    /// Detached mount that goes to /dev/shm instead of the source of that bind mount ([`Shm::copy`]).
    pub shm: Option<OwnedFd>,
    /// The group its processes are born into; limits are applied by the caller.
    pub cgroup: Option<&'a Cgroup>,
    /// The unit of that group, whose systemd moves processes there for users who may not ([`Scope::attach`]).
    pub unit: Option<&'a Scope>,
    /// Standard streams of the init process.
    pub stdio: Stdio,
    /// How it is told to start.
    pub start: StartMode,
    /// Whether it outlives the caller.
    pub lifetime: Lifetime,
    /// What process 1 is.
    pub process_one: ProcessOne,
    /// How many descriptors from 3 on the program keeps.
    pub preserve_fds: u32,
    /// What it shares with the caller although it need not.
    pub sharing: Sharing,
}

/// What an init process may share with its caller, for hosts on which it cannot be otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sharing {
    /// Session keyring, keyrings(7).
    pub keyring: Keyring,
    /// The way to its root directory.
    pub root: RootChange,
}

/// Session keyring of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keyring {
    /// A new one.
    #[default]
    Own,
    /// The caller's: its keys are in reach of the container.
    Inherited,
}

impl Keyring {
    pub(crate) fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// How an init process gets to its root directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RootChange {
    /// By pivot_root(2): nothing of the old root is left in the mount namespace.
    #[default]
    Pivot,
    /// By chroot(2), where the host's root is the kernel's initial ramdisk, which cannot be pivoted: the old root stays below the
    /// new one.
    Chroot,
}

/// Where a root file system comes from.
pub enum Rootfs {
    /// `root.path` of the spec.
    Directory,
    /// An overlay, mounted for this container alone. In a user namespace the ids of its layers are mapped: what belongs to id 0
    /// on disk belongs to its root.
    Layers {
        /// Read-only layers, topmost first.
        lower: Vec<PathBuf>,
        /// Writable layer and work directory, both in one directory; `None` makes a read-only overlay.
        upper: Option<(PathBuf, PathBuf)>,
    },
}

/// Layers that are mounted, read-only, by a bind mount of the spec; of its source nothing is used.
pub struct ImageMount {
    /// Destination of that bind mount.
    pub destination: PathBuf,
    /// Layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// Only the file or directory there; no link in the layers leads out of them.
    pub sub_path: Option<PathBuf>,
}

/// Standard streams of a new process.
pub enum Stdio {
    /// The caller's own.
    Inherit,
    /// These; with `terminal` in the spec they must be `Terminal` instead.
    Files([OwnedFd; 3]),
    /// A new pseudo terminal of the container; its master is returned ([`Created::console`]).
    Terminal,
    /// A new pseudo terminal; its master is sent to this unix socket.
    ConsoleSocket(OwnedFd),
}

/// How an init process learns that it may run the program.
pub enum StartMode {
    /// By [`Created::start`] of the process that created it.
    Paired,
    /// By a connection to this listening socket (`rt-runtime create`, then `start`).
    Listener(OwnedFd),
}

/// What process 1 of a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessOne {
    /// The program.
    Program,
    /// A small init that runs the program, reaps orphans and passes signals on.
    Reaper,
}

/// Whether an init process outlives the process that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It does.
    Own,
    /// It is killed along with its parent (PR_SET_PDEATHSIG).
    Parent,
}

/// An init process that waits for its start.
pub struct Created {
    /// Its process id.
    pub pid: Pid,
    /// pidfd_open(2) descriptor: poll for its end, then `sys::process::wait`.
    pub pidfd: OwnedFd,
    /// Master of its pseudo terminal ([`Stdio::Terminal`]).
    pub console: Option<OwnedFd>,
    /// What was done only in part, for the log.
    pub warnings: Vec<String>,
    channel: Option<Channel>,
    /// Whether the word for its start comes by that channel, not by a socket.
    paired: bool,
    notify: Option<Notify>,
}

/// One more process for a running container.
pub struct Exec<'a> {
    /// pidfd of the container's init process.
    pub init: &'a OwnedFd,
    /// The container's spec: its namespaces and seccomp profile.
    pub spec: &'a Spec,
    /// The container's id and bundle, for a listener of its seccomp profile.
    pub id: &'a str,
    /// As above.
    pub bundle: &'a Path,
    /// What to run.
    pub process: &'a Process,
    /// The container's cgroup.
    pub cgroup: Option<&'a Cgroup>,
    /// A group below it for the process and what it starts.
    pub below: Option<&'a Below>,
    /// As in [`Create`].
    pub unit: Option<&'a Scope>,
    /// Standard streams.
    pub stdio: Stdio,
    /// How many descriptors from 3 on the program keeps.
    pub preserve_fds: u32,
    /// Its session keyring.
    pub keyring: Keyring,
}

/// A process started by [`Exec`].
pub struct Executed {
    /// Its process id.
    pub pid: Pid,
    /// pidfd of it.
    pub pidfd: OwnedFd,
    /// Master of its pseudo terminal ([`Stdio::Terminal`]).
    pub console: Option<OwnedFd>,
    /// What was done only in part, for the log.
    pub warnings: Vec<String>,
}

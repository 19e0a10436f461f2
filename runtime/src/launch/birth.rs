//! Where a process is born: the pid and user namespaces that it can only be born into.
//!
//! ```text
//!  Birth::Here     clone3
//!  Birth::In(pid)  parent: setns(pid) ▸ clone3 ▸ setns(own pid)
//!  Birth::Bridged  parent: clone3 ─▸ bridge: cgroups ▸ setns(others, user, pid) ▸ clone3(CLONE_PARENT) ─▸ child
//!  Birth::Entering parent: clone3 ─▸ bridge: cgroups ▸ closes descriptors ▸ setns(all) ▸ clone3(CLONE_PARENT) ─▸ child
//!                                    the bridge hands the child's pidfd over and ends
//! ```
//!
//! A bridge costs one more short-lived process. It is there for three cases: a user namespace that is joined must own the new
//! pid namespace, and one cannot come back from a user namespace; a process must not be born among others that may trace
//! it while it still has descriptors of the host or the host's root directory (CVE-2016-9962): which processes may is not to be
//! known, those of other containers can be in the same pid namespace; and an ordinary user whose own cgroup is not hers, as that of a
//! login is not, cannot give birth into another: systemd moves the bridge there, and its child is born where it is.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;

use super::create::bury;
use super::error::{During, Error};
use super::open;
use super::sync::{Channel, Message, pair};
use crate::init::{At, Exec, Failure, Step, enter_cgroups};
use crate::sys::clone::{Clone3, Parent, clone3};
use crate::sys::process::{Block, exit_now, wait};
use crate::sys::{Call, CallError};
use crate::systemd::Scope;

/// Where to be born.
pub(super) enum Birth<'a> {
    /// In the parent's namespaces.
    Here,
    /// In a pid namespace (a namespace file or a pidfd).
    In(&'a OwnedFd),
    /// Through a bridge.
    Bridged(Bridge<'a>),
    /// Through a bridge that enters the container's namespaces first.
    Entering(&'a Exec<'a>),
}

/// What a bridge does before it clones.
pub(super) struct Bridge<'a> {
    /// User namespace to join.
    pub user: Option<&'a OwnedFd>,
    /// Pid namespace to be born into.
    pub pid: Option<&'a OwnedFd>,
    /// v1 groups to enter.
    pub procs: &'a [OwnedFd],
    /// Namespaces of other kinds to join.
    pub others: &'a [(CloneFlags, OwnedFd)],
    /// Which of these it has joined, a bit each; the child, a copy of it, joins the rest.
    pub joined: &'a Cell<u64>,
}

/// The cgroup that a process is born into.
#[derive(Clone, Copy, Default)]
pub(super) struct Group<'a> {
    /// Its directory of cgroup2.
    pub group: Option<BorrowedFd<'a>>,
    /// Whose systemd moves processes to that directory where the kernel does not let this user.
    pub unit: Option<(&'a Scope, &'a Path)>,
}

/// Makes the child.
pub(super) fn clone(birth: Birth<'_>, kinds: u64, into: Group<'_>) -> Result<Clone3, Error> {
    match birth {
        Birth::Here => match direct(kinds, into.group) {
            Err(error) if error.errno == Errno::EACCES && into.unit.is_some() => bridged(into, |_| sibling(kinds)),
            cloned => cloned.during(|| "clone".to_owned()),
        },
        Birth::In(namespace) => inside(namespace, kinds, into.group).during(|| "clone".to_owned()),
        Birth::Bridged(bridge) => bridged(into, |_| over(&bridge, kinds)),
        Birth::Entering(exec) => bridged(into, |channel| {
            exec.enter(channel.as_fd())?;
            sibling(0)
        }),
    }
}

fn direct(kinds: u64, into: Option<BorrowedFd<'_>>) -> Result<Clone3, CallError> {
    clone3(kinds, into, Parent::Caller).call(|| format!("clone3({kinds:#x})"))
}

/// Entering a pid namespace only decides where children are born, setns(2).
fn inside(namespace: &OwnedFd, kinds: u64, into: Option<BorrowedFd<'_>>) -> Result<Clone3, CallError> {
    let own = open::namespace("/proc/self/ns/pid".as_ref())?;
    enter(namespace, CloneFlags::CLONE_NEWPID)?;
    let cloned = direct(kinds, into);
    if !matches!(cloned, Ok(Clone3::Child)) {
        enter(&own, CloneFlags::CLONE_NEWPID)?;
    }
    cloned
}

fn bridged(into: Group<'_>, over: impl FnOnce(&Channel) -> Result<Clone3, Failure>) -> Result<Clone3, Error> {
    let clone = || "clone".to_owned();
    let (ours, theirs) = pair().during(clone)?;
    let (cloned, unit) = match (direct(0, into.group), into.unit) {
        (Err(error), Some(unit)) if error.errno == Errno::EACCES => (direct(0, None), Some(unit)),
        (cloned, _) => (cloned, None),
    };
    let between = match cloned.during(clone)? {
        Clone3::Parent(pid, between) => {
            drop(theirs);
            if let Some((unit, group)) = unit {
                unit.attach(group, pid).map_err(|error| bury(&between, error.into()))?;
                ours.go().during(clone)?;
            }
            between
        }
        Clone3::Child => {
            drop(ours);
            if unit.is_some() && theirs.wait().is_err() {
                // The parent is gone, or is about to kill this process.
                exit_now(1)
            }
            return Ok(cross(over, theirs));
        }
    };
    let born = match ours.next().during(clone)? {
        Message::Born(pidfd) => Ok(pidfd),
        Message::Failed(failure) => Err(Error::Init(failure)),
        Message::Ended
        | Message::Namespaces
        | Message::Console(_)
        | Message::Warning(_)
        | Message::Listener(_)
        | Message::Created => Err(Error::Killed("before it was born".to_owned())),
    };
    wait(&between, Block::Yes).call(|| "waitid(<bridge>)".to_owned()).during(clone)?;
    let pidfd = born?;
    let pid = pid_of(&pidfd).during(clone)?;
    Ok(Clone3::Parent(pid, pidfd))
}

/// The bridge: ends here, but for the child that goes on.
fn cross(over: impl FnOnce(&Channel) -> Result<Clone3, Failure>, channel: Channel) -> Clone3 {
    match over(&channel) {
        Ok(Clone3::Child) => {
            drop(channel);
            Clone3::Child
        }
        Ok(Clone3::Parent(_, pidfd)) => match channel.born(pidfd.as_fd()) {
            Ok(()) => exit_now(0),
            Err(_) => exit_now(1),
        },
        Err(failure) => {
            channel.failed(&failure);
            exit_now(1)
        }
    }
}

fn over(bridge: &Bridge<'_>, kinds: u64) -> Result<Clone3, Failure> {
    enter_cgroups(bridge.procs).at(Step::Cgroup)?;
    for (index, (kind, namespace)) in bridge.others.iter().enumerate() {
        // In a joined mount namespace the host's procfs is out of reach, which the child still needs.
        if *kind != CloneFlags::CLONE_NEWNS && setns(namespace, *kind).is_ok() {
            bridge.joined.set(bridge.joined.get() | 1 << index);
        }
    }
    if let Some(user) = bridge.user {
        enter(user, CloneFlags::CLONE_NEWUSER).at(Step::Join)?;
    }
    if let Some(pid) = bridge.pid {
        enter(pid, CloneFlags::CLONE_NEWPID).at(Step::Join)?;
    }
    sibling(kinds)
}

fn sibling(kinds: u64) -> Result<Clone3, Failure> {
    clone3(kinds, None, Parent::Sibling).call(|| format!("clone3({kinds:#x}|CLONE_PARENT)")).at(Step::Join)
}

fn enter(namespace: &OwnedFd, kind: CloneFlags) -> Result<(), CallError> {
    setns(namespace, kind).call(|| format!("setns(<namespace>, {kind:?})"))
}

/// The process of a pidfd, as the caller's pid namespace numbers it.
pub(super) fn pid_of(pidfd: &OwnedFd) -> Result<Pid, CallError> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(&path).call(|| format!("read({path:?})"))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|pid| pid.trim().parse().ok());
    pid.filter(|pid| *pid > 0).map(Pid::from_raw).ok_or(Errno::ESRCH).call(|| format!("read({path:?})"))
}

//! Mounts whose ids are mapped: what a file system has as id 0 is the root of a user namespace.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{fstat, major, minor};
use nix::unistd::Pid;

use super::open;
use super::sync::pair;
use crate::plan::namespaces::flag;
use crate::plan::{IdMap, Plan};
use crate::spec::{IdMapping, NamespaceKind};
use crate::sys::clone::{Clone3, Parent, clone3};
use crate::sys::mount::{self, Depth};
use crate::sys::process::{Block, exit_now, wait};
use crate::sys::{Call, CallError};

type Maps = (Vec<IdMapping>, Vec<IdMapping>);

/// The user namespaces by which the mounts of a container are mapped.
pub(super) struct UserNamespaces<'a> {
    plan: &'a Plan,
    joined: Option<&'a OwnedFd>,
    made: Vec<(Maps, OwnedFd)>,
}

impl<'a> UserNamespaces<'a> {
    /// `joined` is the one that the container joins.
    pub(super) fn new(plan: &'a Plan, joined: Option<&'a OwnedFd>) -> Self {
        Self { plan, joined, made: Vec::new() }
    }

    /// One that maps as the container's own; absent: it has none.
    pub(super) fn container(&mut self) -> Result<Option<BorrowedFd<'_>>, CallError> {
        if !self.plan.namespaces.own(NamespaceKind::User) {
            return Ok(None);
        }
        match self.joined {
            Some(joined) => Ok(Some(joined.as_fd())),
            None => self.with(self.plan.namespaces.uid_map.clone(), self.plan.namespaces.gid_map.clone()).map(Some),
        }
    }

    /// One that maps as the plan says of a mount.
    pub(super) fn of(&mut self, id_map: &IdMap) -> Result<Option<BorrowedFd<'_>>, CallError> {
        let namespaces = &self.plan.namespaces;
        match &id_map.own {
            Some((uids, gids)) if (uids, gids) != (&namespaces.uid_map, &namespaces.gid_map) => {
                self.with(uids.clone(), gids.clone()).map(Some)
            }
            Some(_) | None => self.container(),
        }
    }

    /// Maps the ids of a detached mount as the plan says.
    pub(super) fn map(&mut self, tree: &OwnedFd, id_map: &IdMap, path: &Path) -> Result<(), CallError> {
        self.of(id_map)?.map_or(Ok(()), |user| map(tree, id_map.depth, user, path))
    }

    fn with(&mut self, uids: Vec<IdMapping>, gids: Vec<IdMapping>) -> Result<BorrowedFd<'_>, CallError> {
        let maps = (uids, gids);
        let known = self.made.iter().position(|(other, _)| *other == maps);
        let index = match known {
            Some(index) => index,
            None => {
                let made = user_namespace(&maps.0, &maps.1)?;
                self.made.push((maps, made));
                self.made.len() - 1
            }
        };
        Ok(self.made[index].1.as_fd())
    }
}

/// Maps the ids of a detached mount.
pub(super) fn map(tree: &OwnedFd, depth: Depth, user: BorrowedFd<'_>, path: &Path) -> Result<(), CallError> {
    let call = || format!("mount_setattr({path:?}, MOUNT_ATTR_IDMAP)");
    match mount::map_ids(tree, depth, user) {
        Err(Errno::EINVAL) => {
            let kind = file_system(tree).unwrap_or_else(|| "its file system".to_owned());
            let below = if depth == Depth::Recursive { ", or one mounted below it," } else { "" };
            let cannot = "cannot map ids on this kernel";
            Err(Errno::EINVAL).call(|| format!("{}: {kind}{below} {cannot}", call()))
        }
        result => result.call(call),
    }
}

/// Name of the file system of an object, proc_pid_mountinfo(5).
fn file_system(object: &OwnedFd) -> Option<String> {
    let device = fstat(object).ok()?.st_dev;
    let device = format!("{}:{}", major(device), minor(device));
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    let table = String::from_utf8_lossy(&table);
    let mut lines = table.lines().filter_map(|line| line.split_once(" - "));
    let (_, after) = lines.find(|(before, _)| before.split(' ').nth(2) == Some(&device))?;
    after.split(' ').next().map(str::to_owned)
}

/// A user namespace in which no process stays.
pub(super) fn user_namespace(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd, CallError> {
    let (ours, theirs) = pair()?;
    let cloned = clone3(flag(NamespaceKind::User), None, Parent::Caller);
    let (pid, child) = match cloned.call(|| "clone3(CLONE_NEWUSER)".to_owned())? {
        Clone3::Parent(pid, child) => (pid, child),
        Clone3::Child => {
            drop(ours);
            // Until the parent has opened the namespace.
            let _ = theirs.wait();
            exit_now(0)
        }
    };
    drop(theirs);
    let made = write_maps(pid, uids, gids).and_then(|()| open::namespace(format!("/proc/{pid}/ns/user").as_ref()));
    drop(ours);
    wait(&child, Block::Yes).call(|| "waitid(<user namespace>)".to_owned())?;
    made
}

/// Writes the maps of a process that has just been born into a new user namespace, user_namespaces(7).
pub(super) fn write_maps(pid: Pid, uids: &[IdMapping], gids: &[IdMapping]) -> Result<(), CallError> {
    let write = |file: &str, mappings: &[IdMapping]| {
        let lines: String =
            mappings.iter().map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size)).collect();
        let path = format!("/proc/{pid}/{file}");
        let mut file = OpenOptions::new().write(true).open(&path).call(|| format!("open({path:?}, O_WRONLY)"))?;
        file.write_all(lines.as_bytes()).call(|| format!("write({path:?}, {lines:?})"))
    };
    write("gid_map", gids)?;
    write("uid_map", uids)
}

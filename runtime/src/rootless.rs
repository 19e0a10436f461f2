//! Containers of ordinary users.
//!
//! ```text
//!  ordinary user ── enter: user and mount namespace in which ids are what they are outside ──▶ may mount, write maps, be others
//!                                                            └─ clone3 ▸ the container's own user namespace, mapped as it says
//! ```
//!
//! A container's mounts are opened by the process that makes it, which takes CAP_SYS_ADMIN over its own mount namespace: an ordinary
//! user has that only in a user namespace. As the ids in it are those outside, the configuration means the same there. More ids than
//! the user's own are mapped by newuidmap(1) and newgidmap(1), which look into /etc/subuid and /etc/subgid.
//!
//! Whoever made a user namespace has all capabilities over it and those below: the other verbs need nothing of this.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_dumpable;
use nix::sys::stat::stat;
use nix::unistd::{getgid, getpid, getuid};

use crate::launch::pair;
use crate::spec::IdMapping;
use crate::sys::clone::{Clone3, Parent, clone3};
use crate::sys::process::{Block, Exited, exit_now, users_at_start, wait};
use crate::sys::{Call, CallError};

const SEALS: SealFlag =
    SealFlag::F_SEAL_SEAL.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_WRITE);

/// Whether this is the root user of the host, and not of a user namespace.
#[must_use]
pub fn is_hosts_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| users_at_start().1 == 0 && !in_user_namespace())
}

/// Inode of the initial user namespace (`enum init_ns_ino` of linux/nsfs.h).
const INITIAL: u64 = 0xEFFF_FFFD;

/// Whether this process is in a user namespace other than the initial one, user_namespaces(7).
#[must_use]
pub fn in_user_namespace() -> bool {
    // Asked often, and only `enter` changes it, which ordinary users call before they ask.
    static INSIDE: OnceLock<bool> = OnceLock::new();
    // Kernels without user namespaces have no such file.
    *INSIDE.get_or_init(|| stat("/proc/self/ns/user").is_ok_and(|file| file.st_ino != INITIAL))
}

/// A copy of this program in memory that nobody can change (CVE-2019-5736), memfd_create(2).
///
/// # Errors
/// The call that failed.
pub fn sealed_copy() -> Result<OwnedFd, CallError> {
    let call = |name: &str| format!("{name}(<copy of own program>)");
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy = File::from(memfd_create(c"rt-runtime", flags).call(|| call("memfd_create"))?);
    let mut own = File::open("/proc/self/exe").call(|| "open(\"/proc/self/exe\")".to_owned())?;
    io::copy(&mut own, &mut copy).call(|| call("write"))?;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(SEALS)).call(|| call("fcntl"))?;
    Ok(copy.into())
}

/// Whether this program runs from such a copy.
///
/// # Errors
/// The call that failed.
pub fn is_sealed() -> Result<bool, CallError> {
    let own = File::open("/proc/self/exe").call(|| "open(\"/proc/self/exe\")".to_owned())?;
    // Files elsewhere know no seals.
    Ok(fcntl(&own, FcntlArg::F_GET_SEALS).is_ok_and(|seals| SealFlag::from_bits_retain(seals).contains(SEALS)))
}

/// Enters a user namespace in which the ids that a container maps are mapped to themselves, and a mount namespace of its own.
/// The calling process must have one thread.
///
/// # Errors
/// The call that failed; EPERM of newuidmap(1) where /etc/subuid does not give the user the ids.
pub fn enter(uids: &[IdMapping], gids: &[IdMapping]) -> Result<(), CallError> {
    let (uids, gids) = (with_own(uids, getuid().as_raw()), with_own(gids, getgid().as_raw()));
    let single = uids.len() == 1 && uids[0].1 == 1 && gids.len() == 1 && gids[0].1 == 1;
    // The files of a process that cannot be traced belong to root.
    seen(true)?;
    if single {
        separate()?;
        // Or a group that takes rights away could be dropped.
        write("setgroups", "deny")?;
        write("gid_map", &lines(&gids))?;
        write("uid_map", &lines(&uids))?;
    } else {
        let (ours, theirs) = pair()?;
        let this = getpid().to_string();
        let helper = match clone3(0, None, Parent::Caller).call(|| "clone3()".to_owned())? {
            Clone3::Parent(_, helper) => helper,
            Clone3::Child => {
                drop(ours);
                exit_now(i32::from(
                    theirs.wait().is_err() || !map("newgidmap", &this, &gids) || !map("newuidmap", &this, &uids),
                ))
            }
        };
        drop(theirs);
        separate()?;
        ours.go()?;
        let ended = wait(helper.as_fd(), Block::Yes).call(|| "waitid(<newuidmap>)".to_owned())?;
        if ended != Some(Exited::Code(0)) {
            let asked = |ranges| lines(ranges).trim_end().replace('\n', ", ");
            return Err(Errno::EPERM).call(|| {
                format!(
                    "newuidmap({this}, {}), newgidmap({this}, {}) of /etc/subuid, /etc/subgid",
                    asked(&uids),
                    asked(&gids)
                )
            });
        }
    }
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .call(|| "mount(\"/\", MS_REC|MS_SLAVE)".to_owned())?;
    seen(false)
}

/// Lets the files of this process in /proc belong to its user, so that maps can be written; or to root, so that nothing that runs as
/// the user gets hold of what is open here (PR_SET_DUMPABLE).
pub(crate) fn seen(seen: bool) -> Result<(), CallError> {
    set_dumpable(seen).call(|| format!("prctl(PR_SET_DUMPABLE, {})", i32::from(seen)))
}

fn separate() -> Result<(), CallError> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .call(|| "unshare(CLONE_NEWUSER|CLONE_NEWNS): user namespaces are not allowed here".to_owned())?;
    // A change of credentials takes it back.
    seen(true)
}

/// Ranges of host ids, and the own one.
fn with_own(mappings: &[IdMapping], own: u32) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = mappings.iter().map(|map| (map.host_id, map.size)).collect();
    let holds = |(first, size): &(u32, u32)| (*first..first.saturating_add(*size)).contains(&own);
    if !ranges.iter().any(holds) {
        ranges.push((own, 1));
    }
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

fn lines(ranges: &[(u32, u32)]) -> String {
    ranges.iter().map(|(first, size)| format!("{first} {first} {size}\n")).collect()
}

fn write(file: &str, text: &str) -> Result<(), CallError> {
    let path = format!("/proc/self/{file}");
    fs::write(&path, text).call(|| format!("write({path:?}, {text:?})"))
}

/// Runs newuidmap(1) or newgidmap(1); it says itself what is wrong.
fn map(program: &str, pid: &str, ranges: &[(u32, u32)]) -> bool {
    let mut command = Command::new(program);
    command.arg(pid);
    for (first, size) in ranges {
        command.args([first, first, size].map(u32::to_string));
    }
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("rt-runtime: {program}: {error}; it maps the ids of /etc/subuid and /etc/subgid");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_the_own_id() {
        let map = |host_id, size| IdMapping { container_id: 0, host_id, size };
        for (mappings, ranges) in [
            (vec![], vec![(1000, 1)]),
            (vec![map(1000, 1)], vec![(1000, 1)]),
            (vec![map(1000, 1), map(100_000, 65536)], vec![(1000, 1), (100_000, 65536)]),
            (vec![map(100_000, 65536)], vec![(1000, 1), (100_000, 65536)]),
            (vec![map(0, 5000)], vec![(0, 5000)]),
        ] {
            assert_eq!(with_own(&mappings, 1000), ranges);
        }
        assert_eq!(lines(&[(1000, 1), (5, 7)]), "1000 1000 1\n5 5 7\n");
    }
}

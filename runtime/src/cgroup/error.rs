//! What can go wrong, in words that name the group, the file and the kernel's answer.

use std::fmt;
use std::path::{Path as FsPath, PathBuf};

use nix::errno::Errno;

use super::controller::Controller;

/// Why a control group could not be made, changed or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call was refused.
    #[error("{call}({object}): {errno:?}{}", Advice(*advice))]
    System {
        /// Name of the call.
        call: &'static str,
        /// Its arguments: the path, and the value where one was written.
        object: String,
        /// The kernel's answer.
        errno: Errno,
        /// What this answer usually means here, and what to do.
        advice: Option<&'static str>,
    },
    /// A limit was refused by the kernel.
    #[error("{field}: {source}")]
    Limit {
        /// JSON path of the limit, such as `linux.resources.memory.limit`.
        field: String,
        /// The refused call.
        source: Box<Error>,
    },
    /// A member of `linux.resources` makes no sense or cannot be had.
    #[error("{field}: {problem}")]
    Invalid {
        /// JSON path, such as `linux.resources.unified["memory.max"]`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A limit needs a controller that is not there.
    #[error("{field}: needs the cgroup controller {controller}, which {reason}")]
    Missing {
        /// The controller.
        controller: Controller,
        /// JSON path of the limit.
        field: String,
        /// Why it is not there.
        reason: String,
    },
    /// A path that cannot name a group.
    #[error("cgroup path {path:?}: {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The group to be created has processes in it: it belongs to something that runs.
    #[error("cgroup {path:?} exists and holds processes {}", Pids(pids))]
    Busy {
        /// The group.
        path: PathBuf,
        /// The processes in it and below; 0 stands for one that this pid namespace does not show.
        pids: Vec<i32>,
    },
    /// Time ran out before all processes were gone.
    #[error("cgroup {path:?}: processes {} remain after SIGKILL", Pids(pids))]
    Remaining {
        /// The group.
        path: PathBuf,
        /// The processes, with what they wait for.
        pids: Vec<i32>,
    },
    /// Time ran out before all processes were frozen or thawed.
    #[error(
        "cgroup {path:?}: not {wanted} in time{}",
        Advice(Some("a process may be in an uninterruptible wait, or a parent group is frozen"))
    )]
    Freezer {
        /// The group.
        path: PathBuf,
        /// `frozen` or `thawed`.
        wanted: &'static str,
    },
    /// A kernel file did not hold what it should.
    #[error("{path:?}: {content:?} is not understood")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part that is not understood.
        content: String,
    },
    /// No control groups are mounted.
    #[error("no cgroup file system is mounted: mount cgroup2 on /sys/fs/cgroup")]
    NotMounted,
    /// Several things went wrong in a teardown, which goes on after errors.
    #[error("{}", List(.0))]
    Several(Vec<Error>),
}

impl From<crate::spec::Wrong> for Error {
    fn from(wrong: crate::spec::Wrong) -> Self {
        Self::Invalid { field: wrong.at, problem: wrong.problem }
    }
}

impl Error {
    /// `call` on `path` was answered by `errno`.
    pub(super) fn on(call: &'static str, path: &FsPath, errno: Errno) -> Error {
        Error::System { call, object: format!("{path:?}"), errno, advice: advice(path, errno) }
    }

    /// Writing `value` to `path` was answered by `errno`.
    pub(super) fn write(path: &FsPath, value: &str, errno: Errno) -> Error {
        Error::System { call: "write", object: format!("{path:?}, {value:?}"), errno, advice: advice(path, errno) }
    }

    /// The kernel's answer, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::System { errno, .. } => Some(*errno),
            Error::Limit { source, .. } => source.errno(),
            Error::Invalid { .. }
            | Error::Missing { .. }
            | Error::Path { .. }
            | Error::Busy { .. }
            | Error::Remaining { .. }
            | Error::Freezer { .. }
            | Error::Malformed { .. }
            | Error::NotMounted
            | Error::Several(_) => None,
        }
    }

    /// One error for what a teardown met: nothing, the only one, or all of them.
    pub(super) fn all(mut met: Vec<Error>) -> Result<(), Error> {
        match met.len() {
            0 => Ok(()),
            1 => Err(met.remove(0)),
            _ => Err(Error::Several(met)),
        }
    }
}

/// What an answer usually means for the file it was given for.
fn advice(path: &FsPath, errno: Errno) -> Option<&'static str> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match (errno, file) {
        (Errno::EROFS, _) => {
            Some("the cgroup file system is read-only here; a container needs a writable, delegated one")
        }
        (Errno::EINVAL | Errno::EACCES | Errno::ENODEV | Errno::ERANGE, "cpuset.cpus" | "cpuset.mems") => {
            Some("not all of these exist, are online and belong to the parent group")
        }
        (Errno::EACCES | Errno::EPERM, "devices.allow") => Some("the parent group does not have this device"),
        (Errno::EACCES | Errno::EPERM, _) => {
            Some("not permitted: not root, or the group is not delegated to this user")
        }
        (Errno::EBUSY, "cgroup.subtree_control") => Some(
            "a process sits in this group; controllers reach only children of groups without processes of their own",
        ),
        (Errno::EBUSY, "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes") => {
            Some("more than this is in use and cannot be reclaimed")
        }
        (Errno::EBUSY, _) => Some("it is in use"),
        (Errno::EOPNOTSUPP, "cgroup.subtree_control" | "cgroup.procs") => Some("the group is threaded (cgroup.type)"),
        (Errno::ENOENT, "cgroup.subtree_control") => Some("the parent group does not pass this controller on"),
        (Errno::ENOENT, "memory.memsw.limit_in_bytes" | "memory.swap.max") => {
            Some("the kernel does not account swap: boot it with swapaccount=1")
        }
        (Errno::ENOENT, file) if file.starts_with("hugetlb.") => {
            Some("the kernel does not have huge pages of this size")
        }
        (Errno::ENOENT, file) if file.contains('.') => Some("the kernel or its configuration does not have this file"),
        (Errno::EINVAL, "cpu.cfs_quota_us" | "cpu.cfs_period_us" | "cpu.max") => {
            Some("a quota is at least 1000 us, a period 1000 to 1000000 us, and a child's share at most its parent's")
        }
        (Errno::EINVAL, "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes") => {
            Some("the limit of memory and swap together must stay at least the memory limit: set both")
        }
        (Errno::EINVAL, "devices.allow" | "devices.deny") => {
            Some("the container has groups of its own, while these exist cgroup v1 cannot set the rules anew")
        }
        (Errno::EINVAL, "cpu.rt_runtime_us") => Some("the parent group has no realtime time to give"),
        (Errno::ENODEV, file) if file.starts_with("io.") || file.starts_with("blkio.") => {
            Some("no such block device, or a partition: limits are set on whole disks")
        }
        (Errno::EOPNOTSUPP, file) if file.starts_with("io.") || file.starts_with("blkio.") => {
            Some("the device's I/O scheduler has no weights")
        }
        (Errno::ENOSPC, "cgroup.procs" | "tasks") => Some("the group has no CPUs or memory nodes (cpuset)"),
        (Errno::EAGAIN, _) => {
            Some("a limit of the parent group on its descendants is reached (cgroup.max.descendants)")
        }
        (Errno::ENOSPC, _) => Some("the kernel has no room for another group"),
        _ => None,
    }
}

struct Advice(Option<&'static str>);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

/// At most ten are shown.
struct Pids<'a>(&'a [i32]);

impl fmt::Display for Pids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().take(10).map(i32::to_string).collect();
        f.write_str(&shown.join(", "))?;
        if self.0.len() > 10 { write!(f, " and {} more", self.0.len() - 10) } else { Ok(()) }
    }
}

struct List<'a>(&'a [Error]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(Error::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_call_object_answer_and_advice() {
        let busy = Error::write(FsPath::new("/sys/fs/cgroup/a/cgroup.subtree_control"), "+memory", Errno::EBUSY);
        assert_eq!(
            busy.to_string(),
            "write(\"/sys/fs/cgroup/a/cgroup.subtree_control\", \"+memory\"): EBUSY (a process sits in this group; controllers \
             reach only children of groups without processes of their own)"
        );
        let read_only = Error::on("mkdir", FsPath::new("/sys/fs/cgroup/a"), Errno::EROFS);
        assert!(
            read_only
                .to_string()
                .starts_with("mkdir(\"/sys/fs/cgroup/a\"): EROFS (the cgroup file system is read-only")
        );
        let plain = Error::on("open", FsPath::new("/sys/fs/cgroup/a"), Errno::EMFILE);
        assert_eq!(plain.to_string(), "open(\"/sys/fs/cgroup/a\"): EMFILE");
    }

    #[test]
    fn long_lists_of_pids_are_cut() {
        let error = Error::Remaining { path: "/a".into(), pids: (1..=12).collect() };
        assert_eq!(
            error.to_string(),
            "cgroup \"/a\": processes 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more remain after SIGKILL"
        );
    }
}

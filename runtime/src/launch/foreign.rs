//! Bind sources of another container: mounts that no path of this mount namespace leads to.
//!
//! open_tree(2) copies only mounts of the caller's mount namespace, also when a path such as /proc/PID/root/dev/shm gets it to
//! another one's. So a short-lived process goes there, makes the copy and hands the descriptor back.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;

use super::errand::errand;
use super::open;
use crate::root::{Links, open_in};
use crate::sys::mount::{Depth, open_tree};
use crate::sys::{Call, CallError};

/// The process of a path `/proc/PID/root/...`, and what follows.
pub(super) fn split(path: &Path) -> Option<(i32, PathBuf)> {
    let mut components = path.components();
    let expected = [Component::RootDir, Component::Normal("proc".as_ref())];
    if [components.next()?, components.next()?] != expected {
        return None;
    }
    let pid = components.next()?.as_os_str().to_str()?.parse().ok()?;
    (components.next()? == Component::Normal("root".as_ref())).then(|| (pid, components.as_path().to_owned()))
}

/// A detached copy of the mount at `path` in the mount namespace of a process. No link on the way is followed: what lies there
/// is the other container's doing.
pub(super) fn tree(pid: i32, path: &Path, depth: Depth) -> Result<OwnedFd, CallError> {
    tree_in(&open::namespace(format!("/proc/{pid}/ns/mnt").as_ref())?, path, depth)
}

/// As [`tree`], in a mount namespace.
pub(super) fn tree_in(namespace: &OwnedFd, path: &Path, depth: Depth) -> Result<OwnedFd, CallError> {
    errand(|| fetch(namespace, path, depth))
}

fn fetch(namespace: &OwnedFd, path: &Path, depth: Depth) -> Result<OwnedFd, CallError> {
    setns(namespace, CloneFlags::CLONE_NEWNS).call(|| "setns(<mount namespace>)".to_owned())?;
    let root = openat(AT_FDCWD, "/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| "open(\"/\", O_PATH)".to_owned())?;
    let target = open_in(root, path, OFlag::O_PATH, Links::Refuse)?;
    open_tree(target, c"", depth).call(|| format!("open_tree({path:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_other_processes() {
        let of = |path: &str| split(Path::new(path)).map(|(pid, rest)| (pid, rest.display().to_string()));
        assert_eq!(of("/proc/12/root/dev/shm"), Some((12, "dev/shm".to_owned())));
        for other in ["/proc/12/cwd/x", "/proc/self/root/x", "/data/proc/1/root", "proc/1/root/x", "/proc/1", "/"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}

//! Bind sources of another container: mounts that no path of this mount namespace leads to.
//!
//! open_tree(2) copies only mounts of the caller's mount namespace, also when a path such as /proc/PID/root/dev/shm gets it to
//! another one's. So a short-lived process goes there, makes the copy and hands the descriptor back.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;

use super::open;
use super::sync::{Channel, Message, pair};
use crate::init::{At, Failure, Step};
use crate::root::{Links, open_in};
use crate::sys::clone::{Clone3, Parent, clone3};
use crate::sys::mount::{Depth, open_tree};
use crate::sys::process::{Block, exit_now, wait};
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
    let (ours, theirs) = pair()?;
    let messenger = match clone3(0, None, Parent::Caller).call(|| "clone3()".to_owned())? {
        Clone3::Parent(_, messenger) => messenger,
        Clone3::Child => match fetch(namespace, path, depth).and_then(|tree| theirs.born(tree.as_fd())) {
            Ok(()) => exit_now(0),
            Err(error) => fail(&theirs, error),
        },
    };
    drop(theirs);
    let message = ours.next();
    wait(&messenger, Block::Yes).call(|| "waitid(<messenger>)".to_owned())?;
    match message? {
        Message::Born(tree) => Ok(tree),
        Message::Failed(Failure { errno, text, .. }) => Err(CallError { call: text, errno }),
        Message::Ended | Message::Namespaces | Message::Console(_) | Message::Warning(_) | Message::Created => {
            Err(Errno::EIO).call(|| format!("open_tree(<mount namespace>, {path:?})"))
        }
    }
}

fn fetch(namespace: &OwnedFd, path: &Path, depth: Depth) -> Result<OwnedFd, CallError> {
    setns(namespace, CloneFlags::CLONE_NEWNS).call(|| "setns(<mount namespace>)".to_owned())?;
    let root = openat(AT_FDCWD, "/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| "open(\"/\", O_PATH)".to_owned())?;
    let target = open_in(root, path, OFlag::O_PATH, Links::Refuse)?;
    open_tree(target, c"", depth).call(|| format!("open_tree({path:?})"))
}

/// Reports a failed call and ends.
pub(super) fn fail(channel: &Channel, error: CallError) -> ! {
    let call = error.call.clone();
    let failed: Result<(), Failure> = Err(error).at(Step::Mounts);
    if let Err(failure) = failed {
        channel.failed(&Failure { text: call, ..failure });
    }
    exit_now(1)
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

//! A /dev/shm for several containers: one tmpfs, of which each gets a mount.
//!
//! It is kept by a detached mount alone. Copies of such a mount are allowed since KERNEL(6.15); before, it is attached in a mount
//! namespace in which no process stays, and a short-lived one goes there for each copy.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::sync::{Message, pair};
use super::{foreign, open};
use crate::plan::namespaces::flag;
use crate::spec::NamespaceKind;
use crate::sys::clone::{Clone3, Parent, clone3};
use crate::sys::mount::{
    Depth, attr, fsconfig_create, fsconfig_string, fsmount, fsopen, move_mount_to_root, open_tree,
};
use crate::sys::process::{Block, exit_now, wait};
use crate::sys::{Call, CallError};

/// A shared /dev/shm.
#[derive(Debug)]
pub struct Shm {
    mount: OwnedFd,
    /// Mount namespace whose root it is, where it cannot be copied otherwise.
    attached: Option<OwnedFd>,
}

impl Shm {
    /// Makes one of at most `size` bytes that belongs to the host ids `uid` and `gid`.
    pub(super) fn new(size: u64, uid: u32, gid: u32) -> Result<Self, CallError> {
        let mount = tmpfs(size, uid, gid)?;
        let attached = match open_tree(&mount, c"", Depth::Single) {
            Ok(_) => None,
            Err(Errno::EINVAL) => Some(attach(&mount)?),
            Err(errno) => return Err(errno).call(|| "open_tree(<shm>, OPEN_TREE_CLONE)".to_owned()),
        };
        Ok(Self { mount, attached })
    }

    /// A detached mount of it, for one container.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn copy(&self) -> Result<OwnedFd, CallError> {
        match &self.attached {
            None => open_tree(&self.mount, c"", Depth::Single).call(|| "open_tree(<shm>, OPEN_TREE_CLONE)".to_owned()),
            Some(namespace) => foreign::tree_in(namespace, ".".as_ref(), Depth::Single),
        }
    }
}

fn tmpfs(size: u64, uid: u32, gid: u32) -> Result<OwnedFd, CallError> {
    let fs = fsopen(c"tmpfs").call(|| "fsopen(\"tmpfs\")".to_owned())?;
    let set = |key: &std::ffi::CStr, value: String| {
        let text = CString::new(value).expect("made of digits and letters");
        fsconfig_string(&fs, key, &text).call(|| format!("fsconfig(<tmpfs>, {key:?}, {text:?})"))
    };
    set(c"source", "shm".to_owned())?;
    set(c"mode", "1777".to_owned())?;
    set(c"size", size.to_string())?;
    set(c"uid", uid.to_string())?;
    set(c"gid", gid.to_string())?;
    fsconfig_create(&fs).call(|| "fsconfig(<tmpfs>, FSCONFIG_CMD_CREATE)".to_owned())?;
    fsmount(&fs, attr::NOSUID | attr::NODEV | attr::NOEXEC).call(|| "fsmount(<tmpfs>)".to_owned())
}

/// A mount namespace with the mount on top of its root.
fn attach(shm: &OwnedFd) -> Result<OwnedFd, CallError> {
    let (ours, theirs) = pair()?;
    let (pid, child) =
        match clone3(flag(NamespaceKind::Mount), None, Parent::Caller).call(|| "clone3(CLONE_NEWNS)".to_owned())? {
            Clone3::Parent(pid, child) => (pid, child),
            Clone3::Child => {
                drop(ours);
                match cover(shm).and_then(|()| theirs.created()) {
                    Ok(()) => {
                        // Until the parent has opened the namespace.
                        let _ = theirs.wait();
                        exit_now(0)
                    }
                    Err(error) => foreign::fail(&theirs, error),
                }
            }
        };
    drop(theirs);
    let namespace = match ours.next() {
        Ok(Message::Created) => open::namespace(format!("/proc/{pid}/ns/mnt").as_ref()),
        Ok(Message::Failed(failure)) => Err(CallError { call: failure.text, errno: failure.errno }),
        Ok(_) => Err(Errno::EIO).call(|| "move_mount(<shm>, \"/\")".to_owned()),
        Err(error) => Err(error),
    };
    drop(ours);
    wait(&child, Block::Yes).call(|| "waitid(<shm>)".to_owned())?;
    namespace
}

fn cover(shm: &OwnedFd) -> Result<(), CallError> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .call(|| "mount(\"/\", MS_REC|MS_PRIVATE)".to_owned())?;
    move_mount_to_root(shm).call(|| "move_mount(<shm>, \"/\")".to_owned())
}

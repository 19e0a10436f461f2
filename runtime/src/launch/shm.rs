//! A /dev/shm for several containers: one tmpfs, of which each gets a mount.
//!
//! It is kept by a detached mount alone. Copies of such a mount are allowed since KERNEL(6.15); before, it is attached in a mount
//! namespace in which no process stays, and a short-lived one goes there for each copy.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::errand::{errand, own_mounts};
use super::{foreign, open};
use crate::sys::mount::{
    Depth, attr, fsconfig_create, fsconfig_string, fsmount, fsopen, move_mount_to_root, open_tree,
};
use crate::sys::{Call, CallError};

/// A shared /dev/shm.
#[derive(Debug)]
pub struct Shm {
    mount: OwnedFd,
    /// Mount namespace whose root it is, where it cannot be copied otherwise.
    attached: Option<OwnedFd>,
}

impl Shm {
    /// Makes one of at most `size` bytes that belongs to the host ids `uid` and `gid`, with an SELinux context.
    pub(super) fn new(size: u64, uid: u32, gid: u32, context: Option<&CStr>) -> Result<Self, CallError> {
        let mount = tmpfs(size, uid, gid, context)?;
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

fn tmpfs(size: u64, uid: u32, gid: u32, context: Option<&CStr>) -> Result<OwnedFd, CallError> {
    let fs = fsopen(c"tmpfs").call(|| "fsopen(\"tmpfs\")".to_owned())?;
    let give = |key: &CStr, text: &CStr| {
        fsconfig_string(&fs, key, text).call(|| format!("fsconfig(<tmpfs>, {key:?}, {text:?})"))
    };
    let set = |key: &CStr, value: String| give(key, &CString::new(value).expect("made of digits and letters"));
    set(c"source", "shm".to_owned())?;
    set(c"mode", "1777".to_owned())?;
    set(c"size", size.to_string())?;
    set(c"uid", uid.to_string())?;
    set(c"gid", gid.to_string())?;
    if let Some(context) = context {
        give(c"context", context)?;
    }
    fsconfig_create(&fs).call(|| "fsconfig(<tmpfs>, FSCONFIG_CMD_CREATE)".to_owned())?;
    fsmount(&fs, attr::NOSUID | attr::NODEV | attr::NOEXEC).call(|| "fsmount(<tmpfs>)".to_owned())
}

/// A mount namespace with the mount on top of its root.
fn attach(shm: &OwnedFd) -> Result<OwnedFd, CallError> {
    errand(|| {
        own_mounts()?;
        let namespace = open::namespace("/proc/self/ns/mnt".as_ref())?;
        move_mount_to_root(shm).call(|| "move_mount(<shm>, \"/\")".to_owned())?;
        Ok(namespace)
    })
}

//! `maskedPaths` and `readonlyPaths`: a mask never fails open (CVE-2025-31133).

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::leave;
use crate::plan::Plan;
use crate::root::{Links, Root};
use crate::sys::mount::{
    Attributes, Depth, attr, fsconfig_create, fsconfig_string, fsmount, fsopen, move_mount, open_tree, open_tree_attr,
};
use crate::sys::{Call, CallError};

/// Hides and protects the paths of the plan. `null` is a detached mount of the host's null device, checked by the parent.
pub(super) fn apply(plan: &Plan, root: &Root, mut null: Option<OwnedFd>) -> Result<(), CallError> {
    let mut file = Cover::new();
    let mut directory = Cover::new();
    for path in &plan.masked {
        let call = || format!("move_mount(<mask>, \"/{}\")", path.display());
        let target = match root.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY, Links::InRoot) {
            Ok(target) => {
                let mount = directory.next(empty_directory)?;
                move_mount(&mount, &target).call(call)?;
                directory.attached(mount);
                target
            }
            Err(error) if error.errno == Errno::ENOENT => continue,
            // A file; or a directory by now, on which a file cannot be mounted.
            Err(error) if error.errno == Errno::ENOTDIR => {
                let Some(target) = find(root, path)? else { continue };
                let mount = file.next(|| Ok(null.take().expect("the parent opened it for the masks")))?;
                move_mount(&mount, &target).call(call)?;
                file.attached(mount);
                target
            }
            Err(error) => return Err(error),
        };
        leave(target);
    }
    [file, directory].into_iter().filter_map(|cover| cover.0).for_each(leave);
    plan.readonly.iter().try_for_each(|path| protect(root, path))
}

/// One mount that covers many paths: the first use attaches it, further uses attach copies. (A copy can be made only of a
/// mount that is attached; KERNEL(6.15) lifts that.)
struct Cover(Option<OwnedFd>);

impl Cover {
    fn new() -> Self {
        Self(None)
    }

    fn next(&self, make: impl FnOnce() -> Result<OwnedFd, CallError>) -> Result<OwnedFd, CallError> {
        match &self.0 {
            None => make(),
            Some(mount) => {
                open_tree(mount, c"", Depth::Single).call(|| "open_tree(<mask>, OPEN_TREE_CLONE)".to_owned())
            }
        }
    }

    fn attached(&mut self, mount: OwnedFd) {
        match &self.0 {
            Some(_) => leave(mount),
            None => self.0 = Some(mount),
        }
    }
}

/// An empty read-only directory.
pub(crate) fn empty_directory() -> Result<OwnedFd, CallError> {
    let call = || "fsopen(\"tmpfs\", nr_inodes=1)".to_owned();
    let fs = fsopen(c"tmpfs").call(call)?;
    fsconfig_string(&fs, c"nr_inodes", c"1").call(call)?;
    fsconfig_create(&fs).call(call)?;
    let mount = fsmount(&fs, attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC).call(call)?;
    leave(fs);
    Ok(mount)
}

fn protect(root: &Root, path: &Path) -> Result<(), CallError> {
    let Some(target) = find(root, path)? else { return Ok(()) };
    let readonly = Attributes { set: attr::RDONLY, ..Attributes::default() };
    let mount = open_tree_attr(&target, c"", Depth::Recursive, readonly)
        .call(|| format!("open_tree_attr(\"/{}\", RDONLY)", path.display()))?;
    move_mount(&mount, &target).call(|| format!("move_mount(<read-only>, \"/{}\")", path.display()))?;
    leave(mount);
    leave(target);
    Ok(())
}

/// The object at a path; `None`: there is none, and nothing to hide.
fn find(root: &Root, path: &Path) -> Result<Option<OwnedFd>, CallError> {
    match root.open(path, OFlag::O_PATH, Links::InRoot) {
        Ok(target) => Ok(Some(target)),
        Err(error) if error.errno == Errno::ENOENT || error.errno == Errno::ENOTDIR => Ok(None),
        Err(error) => Err(error),
    }
}

//! What the kernel and the file system of the images can do, found out by doing it.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use runtime::launch::try_mapped_layers;
use runtime::sys::mount::{Attributes, Depth, attr, mount_setattr, open_tree};
use runtime::sys::{Call, CallError};

use crate::pod::Features;

/// Tries all, with the directory of the images, which must be there. For a process with one thread. What does not work is told with the
/// reason.
pub(super) fn probe(root: &Path) -> (Features, Vec<String>) {
    let mut notes = Vec::new();
    let mut works = |what: &str, tried: Result<(), CallError>| {
        notes.extend(tried.as_ref().err().map(|error| format!("{what} are not offered to pods: {error}")));
        tried.is_ok()
    };
    let features = Features {
        recursive_read_only_mounts: works("recursive read-only mounts", read_only(root)),
        user_namespaces: works("user namespaces", try_mapped_layers(root)),
    };
    (features, notes)
}

/// On a mount that is attached nowhere.
fn read_only(root: &Path) -> Result<(), CallError> {
    let path = CString::new(root.as_os_str().as_bytes()).map_err(|_| nix::errno::Errno::EINVAL);
    let path = path.call(|| format!("open_tree({root:?})"))?;
    let tree = open_tree(AT_FDCWD, &path, Depth::Single).call(|| format!("open_tree({root:?})"))?;
    let attributes = Attributes { set: attr::RDONLY, ..Attributes::default() };
    mount_setattr(&tree, Depth::Recursive, attributes).call(|| format!("mount_setattr({root:?}, AT_RECURSIVE, RDONLY)"))
}

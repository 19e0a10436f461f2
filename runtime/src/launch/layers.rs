//! Mounts of layers: a container's root, and images that are mounted in it.
//!
//! ```text
//!  layers ─▶ [ids mapped] ─▶ overlay ─▶ [what is at a path in it] ─▶ a mount that is attached nowhere
//! ```
//!
//! In a user namespace each layer is a copy of its mount with mapped ids, and so is the writable layer: files have the same ids on
//! disk whatever namespace a container is in, and no layer is copied.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat};

use super::errand::{errand, own_mounts};
use super::id_map;
use crate::init::empty_directory;
use crate::overlay::{self, Options, Syncing};
use crate::root::{Links, open_in};
use crate::spec::IdMapping;
use crate::sys::mount::{Attributes, Depth, attr, mount_setattr, move_mount_to_root, open_tree};
use crate::sys::process::set_file_ids;
use crate::sys::{Call, CallError};

/// What is mounted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers<'a> {
    /// Read-only layers, topmost first.
    pub lower: &'a [PathBuf],
    /// Writable layer and work directory, in one directory.
    pub upper: Option<&'a (PathBuf, PathBuf)>,
    /// Only what is there; no link in the layers leads out of them.
    pub sub_path: Option<&'a Path>,
    /// User namespace that ids are mapped to.
    pub user: Option<BorrowedFd<'a>>,
    /// SELinux context of all files: `linux.mountLabel`.
    pub context: Option<&'a CStr>,
}

impl Layers<'_> {
    /// A detached mount of them. Without a writable layer it is an overlay that nobody can make writable, whatever may be done to
    /// the mount: the layers are those of other containers, too.
    pub(super) fn mount(&self) -> Result<OwnedFd, CallError> {
        match self {
            Layers { lower: [_], upper: None, .. } => errand(|| self.assemble()),
            Layers { lower, upper, sub_path: None, user: None, context } => {
                overlay::mount_with(lower, *upper, options(0, *context))
            }
            Layers { .. } => errand(|| self.assemble()),
        }
    }

    /// For a process of its own: its mount namespace and ids change.
    fn assemble(&self) -> Result<OwnedFd, CallError> {
        let layer = |path: &PathBuf| match self.user {
            None => tree(path),
            Some(user) => mapped(path, user),
        };
        let mut lower = self.lower.iter().map(layer).collect::<Result<Vec<_>, _>>()?;
        let writable = self.upper.map(|upper| writable(upper, layer)).transpose()?;
        if lower.len() == 1 && writable.is_none() {
            // The kernel takes no overlay of a single layer.
            lower.push(empty_directory()?);
        }
        let whole = overlay_of(lower, writable, self.context)?;
        match self.sub_path {
            None => Ok(whole),
            Some(path) => part(&whole, path),
        }
    }
}

/// Finds out by doing whether the directory `path` can be a layer of a container in a user namespace. For callers with one thread.
///
/// # Errors
/// The call that did not work: of a kernel without user namespaces, or a file system that cannot map ids.
pub fn try_mapped_layers(path: &Path) -> Result<(), CallError> {
    let ids = [IdMapping { container_id: 0, host_id: 1 << 16, size: 1 << 16 }];
    let user = id_map::user_namespace(&ids, &ids)?;
    let lower = [path.to_owned()];
    Layers { lower: &lower, upper: None, sub_path: None, user: Some(user.as_fd()), context: None }.mount().map(drop)
}

fn options(attributes: u64, context: Option<&CStr>) -> Options<'_> {
    Options { syncing: Syncing::Never, attributes, context }
}

/// A copy of the mount at a path.
fn tree(path: &Path) -> Result<OwnedFd, CallError> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL).call(|| format!("{path:?}"))?;
    open_tree(AT_FDCWD, &path, Depth::Single).call(|| format!("open_tree({path:?})"))
}

fn mapped(path: &Path, user: BorrowedFd<'_>) -> Result<OwnedFd, CallError> {
    let tree = tree(path)?;
    id_map::map(&tree, Depth::Single, user, path)?;
    Ok(tree)
}

/// The overlay works on its layers with the ids of the process that makes it, which must be mapped, too: those of the owner of the
/// writable layer.
fn overlay_of(lower: Vec<OwnedFd>, writable: Option<Writable>, context: Option<&CStr>) -> Result<OwnedFd, CallError> {
    let (base, upper) = writable.unzip();
    if let Some(base) = &base {
        let owner = fstat(base).call(|| "fstat(<writable layer>)".to_owned())?;
        set_file_ids(owner.st_uid, owner.st_gid)
            .call(|| format!("setfsuid({}), setfsgid({})", owner.st_uid, owner.st_gid))?;
    }
    let make = || overlay::mount_open(&lower, upper.as_ref(), options(attr::NODEV, context));
    match make() {
        // KERNEL(6.15): of mounts that are attached nowhere.
        Err(error) if error.errno == Errno::EINVAL => {}
        mount => return mount,
    }
    own_mounts()?;
    // A copy of a shared mount is shared, too: what is attached on it would be seen on the host.
    let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
    for layer in lower.iter().chain(&base) {
        mount_setattr(layer, Depth::Single, private)
            .and_then(|()| move_mount_to_root(layer))
            .call(|| "move_mount(<layer>, \"/\")".to_owned())?;
    }
    make().map_err(|error| match error.errno {
        Errno::EINVAL => CallError {
            call: format!("{}: layers with mapped ids need a kernel of 5.19 or later", error.call),
            ..error
        },
        _ => error,
    })
}

/// The directory of writable layer and work directory, and both seen through its one mount: overlay wants that.
type Writable = (OwnedFd, (OwnedFd, OwnedFd));

fn writable(
    (upper, work): &(PathBuf, PathBuf),
    layer: impl Fn(&PathBuf) -> Result<OwnedFd, CallError>,
) -> Result<Writable, CallError> {
    let names = (upper.file_name(), work.file_name(), upper.parent().filter(|base| work.parent() == Some(base)));
    let (Some(upper), Some(work), Some(base)) = names else {
        return Err(Errno::EXDEV).call(|| format!("{upper:?} and {work:?} are not in one directory"));
    };
    let base = layer(&base.to_owned())?;
    let open = |name| {
        openat(&base, name, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
            .call(|| format!("openat(<writable layer>, {name:?}, O_PATH|O_DIRECTORY)"))
    };
    let both = (open(upper)?, open(work)?);
    Ok((base, both))
}

/// What is at a path of a detached mount.
fn part(whole: &OwnedFd, path: &Path) -> Result<OwnedFd, CallError> {
    let found = open_in(whole, path, OFlag::O_PATH, Links::InRoot)?;
    let copy = || open_tree(&found, c"", Depth::Single);
    match copy() {
        // KERNEL(6.15): of a mount that is attached nowhere.
        Err(Errno::EINVAL) => {
            own_mounts()?;
            move_mount_to_root(whole).call(|| "move_mount(<image>, \"/\")".to_owned())?;
            copy()
        }
        copy => copy,
    }
    .call(|| format!("open_tree(<image>, {path:?})"))
}

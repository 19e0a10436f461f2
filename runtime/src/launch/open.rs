//! What the parent opens for the child while the host is in sight: the root, bind sources, namespaces, devices.
//!
//! Everything is a detached mount or a descriptor, so the child resolves no path of the host, and the host's mount table never
//! shows a container.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, SFlag, fstat, makedev};

use super::error::{During, Error};
use super::id_map::UserNamespaces;
use super::layers::Layers;
use super::{ImageMount, Rootfs, foreign};
use crate::cgroup::Cgroup;
use crate::init::{is_link, set_recursive};
use crate::plan::namespaces::{flag, name};
use crate::plan::{Device, DeviceKind, Extra, Mount, Plan, PlanError, Source};
use crate::root::{Links, Root, clean};
use crate::rootless::in_user_namespace;
use crate::spec::NamespaceKind;
use crate::sys::mount::{Attributes, Depth, attr, mount_setattr, open_tree, open_tree_attr, open_tree_nofollow};
use crate::sys::{Call, CallError};

/// Opens a directory without reading it.
pub(super) fn directory(path: &Path) -> Result<OwnedFd, CallError> {
    openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| format!("open({path:?}, O_PATH|O_DIRECTORY)"))
}

/// A detached mount of the root file system; its directory where the container has no mount namespace of its own.
pub(super) fn rootfs(
    rootfs: &Rootfs,
    plan: &Plan,
    bundle: &OwnedFd,
    users: &mut UserNamespaces<'_>,
) -> Result<Option<OwnedFd>, Error> {
    match rootfs {
        // Looked up in the mount namespace that is joined.
        Rootfs::Directory if plan.namespaces.joins(NamespaceKind::Mount) => Ok(None),
        Rootfs::Directory if !plan.namespaces.makes(NamespaceKind::Mount) => {
            root_directory(plan, bundle).map(Some).during(|| "root.path".to_owned())
        }
        Rootfs::Directory => from_directory(plan, bundle).map(Some).during(|| "root.path".to_owned()),
        Rootfs::Layers { lower, upper } => users
            .container()
            .and_then(|user| {
                let context = plan.mount_label.as_deref();
                Layers { lower, upper: upper.as_ref(), sub_path: None, user, context }.mount()
            })
            .map(Some)
            .during(|| "rootfs".to_owned()),
    }
}

fn root_directory(plan: &Plan, bundle: &OwnedFd) -> Result<OwnedFd, CallError> {
    let path = &plan.root;
    openat(bundle, path.as_path(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| format!("openat(<bundle>, {path:?}, O_PATH|O_DIRECTORY)"))
}

fn from_directory(plan: &Plan, bundle: &OwnedFd) -> Result<OwnedFd, CallError> {
    // Nothing but a directory has an entry for itself.
    let path = CString::new([plan.root.as_os_str().as_bytes(), b"/."].concat()).expect("the plan refuses NUL bytes");
    // What is mounted in the container must not reach the host, whatever propagation the root ends up with.
    let propagation = if plan.root_propagation.0 == libc::MS_SLAVE { libc::MS_SLAVE } else { libc::MS_PRIVATE };
    open_tree_attr(bundle, &path, Depth::Recursive, Attributes { propagation, ..Attributes::default() })
        .call(|| format!("open_tree_attr(<bundle>, {path:?}, propagation)"))
}

/// Detached mounts of the bind sources, by index of the mounts.
pub(super) fn sources(
    plan: &Plan,
    bundle: &OwnedFd,
    mut shm: Option<OwnedFd>,
    images: &[ImageMount],
    users: &mut UserNamespaces<'_>,
) -> Result<Vec<Option<OwnedFd>>, Error> {
    let mut images: Vec<(PathBuf, &ImageMount)> =
        images.iter().map(|image| (clean(&image.destination), image)).collect();
    let mut open = |mount: &Mount, path: &Path, depth| {
        if let Some(index) = images.iter().position(|(destination, _)| *destination == mount.destination) {
            let (_, image) = images.swap_remove(index);
            return image_source(mount, image, users, plan.mount_label.as_deref());
        }
        if mount.options.has(Extra::CopySymlink)
            && let Some(link) = link(path, bundle)
        {
            return Ok(link);
        }
        let given = if mount.destination == Path::new("dev/shm") { shm.take() } else { None };
        let tree = given.map_or_else(|| bind_source(mount, path, depth, bundle), Ok)?;
        if let Some(id_map) = &mount.id_map {
            users.map(&tree, id_map, path)?;
        }
        with_options(tree, mount, path)
    };
    let mut sources = Vec::with_capacity(plan.mounts.len());
    for (index, mount) in plan.mounts.iter().enumerate() {
        sources.push(match &mount.source {
            Source::Bind(path, depth) => Some(open(mount, path, *depth).during(|| format!("mounts[{index}].source"))?),
            Source::FileSystem { .. } | Source::Cgroup | Source::Remount => None,
        });
    }
    match images.first() {
        None => Ok(sources),
        Some((destination, _)) => Err(Error::Plan(PlanError {
            at: "mounts".to_owned(),
            problem: format!("an image is to be mounted at \"/{}\", but no bind mount is there", destination.display()),
        })),
    }
}

/// Never writable, whatever the options say: the layers are everybody's.
fn image_source(
    mount: &Mount,
    image: &ImageMount,
    users: &mut UserNamespaces<'_>,
    context: Option<&CStr>,
) -> Result<OwnedFd, CallError> {
    let user = match &mount.id_map {
        None => None,
        Some(id_map) => users.of(id_map)?,
    };
    let ImageMount { destination, lower, sub_path } = image;
    let tree = Layers { lower, upper: None, sub_path: sub_path.as_deref(), user, context }.mount()?;
    let tree = with_options(tree, mount, destination)?;
    mount_setattr(&tree, Depth::Single, Attributes { set: attr::RDONLY, ..Attributes::default() })
        .call(|| format!("mount_setattr({destination:?}, RDONLY)"))?;
    Ok(tree)
}

fn bind_source(mount: &Mount, path: &Path, depth: Depth, bundle: &OwnedFd) -> Result<OwnedFd, CallError> {
    let call = || format!("open_tree({path:?})");
    match foreign::split(path) {
        Some((pid, rest)) => {
            // What lies there is another container's doing: a link would be followed from our own root, to the host's files.
            let root = Root::new(directory(format!("/proc/{pid}/root").as_ref())?);
            let rest = mount.options.subpath.as_ref().map_or(rest.clone(), |subpath| rest.join(subpath));
            let source = root.open(&rest, OFlag::O_PATH, Links::Refuse)?;
            match open_tree(&source, c"", depth) {
                Err(Errno::EINVAL) => foreign::tree(pid, &rest, depth),
                tree => tree.call(call),
            }
        }
        None if mount.options.subpath.is_some() => {
            let source = openat(bundle, path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
                .call(|| format!("open({path:?}, O_PATH|O_DIRECTORY)"))?;
            let subpath = mount.options.subpath.as_deref().unwrap_or(Path::new("."));
            let inside = Root::new(source).open(subpath, OFlag::O_PATH, Links::InRoot)?;
            open_tree(&inside, c"", depth).call(|| format!("open_tree({path:?}/{subpath:?})"))
        }
        None if mount.options.has(Extra::SourceNoFollow) => {
            let source = openat(bundle, path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
                .call(|| format!("open({path:?}, O_PATH|O_NOFOLLOW)"))?;
            open_tree(&source, c"", depth).call(call)
        }
        None => {
            let path = CString::new(path.as_os_str().as_bytes()).expect("the plan refuses NUL bytes");
            open_tree(bundle, &path, depth).call(call)
        }
    }
}

/// A source that is a symbolic link, not followed.
fn link(path: &Path, bundle: &OwnedFd) -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(bundle, path, flags, Mode::empty()).ok().filter(is_link)
}

/// Gives a detached mount the attributes of the plan's.
fn with_options(tree: OwnedFd, mount: &Mount, path: &Path) -> Result<OwnedFd, CallError> {
    let set = |depth, attributes: Attributes| {
        if attributes.is_empty() { Ok(()) } else { mount_setattr(&tree, depth, attributes) }
    };
    let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
    let asked = !mount.options.propagation.is_empty();
    set(Depth::Recursive, if asked { Attributes::default() } else { private })
        .and_then(|()| set(Depth::Single, mount.options.attributes))
        .and_then(|()| set_recursive(&tree, &mount.options))
        .call(|| format!("mount_setattr({path:?})"))?;
    Ok(tree)
}

/// A detached mount of the null device, proven to be it (CVE-2025-31133).
pub(super) fn null(plan: &Plan) -> Result<Option<OwnedFd>, Error> {
    if plan.masked.is_empty() {
        return Ok(None);
    }
    let null = Device { path: "dev/null".into(), kind: DeviceKind::Character(1, 3), mode: 0, uid: 0, gid: 0 };
    host_device(&null).during(|| "linux.maskedPaths".to_owned()).map(Some)
}

/// Detached mounts of host devices, by index of the devices, for a user namespace, which may not make nodes.
pub(super) fn devices(plan: &Plan) -> Result<Vec<Option<OwnedFd>>, Error> {
    if !plan.namespaces.own(NamespaceKind::User) && !in_user_namespace() {
        return Ok(Vec::new());
    }
    let open = |(index, device): (usize, &Device)| match device.kind {
        DeviceKind::Fifo => Ok(None),
        DeviceKind::Character(..) | DeviceKind::Block(..) => {
            host_device(device).during(|| format!("linux.devices[{index}]")).map(Some)
        }
    };
    plan.devices.iter().enumerate().map(open).collect()
}

fn host_device(device: &Device) -> Result<OwnedFd, CallError> {
    let path = Path::new("/").join(&device.path);
    let name = CString::new(path.as_os_str().as_bytes()).expect("the plan refuses NUL bytes");
    let mount = open_tree_nofollow(AT_FDCWD, &name).call(|| format!("open_tree({path:?}, AT_SYMLINK_NOFOLLOW)"))?;
    let found = fstat(&mount).call(|| format!("fstat({path:?})"))?;
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    let same = match device.kind {
        DeviceKind::Character(major, minor) => {
            kind == SFlag::S_IFCHR && found.st_rdev == makedev(major.into(), minor.into())
        }
        DeviceKind::Block(major, minor) => {
            kind == SFlag::S_IFBLK && found.st_rdev == makedev(major.into(), minor.into())
        }
        DeviceKind::Fifo => false,
    };
    if !same {
        return Err(Errno::ENXIO).call(|| format!("open({path:?}): not the device {:?} on this host", device.kind));
    }
    Ok(mount)
}

/// The namespaces to join; the user and pid namespaces apart, which a process is born into.
pub(super) struct Joined {
    pub user: Option<OwnedFd>,
    pub pid: Option<OwnedFd>,
    pub others: Vec<(CloneFlags, OwnedFd)>,
}

/// Opens the namespaces to join.
pub(super) fn namespaces(plan: &Plan) -> Result<Joined, Error> {
    let mut joined = Joined { user: None, pid: None, others: Vec::new() };
    for (kind, path, index) in &plan.namespaces.join {
        let namespace = namespace(path).during(|| format!("linux.namespaces[{index}].path ({})", name(*kind)))?;
        match kind {
            NamespaceKind::Pid => joined.pid = Some(namespace),
            NamespaceKind::User => joined.user = Some(namespace),
            _ => joined.others.push((clone_flag(*kind), namespace)),
        }
    }
    Ok(joined)
}

/// Opens a namespace file.
pub(super) fn namespace(path: &Path) -> Result<OwnedFd, CallError> {
    openat(AT_FDCWD, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| format!("open({path:?}, O_RDONLY)"))
}

/// The CLONE_NEW* flag of a kind for setns(2).
pub(super) fn clone_flag(kind: NamespaceKind) -> CloneFlags {
    let bits = i32::try_from(flag(kind)).expect("CLONE_NEW* flags are positive");
    CloneFlags::from_bits_retain(bits)
}

/// A descriptor one can pass on without giving up one's own.
pub(super) fn duplicate(fd: impl AsFd) -> Result<OwnedFd, CallError> {
    fd.as_fd().try_clone_to_owned().call(|| "dup".to_owned())
}

/// Detached mounts of the container's groups, with the directory each goes to. On a unified hierarchy with the host's cgroup
/// namespace it is the whole hierarchy, as the paths in /proc/PID/cgroup start there; always a bind of what is mounted already:
/// a fresh mount would reset the options of the host's (runc issue 5258).
pub(super) fn cgroups(
    cgroup: Option<&Cgroup>,
    view: CgroupView,
    mount: &Mount,
    index: usize,
) -> Result<Vec<(PathBuf, OwnedFd)>, Error> {
    let Some(cgroup) = cgroup else {
        return hosts_cgroups().during(|| format!("mounts[{index}]")).map(|tree| vec![(PathBuf::new(), tree)]);
    };
    let hierarchies = cgroup.hierarchies();
    let unified = hierarchies.iter().all(|hierarchy| hierarchy.unified);
    let mut trees = Vec::with_capacity(hierarchies.len());
    for hierarchy in hierarchies {
        let call = || format!("open_tree_attr({:?})", hierarchy.mount_point);
        let attributes = Attributes { propagation: libc::MS_PRIVATE, ..mount.options.attributes };
        let tree = if hierarchy.unified && unified && view == CgroupView::Host {
            let path =
                CString::new(hierarchy.mount_point.as_os_str().as_bytes()).expect("a mount point has no NUL byte");
            open_tree_attr(AT_FDCWD, &path, Depth::Single, attributes)
        } else {
            open_tree_attr(hierarchy.group, c"", Depth::Single, attributes)
        };
        let tree = tree.call(call).during(|| format!("mounts[{index}]"))?;
        let name = if unified {
            PathBuf::new()
        } else {
            hierarchy.mount_point.file_name().map(PathBuf::from).unwrap_or_default()
        };
        trees.push((name, tree));
    }
    Ok(trees)
}

/// What a container without a cgroup sees: all of the host, of which nothing can be changed (CVE-2023-25809).
fn hosts_cgroups() -> Result<OwnedFd, CallError> {
    let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let attributes = Attributes { set, propagation: libc::MS_PRIVATE, ..Attributes::default() };
    open_tree_attr(AT_FDCWD, c"/sys/fs/cgroup", Depth::Recursive, attributes)
        .call(|| "open_tree_attr(\"/sys/fs/cgroup\", AT_RECURSIVE)".to_owned())
}

/// What a container sees of the cgroup hierarchies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CgroupView {
    /// Its own groups as the top.
    Private,
    /// All.
    Host,
}

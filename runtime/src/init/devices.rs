//! Nodes and links of /dev, made below descriptors only (CVE-2026-41579, CVE-2026-47766, CVE-2026-88264).

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, fstatat, makedev};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};

use super::Create;
use crate::plan::{Device, DeviceKind};
use crate::root::{Links, Root, make_node, open_leaf, split};
use crate::sys::mount::move_mount;
use crate::sys::{Call, CallError};

/// Links that every container has (OCI runtime-spec runtime-linux.md, "Dev symbolic links").
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes the devices of the plan; `fresh` is the mount on /dev, where it was just made.
pub(super) fn make(create: &Create<'_>, root: &Root, fresh: Option<&OwnedFd>) -> Result<(), CallError> {
    let plan = create.plan;
    if plan.devices.is_empty() && !plan.populate_dev {
        return Ok(());
    }
    let opened;
    let dev = match fresh {
        Some(dev) => dev,
        None => {
            opened = root.make_directory(Path::new("dev"), Links::Refuse)?;
            &opened
        }
    };
    for (index, device) in plan.devices.iter().enumerate() {
        let (parent, name) = split(&device.path);
        let other;
        let directory = if parent == Path::new("dev") {
            dev
        } else {
            other = root.make_directory(parent, Links::Refuse)?;
            &other
        };
        match create.devices.get(index).and_then(Option::as_ref) {
            Some(source) => bind(directory, name, source)?,
            None => node(directory, name, device)?,
        }
    }
    if plan.populate_dev {
        links(dev)?;
    }
    Ok(())
}

fn node(directory: &OwnedFd, name: &Path, device: &Device) -> Result<(), CallError> {
    let (kind, number) = match device.kind {
        DeviceKind::Character(major, minor) => (SFlag::S_IFCHR, makedev(major.into(), minor.into())),
        DeviceKind::Block(major, minor) => (SFlag::S_IFBLK, makedev(major.into(), minor.into())),
        DeviceKind::Fifo => (SFlag::S_IFIFO, 0),
    };
    match make_node(directory, name, kind, Mode::from_bits_truncate(device.mode), number) {
        Err(error) if error.errno == Errno::EEXIST => same(directory, name, kind, number)?,
        result => result?,
    }
    if (device.uid, device.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .call(|| format!("fchownat(<dev>, {name:?}, {uid}, {gid})"))?;
    }
    Ok(())
}

/// A node that the image or a mount brings is taken only if it is the very device.
fn same(directory: &OwnedFd, name: &Path, kind: SFlag, number: u64) -> Result<(), CallError> {
    let found = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).call(|| format!("fstatat(<dev>, {name:?})"))?;
    let found_kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    if found_kind == kind && (kind == SFlag::S_IFIFO || found.st_rdev == number) {
        return Ok(());
    }
    Err(Errno::EEXIST).call(|| format!("mknodat(<dev>, {name:?}, {kind:?}): something else is there"))
}

/// Where a user namespace may not make nodes, the host's are bound.
fn bind(directory: &OwnedFd, name: &Path, source: &OwnedFd) -> Result<(), CallError> {
    match make_node(directory, name, SFlag::S_IFREG, Mode::empty(), 0) {
        Err(error) if error.errno == Errno::EEXIST => {}
        result => result?,
    }
    let target = open_leaf(directory, name)?;
    move_mount(source, &target).call(|| format!("move_mount(<host device>, <dev>/{name:?})"))
}

fn links(dev: &OwnedFd) -> Result<(), CallError> {
    for (name, target) in LINKS {
        match symlinkat(target, dev, name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).call(|| format!("symlinkat({target:?}, <dev>, {name:?})")),
        }
    }
    let ptmx = || symlinkat("pts/ptmx", dev, "ptmx");
    match ptmx() {
        Err(Errno::EEXIST) => {
            unlinkat(dev, "ptmx", UnlinkatFlags::NoRemoveDir).call(|| "unlinkat(<dev>, \"ptmx\")".to_owned())?;
            ptmx().call(|| "symlinkat(\"pts/ptmx\", <dev>, \"ptmx\")".to_owned())
        }
        result => result.call(|| "symlinkat(\"pts/ptmx\", <dev>, \"ptmx\")".to_owned()),
    }
}

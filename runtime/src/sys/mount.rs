//! The mount interface on descriptors: fsopen(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2).
//!
//! A mount made here is attached nowhere until [`move_mount`]; it goes when its descriptor is closed.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::{check, owned};

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_SET_FD: u32 = 5;
const FSCONFIG_CMD_CREATE: u32 = 6;
const OPEN_TREE_CLONE: u32 = 1;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const MOVE_MOUNT_SET_GROUP: u32 = 0x100;
const AT_EMPTY_PATH: u32 = 0x1000;
const AT_RECURSIVE: u32 = 0x8000;
const AT_SYMLINK_NOFOLLOW: u32 = 0x100;

/// `MOUNT_ATTR_*` bits of mount_setattr(2) and fsmount(2).
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// No set-user-id.
    pub const NOSUID: u64 = 0x2;
    /// No device nodes.
    pub const NODEV: u64 = 0x4;
    /// No programs.
    pub const NOEXEC: u64 = 0x8;
    /// All bits of the access time setting.
    pub const ATIME: u64 = 0x70;
    /// Access times only when older than the modification time.
    pub const RELATIME: u64 = 0;
    /// No access times.
    pub const NOATIME: u64 = 0x10;
    /// All access times.
    pub const STRICTATIME: u64 = 0x20;
    /// No access times of directories.
    pub const NODIRATIME: u64 = 0x80;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
    /// Ids are mapped.
    pub(super) const IDMAP: u64 = 0x0010_0000;
}

/// What [`mount_setattr`] changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// [`attr`] bits to set.
    pub set: u64,
    /// [`attr`] bits to clear first.
    pub clear: u64,
    /// Propagation, one of `MS_PRIVATE`, `MS_SHARED`, `MS_SLAVE`, `MS_UNBINDABLE`; 0 leaves it.
    pub propagation: u64,
}

impl Attributes {
    /// Whether nothing is to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether an operation reaches the mounts below, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// One mount.
    Single,
    /// And all below.
    Recursive,
}

impl Depth {
    fn flag(self) -> u32 {
        match self {
            Self::Single => 0,
            Self::Recursive => AT_RECURSIVE,
        }
    }
}

/// Opens a file system for configuration, fsopen(2).
///
/// # Errors
/// ENODEV: the kernel has no such file system.
pub fn fsopen(kind: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: `kind` is a C string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

/// Sets a parameter without a value, fsconfig(2) FSCONFIG_SET_FLAG.
///
/// # Errors
/// EINVAL: the file system has no such parameter.
pub fn fsconfig_flag(fs: impl AsFd, key: &CStr) -> Result<(), Errno> {
    fsconfig(fs.as_fd(), FSCONFIG_SET_FLAG, Some(key), None, 0)
}

/// Sets a parameter, fsconfig(2) FSCONFIG_SET_STRING.
///
/// # Errors
/// EINVAL: the file system refuses the parameter.
pub fn fsconfig_string(fs: impl AsFd, key: &CStr, value: &CStr) -> Result<(), Errno> {
    fsconfig(fs.as_fd(), FSCONFIG_SET_STRING, Some(key), Some(value), 0)
}

/// Sets a parameter to a descriptor, fsconfig(2) FSCONFIG_SET_FD.
///
/// # Errors
/// EINVAL: the file system takes no descriptor here. KERNEL(6.13): overlay layers.
pub fn fsconfig_fd(fs: impl AsFd, key: &CStr, value: impl AsFd) -> Result<(), Errno> {
    fsconfig(fs.as_fd(), FSCONFIG_SET_FD, Some(key), None, value.as_fd().as_raw_fd())
}

/// Makes the superblock, fsconfig(2) FSCONFIG_CMD_CREATE.
///
/// # Errors
/// What mounting the file system answers.
pub fn fsconfig_create(fs: impl AsFd) -> Result<(), Errno> {
    fsconfig(fs.as_fd(), FSCONFIG_CMD_CREATE, None, None, 0)
}

fn fsconfig(fs: BorrowedFd<'_>, command: u32, key: Option<&CStr>, value: Option<&CStr>, aux: i32) -> Result<(), Errno> {
    let key = key.map_or(std::ptr::null(), CStr::as_ptr);
    let value = value.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: both pointers are null or C strings that outlive the call.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key, value, aux) })?;
    Ok(())
}

/// Makes a detached mount of a configured file system, fsmount(2); `attributes` are [`attr`] bits.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN over the mount namespace.
pub fn fsmount(fs: impl AsFd, attributes: u64) -> Result<OwnedFd, Errno> {
    // SAFETY: plain integers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_fd().as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
}

/// Makes a detached copy of the mount at `path` (or at `at` itself when `path` is empty), open_tree(2) with OPEN_TREE_CLONE.
/// A symbolic link at the end is followed.
///
/// # Errors
/// EINVAL: not a mount of this mount namespace.
pub fn open_tree(at: impl AsFd, path: &CStr, depth: Depth) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC.cast_unsigned() | AT_EMPTY_PATH | depth.flag();
    // SAFETY: `path` is a C string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, at.as_fd().as_raw_fd(), path.as_ptr(), flags) })
}

/// As [`open_tree`], but a symbolic link at the end is not followed.
///
/// # Errors
/// As there.
pub fn open_tree_nofollow(at: impl AsFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC.cast_unsigned() | AT_SYMLINK_NOFOLLOW;
    // SAFETY: `path` is a C string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, at.as_fd().as_raw_fd(), path.as_ptr(), flags) })
}

/// [`open_tree`] and [`mount_setattr`] of the copy. KERNEL(6.15): open_tree_attr, one call for both.
///
/// # Errors
/// As there.
pub fn open_tree_attr(at: impl AsFd, path: &CStr, depth: Depth, attributes: Attributes) -> Result<OwnedFd, Errno> {
    const SYS_OPEN_TREE_ATTR: libc::c_long = 467;
    static MISSING: AtomicBool = AtomicBool::new(false);
    if !MISSING.load(Ordering::Relaxed) {
        let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC.cast_unsigned() | AT_EMPTY_PATH | depth.flag();
        let Attributes { set, clear, propagation } = attributes;
        let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
        // SAFETY: `path` is a C string and the structure lives until the call returns; the size given is its own.
        let made = owned(unsafe {
            libc::syscall(
                SYS_OPEN_TREE_ATTR,
                at.as_fd().as_raw_fd(),
                path.as_ptr(),
                flags,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        });
        match made {
            Ok(copy) => return Ok(copy),
            // A filter around us may answer for what it does not know.
            Err(Errno::ENOSYS | Errno::EPERM) => MISSING.store(true, Ordering::Relaxed),
            Err(errno) => return Err(errno),
        }
    }
    let copy = open_tree(at, path, depth)?;
    mount_setattr(&copy, depth, attributes)?;
    Ok(copy)
}

/// Attaches the detached mount `from` on the object behind `to`, move_mount(2).
///
/// # Errors
/// ENOTDIR: one is a directory and the other is not.
pub fn move_mount(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    moved(from.as_fd(), to.as_fd(), 0)
}

/// Makes the private mount whose root is `to` propagate as the one whose root is `from` does, move_mount(2) with
/// MOVE_MOUNT_SET_GROUP. KERNEL(5.15).
///
/// # Errors
/// EINVAL: `from` is private, or `to` is not, or they are mounts of two file systems.
pub fn set_group(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    moved(from.as_fd(), to.as_fd(), MOVE_MOUNT_SET_GROUP)
}

fn moved(from: BorrowedFd<'_>, to: BorrowedFd<'_>, flags: u32) -> Result<(), Errno> {
    // SAFETY: the strings are empty and static.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            to.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | flags,
        )
    })?;
    Ok(())
}

/// Attaches the detached mount `from` on the caller's root directory, move_mount(2).
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN over the mount namespace.
pub fn move_mount_to_root(from: impl AsFd) -> Result<(), Errno> {
    // SAFETY: the strings are static.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            c"/".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// Changes the mount behind `mount`, mount_setattr(2). KERNEL(5.12).
///
/// # Errors
/// EPERM: the attribute is locked, as the mount comes from a more privileged namespace.
pub fn mount_setattr(mount: impl AsFd, depth: Depth, attributes: Attributes) -> Result<(), Errno> {
    let Attributes { set, clear, propagation } = attributes;
    setattr(mount.as_fd(), depth, libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 })
}

/// Maps the ids of the detached mount `mount` as a user namespace maps its own: what the file system has as id 0 is the root of
/// the namespace. mount_setattr(2), "ID-mapped mounts".
///
/// # Errors
/// EINVAL: the file system does not support it. EPERM: it is mapped already, or the file system belongs to another user namespace.
pub fn map_ids(mount: impl AsFd, depth: Depth, user_namespace: impl AsFd) -> Result<(), Errno> {
    let fd = user_namespace.as_fd().as_raw_fd();
    let userns_fd = u64::try_from(fd).map_err(|_| Errno::EBADF)?;
    setattr(mount.as_fd(), depth, libc::mount_attr { attr_set: attr::IDMAP, attr_clr: 0, propagation: 0, userns_fd })
}

fn setattr(mount: BorrowedFd<'_>, depth: Depth, attributes: libc::mount_attr) -> Result<(), Errno> {
    // SAFETY: the structure lives until the call returns and the size given is its own.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | depth.flag(),
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// What kind of file is behind a descriptor, statx(2). It is as the kernel knows it: the disk is not asked, which may be dead.
///
/// # Errors
/// EBADF.
pub fn file_type(fd: impl AsFd) -> Result<SFlag, Errno> {
    // SAFETY: statx is plain data for which zero is a valid value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the name is a string, and the buffer lives until the call returns.
    check(unsafe { libc::syscall(libc::SYS_statx, fd, c"".as_ptr(), flags, libc::STATX_TYPE, &raw mut found) })?;
    Ok(SFlag::from_bits_truncate(found.stx_mode.into()) & SFlag::S_IFMT)
}

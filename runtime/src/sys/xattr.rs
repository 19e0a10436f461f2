//! Extended attributes by descriptor: xattr(7).
//!
//! An object that cannot be opened (a symbolic link, a device) is reached as a name in the open directory that holds it,
//! by way of `/proc/self/fd/N/NAME`: the kernel jumps to the descriptor's own directory and does not follow the name.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// The kernel's bound on one value (`XATTR_SIZE_MAX`, limits.h).
pub const VALUE_MAX: usize = 65536;
/// The kernel's bound on the list of names (`XATTR_LIST_MAX`, limits.h).
pub const LIST_MAX: usize = 65536;

/// Sets `name` on an open file or directory: fsetxattr(2).
///
/// # Errors
/// The kernel's answer; `EBADF` for an `O_PATH` descriptor.
pub fn fset(fd: impl AsFd, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: name is NUL-terminated, value is valid for its length, both outlive the call.
    let result =
        unsafe { libc::fsetxattr(fd.as_fd().as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop)
}

/// Sets `name` on what is open in any way, O_PATH as well: setxattr(2) by way of `/proc/self/fd`.
///
/// # Errors
/// The kernel's answer.
pub fn set(fd: impl AsFd, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    let path = CString::new(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).map_err(|_| Errno::EINVAL)?;
    // SAFETY: path and name are NUL-terminated, value is valid for its length, all outlive the call.
    let result = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop)
}

/// The value of `name` on an open file or directory, `None` when it has none: fgetxattr(2).
///
/// # Errors
/// The kernel's answer; `EOPNOTSUPP` where the file system has no such attributes.
pub fn fget(fd: impl AsFd, name: &CStr) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0u8; VALUE_MAX];
    // SAFETY: name is NUL-terminated; the buffer is valid for the length given.
    let result =
        unsafe { libc::fgetxattr(fd.as_fd().as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    match Errno::result(result) {
        Ok(length) => {
            value.truncate(length.unsigned_abs());
            Ok(Some(value))
        }
        Err(Errno::ENODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The names of all attributes of an open file or directory: flistxattr(2).
///
/// # Errors
/// The kernel's answer.
pub fn flist(fd: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut names = vec![0u8; LIST_MAX];
    // SAFETY: the buffer is valid for the length given.
    let result = unsafe { libc::flistxattr(fd.as_fd().as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
    split_names(result, names)
}

/// The names in a list that the kernel filled, `result` bytes long.
fn split_names(result: isize, mut names: Vec<u8>) -> Result<Vec<CString>, Errno> {
    let length = match Errno::result(result) {
        Ok(length) => length.unsigned_abs(),
        Err(Errno::EOPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    names.truncate(length);
    Ok(names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .filter_map(|name| CString::new(name).ok())
        .collect())
}

/// Sets `name` on the entry `leaf` of the open directory `dir` itself, never on what a link points to: lsetxattr(2).
///
/// # Errors
/// `EINVAL` if `leaf` is no single name; else the kernel's answer.
pub fn set_at(dir: impl AsFd, leaf: &[u8], name: &CStr, value: &[u8]) -> Result<(), Errno> {
    let path = leaf_path(dir, leaf)?;
    // SAFETY: path and name are NUL-terminated, value is valid for its length, all outlive the call.
    let result = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop)
}

/// Removes `name` from the entry `leaf` of the open directory `dir`; not there is done: lremovexattr(2).
///
/// # Errors
/// `EINVAL` if `leaf` is no single name; else the kernel's answer.
pub fn remove_at(dir: impl AsFd, leaf: &[u8], name: &CStr) -> Result<(), Errno> {
    let path = leaf_path(dir, leaf)?;
    // SAFETY: path and name are NUL-terminated and outlive the call.
    let result = unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) };
    match Errno::result(result) {
        Ok(_) | Err(Errno::ENODATA) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The value of `name` on the entry `leaf` of the open directory `dir` itself, `None` when it has none: lgetxattr(2).
///
/// # Errors
/// `EINVAL` if `leaf` is no single name; else the kernel's answer.
pub fn get_at(dir: impl AsFd, leaf: &[u8], name: &CStr) -> Result<Option<Vec<u8>>, Errno> {
    let path = leaf_path(dir, leaf)?;
    let mut value = vec![0u8; VALUE_MAX];
    // SAFETY: path and name are NUL-terminated and outlive the call; the buffer is valid for the length given.
    let result = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    match Errno::result(result) {
        Ok(length) => {
            value.truncate(length.unsigned_abs());
            Ok(Some(value))
        }
        Err(Errno::ENODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The names of all attributes of the entry `leaf` of the open directory `dir` itself: llistxattr(2).
///
/// # Errors
/// `EINVAL` if `leaf` is no single name; else the kernel's answer.
pub fn list_at(dir: impl AsFd, leaf: &[u8]) -> Result<Vec<CString>, Errno> {
    let path = leaf_path(dir, leaf)?;
    let mut names = vec![0u8; LIST_MAX];
    // SAFETY: path is NUL-terminated and outlives the call; the buffer is valid for the length given.
    let result = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    split_names(result, names)
}

fn leaf_path(dir: impl AsFd, leaf: &[u8]) -> Result<CString, Errno> {
    if leaf.is_empty() || leaf == b"." || leaf == b".." || leaf.contains(&b'/') {
        return Err(Errno::EINVAL);
    }
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(leaf);
    CString::new(path).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::fcntl::OFlag;
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn values_survive_and_go_by_name() {
        let base = std::env::temp_dir().join(format!("xattr-{}", std::process::id()));
        std::fs::create_dir(&base).unwrap();
        std::fs::write(base.join("file"), "").unwrap();
        let dir = File::open(&base).unwrap();
        let file = File::open(base.join("file")).unwrap();
        if fset(&file, c"user.rt", b"a\0b") == Err(Errno::EOPNOTSUPP) {
            eprintln!("skipped: {} has no user attributes", base.display());
        } else {
            assert_eq!(fget(&file, c"user.rt"), Ok(Some(b"a\0b".to_vec())));
            assert!(flist(&file).unwrap().contains(&c"user.rt".to_owned()));
            let by_path = nix::fcntl::open(&base.join("file"), OFlag::O_PATH, Mode::empty()).unwrap();
            set(&by_path, c"user.rt", b"c").unwrap();
            assert_eq!(fget(&file, c"user.rt"), Ok(Some(b"c".to_vec())));
            set_at(&dir, b"file", c"user.rt", b"").unwrap();
            assert_eq!(fget(&file, c"user.rt"), Ok(Some(Vec::new())));
            assert_eq!(get_at(&dir, b"file", c"user.rt"), Ok(Some(Vec::new())));
            assert_eq!(get_at(&dir, b"file", c"user.none"), Ok(None));
            assert_eq!(list_at(&dir, b"file"), flist(&file));
            remove_at(&dir, b"file", c"user.rt").unwrap();
            remove_at(&dir, b"file", c"user.rt").unwrap();
            assert_eq!(fget(&file, c"user.rt"), Ok(None));
        }
        for leaf in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
            assert_eq!(set_at(&dir, leaf, c"user.rt", b""), Err(Errno::EINVAL));
        }
        std::fs::remove_dir_all(base).unwrap();
    }
}

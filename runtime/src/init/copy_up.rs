//! `tmpcopyup`: a tmpfs that begins with what is in the directory it covers.
//!
//! What is copied is the image's doing: it goes from descriptor to descriptor, a name at a time, and no link is followed.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, read, symlinkat, write};

use crate::root::make_node;
use crate::sys::{Call, CallError, xattr};

/// Copies what is in the directory `from`, and its owner and mode, to the directory `to`.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<(), CallError> {
    directory(open(from, c".", OFlag::O_DIRECTORY)?, &open(to, c".", OFlag::O_DIRECTORY)?)
}

fn open(directory: &OwnedFd, name: &CStr, flags: OFlag) -> Result<OwnedFd, CallError> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    openat(directory, name, flags, Mode::from_bits_truncate(0o600)).call(|| format!("openat(<tmpcopyup>, {name:?})"))
}

fn directory(from: OwnedFd, to: &OwnedFd) -> Result<(), CallError> {
    let status = fstat(&from).call(|| "fstat(<tmpcopyup>)".to_owned())?;
    let own = from.try_clone().call(|| "dup(<tmpcopyup>)".to_owned())?;
    let mut entries = Dir::from_fd(from).call(|| "getdents(<tmpcopyup>)".to_owned())?;
    for entry in entries.iter() {
        let entry = entry.call(|| "getdents(<tmpcopyup>)".to_owned())?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            one(&own, to, name)?;
        }
    }
    finish(&own, to, &status)
}

fn one(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(), CallError> {
    let call = |what: &str| format!("{what}(<tmpcopyup>, {name:?})");
    let status = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW).call(|| call("fstatat"))?;
    let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
    match kind {
        SFlag::S_IFDIR => {
            mkdirat(to, name, Mode::from_bits_truncate(0o700)).call(|| call("mkdirat"))?;
            return directory(open(from, name, OFlag::O_DIRECTORY)?, &open(to, name, OFlag::O_DIRECTORY)?);
        }
        SFlag::S_IFREG => {
            let source = open(from, name, OFlag::O_RDONLY)?;
            let target = open(to, name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?;
            let mut buffer = vec![0; 64 << 10];
            loop {
                let length = read(&source, &mut buffer).call(|| call("read"))?;
                let mut rest = &buffer[..length];
                while !rest.is_empty() {
                    rest = &rest[write(&target, rest).call(|| call("write"))?..];
                }
                if length == 0 {
                    return finish(&source, &target, &status);
                }
            }
        }
        SFlag::S_IFLNK => {
            let target = readlinkat(from, name).call(|| call("readlinkat"))?;
            symlinkat(target.as_os_str(), to, name).call(|| call("symlinkat"))?;
        }
        _ => {
            let path = Path::new(OsStr::from_bytes(name.to_bytes()));
            make_node(to, path, kind, Mode::from_bits_truncate(status.st_mode & 0o7777), status.st_rdev)?;
        }
    }
    let (uid, gid) = owner(&status);
    fchownat(to, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).call(|| call("fchownat"))?;
    let (accessed, modified) = times(&status);
    utimensat(to, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink).call(|| call("utimensat"))
}

/// Owner, mode, attributes and times of an open object.
fn finish(from: &OwnedFd, to: impl AsFd, status: &FileStat) -> Result<(), CallError> {
    let call = |what: &str| format!("{what}(<tmpcopyup>)");
    let (uid, gid) = owner(status);
    fchownat(&to, c"", uid, gid, AtFlags::AT_EMPTY_PATH).call(|| call("fchownat"))?;
    fchmod(&to, Mode::from_bits_truncate(status.st_mode & 0o7777)).call(|| call("fchmod"))?;
    for name in xattr::flist(from).or_else(none).call(|| call("flistxattr"))? {
        let Some(value) = xattr::fget(from, &name).call(|| call("fgetxattr"))? else { continue };
        match xattr::fset(&to, &name, &value) {
            // tmpfs keeps those that programs need (security.capability); KERNEL(6.6): also user attributes.
            Ok(()) | Err(Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(errno).call(|| format!("fsetxattr(<tmpcopyup>, {name:?})")),
        }
    }
    let (accessed, modified) = times(status);
    futimens(&to, &accessed, &modified).call(|| call("futimens"))
}

fn none<T: Default>(errno: Errno) -> Result<T, Errno> {
    if errno == Errno::EOPNOTSUPP { Ok(T::default()) } else { Err(errno) }
}

fn owner(status: &FileStat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(status.st_uid)), Some(Gid::from_raw(status.st_gid)))
}

fn times(status: &FileStat) -> (TimeSpec, TimeSpec) {
    (TimeSpec::new(status.st_atime, status.st_atime_nsec), TimeSpec::new(status.st_mtime, status.st_mtime_nsec))
}

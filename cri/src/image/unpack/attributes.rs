//! Owner, permissions, extended attributes and time of unpacked objects.
//!
//! Order: owner first (it clears set-user-id and capabilities), then permissions, attributes, time.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use runtime::rooted::{Quoted, Shown};
use runtime::sys::{Call, CallError, xattr};

use super::super::error::EntryFault;
use super::super::tar::{Entry, Time};

pub(crate) const OPAQUE: &CStr = c"trusted.overlay.opaque";
const ACLS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Checked attributes of an entry.
pub(super) struct Attributes {
    uid: Uid,
    gid: Gid,
    mode: Mode,
    mtime: TimeSpec,
    xattrs: Vec<(CString, Vec<u8>)>,
    /// Attributes that are not taken over.
    pub(super) dropped: u64,
}

impl Attributes {
    /// Checks the numbers and chooses the extended attributes.
    pub(super) fn of(entry: &Entry) -> Result<Attributes, EntryFault> {
        let id = |what, value: u64| match u32::try_from(value) {
            // The largest number means "leave it" to chown(2).
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(EntryFault::Number { what, value, allowed: u64::from(u32::MAX) - 1 }),
        };
        let mut xattrs = Vec::new();
        let mut dropped = 0;
        for (name, value) in &entry.xattrs {
            if !is_taken(name) {
                dropped += 1;
                continue;
            }
            if value.len() > xattr::VALUE_MAX {
                let (value, allowed) = (value.len() as u64, xattr::VALUE_MAX as u64);
                return Err(EntryFault::Number { what: "extended attribute bytes", value, allowed });
            }
            let name = CString::new(name.as_slice()).map_err(|_| EntryFault::XattrName)?;
            xattrs.push((name, value.clone()));
        }
        Ok(Attributes {
            uid: Uid::from_raw(id("uid", entry.uid)?),
            gid: Gid::from_raw(id("gid", entry.gid)?),
            mode: Mode::from_bits_truncate(entry.mode),
            mtime: time(entry.mtime),
            xattrs,
            dropped,
        })
    }

    /// Whether objects made in this folder from now on would inherit an access list.
    pub(super) fn has_default_acl(&self) -> bool {
        self.xattrs.iter().any(|(name, _)| name.as_bytes() == DEFAULT_ACL)
    }

    /// Applies everything to an open file or folder; gives how many extended attributes had no room.
    pub(super) fn apply(&self, object: impl AsFd) -> Result<u64, EntryFault> {
        let fd = object.as_fd();
        fchown(fd, Some(self.uid), Some(self.gid))
            .call(|| format!("fchown({}, {}, {})", Shown(&fd), self.uid, self.gid))?;
        fchmod(fd, self.mode).call(|| format!("fchmod({}, {:04o})", Shown(&fd), self.mode.bits()))?;
        let dropped = self.set_xattrs(|name, value| xattr::fset(fd, name, value), || Shown(&fd).to_string())?;
        set_mtime(fd, &self.mtime)?;
        Ok(dropped)
    }

    /// The same for an object that cannot be opened: `leaf` in `folder` itself. Links have no permissions.
    pub(super) fn apply_at(&self, folder: BorrowedFd<'_>, leaf: &[u8], is_link: bool) -> Result<u64, EntryFault> {
        let shown = || format!("{}, {}", Shown(&folder), Quoted(leaf));
        fchownat(folder, leaf, Some(self.uid), Some(self.gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .call(|| format!("fchownat({}, {}, {})", shown(), self.uid, self.gid))?;
        if !is_link {
            fchmodat(folder, leaf, self.mode, FchmodatFlags::NoFollowSymlink)
                .call(|| format!("fchmodat({}, {:04o})", shown(), self.mode.bits()))?;
        }
        let dropped = self.set_xattrs(|name, value| xattr::set_at(folder, leaf, name, value), shown)?;
        utimensat(folder, leaf, &TimeSpec::UTIME_OMIT, &self.mtime, UtimensatFlags::NoFollowSymlink)
            .call(|| format!("utimensat({})", shown()))?;
        Ok(dropped)
    }

    fn set_xattrs(
        &self,
        set: impl Fn(&CStr, &[u8]) -> Result<(), Errno>,
        shown: impl Fn() -> String,
    ) -> Result<u64, EntryFault> {
        let mut dropped = 0;
        for (name, value) in &self.xattrs {
            match set(name, value) {
                Ok(()) => {}
                // Not on links and devices, and not on every file system. What grants rights must not get lost.
                Err(Errno::EOPNOTSUPP | Errno::EPERM) if name.as_bytes().starts_with(b"user.") => dropped += 1,
                Err(errno) => {
                    let call = format!("setxattr({}, {name:?})", shown());
                    return Err(CallError { call, errno }.into());
                }
            }
        }
        Ok(dropped)
    }
}

/// Which extended attributes an archive may set.
///
/// Not overlay's (they would hide, redirect or open files of other layers), and not labels that the host's own policy
/// gives (SELinux, IMA).
pub(crate) fn is_taken(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    user || name == b"security.capability" || ACLS.iter().any(|acl| acl.to_bytes() == name)
}

/// Takes away the access lists that `leaf` inherited from its folder.
pub(super) fn remove_acls(folder: BorrowedFd<'_>, leaf: &[u8]) -> Result<(), EntryFault> {
    for name in ACLS {
        match xattr::remove_at(folder, leaf, name) {
            Ok(()) | Err(Errno::EOPNOTSUPP) => {}
            Err(errno) => {
                let call = format!("lremovexattr({}, {}, {name:?})", Shown(&folder), Quoted(leaf));
                return Err(CallError { call, errno }.into());
            }
        }
    }
    Ok(())
}

pub(super) fn set_mtime(fd: BorrowedFd<'_>, mtime: &TimeSpec) -> Result<(), CallError> {
    futimens(fd, &TimeSpec::UTIME_OMIT, mtime).call(|| format!("futimens({})", Shown(&fd)))
}

fn time(time: Time) -> TimeSpec {
    TimeSpec::new(time.seconds, i64::from(time.nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_cannot_steer_the_overlay_or_the_host() {
        let rows: [(&[u8], bool); 12] = [
            (b"user.comment", true),
            (b"security.capability", true),
            (b"system.posix_acl_access", true),
            (b"trusted.overlay.opaque", false),
            (b"trusted.overlay.redirect", false),
            (b"trusted.overlay.metacopy", false),
            (b"user.overlay.opaque", false),
            (b"user.overlay.whiteout", false),
            (b"trusted.anything", false),
            (b"security.selinux", false),
            (b"security.capability2", false),
            (b"user", false),
        ];
        for (name, taken) in rows {
            assert_eq!(is_taken(name), taken, "{}", name.escape_ascii());
        }
    }
}

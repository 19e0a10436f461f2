//! What a container changed in its files: its writable layer against the image's.
//!
//! | in the writable layer | below | is |
//! |---|---|---|
//! | whiteout (character device 0:0) | something | deleted |
//! | something | nothing | added |
//! | something | something | changed; a directory only if anything in it or of itself is |
//! | opaque directory | directory | what is below and not above is deleted |
//!
//! Source: kernel, filesystems/overlayfs.rst. Both trees are walked from descriptor to descriptor; links are never followed.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use runtime::sys::xattr;

/// Deepest directory that is compared: each level keeps four descriptors open.
const DEPTH_LIMIT: usize = 200;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    /// Absolute path in the container.
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

/// Kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Added,
    Changed,
    Deleted,
}

/// Compares the writable layer with what is below. `made` are paths that the runtime makes to mount on: they are nobody's change.
pub(crate) fn changes(upper: OwnedFd, lower: OwnedFd, made: &BTreeSet<PathBuf>) -> Result<Vec<Change>> {
    let mut walk = Walk { made, changes: Vec::new() };
    walk.directory(&upper, Some(&lower), &PathBuf::from("/"), 0)?;
    walk.changes.sort();
    Ok(walk.changes)
}

struct Walk<'a> {
    made: &'a BTreeSet<PathBuf>,
    changes: Vec<Change>,
}

impl Walk<'_> {
    fn add(&mut self, path: &Path, kind: Kind) {
        self.changes.push(Change { path: path.to_owned(), kind });
    }

    /// One directory of the writable layer; whether something was left out because the runtime made it.
    fn directory(&mut self, upper: &OwnedFd, lower: Option<&OwnedFd>, path: &Path, depth: usize) -> Result<bool> {
        if depth > DEPTH_LIMIT {
            bail!("{}: more than {DEPTH_LIMIT} directories deep", path.display());
        }
        let mut left_out = false;
        let names = names(upper).with_context(|| path.display().to_string())?;
        for name in &names {
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            let Some(above) = open(upper, name).with_context(|| path.display().to_string())? else { continue };
            let below = lower.map(|lower| open(lower, name)).transpose().with_context(|| path.display().to_string())?;
            left_out |= self.entry(&above, below.flatten(), &path, depth)?;
        }
        // What was below an opaque directory is gone, unless it was made anew.
        if let Some(lower) = lower
            && is_opaque(upper)?
        {
            for name in self::names(lower)? {
                if !names.contains(&name) {
                    self.add(&path.join(OsStr::from_bytes(name.to_bytes())), Kind::Deleted);
                }
            }
        }
        Ok(left_out)
    }

    /// One entry of the writable layer, and what it hides.
    fn entry(&mut self, above: &OwnedFd, below: Option<OwnedFd>, path: &Path, depth: usize) -> Result<bool> {
        let shown = || path.display().to_string();
        let stat = fstat(above).with_context(shown)?;
        let old = below.as_ref().map(fstat).transpose().with_context(shown)?;
        if is(&stat, SFlag::S_IFCHR) && stat.st_rdev == 0 {
            if below.is_some() {
                self.add(path, Kind::Deleted);
            }
            return Ok(false);
        }
        if !is(&stat, SFlag::S_IFDIR) {
            let empty_target = self.made.contains(path) && is(&stat, SFlag::S_IFREG) && stat.st_size == 0;
            match old {
                None if empty_target => return Ok(true),
                None => self.add(path, Kind::Added),
                Some(_) => self.add(path, Kind::Changed),
            }
            return Ok(false);
        }
        let old_directory = old.filter(|old| is(old, SFlag::S_IFDIR));
        let below = below.filter(|_| old_directory.is_some());
        let before = self.changes.len();
        let left_out = self.directory(above, below.as_ref(), path, depth + 1)?;
        let inside = self.changes.len() > before;
        match (&old, old_directory) {
            (Some(_), None) => self.add(path, Kind::Changed),
            (None, _) if (self.made.contains(path) || left_out) && !inside => return Ok(true),
            (None, _) => self.add(path, Kind::Added),
            (Some(_), Some(old)) => {
                let same = (old.st_mode, old.st_uid, old.st_gid) == (stat.st_mode, stat.st_uid, stat.st_gid);
                // With nothing in it that changed, it is here because of itself, or because of what the runtime made in it.
                if inside || !same || !left_out {
                    self.add(path, Kind::Changed);
                }
            }
        }
        Ok(left_out)
    }
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

/// Opens one entry without following it; `None` when there is none.
fn open(dir: &OwnedFd, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match openat(dir, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn readable(dir: impl AsFd) -> Result<OwnedFd, Errno> {
    openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn names(dir: &OwnedFd) -> Result<BTreeSet<CString>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::from_fd(readable(dir)?)?.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.insert(name);
        }
    }
    Ok(names)
}

fn is_opaque(dir: &OwnedFd) -> Result<bool> {
    let value = match xattr::fget(readable(dir)?, c"trusted.overlay.opaque") {
        Ok(value) => value,
        Err(Errno::EOPNOTSUPP) => None,
        Err(errno) => return Err(errno).context("fgetxattr(trusted.overlay.opaque)"),
    };
    Ok(value.as_deref() == Some(b"y"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn trees_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        for folder in
            ["lower/etc", "lower/same", "upper/etc", "upper/new/deep", "upper/proc", "upper/same/run", "upper/x/y"]
        {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["lower/etc/passwd", "upper/etc/passwd", "upper/etc/added", "upper/etc/hosts", "lower/kind"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        fs::create_dir(dir.path().join("upper/kind")).unwrap();
        let made = ["/proc", "/etc/hosts", "/same/run", "/x/y"].map(PathBuf::from).into();
        let open = |name: &str| crate::rootfs::directory(&dir.path().join(name)).unwrap();
        let found: Vec<(Kind, String)> = changes(open("upper"), open("lower"), &made)
            .unwrap()
            .into_iter()
            .map(|change| (change.kind, change.path.display().to_string()))
            .collect();
        let expected = [
            (Kind::Changed, "/etc"),
            (Kind::Added, "/etc/added"),
            (Kind::Changed, "/etc/passwd"),
            (Kind::Changed, "/kind"),
            (Kind::Added, "/new"),
            (Kind::Added, "/new/deep"),
        ];
        assert_eq!(found, expected.map(|(kind, path)| (kind, path.to_owned())));
    }
}

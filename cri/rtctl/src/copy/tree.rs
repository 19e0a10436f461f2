//! Walking a tree, from descriptor to descriptor.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use runtime::root::magic_link;
use runtime::sys::xattr;

use super::{Content, Entry, Kind};

/// Deepest directory that is walked: each level keeps a descriptor open.
const DEPTH_LIMIT: usize = 512;

/// Calls `each` for the file behind `top` (opened with O_PATH) and, if it is a directory, all below: directories before what
/// is in them. Sockets are left out, as docker does. Files that vanish meanwhile are left out, too.
pub(crate) fn read(top: OwnedFd, each: &mut dyn FnMut(Entry, &mut dyn std::io::Read) -> Result<()>) -> Result<()> {
    let mut walk = Walk { links: HashMap::new(), each };
    walk.file(top, PathBuf::new(), 0)
}

struct Walk<'a> {
    /// First path of every file with several names, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    each: &'a mut dyn FnMut(Entry, &mut dyn std::io::Read) -> Result<()>,
}

impl Walk<'_> {
    /// One file, open with O_PATH | O_NOFOLLOW.
    fn file(&mut self, fd: OwnedFd, path: PathBuf, depth: usize) -> Result<()> {
        let shown = || format!("{}", path.display());
        let stat = fstat(&fd).with_context(shown)?;
        let kind = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFDIR => return self.directory(fd, &stat, path, depth),
            SFlag::S_IFREG if stat.st_nlink > 1 => match self.links.entry((stat.st_dev, stat.st_ino)) {
                std::collections::hash_map::Entry::Occupied(first) => Kind::HardLink(first.get().clone()),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(path.clone());
                    regular(&fd, &stat).with_context(shown)?
                }
            },
            SFlag::S_IFREG => regular(&fd, &stat).with_context(shown)?,
            SFlag::S_IFLNK => Kind::Symlink(readlinkat(&fd, c"").with_context(shown)?.into()),
            SFlag::S_IFCHR => Kind::Char(stat.st_rdev),
            SFlag::S_IFBLK => Kind::Block(stat.st_rdev),
            SFlag::S_IFIFO => Kind::Fifo,
            _ => return Ok(()),
        };
        let xattrs = match &kind {
            Kind::File { content: Content::File(file), .. } => attributes(file).with_context(shown)?,
            _ => Vec::new(),
        };
        (self.each)(entry(path, kind, &stat, xattrs), &mut std::io::empty())
    }

    fn directory(&mut self, fd: OwnedFd, stat: &FileStat, path: PathBuf, depth: usize) -> Result<()> {
        if depth > DEPTH_LIMIT {
            anyhow::bail!("{}: more than {DEPTH_LIMIT} directories deep", path.display());
        }
        let shown = || format!("{}", path.display());
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let open = openat(&fd, ".", flags, Mode::empty()).with_context(shown)?;
        let xattrs = attributes(&open).with_context(shown)?;
        (self.each)(entry(path.clone(), Kind::Directory, stat, xattrs), &mut std::io::empty())?;
        for name in names(open).with_context(shown)? {
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
            let child = match openat(&fd, name.as_c_str(), flags, Mode::empty()) {
                Err(Errno::ENOENT) => continue,
                answer => answer.with_context(|| format!("{}/{name:?}", path.display()))?,
            };
            self.file(child, path.join(OsStr::from_bytes(name.to_bytes())), depth + 1)?;
        }
        Ok(())
    }
}

/// Opens for reading the very file that was looked at; by its descriptor, so that nothing can take its place.
fn regular(fd: &OwnedFd, stat: &FileStat) -> Result<Kind> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let file = nix::fcntl::open(magic_link(fd).as_str(), flags, Mode::empty())?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Ok(Kind::File { size, content: Content::File(File::from(file)) })
}

fn entry(path: PathBuf, kind: Kind, stat: &FileStat, xattrs: Vec<(CString, Vec<u8>)>) -> Entry {
    let mtime = (stat.st_mtime, stat.st_mtime_nsec);
    Entry { path, kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime, xattrs }
}

/// Names in a directory, sorted, without `.` and `..`.
fn names(open: OwnedFd) -> Result<Vec<CString>> {
    let mut dir = Dir::from_fd(open)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Attributes that are part of the file: those of the overlay itself and of security modules are not.
fn attributes(fd: impl AsFd) -> Result<Vec<(CString, Vec<u8>)>> {
    let names = match xattr::flist(&fd) {
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        answer => answer?,
    };
    let mut list = Vec::new();
    for name in names {
        if is_copied(&name)
            && let Some(value) = xattr::fget(&fd, &name)?
        {
            list.push((name, value));
        }
    }
    Ok(list)
}

/// Whether an attribute is copied: file capabilities, user attributes, access control lists.
pub(super) fn is_copied(name: &CStr) -> bool {
    let name = name.to_bytes();
    name == b"security.capability" || name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
}

/// Whether a directory has nothing in it.
pub(crate) fn is_empty(dir: &Path) -> Result<bool> {
    let mut entries = std::fs::read_dir(dir).with_context(|| format!("{}", dir.display()))?;
    Ok(entries.next().is_none())
}

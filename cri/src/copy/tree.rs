//! Walking a tree, from descriptor to descriptor.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use runtime::root::magic_link;
use runtime::sys::{Call, CallError, xattr};

use super::{Content, Entry, Error, Kind};

/// Deepest directory that is walked: each level keeps a descriptor open.
const DEPTH_LIMIT: usize = 512;

/// What is done with each file; the reader gives nothing.
pub type Each<'a, E> = dyn FnMut(Entry, &mut dyn std::io::Read) -> Result<(), E> + 'a;

/// Calls `each` for the file behind `top` (opened with O_PATH) and, if it is a directory, all below: directories before what
/// is in them. Sockets are left out, as docker does. Files that vanish meanwhile are left out, too.
///
/// # Errors
/// What `each` answers; a file that cannot be read, or lies too deep.
pub fn read<E: From<Error>>(top: OwnedFd, each: &mut Each<'_, E>) -> Result<(), E> {
    let mut walk = Walk { links: HashMap::new(), each };
    walk.file(top, PathBuf::new(), 0)
}

struct Walk<'a, 'e, E> {
    /// First path of every file with several names, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    each: &'a mut Each<'e, E>,
}

impl<E: From<Error>> Walk<'_, '_, E> {
    /// One file, open with O_PATH | O_NOFOLLOW.
    fn file(&mut self, fd: OwnedFd, path: PathBuf, depth: usize) -> Result<(), E> {
        let shown = |error: CallError| Error::from(error).at(&path);
        let stat = fstat(&fd).call(|| "fstat()".to_owned()).map_err(shown)?;
        let kind = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFDIR => return self.directory(fd, &stat, path, depth),
            SFlag::S_IFREG if stat.st_nlink > 1 => match self.links.entry((stat.st_dev, stat.st_ino)) {
                std::collections::hash_map::Entry::Occupied(first) => Kind::HardLink(first.get().clone()),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(path.clone());
                    regular(&fd, &stat).map_err(shown)?
                }
            },
            SFlag::S_IFREG => regular(&fd, &stat).map_err(shown)?,
            SFlag::S_IFLNK => {
                Kind::Symlink(readlinkat(&fd, c"").call(|| "readlinkat()".to_owned()).map_err(shown)?.into())
            }
            SFlag::S_IFCHR => Kind::Char(stat.st_rdev),
            SFlag::S_IFBLK => Kind::Block(stat.st_rdev),
            SFlag::S_IFIFO => Kind::Fifo,
            _ => return Ok(()),
        };
        let xattrs = match &kind {
            Kind::File { content: Content::File(file), .. } => attributes(file).map_err(shown)?,
            _ => Vec::new(),
        };
        (self.each)(entry(path, kind, &stat, xattrs), &mut std::io::empty())
    }

    fn directory(&mut self, fd: OwnedFd, stat: &FileStat, path: PathBuf, depth: usize) -> Result<(), E> {
        if depth > DEPTH_LIMIT {
            return Err(Error::Refused(format!("more than {DEPTH_LIMIT} directories deep")).at(&path).into());
        }
        let shown = |error: CallError| Error::from(error).at(&path);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let open =
            openat(&fd, ".", flags, Mode::empty()).call(|| "openat(\".\", O_DIRECTORY)".to_owned()).map_err(shown)?;
        let xattrs = attributes(&open).map_err(shown)?;
        (self.each)(entry(path.clone(), Kind::Directory, stat, xattrs), &mut std::io::empty())?;
        for name in names(open).map_err(shown)? {
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
            let child = match openat(&fd, name.as_c_str(), flags, Mode::empty()) {
                Err(Errno::ENOENT) => continue,
                answer => answer.call(|| format!("openat({name:?}, O_PATH)")).map_err(shown)?,
            };
            self.file(child, path.join(OsStr::from_bytes(name.to_bytes())), depth + 1)?;
        }
        Ok(())
    }
}

/// Opens for reading the very file that was looked at; by its descriptor, so that nothing can take its place.
fn regular(fd: &OwnedFd, stat: &FileStat) -> Result<Kind, CallError> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let file = nix::fcntl::open(magic_link(fd).as_str(), flags, Mode::empty()).call(|| "open(O_RDONLY)".to_owned())?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Ok(Kind::File { size, content: Content::File(File::from(file)) })
}

fn entry(path: PathBuf, kind: Kind, stat: &FileStat, xattrs: Vec<(CString, Vec<u8>)>) -> Entry {
    let mtime = (stat.st_mtime, stat.st_mtime_nsec);
    Entry { path, kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime, xattrs }
}

/// Names in a directory, sorted, without `.` and `..`.
fn names(open: OwnedFd) -> Result<Vec<CString>, CallError> {
    let mut dir = Dir::from_fd(open).call(|| "fdopendir()".to_owned())?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry.call(|| "getdents64()".to_owned())?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Attributes that are part of the file: those of the overlay itself and of security modules are not.
fn attributes(fd: impl AsFd) -> Result<Vec<(CString, Vec<u8>)>, CallError> {
    let names = match xattr::flist(&fd) {
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        answer => answer.call(|| "flistxattr()".to_owned())?,
    };
    let mut list = Vec::new();
    for name in names {
        if is_copied(&name)
            && let Some(value) = xattr::fget(&fd, &name).call(|| format!("fgetxattr({name:?})"))?
        {
            list.push((name, value));
        }
    }
    Ok(list)
}

/// Whether an attribute is copied: file capabilities, user attributes, access control lists.
pub fn is_copied(name: &CStr) -> bool {
    let name = name.to_bytes();
    name == b"security.capability" || name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
}

/// Whether a directory has nothing in it.
///
/// # Errors
/// It cannot be read.
pub fn is_empty(dir: &Path) -> Result<bool, CallError> {
    let mut entries = std::fs::read_dir(dir).call(|| format!("open({dir:?}, O_DIRECTORY)"))?;
    Ok(entries.next().is_none())
}

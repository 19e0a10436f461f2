//! A directory as the root of every path below it: nothing looked up through it can leave it.
//!
//! A path of a root file system is a name that hostile content may have given a meaning. It is resolved once, by openat2(2)
//! with RESOLVE_IN_ROOT and without magic links, to a descriptor; what follows works on descriptors (CVE-2021-30465,
//! CVE-2019-18837). Missing directories are made one component at a time from descriptor to descriptor (CVE-2024-45310).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat, mknodat};

use crate::sys::{Call, CallError};

/// Most symbolic links followed while making directories, as the kernel's own limit.
const LINKS_LIMIT: u32 = 40;

/// A directory that lookups cannot leave.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// What a lookup does at a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Follows it, `/` and `..` staying inside the root.
    InRoot,
    /// Refuses with ELOOP.
    Refuse,
}

impl Root {
    /// Takes an open directory as a root.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Looks `path` up and opens it.
    ///
    /// # Errors
    /// The openat2(2) call with the kernel's answer.
    pub fn open(&self, path: &Path, flags: OFlag, links: Links) -> Result<OwnedFd, CallError> {
        open_in(&self.fd, path, flags, links)
    }

    /// Opens the directory at `path`, making what is missing with mode 0755.
    ///
    /// # Errors
    /// ENOTDIR where something else is in the way; ELOOP for a link that is refused.
    pub fn make_directory(&self, path: &Path, links: Links) -> Result<OwnedFd, CallError> {
        match self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY, links) {
            Err(error) if error.errno == Errno::ENOENT => match self.make_last(path, links) {
                Some(directory) => Ok(directory),
                None => self.walk(path, links),
            },
            result => result,
        }
    }

    /// Opens the file at `path`, making an empty one (mode 0644, never truncating) and the directories on the way.
    ///
    /// # Errors
    /// EISDIR where a directory is in the way; ELOOP for a link that is refused or leads nowhere.
    pub fn make_file(&self, path: &Path, links: Links) -> Result<OwnedFd, CallError> {
        match self.open(path, OFlag::O_PATH, links) {
            Err(error) if error.errno == Errno::ENOENT => {}
            result => return result,
        }
        let (parent, name) = split(path);
        let directory = self.make_directory(parent, links)?;
        make_node(&directory, name, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0)?;
        open_leaf(&directory, name)
    }

    /// The usual case: only the last component is missing.
    fn make_last(&self, path: &Path, links: Links) -> Option<OwnedFd> {
        let (parent, name) = split(path);
        let parent = self.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY, links).ok()?;
        mkdirat(&parent, name, Mode::from_bits_truncate(0o755)).ok()?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&parent, name, flags, Mode::empty()).ok()
    }

    /// Walks from directory to directory, making what is missing. Links are read and followed here, `..` is a step back on our
    /// own stack: the kernel never gets a path of more than one component.
    fn walk(&self, path: &Path, links: Links) -> Result<OwnedFd, CallError> {
        let mut todo: VecDeque<OsString> = VecDeque::new();
        push_front(&mut todo, path);
        let mut stack: Vec<OwnedFd> = Vec::new();
        let mut links_left = LINKS_LIMIT;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                stack.pop();
                continue;
            }
            let top: BorrowedFd<'_> = stack.last().map_or(self.fd.as_fd(), AsFd::as_fd);
            let entry = match open_leaf(top, Path::new(&name)) {
                Err(error) if error.errno == Errno::ENOENT => {
                    match mkdirat(top, name.as_os_str(), Mode::from_bits_truncate(0o755)) {
                        Ok(()) | Err(Errno::EEXIST) => open_leaf(top, Path::new(&name))?,
                        Err(errno) => {
                            return Err(errno).call(|| format!("mkdirat(<rootfs>, {path:?} at {name:?}, 0755)"));
                        }
                    }
                }
                result => result?,
            };
            let kind = SFlag::from_bits_truncate(
                fstatat(&entry, "", AtFlags::AT_EMPTY_PATH).call(|| format!("fstat({name:?})"))?.st_mode,
            ) & SFlag::S_IFMT;
            if kind == SFlag::S_IFLNK {
                if links == Links::Refuse || links_left == 0 {
                    return Err(Errno::ELOOP).call(|| format!("openat2(<rootfs>, {path:?} at {name:?})"));
                }
                links_left -= 1;
                let target = PathBuf::from(readlinkat(&entry, "").call(|| format!("readlinkat({name:?})"))?);
                if target.is_absolute() {
                    stack.clear();
                }
                push_front(&mut todo, &target);
            } else if kind == SFlag::S_IFDIR {
                stack.push(entry);
            } else {
                return Err(Errno::ENOTDIR).call(|| format!("openat2(<rootfs>, {path:?} at {name:?}, O_DIRECTORY)"));
            }
        }
        match stack.pop() {
            Some(fd) => Ok(fd),
            None => self.open(Path::new("."), OFlag::O_PATH | OFlag::O_DIRECTORY, links),
        }
    }
}

impl From<Root> for OwnedFd {
    fn from(root: Root) -> Self {
        root.fd
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Looks `path` up as if `root` were the root directory, and opens it.
///
/// # Errors
/// The openat2(2) call with the kernel's answer.
pub fn open_in(root: impl AsFd, path: &Path, flags: OFlag, links: Links) -> Result<OwnedFd, CallError> {
    let resolve = match links {
        Links::InRoot => ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        Links::Refuse => ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS,
    };
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    loop {
        match openat2(&root, path, how) {
            // RESOLVE_IN_ROOT gives up when a rename or mount elsewhere raced with `..`.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result.call(|| format!("openat2(<rootfs>, {path:?}, {flags:?}, {resolve:?})")),
        }
    }
}

/// Makes a node that must not be there yet, mknodat(2): never follows a link, never touches what exists.
///
/// # Errors
/// EEXIST, or what mknodat(2) answers.
pub fn make_node(directory: impl AsFd, name: &Path, kind: SFlag, mode: Mode, device: u64) -> Result<(), CallError> {
    mknodat(directory, name, kind, mode, device).call(|| format!("mknodat(<rootfs>, {name:?}, {kind:?}, {mode:?})"))
}

/// Opens one entry of a directory, not following it if it is a link.
///
/// # Errors
/// What openat(2) answers.
pub fn open_leaf(directory: impl AsFd, name: &Path) -> Result<OwnedFd, CallError> {
    openat(directory, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| format!("openat(<rootfs>, {name:?}, O_PATH|O_NOFOLLOW)"))
}

/// The directory part and the last component of a path below a root.
#[must_use]
pub fn split(path: &Path) -> (&Path, &Path) {
    let name = path.file_name().map_or(Path::new("."), Path::new);
    (path.parent().unwrap_or(Path::new("")), name)
}

/// A path as `/proc/self/fd` shows the descriptor; for calls that take nothing else.
#[must_use]
pub fn magic_link(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

fn push_front(todo: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => todo.push_front(name.to_owned()),
            Component::ParentDir => todo.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

/// A path without `.`, `..`, doubled slashes and the leading slash, as seen from the root, lexically.
#[must_use]
pub fn clean(path: &Path) -> PathBuf {
    let mut names: Vec<&[u8]> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.as_bytes()),
            Component::ParentDir => {
                names.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    PathBuf::from(OsString::from_vec(names.join(&b'/')))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scratch(name: &str) -> (PathBuf, Root) {
        let path = std::env::temp_dir().join(format!("rt-root-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let fd = nix::fcntl::open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        (path, Root::new(fd))
    }

    #[test]
    fn cleans_lexically() {
        for (path, clean_path) in
            [("/", ""), ("/a/b", "a/b"), ("a/./b//c", "a/b/c"), ("/../../x", "x"), ("/a/../b", "b"), ("", "")]
        {
            assert_eq!(clean(Path::new(path)), Path::new(clean_path), "{path}");
        }
    }

    #[test]
    fn makes_directories_inside_whatever_links_say() {
        let (path, root) = scratch("walk");
        let outside = path.with_extension("outside");
        symlink(&outside, path.join("absolute")).unwrap();
        symlink("../../../../../../tmp", path.join("up")).unwrap();
        symlink("missing/deep", path.join("dangling")).unwrap();
        root.make_directory(Path::new("absolute/x"), Links::InRoot).unwrap();
        root.make_directory(Path::new("up/y"), Links::InRoot).unwrap();
        root.make_directory(Path::new("dangling/z"), Links::InRoot).unwrap();
        assert!(!outside.try_exists().unwrap());
        assert!(path.join(outside.strip_prefix("/").unwrap()).join("x").is_dir());
        assert!(path.join("tmp/y").is_dir());
        assert!(path.join("missing/deep/z").is_dir());
        let refused = root.make_directory(Path::new("up/q"), Links::Refuse).unwrap_err();
        assert_eq!(refused.errno, Errno::ELOOP);
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn makes_files_without_following() {
        let (path, root) = scratch("file");
        let outside = path.with_extension("outside-file");
        symlink(&outside, path.join("link")).unwrap();
        let error = root.make_file(Path::new("link"), Links::InRoot).unwrap_err();
        assert_eq!(error.errno, Errno::EEXIST);
        assert!(!outside.try_exists().unwrap());
        root.make_file(Path::new("d/e/f"), Links::Refuse).unwrap();
        assert!(path.join("d/e/f").is_file());
        std::fs::remove_dir_all(&path).unwrap();
    }
}

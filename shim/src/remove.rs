//! Removing directory trees that a container wrote.
//!
//! Names in such a tree are hostile. Each directory is entered by openat2(2) from its parent's descriptor, never through a
//! symbolic link and never into another mount. Depth costs no descriptors: a directory too far down is first moved up to the
//! top, so at most [`DEPTH`] are open.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, renameat2};
use nix::unistd::{UnlinkatFlags, unlinkat};
use runtime::sys::CallError;

/// Levels of a tree that are entered before deeper ones are moved up.
const DEPTH: usize = 24;

/// Most errors that are kept; a tree of immutable files would have millions.
const ERRORS_LIMIT: usize = 8;

/// How often a directory is emptied that somebody else puts files into.
const ATTEMPTS: u32 = 8;

/// Removes the directory `path` and all below it; gone already is done. Goes on after an error.
///
/// # Errors
/// What could not be removed, and why: at most a few of them.
pub fn tree(path: &Path) -> Result<(), Vec<CallError>> {
    let Some(name) = path.file_name().filter(|_| path.is_absolute()) else {
        return Err(vec![CallError { call: format!("remove({path:?})"), errno: Errno::EINVAL }]);
    };
    let parent = path.parent().unwrap_or(Path::new("/"));
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
    match openat2(AT_FDCWD, parent, how) {
        Ok(parent) => tree_at(&parent, name),
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(vec![CallError { call: format!("openat2({parent:?}, O_PATH)"), errno }]),
    }
}

/// Removes the directory `name` in `parent`, as [`tree`].
///
/// # Errors
/// As [`tree`].
pub fn tree_at(parent: impl AsFd, name: &OsStr) -> Result<(), Vec<CallError>> {
    let parent = parent.as_fd();
    let Ok(name) = CString::new(name.as_bytes()) else {
        return Err(vec![CallError { call: format!("remove({name:?})"), errno: Errno::EINVAL }]);
    };
    let shown = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
    let top = match open_dir(parent, &name) {
        Ok(top) => top,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(vec![CallError { call: format!("openat2({shown:?}, O_DIRECTORY)"), errno }]),
    };
    // Somebody else may look at it meanwhile and make his lock file anew.
    for left in (0..ATTEMPTS).rev() {
        let errors = empty(&top, &shown);
        if !errors.is_empty() {
            return Err(errors);
        }
        match unlinkat(parent, name.as_c_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => break,
            Err(Errno::ENOTEMPTY) if left > 0 => {}
            Err(errno) => return Err(vec![CallError { call: format!("unlinkat({shown:?}, AT_REMOVEDIR)"), errno }]),
        }
    }
    Ok(())
}

/// Removes all that is in a directory, as often as it takes.
fn empty(top: &OwnedFd, shown: &Path) -> Vec<CallError> {
    let mut removal = Removal { top: top.as_fd(), moved: 0, errors: Vec::new() };
    loop {
        let before = removal.moved;
        removal.errors.clear();
        removal.empty(top.as_fd(), shown, 0);
        // What was moved up may have been missed by the pass that moved it.
        if removal.moved == before {
            return removal.errors;
        }
    }
}

fn open_dir(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
    openat2(at, name, how)
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    moved: u64,
    errors: Vec<CallError>,
}

impl Removal<'_> {
    /// Removes what is in the directory.
    fn empty(&mut self, dir: BorrowedFd<'_>, path: &Path, depth: usize) {
        let entries = match open_dir(dir, c".").and_then(Dir::from_fd) {
            Ok(entries) => entries,
            Err(errno) => return self.error(path, "openat2", errno),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return self.error(path, "getdents64", errno),
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if entry.file_type() != Some(Type::Directory) {
                match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
                    Ok(()) | Err(Errno::ENOENT) => continue,
                    Err(Errno::EISDIR) => {}
                    Err(errno) => {
                        self.error(&path.join(OsStr::from_bytes(name.to_bytes())), "unlinkat", errno);
                        continue;
                    }
                }
            }
            self.directory(dir, name, path, depth);
        }
    }

    fn directory(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &Path, depth: usize) {
        match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return,
            // Not empty, or it says so in another way; what is wrong shows when it is opened.
            Err(_) => {}
        }
        let shown = path.join(OsStr::from_bytes(name.to_bytes()));
        if depth == DEPTH {
            return self.move_up(dir, name, &shown);
        }
        match open_dir(dir, name) {
            Ok(child) => self.empty(child.as_fd(), &shown, depth + 1),
            Err(Errno::ENOENT) => return,
            Err(errno) => return self.error(&shown, "openat2", errno),
        }
        match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            // Something below is left; it has its own error or was moved up.
            Err(Errno::ENOTEMPTY) => {}
            Err(errno) => self.error(&shown, "unlinkat", errno),
        }
    }

    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &CStr, shown: &Path) {
        loop {
            self.moved += 1;
            let target = format!(".removing-{}", self.moved);
            match renameat2(dir, name, self.top, target.as_str(), RenameFlags::RENAME_NOREPLACE) {
                Ok(()) => return,
                Err(Errno::EEXIST) => {}
                Err(errno) => {
                    self.moved -= 1;
                    return self.error(shown, "renameat2", errno);
                }
            }
        }
    }

    fn error(&mut self, path: &Path, call: &str, errno: Errno) {
        if self.errors.len() < ERRORS_LIMIT {
            self.errors.push(CallError { call: format!("{call}({path:?})"), errno });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn everything_goes_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::write(top.join("a/b/file"), "").unwrap();
        symlink(&outside, top.join("a/link")).unwrap();
        symlink("../..", top.join("a/up")).unwrap();
        nix::unistd::mkfifo(&top.join("a/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(top.join("OsStr\n\u{1}")).unwrap();
        fs::write(top.join(OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
        fs::set_permissions(top.join("a/b"), PermissionsExt::from_mode(0o755)).unwrap();
        tree(&top).unwrap();
        assert!(!top.try_exists().unwrap());
        assert!(outside.join("kept").try_exists().unwrap());
        tree(&top).unwrap();
        tree(&top.join("not/there")).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_tree_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::write(dir.path().join("real/kept"), "").unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        let errors = tree(&dir.path().join("link")).unwrap_err();
        assert!(matches!(errors[0].errno, Errno::ELOOP | Errno::ENOTDIR), "{errors:?}");
        assert!(dir.path().join("real/kept").try_exists().unwrap());
        assert_eq!(tree(Path::new("relative")).unwrap_err()[0].errno, Errno::EINVAL);
        assert_eq!(tree(Path::new("/")).unwrap_err()[0].errno, Errno::EINVAL);
    }

    #[test]
    fn depth_costs_no_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut at =
            nix::fcntl::open(&top, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty()).unwrap();
        // A name that is taken where directories are moved to.
        fs::create_dir_all(top.join(".removing-1/.removing-2")).unwrap();
        for level in 0..3000 {
            let name = if level % 2 == 0 { "d" } else { ".removing-1" };
            nix::sys::stat::mkdirat(&at, name, nix::sys::stat::Mode::S_IRWXU).unwrap_or(());
            at = open_dir(at.as_fd(), &CString::new(name).unwrap()).unwrap();
            nix::sys::stat::mkdirat(&at, "side", nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        drop(at);
        tree(&top).unwrap();
        assert!(!top.try_exists().unwrap());
    }
}

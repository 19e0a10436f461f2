//! One group in one hierarchy: a directory whose files are the kernel's.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path as FsPath, PathBuf};

use nix::dir::Dir as Entries;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{read, write};

use super::Error;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// An open directory of a cgroup file system.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    fd: OwnedFd,
}

/// A step of [`Dir::walk`].
pub(super) enum Visit<'a> {
    /// A group, before those below it.
    Enter(BorrowedFd<'a>),
    /// The group `name` in `parent`, after all below it; the starting group has none of these.
    Leave { parent: BorrowedFd<'a>, name: &'a CStr },
}

impl Dir {
    /// Opens a group; `None` if it does not exist.
    pub(super) fn open(path: PathBuf) -> Result<Option<Dir>, Error> {
        match open(&path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Dir { path, fd })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::on("open", &path, errno)),
        }
    }

    pub(super) fn path(&self) -> &FsPath {
        &self.path
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn open_file(&self, file: &str, flags: OFlag) -> Result<OwnedFd, Error> {
        openat(&self.fd, file, flags | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| Error::on("open", &self.path.join(file), errno))
    }

    /// The text of a file; not for `cgroup.procs`, see [`read_record`].
    pub(super) fn read(&self, file: &str) -> Result<String, Error> {
        let fd = self.open_file(file, OFlag::O_RDONLY)?;
        read_record(fd.as_fd()).map_err(|errno| Error::on("read", &self.path.join(file), errno))
    }

    /// The same, `None` if there is no such file.
    pub(super) fn read_if_there(&self, file: &str) -> Result<Option<String>, Error> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes `value` in one call, as these files want it.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), Error> {
        let fd = openat(&self.fd, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| Error::write(&self.path.join(file), value, errno))?;
        self.write_to(fd.as_fd(), file, value)
    }

    /// Writes `value` to `file`, which is open as `fd`.
    pub(super) fn write_to(&self, fd: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Error> {
        loop {
            match write(fd, value.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::write(&self.path.join(file), value, errno)),
            }
        }
    }

    /// Names of its files.
    pub(super) fn files(&self) -> Result<Vec<String>, Error> {
        let on = |errno| Error::on("getdents", &self.path, errno);
        let mut entries = Entries::openat(&self.fd, ".", DIRECTORY, Mode::empty()).map_err(on)?;
        entries.iter().map(|entry| Ok(entry.map_err(on)?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// The processes of this group and of all below it, sorted; 0 stands for those that this pid namespace does not show.
    pub(super) fn processes(&self) -> Result<Vec<i32>, Error> {
        let mut all = Vec::new();
        self.walk(|visit, path| {
            let Visit::Enter(group) = visit else { return Ok(()) };
            let file = || path.join("cgroup.procs");
            let fd = match openat(group, "cgroup.procs", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
                Err(errno) => return Err(Error::on("open", &file(), errno)),
            };
            match read_list(fd.as_fd()) {
                Ok(text) => parse_pids(&text, &mut all).map_err(|content| Error::Malformed { path: file(), content }),
                // A threaded group: its processes are listed in the domain above it.
                Err(Errno::EOPNOTSUPP) => Ok(()),
                Err(Errno::ENODEV) => Ok(()),
                Err(errno) => Err(Error::on("read", &file(), errno)),
            }
        })?;
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Removes all groups below this one, deepest first, going on after errors.
    pub(super) fn remove_below(&self, met: &mut Vec<Error>) {
        let walked = self.walk(|visit, path| {
            if let Visit::Leave { parent, name } = visit {
                match nix::unistd::unlinkat(parent, name, nix::unistd::UnlinkatFlags::RemoveDir) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(errno) => met.push(Error::on("rmdir", path, errno)),
                }
            }
            Ok(())
        });
        met.extend(walked.err());
    }

    /// Visits this group and all below it. Groups that vanish meanwhile are left out.
    ///
    /// Keeps one descriptor and goes up by `..`: a container decides how deep its groups nest, and neither the number of
    /// descriptors nor the length of a path may be its weapon.
    pub(super) fn walk(&self, mut visit: impl FnMut(Visit<'_>, &FsPath) -> Result<(), Error>) -> Result<(), Error> {
        visit(Visit::Enter(self.fd.as_fd()), &self.path)?;
        let mut levels = vec![children(self.fd.as_fd()).map_err(|errno| Error::on("getdents", &self.path, errno))?];
        if levels[0].is_empty() {
            return Ok(());
        }
        fn on(call: &'static str, path: &FsPath) -> impl FnOnce(Errno) -> Error {
            move |errno| Error::on(call, path, errno)
        }
        let mut here = openat(&self.fd, ".", DIRECTORY, Mode::empty()).map_err(on("open", &self.path))?;
        let mut path = self.path.clone();
        let mut names: Vec<CString> = Vec::new();
        while let Some(siblings) = levels.last_mut() {
            if let Some(name) = siblings.pop() {
                match openat(&here, name.as_c_str(), DIRECTORY, Mode::empty()) {
                    Ok(fd) => here = fd,
                    Err(Errno::ENOENT) => continue,
                    Err(errno) => return Err(Error::on("open", &path.join(os_str(&name)), errno)),
                }
                path.push(os_str(&name));
                visit(Visit::Enter(here.as_fd()), &path)?;
                levels.push(children(here.as_fd()).map_err(on("getdents", &path))?);
                names.push(name);
            } else {
                levels.pop();
                if let Some(name) = names.pop() {
                    here = openat(&here, "..", DIRECTORY, Mode::empty()).map_err(on("open", &path))?;
                    visit(Visit::Leave { parent: here.as_fd(), name: &name }, &path)?;
                    path.pop();
                }
            }
        }
        Ok(())
    }
}

/// Groups directly below the one that `dir` is.
fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    // Directories of kernfs count their subdirectories as links, so the usual group without children costs no listing.
    if fstat(dir)?.st_nlink <= 2 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in Entries::openat(dir, ".", DIRECTORY, Mode::empty())?.iter() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::ENOENT) => break,
            Err(errno) => return Err(errno),
        };
        let is_directory = entry.file_type() == Some(nix::dir::Type::Directory);
        if is_directory && entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Reads a file that the kernel makes in one piece, which is all but the lists of processes: a read that does not fill the
/// buffer has it all, and saves the read that returns nothing.
pub(super) fn read_record(fd: BorrowedFd<'_>) -> Result<String, Errno> {
    read_until(fd, |count, asked| count < asked)
}

/// Reads a list, of which a read may return less than asked without being the last.
fn read_list(fd: BorrowedFd<'_>) -> Result<String, Errno> {
    read_until(fd, |count, _| count == 0)
}

fn read_until(fd: BorrowedFd<'_>, is_last: impl Fn(usize, usize) -> bool) -> Result<String, Errno> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        match read(fd, &mut buffer) {
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                if is_last(count, buffer.len()) {
                    return Ok(String::from_utf8_lossy(&bytes).into_owned());
                }
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `cgroup.procs`: a number a line. Gives back what is none.
fn parse_pids(text: &str, pids: &mut Vec<i32>) -> Result<(), String> {
    for line in text.lines() {
        pids.push(line.trim().parse().map_err(|_| line.to_owned())?);
    }
    Ok(())
}

fn os_str(name: &CStr) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids() {
        let mut pids = Vec::new();
        parse_pids("1\n0\n4194304\n", &mut pids).unwrap();
        assert_eq!(pids, [1, 0, 4194304]);
        assert_eq!(parse_pids("12\nx\n", &mut pids), Err("x".to_owned()));
    }

    #[test]
    fn walk_is_children_before_parents_and_survives_depth() {
        let root = std::env::temp_dir().join(format!("rt-walk-{}", std::process::id()));
        std::fs::create_dir(&root).unwrap();
        let dir = Dir::open(root.clone()).unwrap().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::create_dir(root.join("b")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        // Deeper than PATH_MAX and than the usual limit of descriptors.
        let mut deep = openat(dir.as_fd(), "b", DIRECTORY, Mode::empty()).unwrap();
        let name = "x".repeat(10);
        for _ in 0..1500 {
            nix::sys::stat::mkdirat(&deep, name.as_str(), Mode::from_bits_truncate(0o755)).unwrap();
            deep = openat(&deep, name.as_str(), DIRECTORY, Mode::empty()).unwrap();
        }
        let (mut entered, mut left) = (0, Vec::new());
        dir.walk(|visit, path| {
            match visit {
                Visit::Enter(_) => entered += 1,
                Visit::Leave { .. } => left.push(path.strip_prefix(&root).unwrap().components().count()),
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(entered, 1 + 2 + 1500);
        assert_eq!(left.len(), 2 + 1500);
        assert!(left.iter().max() == Some(&1501));

        std::fs::remove_file(root.join("a/file")).unwrap();
        let mut met = Vec::new();
        dir.remove_below(&mut met);
        assert!(met.is_empty(), "{met:?}");
        std::fs::remove_dir(&root).unwrap();
    }
}

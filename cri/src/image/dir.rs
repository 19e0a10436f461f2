//! Folders of the store: everything relative to an open handle, names of one part only.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use runtime::rooted::{self, Quoted, Shown};
use runtime::sys::{Call, CallError};

use super::error::Error;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens a folder that the user named.
    pub(crate) fn open_path(path: &Path) -> Result<Dir, CallError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let call = || format!("open({}, O_RDONLY|O_DIRECTORY)", Quoted(path.as_os_str().as_bytes()));
        nix::fcntl::open(path, flags, Mode::empty()).call(call).map(|fd| Dir { fd })
    }

    /// Opens the folder `name`.
    pub(crate) fn sub(&self, name: &str) -> Result<Dir, CallError> {
        self.sub_bytes(name.as_bytes())
    }

    pub(crate) fn sub_bytes(&self, name: &[u8]) -> Result<Dir, CallError> {
        let fd = rooted::open(self, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
        Ok(Dir { fd })
    }

    /// Opens the folder `name`, made with mode 0700 if it is missing. Refuses one that other users may enter.
    pub(crate) fn private_sub(&self, name: &str) -> Result<Dir, Error> {
        match mkdirat(self, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(self.failed("mkdirat", name, errno).into()),
        }
        let dir = self.sub(name)?;
        let mode = dir.stat()?.st_mode & 0o7777;
        if mode & 0o077 != 0 {
            return Err(Error::Exposed { path: dir.path().display().to_string(), mode });
        }
        Ok(dir)
    }

    /// Makes the folder `name` with mode 0700; it must be new.
    pub(crate) fn make(&self, name: &str) -> Result<Dir, CallError> {
        mkdirat(self, name, Mode::S_IRWXU).map_err(|errno| self.failed("mkdirat", name, errno))?;
        self.sub(name)
    }

    /// The path behind the handle, for messages and for programs that need one.
    pub(crate) fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        std::fs::read_link(link).unwrap_or_default()
    }

    pub(crate) fn stat(&self) -> Result<FileStat, CallError> {
        fstat(self).call(|| format!("fstat({})", Shown(self)))
    }

    /// The state of `name` itself; `None`: it is not there.
    pub(crate) fn stat_of(&self, name: &[u8]) -> Result<Option<FileStat>, CallError> {
        match fstatat(self, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(CallError { call: format!("fstatat({}, {})", Shown(self), Quoted(name)), errno }),
        }
    }

    /// Opens a regular file for reading; `None`: it is not there.
    pub(crate) fn open_file(&self, name: &[u8]) -> Result<Option<File>, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = match rooted::open(self, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(CallError { errno: Errno::ENOENT, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&file).call(|| format!("fstat({})", Shown(&file)))?;
        if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFREG {
            return Err(Error::Damaged { what: format!("{}", Shown(&file)), reason: "is not a regular file".into() });
        }
        Ok(Some(file))
    }

    /// The bytes of a regular file of at most `bound` bytes; `None`: it is not there.
    pub(crate) fn read(&self, name: &str, bound: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.open_file(name.as_bytes())? else { return Ok(None) };
        let what = || format!("{}/{name}", self.path().display());
        read_bounded(file, bound, what).map(Some)
    }

    /// Makes a new file for writing and reading.
    pub(crate) fn create(&self, name: &str) -> Result<File, CallError> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        rooted::open(self, name.as_bytes(), flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)
    }

    /// Writes a new file and waits until it is on the disk.
    pub(crate) fn write_durably(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut file = self.create(name)?;
        file.write_all(bytes).call(|| format!("write({})", Shown(&file)))?;
        file.sync_all().call(|| format!("fsync({})", Shown(&file)))?;
        Ok(())
    }

    /// Replaces a file at once: temporary file, fsync, rename, fsync of the folder.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let temporary = format!(".{name}.new");
        self.unlink(temporary.as_bytes())?;
        self.write_durably(&temporary, bytes)?;
        self.rename(&temporary, self, name)?;
        self.sync()?;
        Ok(())
    }

    /// Waits until the names in this folder are on the disk.
    pub(crate) fn sync(&self) -> Result<(), CallError> {
        nix::unistd::fsync(self).call(|| format!("fsync({})", Shown(self)))
    }

    /// Moves `name` to `new_name` in `target`, replacing a file there.
    pub(crate) fn rename(&self, name: &str, target: &Dir, new_name: &str) -> Result<(), CallError> {
        self.rename_bytes(name.as_bytes(), target, new_name)
    }

    pub(crate) fn rename_bytes(&self, name: &[u8], target: &Dir, new_name: &str) -> Result<(), CallError> {
        renameat(self, name, target, new_name)
            .call(|| format!("renameat({}, {}, {}, \"{new_name}\")", Shown(self), Quoted(name), Shown(target)))
    }

    /// Removes a file; already gone is done.
    pub(crate) fn unlink(&self, name: &[u8]) -> Result<(), CallError> {
        match unlinkat(self, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(CallError { call: format!("unlinkat({}, {}, 0)", Shown(self), Quoted(name)), errno }),
        }
    }

    /// Removes an empty folder; already gone is done.
    pub(crate) fn remove_dir(&self, name: &[u8]) -> Result<(), CallError> {
        match unlinkat(self, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => {
                let call = format!("unlinkat({}, {}, AT_REMOVEDIR)", Shown(self), Quoted(name));
                Err(CallError { call, errno })
            }
        }
    }

    /// Calls `each` with every name in the folder and whether it is a folder itself. The folder may change meanwhile.
    pub(crate) fn each(&self, mut each: impl FnMut(&[u8], bool) -> Result<(), Error>) -> Result<(), Error> {
        let going_on = |name: &[u8], is_dir| each(name, is_dir).map(|()| ControlFlow::Continue(()));
        self.scan(going_on).map(|_: Option<()>| ())
    }

    /// The same, until `look` breaks with what it was looking for.
    pub(crate) fn scan<T>(
        &self,
        mut look: impl FnMut(&[u8], bool) -> Result<ControlFlow<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let call = || format!("getdents64({})", Shown(self));
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let own = rooted::open(self, b".", flags, Mode::empty())?;
        let mut dir = nix::dir::Dir::from_fd(own).call(call)?;
        for entry in dir.iter() {
            let entry = entry.call(call)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let is_dir = match entry.file_type() {
                Some(kind) => kind == Type::Directory,
                None => self.stat_of(name)?.is_some_and(|stat| is_dir(&stat)),
            };
            if let ControlFlow::Break(found) = look(name, is_dir)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The names in the folder, as text; names that are none are left out.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        self.each(|name, _| {
            names.extend(OsStr::from_bytes(name).to_str().map(str::to_owned));
            Ok(())
        })?;
        Ok(names)
    }

    /// Removes everything in the folder, however deep, with bounded memory and descriptors.
    ///
    /// A folder within a folder is moved up here first, so nothing is ever descended into further than one step.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let mut counter = 0u64;
        loop {
            let mut found = false;
            self.each(|name, is_dir| {
                found = true;
                if is_dir { self.clear_sub(name, &mut counter) } else { Ok(self.unlink(name)?) }
            })?;
            if !found {
                return Ok(());
            }
        }
    }

    fn clear_sub(&self, name: &[u8], counter: &mut u64) -> Result<(), Error> {
        let sub = self.sub_bytes(name)?;
        sub.each(|inner, is_dir| {
            if !is_dir {
                return Ok(sub.unlink(inner)?);
            }
            loop {
                *counter += 1;
                match sub.rename_bytes(inner, self, &format!("moved-{counter}")) {
                    Err(CallError { errno: Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR, .. }) => {}
                    other => return Ok(other?),
                }
            }
        })?;
        match self.remove_dir(name) {
            // An entry that the listing missed while it changed: the next round of `clear` sees it.
            Err(CallError { errno: Errno::ENOTEMPTY, .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Removes the folder `name` with everything in it; already gone is done.
    pub(crate) fn remove_tree(&self, name: &str) -> Result<(), Error> {
        match self.sub(name) {
            Ok(dir) => dir.clear()?,
            Err(CallError { errno: Errno::ENOENT, .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        Ok(self.remove_dir(name.as_bytes())?)
    }

    fn failed(&self, call: &str, name: &str, errno: Errno) -> CallError {
        CallError { call: format!("{call}({}, \"{name}\")", Shown(self)), errno }
    }
}

pub(crate) fn is_dir(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
}

/// Reads all of `input`, at most `bound` bytes.
pub(crate) fn read_bounded(input: impl Read, bound: u64, what: impl Fn() -> String) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = input.take(bound.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| Error::Io { what: what(), source })?;
    match bytes.len() as u64 > bound {
        true => Err(Error::Limit { what: what(), allowed: bound, unit: "bytes" }),
        false => Ok(bytes),
    }
}

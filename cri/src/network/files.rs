//! Folders with small records: read whole and bounded, replaced at once, under a lock.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, renameat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use runtime::rooted::{self, Shown};
use runtime::sys::{Call, CallError};

use super::error::Error;

/// Largest record that is read, in bytes: some hundred thousand attachments.
const LIMIT: u64 = 64 << 20;

/// Whether a record must outlive the host's next restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is on the disk before we go on.
    OnDisk,
    /// Until the host is restarted.
    UntilReboot,
}

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Folder {
    /// Opens a folder, made with mode 0700 if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Folder, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = || nix::fcntl::open(path, flags, Mode::empty());
        let fd = match open() {
            Err(Errno::ENOENT) => {
                let make = DirBuilder::new().recursive(true).mode(0o700).create(path);
                make.call(|| format!("mkdir(\"{}\", 0700)", path.display()))?;
                open()
            }
            other => other,
        };
        let fd = fd.call(|| format!("open(\"{}\", O_RDONLY|O_DIRECTORY)", path.display()))?;
        let mode = fstat(&fd).call(|| format!("fstat({})", Shown(&fd)))?.st_mode & 0o7777;
        if mode & 0o022 != 0 {
            let reason = format!("mode {mode:04o} lets other users write; chmod 0700 {}", path.display());
            return Err(Error::Damaged { path: path.display().to_string(), reason });
        }
        Ok(Folder { fd, path: path.to_owned() })
    }

    /// The path of a file in it, for messages.
    pub(crate) fn path(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Waits for the lock `name`, which is given back when the guard is dropped or its process ends.
    pub(crate) fn lock(&self, name: &str) -> Result<Flock<File>, Error> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT;
        let fd = rooted::open(self, name.as_bytes(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut file = File::from(fd);
        loop {
            match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(guard) => return Ok(guard),
                Err((again, Errno::EINTR)) => file = again,
                Err((file, errno)) => {
                    return Err(CallError { call: format!("flock({}, LOCK_EX)", Shown(&file)), errno }.into());
                }
            }
        }
    }

    /// The bytes of a file; `None`: it is not there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut file = match rooted::open(self, name.as_bytes(), OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(CallError { errno: Errno::ENOENT, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        (&mut file).take(LIMIT + 1).read_to_end(&mut bytes).call(|| format!("read({})", Shown(&file)))?;
        if bytes.len() as u64 > LIMIT {
            return Err(Error::Damaged { path: self.path(name), reason: format!("is larger than {LIMIT} bytes") });
        }
        Ok(Some(bytes))
    }

    /// Replaces a file at once. Callers hold the lock.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8], keep: Keep) -> Result<(), Error> {
        let new = format!(".{name}.new");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let mut file = File::from(rooted::open(self, new.as_bytes(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let written = file.write_all(bytes).call(|| format!("write({})", Shown(&file)));
        if let Err(error) = written {
            // A full disk: give back what was written.
            self.remove(&new)?;
            return Err(error.into());
        }
        if keep == Keep::OnDisk {
            file.sync_all().call(|| format!("fsync({})", Shown(&file)))?;
        }
        let call = || format!("renameat({0}, \"{new}\", {0}, \"{name}\")", Shown(self));
        renameat(self, new.as_str(), self, name).call(call)?;
        if keep == Keep::OnDisk { self.sync() } else { Ok(()) }
    }

    /// Removes a file; already gone is done.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        match unlinkat(self, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(CallError { call: format!("unlinkat({}, \"{name}\", 0)", Shown(self)), errno }.into()),
        }
    }

    /// Waits until the names in it are on the disk.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        Ok(nix::unistd::fsync(self).call(|| format!("fsync({})", Shown(self)))?)
    }

    /// The names in it that are text.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let call = || format!("getdents64({})", Shown(self));
        let own = rooted::open(self, b".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
        let mut dir = nix::dir::Dir::from_fd(own).call(call)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            names.extend(entry.call(call)?.file_name().to_str().map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }
}

/// A small file of /proc or /sys as text, without the line's end.
pub(crate) fn read_line(path: &str) -> Result<String, CallError> {
    let text = std::fs::read_to_string(path).call(|| format!("open(\"{path}\", O_RDONLY)"))?;
    Ok(text.trim_end().to_owned())
}

/// Random bytes of the kernel.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CallError> {
    let path = "/dev/urandom";
    let mut bytes = [0; N];
    let mut file = File::open(path).call(|| format!("open(\"{path}\", O_RDONLY)"))?;
    file.read_exact(&mut bytes).call(|| format!("read({path})"))?;
    Ok(bytes)
}

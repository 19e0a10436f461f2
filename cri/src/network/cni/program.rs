//! Finding the program of a plugin: opened beneath a plugin directory, executed by descriptor.
//!
//! Source: CVE-2021-20206 (a type that leads out of the directory executes any program).

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use runtime::rooted::{Quoted, Shown};
use runtime::sys::{Call, CallError};

use super::error::Fault;
use super::name::PluginType;

/// A program as it is installed at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Installed {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

/// An open program.
#[derive(Debug)]
pub(crate) struct Program {
    file: File,
    path: PathBuf,
}

impl Program {
    /// Looks for the plugin in the directories, in order.
    pub(crate) fn find(kind: &PluginType, dirs: &[PathBuf]) -> Result<Self, Fault> {
        for dir in dirs {
            if let Some(file) = open_in(dir, kind)? {
                return Self::fit(file, dir.join(kind.as_str()));
            }
        }
        Err(Fault::NotFound(dirs.to_vec()))
    }

    fn fit(file: File, path: PathBuf) -> Result<Self, Fault> {
        let metadata = file.metadata().call(|| format!("fstat({})", Shown(&file)))?;
        let reason = if !metadata.is_file() {
            "is not a regular file"
        } else if metadata.mode() & 0o111 == 0 {
            "is not executable; chmod +x it"
        } else if metadata.mode() & 0o002 != 0 {
            "may be written by every user, and would be executed as root; chmod o-w it"
        } else {
            return Ok(Self { file, path });
        };
        Err(Fault::Unfit { path: path.display().to_string(), reason: reason.to_owned() })
    }

    /// The path to execute: our own descriptor, which stays what it is when somebody replaces the file, and which the
    /// interpreter of a script can open although it is closed in the plugin.
    pub(crate) fn executable(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }

    /// Which file it is, and of which time: another after it was installed anew.
    pub(crate) fn identity(&self) -> Result<Installed, Fault> {
        let metadata = self.file.metadata().call(|| format!("fstat({})", Shown(&self.file)))?;
        Ok(Installed {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Where it was found: argv[0].
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The program in one directory; `None`: neither there, nor the directory.
fn open_in(dir: &Path, kind: &PluginType) -> Result<Option<File>, Fault> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = nix::fcntl::open(dir, flags, Mode::empty());
    let dir_fd = match opened {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => {
            use std::os::unix::ffi::OsStrExt;
            let call = format!("open({}, O_PATH|O_DIRECTORY)", Quoted(dir.as_os_str().as_bytes()));
            return Err(CallError { call, errno }.into());
        }
    };
    // Links to other names in the directory are how some packages install one program under many names.
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(&dir_fd, kind.as_str(), how) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::EXDEV) => Err(Fault::Unfit {
            path: dir.join(kind.as_str()).display().to_string(),
            reason: "is a link that leads out of the plugin directory; add the directory it leads to instead"
                .to_owned(),
        }),
        Err(errno) => Err(CallError { call: format!("openat2({}, \"{kind}\", O_PATH)", Shown(&dir_fd)), errno }.into()),
    }
}

//! How much of the disk a folder takes: what du(1) says.
//!
//! Blocks, not bytes; a file with several names counts once; other file systems below do not count. Neither memory nor
//! descriptors grow with the depth: what containers write may be deeper than any path is long. Memory has a bound; beyond it the
//! figures are a little too small.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::ops::{Add, AddAssign};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use runtime::rooted::{Quoted, Shown};
use runtime::sys::{Call, CallError};
use serde::{Deserialize, Serialize};

/// The unit of `st_blocks`: stat(2).
const BLOCK: u64 = 512;

/// How often counting begins again when folders were moved meanwhile.
const TRIES: usize = 5;

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// How many files with several names are remembered; of those beyond, each name counts its share.
const REMEMBERED: usize = 1 << 20;

/// How many names of folders are held at a time; those beyond are counted, but not entered.
const HELD: usize = 1 << 20;

/// What a folder takes, itself included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes on the disk.
    pub bytes: u64,
    /// Files, folders and everything else with an inode.
    pub inodes: u64,
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage { bytes: self.bytes + other.bytes, inodes: self.inodes + other.inodes }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        *self = *self + other;
    }
}

/// Bytes on the disk of a folder with everything in it; of a file, its own; 0 if there is nothing.
///
/// # Errors
/// The kernel's answer; `ESTALE` if folders were moved again and again meanwhile.
pub fn usage(path: &Path) -> Result<u64, CallError> {
    Ok(count(path)?.bytes)
}

/// The same with the number of inodes.
///
/// # Errors
/// As [`usage`].
pub fn count(path: &Path) -> Result<Usage, CallError> {
    let shown = || format!("{}", Quoted(path.as_os_str().as_bytes()));
    match open(path, FOLDER, Mode::empty()) {
        Ok(folder) => count_of(&folder),
        Err(Errno::ENOENT) => Ok(Usage::default()),
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            let stat = nix::sys::stat::lstat(path).call(|| format!("lstat({})", shown()))?;
            Ok(Usage { bytes: blocks(&stat), inodes: 1 })
        }
        Err(errno) => Err(CallError { call: format!("open({}, O_DIRECTORY)", shown()), errno }),
    }
}

/// The same for an open folder.
///
/// # Errors
/// As [`usage`].
pub fn usage_of(folder: &impl AsFd) -> Result<u64, CallError> {
    Ok(count_of(folder)?.bytes)
}

/// The same with the number of inodes.
///
/// # Errors
/// As [`usage`].
pub fn count_of(folder: &impl AsFd) -> Result<Usage, CallError> {
    for _ in 0..TRIES {
        if let Some(usage) = Walk::new(folder)?.run()? {
            return Ok(usage);
        }
    }
    Err(CallError { call: format!("openat({}, \"..\")", Shown(folder)), errno: Errno::ESTALE })
}

/// Bytes on the disk of one object.
pub(crate) fn blocks(stat: &FileStat) -> u64 {
    stat.st_blocks.unsigned_abs() * BLOCK
}

/// A folder on the way down.
struct Level {
    inode: u64,
    /// Folders in it that are not counted yet.
    waiting: Vec<CString>,
}

struct Walk {
    /// The folder of the last level.
    at: OwnedFd,
    device: u64,
    levels: Vec<Level>,
    /// Files with several names that were counted.
    seen: HashSet<u64>,
    /// Names in all levels.
    held: usize,
    usage: Usage,
}

impl Walk {
    fn new(folder: &impl AsFd) -> Result<Walk, CallError> {
        let at = down(folder, c".")?;
        let stat = stat_of(&at)?;
        let usage = Usage { bytes: blocks(&stat), inodes: 1 };
        let mut walk = Walk { at, device: stat.st_dev, levels: Vec::new(), seen: HashSet::new(), held: 0, usage };
        walk.enter(stat.st_ino)?;
        Ok(walk)
    }

    /// Counts; `None`: a folder on the way is somewhere else now.
    fn run(mut self) -> Result<Option<Usage>, CallError> {
        while let Some(level) = self.levels.last_mut() {
            if let Some(name) = level.waiting.pop() {
                self.held -= 1;
                match down(&self.at, &name) {
                    Ok(folder) => self.at = folder,
                    // Removed, or replaced by something else: it is not there any more.
                    Err(CallError { errno: Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP, .. }) => continue,
                    Err(error) => return Err(error),
                }
                let stat = stat_of(&self.at)?;
                self.enter(stat.st_ino)?;
                continue;
            }
            self.levels.pop();
            let Some(parent) = self.levels.last() else { break };
            let up = down(&self.at, c"..")?;
            let stat = stat_of(&up)?;
            if (stat.st_dev, stat.st_ino) != (self.device, parent.inode) {
                return Ok(None);
            }
            self.at = up;
        }
        Ok(Some(self.usage))
    }

    /// Counts what is in the present folder, itself aside.
    fn enter(&mut self, inode: u64) -> Result<(), CallError> {
        let mut waiting = Vec::new();
        let call = || format!("getdents64({})", Shown(&self.at));
        let mut listing = nix::dir::Dir::from_fd(down(&self.at, c".")?).call(call)?;
        for entry in listing.iter() {
            let entry = entry.call(call)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = match fstatat(&self.at, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::ENOENT) => continue,
                Err(errno) => {
                    let call = format!("fstatat({}, {})", Shown(&self.at), Quoted(name.to_bytes()));
                    return Err(CallError { call, errno });
                }
            };
            if stat.st_dev != self.device {
                continue;
            }
            let is_dir = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
            if is_dir {
                if self.held < HELD {
                    waiting.push(name.to_owned());
                    self.held += 1;
                }
            } else if stat.st_nlink > 1 && !self.seen.contains(&stat.st_ino) {
                if self.seen.len() == REMEMBERED {
                    self.usage.bytes += blocks(&stat) / stat.st_nlink;
                    continue;
                }
                self.seen.insert(stat.st_ino);
            } else if stat.st_nlink > 1 {
                continue;
            }
            self.usage.bytes += blocks(&stat);
            self.usage.inodes += 1;
        }
        self.levels.push(Level { inode, waiting });
        Ok(())
    }
}

fn down(folder: &impl AsFd, name: &CStr) -> Result<OwnedFd, CallError> {
    let call = || format!("openat({}, {}, O_DIRECTORY|O_NOFOLLOW)", Shown(folder), Quoted(name.to_bytes()));
    openat(folder, name, FOLDER, Mode::empty()).call(call)
}

fn stat_of(folder: &OwnedFd) -> Result<FileStat, CallError> {
    fstat(folder).call(|| format!("fstat({})", Shown(folder)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    fn du(path: &Path) -> u64 {
        let output = Command::new("du").args(["-s", "--block-size=1"]).arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn as_du_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        for number in 0..50 {
            let folder = root.join(format!("{number}/a/b"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("file"), vec![1; number * 997]).unwrap();
            fs::hard_link(folder.join("file"), root.join(format!("link-{number}"))).unwrap();
        }
        let sparse = fs::File::create_new(root.join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink("/", root.join("symlink")).unwrap();
        assert_eq!(usage(root).unwrap(), du(root));
        // The root, 50 times three folders and a file of two names, the two others.
        assert_eq!(count(root).unwrap().inodes, 1 + 50 * 4 + 2);
        assert_eq!(usage(&root.join("3/a/b/file")).unwrap(), 4096);
        assert_eq!(usage(&root.join("symlink")).unwrap(), 0);
        assert_eq!(usage(&root.join("none")).unwrap(), 0);
    }

    #[test]
    fn deeper_than_any_path() {
        let scratch = tempfile::tempdir().unwrap();
        let mut at: OwnedFd = fs::File::open(scratch.path()).unwrap().into();
        let name = CString::new("n".repeat(200)).unwrap();
        for _ in 0..1500 {
            nix::sys::stat::mkdirat(&at, name.as_c_str(), Mode::S_IRWXU).unwrap();
            at = down(&at, &name).unwrap();
        }
        assert_eq!(usage(scratch.path()).unwrap(), du(scratch.path()));
    }
}

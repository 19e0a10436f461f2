//! Compares an unpacked layer with what its archive unpacks to now, name by name.
//!
//! ```text
//!  blob ─▶ unpack, contents only noted ─▶ expected ┐
//!                                                  ├─▶ kind, mode, owner, time, attributes, size, contents, links
//!                           layers/HEX/fs ─▶ found ┘
//! ```
//!
//! What was compared is removed from `expected`. So no list of what is done is needed, and neither memory nor
//! descriptors grow with the layer. `found` is only read.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag, major, minor};
use nix::unistd::{Whence, lseek64};
use runtime::rooted::{self, Shown};
use runtime::sys::{Call, CallError, xattr};

use super::super::dir::{Dir, is_dir};
use super::super::error::{Error, Escaped};
use super::super::unpack::{ContentHash, Records, is_taken};

/// How many differences of one layer are described.
const SHOWN: usize = 10;

/// What is different in a layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// The first ones.
    shown: Vec<String>,
    /// All.
    count: u64,
}

impl Differences {
    fn add(&mut self, path: &[u8], what: impl Into<String>) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(format!("{} {}", Escaped(path), what.into()));
        }
    }

    /// Adds something that is about the layer as a whole.
    pub(crate) fn note(&mut self, what: String) {
        self.count += 1;
        self.shown.push(what);
    }

    /// All in one line; `None`: nothing is different.
    pub(crate) fn describe(&self) -> Option<String> {
        let more = self.count - self.shown.len() as u64;
        match (self.shown.as_slice(), more) {
            ([], _) => None,
            (shown, 0) => Some(shown.join("; ")),
            (shown, more) => Some(format!("{}; and {more} more", shown.join("; "))),
        }
    }
}

/// Compares `found` with `expected`, which is empty afterwards.
///
/// # Errors
/// `expected` cannot be read. What cannot be read in `found` is a difference.
pub(crate) fn compare(expected: &Dir, found: &Dir, records: &Records) -> Result<Differences, Error> {
    let mut comparison = Comparison { expected, found, records, path: Vec::new(), differences: Differences::default() };
    comparison.run()?;
    Ok(comparison.differences)
}

struct Comparison<'c> {
    expected: &'c Dir,
    found: &'c Dir,
    records: &'c Records,
    /// The folder that is being compared.
    path: Vec<u8>,
    differences: Differences,
}

/// A folder in both trees.
struct Pair {
    expected: Dir,
    found: Dir,
}

impl Comparison<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let root = Pair { expected: open(self.expected, b"")?, found: open(self.found, b"")? };
        self.attributes(&root.expected.stat()?, &root.found.stat()?);
        self.same_xattrs(b"", &attributes_of(&root.expected)?, attributes_of(&root.found));
        self.extra(&root)?;
        let mut pair = Some(root);
        while let Some(folder) = pair {
            pair = match self.first_folder(&folder)? {
                Some(name) => self.enter(&folder, name)?,
                None => self.leave()?,
            };
        }
        Ok(())
    }

    /// Compares what is no folder, up to the first folder, whose name it gives.
    fn first_folder(&mut self, folder: &Pair) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let mut any = false;
            let sub = folder.expected.scan(|name, is_dir| {
                if is_dir {
                    return Ok(ControlFlow::Break(name.to_vec()));
                }
                any = true;
                self.object(folder, name)?;
                folder.expected.unlink(name)?;
                Ok(ControlFlow::Continue(()))
            })?;
            // A listing may miss names while others are removed.
            if sub.is_some() || !any {
                return Ok(sub);
            }
        }
    }

    fn enter(&mut self, parent: &Pair, name: Vec<u8>) -> Result<Option<Pair>, Error> {
        let length = self.path.len();
        if length > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&name);
        let expected = parent.expected.sub_bytes(&name)?;
        let stat = expected.stat()?;
        let opened = match parent.found.stat_of(&name) {
            Ok(None) => Err("is missing".to_owned()),
            Ok(Some(found)) if !is_dir(&found) => Err(format!("is a {}, not a folder", kind(&found))),
            Ok(Some(found)) => {
                self.attributes(&stat, &found);
                parent.found.sub_bytes(&name).map_err(|error| format!("cannot be read: {error}"))
            }
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        match opened {
            Ok(found) => {
                let path = self.path.clone();
                self.same_xattrs(&path, &attributes_of(&expected)?, attributes_of(&found));
                let pair = Pair { expected, found };
                self.extra(&pair)?;
                Ok(Some(pair))
            }
            Err(what) => {
                self.differences.add(&self.path, what);
                expected.clear()?;
                parent.expected.remove_dir(&name)?;
                self.path.truncate(length);
                self.reopen().map(Some)
            }
        }
    }

    /// Goes up one folder; the one that was compared is empty.
    fn leave(&mut self) -> Result<Option<Pair>, Error> {
        if self.path.is_empty() {
            return Ok(None);
        }
        let slash = self.path.iter().rposition(|byte| *byte == b'/');
        let name = self.path.split_off(slash.map_or(0, |slash| slash + 1));
        if slash.is_some() {
            self.path.pop();
        }
        let pair = self.reopen()?;
        pair.expected.remove_dir(&name)?;
        Ok(Some(pair))
    }

    fn reopen(&self) -> Result<Pair, Error> {
        Ok(Pair { expected: open(self.expected, &self.path)?, found: open(self.found, &self.path)? })
    }

    /// Names that the archive does not have.
    fn extra(&mut self, folder: &Pair) -> Result<(), Error> {
        let mut extra = Vec::new();
        let listed = folder.found.each(|name, _| {
            if folder.expected.stat_of(name)?.is_none() {
                match extra.len() < SHOWN {
                    true => extra.push(name.to_vec()),
                    false => self.differences.count += 1,
                }
            }
            Ok(())
        });
        for name in extra {
            let path = self.join(&name);
            self.differences.add(&path, "is not in the archive");
        }
        if let Err(error) = listed {
            self.differences.add(&self.path, format!("cannot be read: {error}"));
        }
        Ok(())
    }

    fn join(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [&self.path[..], b"/", name].concat() }
    }

    /// Compares one object that is no folder.
    fn object(&mut self, folder: &Pair, name: &[u8]) -> Result<(), Error> {
        let path = self.join(name);
        let expected = folder.expected.stat_of(name)?;
        let expected = expected.ok_or_else(|| CallError {
            call: format!("fstatat({}, {})", Shown(&folder.expected), rooted::Quoted(name)),
            errno: Errno::ENOENT,
        })?;
        let found = match folder.found.stat_of(name) {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.differences.add(&path, "is missing");
                return Ok(());
            }
            Err(error) => {
                self.differences.add(&path, format!("cannot be read: {error}"));
                return Ok(());
            }
        };
        if kind(&expected) != kind(&found) {
            self.differences.add(&path, format!("is a {}, not a {}", kind(&found), kind(&expected)));
            return Ok(());
        }
        if is_device(&expected) && expected.st_rdev != found.st_rdev {
            let numbers = |stat: &FileStat| format!("{}:{}", major(stat.st_rdev), minor(stat.st_rdev));
            let what = format!("has device number {}, not {}", numbers(&found), numbers(&expected));
            self.differences.add(&path, what);
        }
        // A whiteout is nothing but itself: it has the time at which it was made.
        if is_device(&expected) && expected.st_rdev == 0 {
            return Ok(());
        }
        let within = std::mem::replace(&mut self.path, path.clone());
        self.attributes(&expected, &found);
        self.path = within;
        let names = |dir: &Dir| xattrs_at(dir, name);
        self.same_xattrs(&path, &names(&folder.expected)?, names(&folder.found));
        match kind(&expected) {
            LINK => self.link_target(folder, name, &path),
            FILE => self.file(folder, name, &path, &expected, &found),
            _ => Ok(()),
        }
    }

    fn link_target(&mut self, folder: &Pair, name: &[u8], path: &[u8]) -> Result<(), Error> {
        let read =
            |dir: &Dir| readlinkat(dir, name).call(|| format!("readlinkat({}, {})", Shown(dir), rooted::Quoted(name)));
        let expected = read(&folder.expected)?;
        match read(&folder.found) {
            Ok(found) if found == expected => {}
            Ok(found) => {
                let what = format!("points to {}, not to {}", Escaped(found.as_bytes()), Escaped(expected.as_bytes()));
                self.differences.add(path, what);
            }
            Err(error) => self.differences.add(path, format!("cannot be read: {error}")),
        }
        Ok(())
    }

    /// Size, other names and contents. The record of a file is found by the length of its stand-in.
    fn file(
        &mut self,
        folder: &Pair,
        name: &[u8],
        path: &[u8],
        expected: &FileStat,
        found: &FileStat,
    ) -> Result<(), Error> {
        let number = expected.st_size.unsigned_abs();
        let record = self.records.get(number)?;
        let names = record.names + expected.st_nlink;
        self.records.put(
            number,
            &super::super::unpack::Record { inode: found.st_ino, names: record.names + 1, ..record.clone() },
        )?;
        if found.st_nlink != names {
            self.differences.add(path, format!("has {} names, not {names}", found.st_nlink));
        }
        if record.names > 0 {
            // Its contents were compared under another name.
            if record.inode != found.st_ino {
                self.differences.add(path, "is not the same file as under its other names");
            }
            return Ok(());
        }
        if found.st_size.unsigned_abs() != record.size {
            self.differences.add(path, format!("has {} bytes, not {}", found.st_size, record.size));
            return Ok(());
        }
        let hash = folder.found.open_file(name).and_then(|file| match file {
            Some(file) => Ok(Some(hash_of(&file)?)),
            None => Ok(None),
        });
        match hash {
            Ok(Some(hash)) if hash == record.hash => {}
            Ok(Some(_)) => self.differences.add(path, "has other contents"),
            Ok(None) => self.differences.add(path, "is missing"),
            Err(error) => self.differences.add(path, format!("cannot be read: {error}")),
        }
        Ok(())
    }

    /// Owner, time, and where there are any, permissions; of the object at `self.path`.
    fn attributes(&mut self, expected: &FileStat, found: &FileStat) {
        let mode = |stat: &FileStat| stat.st_mode & 0o7777;
        if kind(expected) != LINK && mode(expected) != mode(found) {
            self.differences.add(&self.path, format!("has mode {:04o}, not {:04o}", mode(found), mode(expected)));
        }
        if (expected.st_uid, expected.st_gid) != (found.st_uid, found.st_gid) {
            let owner = |stat: &FileStat| format!("{}:{}", stat.st_uid, stat.st_gid);
            self.differences.add(&self.path, format!("belongs to {}, not to {}", owner(found), owner(expected)));
        }
        if (expected.st_mtime, expected.st_mtime_nsec) != (found.st_mtime, found.st_mtime_nsec) {
            let time = |stat: &FileStat| format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec);
            self.differences.add(&self.path, format!("is from {}, not from {}", time(found), time(expected)));
        }
    }

    fn same_xattrs(&mut self, path: &[u8], expected: &Xattrs, found: Result<Xattrs, Error>) {
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.differences.add(path, format!("has attributes that cannot be read: {error}")),
        };
        for (name, value) in expected {
            match found.get(name) {
                Some(other) if other == value => {}
                Some(_) => self.differences.add(path, format!("has another value of the attribute {name:?}")),
                None => self.differences.add(path, format!("has no attribute {name:?}")),
            }
        }
        for name in found.keys().filter(|name| !expected.contains_key(*name)) {
            self.differences.add(path, format!("has the attribute {name:?}, which is not in the archive"));
        }
    }
}

type Xattrs = BTreeMap<CString, Vec<u8>>;

/// The attributes that an archive gives, and those that steer overlayfs. Others are the host's.
fn counts(name: &CString) -> bool {
    let bytes = name.as_bytes();
    is_taken(bytes) || bytes.starts_with(b"trusted.overlay.") || bytes.starts_with(b"user.overlay.")
}

fn attributes_of(dir: &Dir) -> Result<Xattrs, Error> {
    let mut found = Xattrs::new();
    for name in xattr::flist(dir).call(|| format!("flistxattr({})", Shown(dir)))? {
        if counts(&name) {
            let value = xattr::fget(dir, &name).call(|| format!("fgetxattr({}, {name:?})", Shown(dir)))?;
            found.extend(value.map(|value| (name, value)));
        }
    }
    Ok(found)
}

fn xattrs_at(dir: &Dir, leaf: &[u8]) -> Result<Xattrs, Error> {
    let shown = || format!("{}, {}", Shown(dir), rooted::Quoted(leaf));
    let mut found = Xattrs::new();
    for name in xattr::list_at(dir, leaf).call(|| format!("llistxattr({})", shown()))? {
        if counts(&name) {
            let value = xattr::get_at(dir, leaf, &name).call(|| format!("lgetxattr({}, {name:?})", shown()))?;
            found.extend(value.map(|value| (name, value)));
        }
    }
    Ok(found)
}

/// Hashes a file, holes left out.
fn hash_of(file: &File) -> Result<[u8; 32], Error> {
    let mut hash = ContentHash::new();
    let mut buffer = vec![0; 128 << 10];
    let mut end = 0;
    loop {
        let start = match lseek64(file, end, Whence::SeekData) {
            Ok(start) => start,
            // Nothing but a hole follows.
            Err(Errno::ENXIO) => return Ok(hash.finish()),
            Err(errno) => {
                return Err(CallError { call: format!("lseek({}, {end}, SEEK_DATA)", Shown(file)), errno }.into());
            }
        };
        end = lseek64(file, start, Whence::SeekHole).call(|| format!("lseek({}, {start}, SEEK_HOLE)", Shown(file)))?;
        lseek64(file, start, Whence::SeekSet).call(|| format!("lseek({}, {start}, SEEK_SET)", Shown(file)))?;
        let mut at = start.unsigned_abs();
        let mut piece = file.take((end - start).unsigned_abs());
        loop {
            let length = piece.read(&mut buffer).call(|| format!("read({})", Shown(file)))?;
            if length == 0 {
                break;
            }
            hash.add(at, &buffer[..length]);
            at += length as u64;
        }
    }
}

fn open(root: &Dir, path: &[u8]) -> Result<Dir, CallError> {
    if path.is_empty() { root.sub_bytes(b".") } else { root.sub_bytes(path) }
}

const FILE: &str = "file";
const LINK: &str = "symbolic link";

fn kind(stat: &FileStat) -> &'static str {
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => FILE,
        SFlag::S_IFDIR => "folder",
        SFlag::S_IFLNK => LINK,
        SFlag::S_IFCHR => "character device",
        SFlag::S_IFBLK => "block device",
        SFlag::S_IFIFO => "pipe",
        SFlag::S_IFSOCK => "socket",
        _ => "object of an unknown kind",
    }
}

fn is_device(stat: &FileStat) -> bool {
    matches!(kind(stat), "character device" | "block device")
}

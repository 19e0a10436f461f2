//! Makes the entries of one layer beneath the handle of its folder.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, makedev, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, linkat, symlinkat, unlinkat};
use runtime::rooted::{self, Quoted, Shown};
use runtime::sys::{Call, CallError, xattr};

use super::super::dir::{Dir, is_dir};
use super::super::error::{EntryFault, Error};
use super::super::limits::Limits;
use super::super::tar::{Entry, Kind, Piece, Reader};
use super::attributes::{self, Attributes, OPAQUE};
use super::contents::{ContentHash, Contents};
use super::path::{EntryPath, Marker, marker};
use super::stream::own_error;
use super::{Unpacked, tar_error};

/// Largest device numbers that fit the kernel's `dev_t`; larger ones would silently become others.
const MAJOR_MAX: u64 = 0xfff;
const MINOR_MAX: u64 = 0xf_ffff;

/// A layer while it is being unpacked.
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    trash: &'a Dir,
    limits: &'a Limits,
    contents: Contents<'a>,
    /// The folder that the last entry was made in. Only this one may have a modification time that is not its own;
    /// leaving it puts the time right, so nothing must be remembered until the end.
    folder: Option<Folder>,
    implied: BTreeSet<Vec<u8>>,
    implied_bytes: usize,
    /// Some folder has an access list that new objects inherit.
    default_acls: bool,
    thrown_away: u64,
    done: Unpacked,
    buffer: Vec<u8>,
}

struct Folder {
    path: Vec<u8>,
    fd: OwnedFd,
    mtime: TimeSpec,
}

impl<'a> Tree<'a> {
    pub(super) fn new(
        root: BorrowedFd<'a>,
        trash: &'a Dir,
        limits: &'a Limits,
        contents: Contents<'a>,
    ) -> Result<Tree<'a>, Error> {
        let mut tree = Tree {
            root,
            trash,
            limits,
            contents,
            folder: None,
            implied: BTreeSet::new(),
            implied_bytes: 0,
            default_acls: false,
            thrown_away: 0,
            done: Unpacked::default(),
            buffer: vec![0; 128 << 10],
        };
        // Like any folder without an entry of its own, until the archive says otherwise.
        make_plain(root)?;
        tree.imply(b"")?;
        Ok(tree)
    }

    /// Makes one entry; its data is read from `data`.
    pub(super) fn add<R: Read>(&mut self, entry: Entry, data: &mut Reader<R>) -> Result<(), Error> {
        self.count()?;
        let added = match EntryPath::parse(&entry.path) {
            Ok(path) => self.add_checked(&entry, &path, data),
            Err(fault) => Err(Failure::Entry(fault)),
        };
        added.map_err(|failure| match failure {
            Failure::Entry(fault) => Error::Entry { path: entry.path, fault },
            Failure::Whole(error) => error,
        })
    }

    pub(super) fn finish(mut self) -> Result<Unpacked, Error> {
        self.leave_folder()?;
        self.done.implied = self.implied.into_iter().collect();
        Ok(self.done)
    }

    fn add_checked<R: Read>(&mut self, entry: &Entry, path: &EntryPath, data: &mut Reader<R>) -> Done {
        if path.is_root() {
            return self.root_entry(entry);
        }
        let (folder, leaf) = path.split();
        match marker(path)? {
            Marker::Aufs => return Ok(()),
            Marker::Opaque | Marker::Whiteout(_) if !matches!(entry.kind, Kind::File { .. } | Kind::HardLink) => {
                return Err(EntryFault::WhiteoutKind.into());
            }
            Marker::Opaque => {
                self.enter(folder)?;
                return self.make_opaque();
            }
            Marker::Whiteout(name) => {
                self.enter(folder)?;
                return self.whiteout(name);
            }
            Marker::None => {}
        }
        let attributes = Attributes::of(entry)?;
        self.enter(folder)?;
        self.done.dropped_xattrs += attributes.dropped;
        match &entry.kind {
            Kind::Directory => self.directory(path, &attributes),
            Kind::File { size, pieces } => {
                let file = self.create_file(path)?;
                self.clear_inherited(leaf)?;
                self.fill(&file, *size, pieces.as_deref(), data)?;
                self.done.dropped_xattrs += attributes.apply(&file)?;
                Ok(())
            }
            Kind::HardLink => self.hard_link(path, entry.link.as_deref()),
            Kind::Symlink => {
                let target = OsStr::from_bytes(entry.link.as_deref().ok_or(EntryFault::NoTarget)?);
                if target.is_empty() {
                    return Err(EntryFault::NoTarget.into());
                }
                self.create(path, |folder, leaf| symlinkat(target, folder, leaf), "symlinkat")?;
                self.finish_special(leaf, &attributes, true)
            }
            Kind::Fifo => self.special(path, SFlag::S_IFIFO, (0, 0), &attributes),
            Kind::BlockDevice(major, minor) => self.special(path, SFlag::S_IFBLK, (*major, *minor), &attributes),
            Kind::CharacterDevice(0, 0) => Err(EntryFault::RawWhiteout.into()),
            Kind::CharacterDevice(major, minor) => self.special(path, SFlag::S_IFCHR, (*major, *minor), &attributes),
        }
    }

    fn root_entry(&mut self, entry: &Entry) -> Done {
        if entry.kind != Kind::Directory {
            return Err(EntryFault::RootKind.into());
        }
        let attributes = Attributes::of(entry)?;
        self.leave_folder()?;
        self.describe(b"");
        self.default_acls |= attributes.has_default_acl();
        self.done.dropped_xattrs += attributes.dropped + attributes.apply(self.root)?;
        Ok(())
    }

    fn directory(&mut self, path: &EntryPath, attributes: &Attributes) -> Done {
        let (_, leaf) = path.split();
        let existing = self.stat(leaf)?;
        if !existing.as_ref().is_some_and(is_dir) {
            self.new_folder(path, existing.as_ref())?;
            self.clear_inherited(leaf)?;
        }
        let fd = open_folder(self.current(), leaf)?;
        self.describe(path.as_bytes());
        self.default_acls |= attributes.has_default_acl();
        self.done.dropped_xattrs += attributes.apply(&fd)?;
        Ok(())
    }

    /// Makes a folder where there is none; over a whiteout it becomes opaque, because what it hid stays hidden.
    fn new_folder(&mut self, path: &EntryPath, existing: Option<&FileStat>) -> Done {
        let (_, leaf) = path.split();
        let hides = existing.is_some_and(is_whiteout);
        if existing.is_some() {
            self.displace(path)?;
        }
        let folder = self.current();
        mkdirat(folder, leaf, Mode::S_IRWXU).call(|| format!("mkdirat({}, {})", Shown(&folder), Quoted(leaf)))?;
        if hides {
            set_opaque(&open_folder(folder, leaf)?)?;
        }
        Ok(())
    }

    fn hard_link(&mut self, path: &EntryPath, target: Option<&[u8]>) -> Done {
        let target = target.filter(|target| !target.is_empty()).ok_or(EntryFault::NoTarget)?;
        let target = EntryPath::parse(target).map_err(|fault| EntryFault::LinkName(Box::new(fault)))?;
        if target == *path {
            return Err(EntryFault::LinkSelf.into());
        }
        let (target_folder, target_leaf) = target.split();
        let missing = || EntryFault::LinkTarget(target.as_bytes().to_vec());
        let source = match open_beneath(self.root, target_folder) {
            Ok(fd) => fd,
            Err(CallError { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Err(missing().into()),
            Err(CallError { errno: Errno::ELOOP, .. }) => {
                return Err(EntryFault::LinkName(Box::new(EntryFault::ThroughSymlink)).into());
            }
            Err(error) => return Err(error.into()),
        };
        let stat = match fstatat(&source, target_leaf, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(_) => return Err(missing().into()),
        };
        if is_dir(&stat) || is_whiteout(&stat) {
            return Err(EntryFault::LinkKind(target.as_bytes().to_vec()).into());
        }
        self.create(path, |folder, leaf| linkat(&source, target_leaf, folder, leaf, AtFlags::empty()), "linkat")
    }

    fn special(&mut self, path: &EntryPath, kind: SFlag, device: (u64, u64), attributes: &Attributes) -> Done {
        let (_, leaf) = path.split();
        for (what, value, allowed) in [("device major", device.0, MAJOR_MAX), ("device minor", device.1, MINOR_MAX)] {
            if value > allowed {
                return Err(EntryFault::Number { what, value, allowed }.into());
            }
        }
        let number = makedev(device.0, device.1);
        self.create(path, |folder, leaf| mknodat(folder, leaf, kind, Mode::S_IRUSR, number), "mknodat")?;
        self.finish_special(leaf, attributes, false)
    }

    fn finish_special(&mut self, leaf: &[u8], attributes: &Attributes, is_link: bool) -> Done {
        if !is_link {
            self.clear_inherited(leaf)?;
        }
        self.done.dropped_xattrs += attributes.apply_at(self.current(), leaf, is_link)?;
        Ok(())
    }

    fn whiteout(&mut self, name: &[u8]) -> Done {
        // A whiteout is about the layers below: what this layer has under the name stays, and hides a file by itself.
        match self.stat(name)? {
            Some(stat) if is_dir(&stat) => Ok(set_opaque(&open_folder(self.current(), name)?)?),
            Some(_) => Ok(()),
            None => {
                let folder = self.current();
                mknodat(folder, name, SFlag::S_IFCHR, Mode::empty(), 0)
                    .call(|| format!("mknodat({}, {}, S_IFCHR, 0:0)", Shown(&folder), Quoted(name)))?;
                Ok(())
            }
        }
    }

    fn make_opaque(&mut self) -> Done {
        match &self.folder {
            Some(folder) if folder.path.is_empty() => self.done.opaque_root = true,
            _ => set_opaque(&self.current())?,
        }
        Ok(())
    }

    fn create_file(&mut self, path: &EntryPath) -> Result<File, Failure> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let (_, leaf) = path.split();
        let open = |folder: BorrowedFd<'_>| rooted::open(folder, leaf, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        match open(self.current()) {
            Err(CallError { errno: Errno::EEXIST, .. }) => {
                self.displace(path)?;
                Ok(File::from(open(self.current())?))
            }
            other => Ok(File::from(other?)),
        }
    }

    /// Makes an object with a call that refuses to replace; what stood there goes first, as later entries win.
    fn create(
        &mut self,
        path: &EntryPath,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> nix::Result<()>,
        name: &str,
    ) -> Done {
        let (_, leaf) = path.split();
        let call = |folder: BorrowedFd<'_>| format!("{name}({}, {})", Shown(&folder), Quoted(leaf));
        match make(self.current(), leaf) {
            Err(Errno::EEXIST) => {
                self.displace(path)?;
                let folder = self.current();
                Ok(make(folder, leaf).call(|| call(folder))?)
            }
            other => Ok(other.call(|| call(self.current()))?),
        }
    }

    /// Removes what stands at `path`: a folder goes to the trash as a whole, at once.
    fn displace(&mut self, path: &EntryPath) -> Done {
        let (_, leaf) = path.split();
        let folder = self.current();
        match unlinkat(folder, leaf, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR) => {}
            Err(errno) => {
                let call = format!("unlinkat({}, {})", Shown(&folder), Quoted(leaf));
                return Err(CallError { call, errno }.into());
            }
        }
        let name = format!("replaced-{}", self.thrown_away);
        nix::fcntl::renameat(folder, leaf, self.trash, name.as_str())
            .call(|| format!("renameat({}, {}, {})", Shown(&folder), Quoted(leaf), Shown(self.trash)))?;
        self.thrown_away += 1;
        self.forget_below(path.as_bytes());
        Ok(())
    }

    fn fill<R: Read>(&mut self, file: &File, size: u64, pieces: Option<&[Piece]>, data: &mut Reader<R>) -> Done {
        if size > self.limits.unpacked_bytes {
            let allowed = self.limits.unpacked_bytes;
            return Err(EntryFault::Number { what: "a size of", value: size, allowed }.into());
        }
        let whole = [Piece { offset: 0, length: size }];
        let pieces = pieces.unwrap_or(&whole);
        match self.contents {
            Contents::Written => {
                let mut output = file;
                let mut at = 0;
                for piece in pieces {
                    if piece.offset != at {
                        output.seek(SeekFrom::Start(piece.offset)).call(|| format!("lseek({})", Shown(file)))?;
                    }
                    at = piece.offset + piece.length;
                    self.copy(piece.length, data, |bytes, _| {
                        output.write_all(bytes).call(|| format!("write({})", Shown(file)))
                    })?;
                }
                // GNU tar ends a map with a piece of no bytes, which writes nothing.
                let written = pieces.iter().rfind(|piece| piece.length > 0);
                if written.is_none_or(|piece| piece.offset + piece.length < size) && size > 0 {
                    file.set_len(size).call(|| format!("ftruncate({}, {size})", Shown(file)))?;
                }
            }
            Contents::Recorded(records) => {
                let mut hash = ContentHash::new();
                for piece in pieces {
                    self.copy(piece.length, data, |bytes, at| {
                        hash.add(piece.offset + at, bytes);
                        Ok(())
                    })?;
                }
                let number = records.add(size, &hash.finish())?;
                file.set_len(number).call(|| format!("ftruncate({}, {number})", Shown(file)))?;
            }
        }
        Ok(())
    }

    /// Passes `size` bytes of data on, piece by piece, each with its place among them.
    fn copy<R: Read>(
        &mut self,
        size: u64,
        data: &mut Reader<R>,
        mut take: impl FnMut(&[u8], u64) -> Result<(), CallError>,
    ) -> Done {
        let mut done = 0;
        while done < size {
            let most = usize::try_from(size - done).unwrap_or(usize::MAX).min(self.buffer.len());
            let offset = data.position();
            let length = match data.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(Failure::Whole(tar_error(offset, super::super::tar::TarError::Truncated))),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Whole(read_error(offset, error))),
            };
            take(&self.buffer[..length], done)?;
            done += length as u64;
            self.done.bytes += length as u64;
        }
        Ok(())
    }

    /// Makes `path` the folder in which the next objects are made; folders on the way that are missing are made.
    fn enter(&mut self, path: &[u8]) -> Result<(), Failure> {
        if self.folder.as_ref().is_some_and(|folder| folder.path == path) {
            return Ok(());
        }
        let known = self.folder.as_ref().map_or(0, |folder| common_folder(&folder.path, path));
        self.leave_folder()?;
        match open_beneath(self.root, path) {
            Ok(fd) => return self.go_to(path, fd),
            // A whiteout on the way is ENOTDIR: what it hides gets a new folder in its place.
            Err(CallError { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => {}
            Err(CallError { errno: Errno::ELOOP, .. }) => return Err(EntryFault::ThroughSymlink.into()),
            Err(error) => return Err(error.into()),
        }
        let whole = EntryPath::parse(path)?;
        // What the last folder lies in is there.
        let mut upto = Vec::with_capacity(path.len());
        upto.extend_from_slice(&path[..known]);
        self.go_to(&upto, open_beneath(self.root, &upto)?)?;
        for part in whole.parts().skip(if known == 0 { 0 } else { upto.split(|byte| *byte == b'/').count() }) {
            if !upto.is_empty() {
                upto.push(b'/');
            }
            upto.extend_from_slice(part);
            self.enter_part(&upto)?;
        }
        Ok(())
    }

    /// One step further down from the present folder.
    fn enter_part(&mut self, upto: &[u8]) -> Result<(), Failure> {
        let path = EntryPath::parse(upto)?;
        let (_, leaf) = path.split();
        let existing = self.stat(leaf)?;
        let fd = match &existing {
            Some(stat) if is_dir(stat) => open_folder(self.current(), leaf)?,
            None => self.imply_folder(&path, None)?,
            Some(stat) if is_whiteout(stat) => self.imply_folder(&path, existing.as_ref())?,
            Some(stat) if stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFLNK.bits() => {
                return Err(EntryFault::ThroughSymlink.into());
            }
            Some(_) => return Err(EntryFault::BelowFile.into()),
        };
        self.leave_folder()?;
        self.go_to(upto, fd)
    }

    fn imply_folder(&mut self, path: &EntryPath, existing: Option<&FileStat>) -> Result<OwnedFd, Failure> {
        let (_, leaf) = path.split();
        self.new_folder(path, existing)?;
        self.clear_inherited(leaf)?;
        let fd = open_folder(self.current(), leaf)?;
        make_plain(fd.as_fd())?;
        self.count().and_then(|()| self.imply(path.as_bytes())).map_err(Failure::Whole)?;
        Ok(fd)
    }

    fn go_to(&mut self, path: &[u8], fd: OwnedFd) -> Result<(), Failure> {
        let stat = fstat(&fd).call(|| format!("fstat({})", Shown(&fd)))?;
        self.folder = Some(Folder { path: path.to_vec(), fd, mtime: TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec) });
        Ok(())
    }

    fn leave_folder(&mut self) -> Result<(), CallError> {
        match self.folder.take() {
            Some(folder) => attributes::set_mtime(folder.fd.as_fd(), &folder.mtime),
            None => Ok(()),
        }
    }

    fn current(&self) -> BorrowedFd<'_> {
        self.folder.as_ref().map_or(self.root, |folder| folder.fd.as_fd())
    }

    fn stat(&self, leaf: &[u8]) -> Result<Option<FileStat>, CallError> {
        let folder = self.current();
        match fstatat(folder, leaf, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(CallError { call: format!("fstatat({}, {})", Shown(&folder), Quoted(leaf)), errno }),
        }
    }

    fn clear_inherited(&self, leaf: &[u8]) -> Result<(), EntryFault> {
        if self.default_acls { attributes::remove_acls(self.current(), leaf) } else { Ok(()) }
    }

    fn count(&mut self) -> Result<(), Error> {
        self.done.entries += 1;
        if self.done.entries > self.limits.entries {
            return Err(Error::Limit { what: "archive".into(), allowed: self.limits.entries, unit: "entries" });
        }
        Ok(())
    }

    fn imply(&mut self, path: &[u8]) -> Result<(), Error> {
        self.implied_bytes += path.len() + IMPLIED_COST;
        if self.implied_bytes > self.limits.implied_bytes {
            let (what, allowed) = ("folders without an entry".into(), self.limits.implied_bytes as u64);
            return Err(Error::Limit { what, allowed, unit: "bytes of names" });
        }
        self.implied.insert(path.to_vec());
        Ok(())
    }

    fn describe(&mut self, path: &[u8]) {
        if self.implied.remove(path) {
            self.implied_bytes -= path.len() + IMPLIED_COST;
        }
    }

    fn forget_below(&mut self, path: &[u8]) {
        self.describe(path);
        let start = [path, b"/"].concat();
        let below: Vec<Vec<u8>> =
            self.implied.range(start.clone()..).take_while(|other| other.starts_with(&start)).cloned().collect();
        for other in below {
            self.describe(&other);
        }
    }
}

/// What a remembered name costs beside its bytes.
const IMPLIED_COST: usize = 64;

type Done = Result<(), Failure>;

/// Tells what is wrong with an entry from what ends the whole layer for another reason.
enum Failure {
    Entry(EntryFault),
    Whole(Error),
}

impl<F: Into<EntryFault>> From<F> for Failure {
    fn from(fault: F) -> Failure {
        Failure::Entry(fault.into())
    }
}

fn read_error(offset: u64, error: io::Error) -> Error {
    match own_error(error) {
        Ok(own) => own,
        Err(error) => match error.downcast() {
            Ok(fault) => tar_error(offset, fault),
            Err(error) => tar_error(offset, error.into()),
        },
    }
}

/// Length of the longest path that is `one` or above it, and also above `other` or that itself.
fn common_folder(one: &[u8], other: &[u8]) -> usize {
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let ends = |path: &[u8]| path.get(same).is_none_or(|byte| *byte == b'/');
    match ends(one) && ends(other) {
        true => same,
        false => one[..same].iter().rposition(|byte| *byte == b'/').unwrap_or(0),
    }
}

fn open_beneath(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, CallError> {
    rooted::open(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
}

fn open_folder(folder: BorrowedFd<'_>, leaf: &[u8]) -> Result<OwnedFd, CallError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    rooted::open(folder, leaf, flags, Mode::empty())
}

/// A folder without an entry: root's, 0755, from the epoch, so that the same layer always gives the same tree.
fn make_plain(fd: BorrowedFd<'_>) -> Result<(), CallError> {
    fchown(fd, Some(Uid::from_raw(0)), Some(Gid::from_raw(0))).call(|| format!("fchown({}, 0, 0)", Shown(&fd)))?;
    fchmod(fd, Mode::from_bits_truncate(0o755)).call(|| format!("fchmod({}, 0755)", Shown(&fd)))?;
    attributes::set_mtime(fd, &TimeSpec::new(0, 0))
}

fn set_opaque(fd: &impl AsFd) -> Result<(), CallError> {
    xattr::fset(fd, OPAQUE, b"y").call(|| format!("fsetxattr({}, {OPAQUE:?})", Shown(fd)))
}

fn is_whiteout(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits() && stat.st_rdev == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_in_common() {
        let rows: [(&[u8], &[u8], &[u8]); 9] = [
            (b"", b"usr", b""),
            (b"usr", b"", b""),
            (b"usr", b"usr/share", b"usr"),
            (b"usr/share", b"usr", b"usr"),
            (b"usr/share/doc", b"usr/share/doc-base", b"usr/share"),
            (b"usr/share/doc", b"usr/share/dpkg/info", b"usr/share"),
            (b"usr/lib", b"usr2/lib", b""),
            (b"a/b", b"a/b", b"a/b"),
            (b"etc", b"usr", b""),
        ];
        for (one, other, expected) in rows {
            assert_eq!(&one[..common_folder(one, other)], expected, "{} {}", Quoted(one), Quoted(other));
        }
    }
}

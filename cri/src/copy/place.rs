//! Making entries below a directory, never outside of it.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstatat, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat};
use runtime::root::{Links, open_in};
use runtime::rooted;
use runtime::spec::IdMapping;
use runtime::sys::{Call, CallError, xattr};

use super::{Content, Entry, Error, Kind, tree};

/// Most bytes that are copied of a file that claims to have none.
const UNSIZED_LIMIT: u64 = 16 << 20;

/// A directory that entries are put into.
pub struct Place {
    dir: OwnedFd,
    owner: Owner,
    /// Name that the top entry gets; `None`: it is the directory itself.
    top: Option<PathBuf>,
    /// Modes and times of directories, set when everything is in them.
    finish: Vec<(PathBuf, u32, (i64, i64))>,
}

/// Who owns the copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Who owned the originals.
    Same,
    /// The caller.
    Caller,
    /// Who the owners of the originals are in a user namespace.
    Mapped {
        /// Its users.
        uids: Vec<IdMapping>,
        /// Its groups.
        gids: Vec<IdMapping>,
    },
}

impl Owner {
    /// Who owns the copy; `None`: whoever makes it.
    fn of(&self, entry: &Entry) -> Option<(Uid, Gid)> {
        let (uid, gid) = match self {
            Owner::Same => (entry.uid, entry.gid),
            Owner::Caller => return None,
            Owner::Mapped { uids, gids } => (host_id(uids, entry.uid), host_id(gids, entry.gid)),
        };
        Some((Uid::from_raw(uid), Gid::from_raw(gid)))
    }
}

/// The host's id of a container's id; one that is not mapped becomes the container's root.
pub fn host_id(maps: &[IdMapping], id: u32) -> u32 {
    let find = |id: u32| {
        let map = maps.iter().find(|map| id >= map.container_id && id - map.container_id < map.size)?;
        Some(map.host_id + (id - map.container_id))
    };
    find(id).or_else(|| find(0)).unwrap_or(id)
}

/// The container's id of a host's; without maps they are the same.
pub fn container_id(maps: &[IdMapping], id: u32) -> u32 {
    let inside = |map: &&IdMapping| id >= map.host_id && id - map.host_id < map.size;
    maps.iter().find(inside).map_or(id, |map| map.container_id + (id - map.host_id))
}

impl Place {
    /// Entries are put into `dir`; the top one as `top`.
    #[must_use]
    pub fn new(dir: OwnedFd, owner: Owner, top: Option<PathBuf>) -> Place {
        Place { dir, owner, top, finish: Vec::new() }
    }

    /// Makes one entry. `archive` gives the content of [`Content::Archive`].
    ///
    /// # Errors
    /// A path that leads out of the directory, what cannot be replaced, and the kernel's.
    pub fn put(&mut self, entry: Entry, archive: &mut dyn Read) -> Result<(), Error> {
        let path = self.path(&entry.path)?;
        let shown = path.clone();
        self.make(entry, path, archive).map_err(|error| error.at(&shown))
    }

    /// Where an entry goes: below the directory, without `..`.
    fn path(&self, path: &Path) -> Result<PathBuf, Error> {
        let mut place = self.top.clone().unwrap_or_default();
        for part in path.components() {
            match part {
                Component::Normal(name) => place.push(name),
                Component::CurDir | Component::RootDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(Error::refused("leads out of the destination").at(path));
                }
            }
        }
        Ok(place)
    }

    /// The directory that `path` lies in, made where it is missing: archives need not have entries for directories. No link on
    /// the way is followed, whoever puts it there.
    fn parent(&self, path: &Path) -> Result<OwnedFd, CallError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let open = |path: &Path| {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            rooted::open(&self.dir, path.as_os_str().as_bytes(), flags, Mode::empty())
        };
        match open(parent) {
            Err(error) if error.errno == Errno::ENOENT => {}
            answer => return answer,
        }
        let mut above = PathBuf::new();
        for name in parent {
            match mkdirat(open(&above)?, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(CallError { call: format!("mkdirat({name:?})"), errno }),
            }
            above.push(name);
        }
        open(parent)
    }

    fn make(&mut self, entry: Entry, path: PathBuf, archive: &mut dyn Read) -> Result<(), Error> {
        let Some(name) = path.file_name() else {
            // The directory itself.
            if !matches!(entry.kind, Kind::Directory) {
                return Err(Error::refused("a directory cannot be replaced by a file"));
            }
            if self.owner != Owner::Caller {
                self.own(&self.dir, Path::new(""), &entry)?;
                self.finish.push((PathBuf::new(), entry.mode, entry.mtime));
            }
            return Ok(());
        };
        let name = Path::new(name);
        let device = matches!(entry.kind, Kind::Char(_) | Kind::Block(_));
        if device && matches!(self.owner, Owner::Mapped { .. }) {
            // Nobody in a user namespace can make one: what the image brings would be a door that its root may open.
            return Ok(());
        }
        let parent = self.parent(&path)?;
        clear(&parent, name, matches!(entry.kind, Kind::Directory))?;
        match &entry.kind {
            Kind::Directory => {
                match mkdirat(&parent, name, Mode::S_IRWXU) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(CallError { call: format!("mkdirat({name:?})"), errno }.into()),
                }
                self.own(&parent, name, &entry)?;
                self.finish.push((path.clone(), entry.mode, entry.mtime));
                return self.attributes(&parent, name, &entry);
            }
            Kind::File { .. } => return self.file(&parent, name, entry, archive),
            Kind::Symlink(target) => {
                symlinkat(target, &parent, name).call(|| format!("symlinkat({target:?}, {name:?})"))?
            }
            Kind::HardLink(first) => {
                let first = self.path(first)?;
                let first_parent = self.parent(&first)?;
                let first_name = first.file_name().ok_or_else(|| Error::refused("is a link to the top"))?;
                linkat(&first_parent, first_name, &parent, name, LinkatFlags::empty())
                    .call(|| format!("linkat({first:?}, {name:?})"))?;
                return Ok(());
            }
            Kind::Char(device) => node(&parent, name, SFlag::S_IFCHR, *device)?,
            Kind::Block(device) => node(&parent, name, SFlag::S_IFBLK, *device)?,
            Kind::Fifo => node(&parent, name, SFlag::S_IFIFO, 0)?,
        }
        self.own(&parent, name, &entry)?;
        if !matches!(entry.kind, Kind::Symlink(_)) {
            // fchmodat(2) follows a link that took the place; the node was just made with mode 0600 and this cannot
            // leave the container's own files where there is no link, so look again through a descriptor.
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let fd = openat(&parent, name, flags, Mode::empty()).call(|| "openat()".to_owned())?;
            let link = runtime::root::magic_link(&fd);
            let mode = Mode::from_bits_truncate(self.node_mode(entry.mode, device));
            fchmodat(nix::fcntl::AT_FDCWD, link.as_str(), mode, FchmodatFlags::FollowSymlink)
                .call(|| "fchmodat()".to_owned())?;
        }
        times(&parent, name, entry.mtime)
    }

    fn file(&self, parent: &OwnedFd, name: &Path, entry: Entry, archive: &mut dyn Read) -> Result<(), Error> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).call(|| "openat()".to_owned())?;
        let mut file = std::fs::File::from(fd);
        let Entry { kind: Kind::File { size, content }, mode, mtime, .. } = &entry else { return Ok(()) };
        match content {
            // No more than was seen: its writer may be faster than we are. Files of procfs say 0.
            Content::File(source) => {
                let limit = if *size == 0 { UNSIZED_LIMIT } else { *size };
                std::io::copy(&mut source.take(limit), &mut file)?;
            }
            Content::Archive => {
                let copied = std::io::copy(&mut archive.take(*size), &mut file)?;
                if copied != *size {
                    return Err(Error::Refused(format!("the archive ends after {copied} of {size} bytes")));
                }
            }
        }
        if let Some((uid, gid)) = self.owner.of(&entry) {
            nix::unistd::fchown(&file, Some(uid), Some(gid)).call(|| "fchown()".to_owned())?;
        }
        // Capabilities are lost by a change of owner, set-id bits too: in this order.
        for (name, value) in self.kept(&entry) {
            xattr::fset(&file, name, value).call(|| format!("fsetxattr({name:?})"))?;
        }
        fchmod(&file, Mode::from_bits_truncate(self.mode(*mode))).call(|| "fchmod()".to_owned())?;
        let time = TimeSpec::new(mtime.0, mtime.1);
        Ok(nix::sys::stat::futimens(&file, &time, &time).call(|| "futimens()".to_owned())?)
    }

    /// Set-id bits only make sense along with their owner.
    fn mode(&self, mode: u32) -> u32 {
        match self.owner {
            Owner::Same | Owner::Mapped { .. } => mode,
            Owner::Caller => mode & 0o1777,
        }
    }

    /// A device node that a container made gives no user of the host what root alone may have.
    fn node_mode(&self, mode: u32, device: bool) -> u32 {
        match self.owner {
            Owner::Caller if device => 0o600,
            Owner::Caller | Owner::Same | Owner::Mapped { .. } => self.mode(mode),
        }
    }

    /// Extended attributes that the copy gets. Capabilities and access control lists are rights: like the set-id bits, they only
    /// go along with the owner.
    fn kept<'e>(&self, entry: &'e Entry) -> impl Iterator<Item = &'e (CString, Vec<u8>)> {
        let all = self.owner != Owner::Caller;
        entry.xattrs.iter().filter(move |(name, _)| all || name.to_bytes().starts_with(b"user."))
    }

    fn own(&self, dir: impl AsFd, name: &Path, entry: &Entry) -> Result<(), Error> {
        let Some((uid, gid)) = self.owner.of(entry) else { return Ok(()) };
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
        Ok(fchownat(dir, name, Some(uid), Some(gid), flags).call(|| "fchownat()".to_owned())?)
    }

    fn attributes(&self, parent: &OwnedFd, name: &Path, entry: &Entry) -> Result<(), Error> {
        for (attribute, value) in self.kept(entry) {
            xattr::set_at(parent, name.as_os_str().as_bytes(), attribute, value)
                .call(|| format!("lsetxattr({attribute:?})"))?;
        }
        Ok(())
    }

    /// Sets modes and times of directories, the deepest first.
    ///
    /// # Errors
    /// The kernel's.
    pub fn finish(self) -> Result<(), Error> {
        for (path, mode, mtime) in self.finish.iter().rev() {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let open = rooted::open(&self.dir, path.as_os_str().as_bytes(), flags, Mode::empty());
            let dir = open.map_err(|error| Error::from(error).at(path))?;
            fchmod(&dir, Mode::from_bits_truncate(self.mode(*mode))).call(|| "fchmod()".to_owned())?;
            let time = TimeSpec::new(mtime.0, mtime.1);
            nix::sys::stat::futimens(&dir, &time, &time).call(|| "futimens()".to_owned())?;
        }
        Ok(())
    }
}

/// Copies what is at `path` in `root` into the empty directory `to`: how a new volume gets the image's content. Where the image has
/// nothing, nothing is copied.
///
/// # Errors
/// The file that could not be copied.
pub fn copy_up(root: &OwnedFd, path: &str, to: OwnedFd, owner: Owner) -> Result<(), Error> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let source = match open_in(root, path.as_ref(), flags, Links::InRoot) {
        Ok(fd) => fd,
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut place = Place::new(to, owner, None);
    tree::read(source, &mut |entry, content| place.put(entry, content))?;
    place.finish()
}

/// Removes what is in the way: a file makes room for anything but a directory's content; a directory only for a directory.
fn clear(parent: &OwnedFd, name: &Path, for_directory: bool) -> Result<(), Error> {
    let is_directory = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits(),
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(CallError { call: format!("fstatat({name:?})"), errno }.into()),
    };
    match (is_directory, for_directory) {
        (true, true) => Ok(()),
        (true, false) => Err(Error::refused("cannot overwrite a directory with a file")),
        (false, true) => Err(Error::refused("cannot overwrite a file with a directory")),
        (false, false) => {
            Ok(unlinkat(parent, name, UnlinkatFlags::NoRemoveDir).call(|| format!("unlinkat({name:?})"))?)
        }
    }
}

fn node(parent: &OwnedFd, name: &Path, kind: SFlag, device: u64) -> Result<(), Error> {
    Ok(mknodat(parent, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, device).call(|| "mknodat()".to_owned())?)
}

fn times(parent: &OwnedFd, name: &Path, mtime: (i64, i64)) -> Result<(), Error> {
    let time = TimeSpec::new(mtime.0, mtime.1);
    Ok(utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink).call(|| "utimensat()".to_owned())?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn put(owner: Owner, kind: Kind, xattrs: Vec<(CString, Vec<u8>)>) -> (tempfile::TempDir, Result<(), Error>) {
        let dir = tempfile::tempdir().unwrap();
        let mut place = Place::new(File::open(dir.path()).unwrap().into(), owner, Some("copy".into()));
        let entry = Entry { path: PathBuf::new(), kind, mode: 0o644, uid: 0, gid: 0, mtime: (0, 0), xattrs };
        let put = place.put(entry, &mut std::io::empty());
        (dir, put)
    }

    #[test]
    fn a_file_that_grows_is_copied_as_it_was_seen() {
        let source = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("grown"), [b'x'; 100]).unwrap();
        for (size, copied) in [(10, 10), (100, 100), (200, 100), (0, 100)] {
            let content = Content::File(File::open(source.path().join("grown")).unwrap());
            let (dir, put) = put(Owner::Caller, Kind::File { size, content }, Vec::new());
            put.unwrap();
            assert_eq!(dir.path().join("copy").metadata().unwrap().len(), copied, "{size}");
        }
    }

    #[test]
    fn user_namespaces_get_no_devices() {
        let maps = || vec![IdMapping { container_id: 0, host_id: 100_000, size: 10 }];
        let (dir, put) = put(Owner::Mapped { uids: maps(), gids: maps() }, Kind::Char(0x103), Vec::new());
        put.unwrap();
        assert!(!dir.path().join("copy").try_exists().unwrap());
    }
}

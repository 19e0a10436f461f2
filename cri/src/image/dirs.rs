//! Folders that only a lower layer describes.
//!
//! A layer that holds `a/b/file` and says nothing about `a` and `a/b` means the folders of the layer below, with their
//! owner and mode. Unpacked by itself it has folders of its own there, and overlayfs shows those. Because a layer is
//! stored once for all images, it cannot be put right in place. So an image for which it matters (few) gets one more
//! layer on top, with nothing but these folders as they should look:
//!
//! ```text
//!  over-CHAINID   a (0700 me)      a/b (0750 me)                     ◀── made here
//!  layer 2        a (implied)      a/b (implied)      a/b/file
//!  layer 1        a (0700 me)      a/b (0750 me)      a/b/other
//! ```
//!
//! Contents still merge from below, and what is opaque below stays so.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};
use runtime::rooted::{self, Shown};
use runtime::sys::{Call, CallError, xattr};

use super::digest::Digest;
use super::dir::{Dir, is_dir};
use super::error::Error;
use super::ingest::Ingest;
use super::layer::{Seal, TREE, sealed};
use super::progress::Progress;
use super::store::Store;
use super::unpack::{OPAQUE, Unpacked, is_taken};

/// The name of the extra layer among the layers; `None` for an image that cannot need one.
pub(crate) fn layer_name(diff_ids: &[Digest]) -> Option<String> {
    if diff_ids.len() < 2 {
        return None;
    }
    Digest::chain(diff_ids).map(|chain| format!("over-{}", chain.hex()))
}

/// Owner and mode of a folder, times and extended attributes.
#[derive(Clone, Debug, PartialEq)]
struct Look {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, i64),
    xattrs: BTreeMap<std::ffi::CString, Vec<u8>>,
}

/// What every folder without a description looks like.
const PLAIN_MODE: u32 = 0o755;

impl Look {
    fn plain() -> Look {
        Look { mode: PLAIN_MODE, uid: 0, gid: 0, mtime: (0, 0), xattrs: BTreeMap::new() }
    }

    fn of(fd: &impl AsFd) -> Result<Look, Error> {
        let stat = fstat(fd).call(|| format!("fstat({})", Shown(fd)))?;
        let mut xattrs = BTreeMap::new();
        for name in xattr::flist(fd).call(|| format!("flistxattr({})", Shown(fd)))? {
            if !is_taken(name.as_bytes()) {
                continue;
            }
            let value = xattr::fget(fd, &name).call(|| format!("fgetxattr({}, {name:?})", Shown(fd)))?;
            xattrs.extend(value.map(|value| (name, value)));
        }
        Ok(Look {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            xattrs,
        })
    }

    /// Whether someone could tell, time aside.
    fn differs(&self, other: &Look) -> bool {
        (self.mode, self.uid, self.gid, &self.xattrs) != (other.mode, other.uid, other.gid, &other.xattrs)
    }

    fn apply(&self, fd: &impl AsFd) -> Result<(), CallError> {
        let shown = || Shown(fd);
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        fchown(fd, Some(uid), Some(gid)).call(|| format!("fchown({}, {uid}, {gid})", shown()))?;
        let mode = Mode::from_bits_truncate(self.mode);
        fchmod(fd, mode).call(|| format!("fchmod({}, {:04o})", shown(), self.mode))?;
        for (name, value) in &self.xattrs {
            xattr::fset(fd, name, value).call(|| format!("fsetxattr({}, {name:?})", shown()))?;
        }
        let mtime = TimeSpec::new(self.mtime.0, self.mtime.1);
        futimens(fd, &TimeSpec::UTIME_OMIT, &mtime).call(|| format!("futimens({})", shown()))
    }
}

/// Owner and mode of the root folder of an image. A container's writable layer must have the same, because its root is
/// the one that is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootDir {
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One layer of a stack.
struct Level {
    tree: Dir,
    implied: HashSet<Vec<u8>>,
}

impl Level {
    fn open(layer: &Dir, seal: &Seal) -> Result<Level, Error> {
        Ok(Level { tree: layer.sub(TREE)?, implied: seal.implied().collect() })
    }
}

/// What a level says about a path.
enum Found {
    /// Nothing; the levels below may.
    Nothing,
    /// It is no folder here, or what lies below is hidden.
    End,
    /// A folder that the layer describes.
    Described(Look),
    /// A folder that it does not describe; and whether the levels below are hidden.
    Implied { end: bool },
}

fn look(level: &Level, path: &[u8]) -> Result<Found, Error> {
    let mut folder: OwnedFd = open(&level.tree, b".")?;
    let mut hides = false;
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    for (at, part) in parts.iter().enumerate() {
        let stat = nix::sys::stat::fstatat(&folder, *part, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW);
        match stat {
            Ok(stat) if is_dir(&stat) => folder = open(&folder, part)?,
            Ok(_) => return Ok(Found::End),
            Err(Errno::ENOENT) => return Ok(if hides { Found::End } else { Found::Nothing }),
            Err(errno) => return Err(CallError { call: format!("fstatat({})", Shown(&folder)), errno }.into()),
        }
        // An opaque folder hides what lay in it below, not what it looked like itself.
        if at + 1 < parts.len() {
            let opaque = xattr::fget(&folder, OPAQUE).call(|| format!("fgetxattr({}, {OPAQUE:?})", Shown(&folder)))?;
            hides |= opaque.as_deref() == Some(b"y");
        }
    }
    match level.implied.contains(path) {
        true => Ok(Found::Implied { end: hides }),
        false => Ok(Found::Described(Look::of(&folder)?)),
    }
}

fn open(folder: &impl AsFd, name: &[u8]) -> Result<OwnedFd, CallError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    rooted::open(folder, name, flags, Mode::empty())
}

/// How a folder looks in the whole stack, top first; `None`: there is no such folder.
///
/// The second value tells whether a layer above the describing one has it without a description.
fn resolve(levels: &[Level], path: &[u8]) -> Result<Option<(Look, bool)>, Error> {
    let mut implied = false;
    for level in levels {
        match look(level, path)? {
            Found::Nothing => {}
            Found::Described(look) => return Ok(Some((look, implied))),
            Found::Implied { end: false } => implied = true,
            Found::Implied { end: true } => return Ok(Some((Look::plain(), false))),
            Found::End => break,
        }
    }
    Ok(implied.then(|| (Look::plain(), false)))
}

/// The folders of the extra layer, parents first, as they should look. Empty: no extra layer is needed.
fn plan(levels: &[Level]) -> Result<BTreeMap<Vec<u8>, Look>, Error> {
    let mut needed: BTreeSet<Vec<u8>> = BTreeSet::new();
    let Some((_, above)) = levels.split_last() else { return Ok(BTreeMap::new()) };
    for path in above.iter().flat_map(|level| &level.implied) {
        if path.is_empty() || needed.contains(path) {
            continue;
        }
        if let Some((look, true)) = resolve(levels, path)?
            && look.differs(&Look::plain())
        {
            needed.insert(path.clone());
        }
    }
    let mut folders = BTreeMap::new();
    for path in &needed {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in [0].into_iter().chain(ends).chain([path.len()]) {
            let folder = &path[..end];
            if !folders.contains_key(folder) {
                let look = resolve(levels, folder)?.map_or_else(Look::plain, |(look, _)| look);
                folders.insert(folder.to_vec(), look);
            }
        }
    }
    Ok(folders)
}

impl Store {
    /// The extra layer of an image whose layers are all sealed, top first; made on the first use. `None`: not needed.
    pub(crate) fn extra_layer(
        &self,
        diff_ids: &[Digest],
        stack: &[(Dir, Seal)],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Dir>, Error> {
        let Some((_, above)) = stack.split_last() else { return Ok(None) };
        let any = above.iter().any(|(_, seal)| seal.implied().any(|path| !path.is_empty()));
        let (Some(name), Some(chain), true) = (layer_name(diff_ids), Digest::chain(diff_ids), any) else {
            return Ok(None);
        };
        if sealed(&self.layers, &name, &chain)?.is_none() {
            let levels = stack.iter().map(|(dir, seal)| Level::open(dir, seal)).collect::<Result<Vec<_>, _>>()?;
            let folders = plan(&levels)?;
            let mut ingest = Ingest::begin(self)?;
            let unpacked = Unpacked { entries: folders.len() as u64, ..Unpacked::default() };
            make(&ingest.make_layer(&name, &chain, unpacked)?, &folders)?;
            ingest.commit(progress, Ok)?;
        }
        let made = sealed(&self.layers, &name, &chain)?;
        Ok(made.filter(|(_, seal)| seal.entries > 0).map(|(dir, _)| dir))
    }
}

/// What is wrong with the extra layer of an image whose layers are all whole; `None`: nothing, or there is none.
pub(crate) fn check_extra(layers: &Dir, diff_ids: &[Digest], stack: &[(Dir, Seal)]) -> Result<Option<String>, Error> {
    let (Some(name), Some(chain)) = (layer_name(diff_ids), Digest::chain(diff_ids)) else { return Ok(None) };
    if layers.stat_of(name.as_bytes())?.is_none() {
        return Ok(None);
    }
    let Some((dir, seal)) = sealed(layers, &name, &chain)? else { return Ok(Some("has no valid seal".into())) };
    let levels = stack.iter().map(|(dir, seal)| Level::open(dir, seal)).collect::<Result<Vec<_>, _>>()?;
    let folders = plan(&levels)?;
    if seal.entries != folders.len() as u64 {
        return Ok(Some(format!("has {} folders, not {}", seal.entries, folders.len())));
    }
    let tree = dir.sub(TREE)?;
    for (path, look) in &folders {
        let shown = super::error::Escaped(path);
        let folder = match tree.sub_bytes(if path.is_empty() { b"." } else { path }) {
            Ok(folder) => folder,
            Err(error) => return Ok(Some(format!("{shown} cannot be read: {error}"))),
        };
        if Look::of(&folder)? != *look {
            return Ok(Some(format!("{shown} has another owner, mode, time or attribute")));
        }
        let start = if path.is_empty() { Vec::new() } else { [&path[..], b"/"].concat() };
        let extra = folder.scan(|name, _| {
            let expected = folders.contains_key(&[&start[..], name].concat());
            Ok(if expected { ControlFlow::Continue(()) } else { ControlFlow::Break(name.to_vec()) })
        })?;
        if let Some(name) = extra {
            let path = [start, name].concat();
            return Ok(Some(format!("{} is not meant to be in it", super::error::Escaped(&path))));
        }
    }
    Ok(None)
}

fn make(tree: &Dir, folders: &BTreeMap<Vec<u8>, Look>) -> Result<(), Error> {
    for path in folders.keys().filter(|path| !path.is_empty()) {
        let (parent, leaf) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path.as_slice()),
        };
        let parent = open(tree, parent)?;
        nix::sys::stat::mkdirat(&parent, leaf, Mode::S_IRWXU).call(|| format!("mkdirat({})", Shown(&parent)))?;
    }
    // Children first: making one changes the time of its parent.
    for (path, look) in folders.iter().rev() {
        look.apply(&open(tree, path)?)?;
    }
    Ok(())
}

/// How the root of a stack looks, top first.
pub(crate) fn root_dir(stack: &[(Dir, Seal)]) -> Result<RootDir, Error> {
    for (dir, seal) in stack {
        if !seal.implied().any(|path| path.is_empty()) {
            let look = Look::of(&dir.sub(TREE)?)?;
            return Ok(RootDir { mode: look.mode, uid: look.uid, gid: look.gid });
        }
    }
    Ok(RootDir { mode: PLAIN_MODE, uid: 0, gid: 0 })
}

//! `ingest/partial/`: blobs that are being fetched, and what is left of those that were cut off.
//!
//! A flock says who works on a file: exclusive while it grows, shared once it is whole and until it is in the store.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use runtime::rooted::{self, Shown};
use runtime::sys::{Call, CallError};

use super::digest::Digest;
use super::dir::Dir;
use super::document::Descriptor;
use super::error::Error;
use super::store::{Store, WriteLock};

pub(crate) const PARTIAL: &str = "partial";
/// What nobody went on with for that long is removed by the next change of the store.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The folder, and that of the blobs.
pub(crate) struct Partials {
    dir: Dir,
    blobs: Dir,
}

/// A file that is ours, or whole and used by several.
pub(crate) struct Claim {
    file: File,
    dir: Dir,
    name: String,
    place: Place,
}

/// Where the file of a claim is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Partial,
    /// It is in the store already.
    Store,
}

/// Held by the one of several equal pulls that does the work.
pub(crate) struct Turn {
    dir: Dir,
    name: String,
    _file: File,
}

impl Store {
    pub(crate) fn partials(&self, digest: &Digest) -> Result<Partials, Error> {
        Ok(Partials { dir: self.ingest.private_sub(PARTIAL)?, blobs: self.blob_dir(digest.algorithm())? })
    }

    /// Takes the turn among equal pulls of that manifest; `None`: another one has it.
    pub(crate) fn take_turn(&self, manifest: &Digest) -> Result<Option<Turn>, Error> {
        let dir = self.ingest.private_sub(PARTIAL)?;
        let name = format!("turn-{}-{}", manifest.algorithm().name(), manifest.hex());
        loop {
            let file = open(&dir, &name)?;
            if !try_lock(&file)? {
                return Ok(None);
            }
            if is_at(&dir, &name, &file)? {
                return Ok(Some(Turn { dir, name, _file: file }));
            }
        }
    }

    /// The bytes of blobs that were cut off and that nobody fetches now.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn partial_bytes(&self) -> Result<u64, Error> {
        let mut sum = 0;
        self.each_idle_partial(|_, _, length| {
            sum += length;
            Ok(())
        })?;
        Ok(sum)
    }

    /// Removes blobs that were cut off and that nobody fetches now; gives their bytes.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn clear_partial(&self) -> Result<u64, Error> {
        let mut sum = 0;
        self.each_idle_partial(|dir, name, length| {
            dir.unlink(name.as_bytes())?;
            sum += length;
            Ok(())
        })?;
        Ok(sum)
    }

    /// Removes those that nobody went on with for a week.
    pub(crate) fn clear_old_partials(&self, _lock: &WriteLock) -> Result<(), Error> {
        if self.ingest.stat_of(PARTIAL.as_bytes())?.is_none() {
            return Ok(());
        }
        let now = SystemTime::now();
        self.each_idle_partial(|dir, name, _| {
            let stat = dir.stat_of(name.as_bytes())?;
            let changed = stat.map_or(0, |stat| u64::try_from(stat.st_mtime).unwrap_or(0));
            let age = now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(changed)).unwrap_or_default();
            if age > KEPT { Ok(dir.unlink(name.as_bytes())?) } else { Ok(()) }
        })
    }

    fn each_idle_partial(&self, mut each: impl FnMut(&Dir, &str, u64) -> Result<(), Error>) -> Result<(), Error> {
        let dir = self.ingest.private_sub(PARTIAL)?;
        for name in dir.names()? {
            let Some(file) = dir.open_file(name.as_bytes())? else { continue };
            if try_lock(&file)? && is_at(&dir, &name, &file)? {
                let length = file.metadata().call(|| format!("fstat({})", Shown(&file)))?.len();
                each(&dir, &name, length)?;
            }
        }
        Ok(())
    }
}

impl Partials {
    /// The file for a blob, if nobody else fetches it at the moment.
    pub(crate) fn claim(&self, blob: &Descriptor) -> Result<Option<Claim>, Error> {
        let name = format!("{}-{}", blob.digest.algorithm().name(), blob.digest.hex());
        loop {
            let file = open(&self.dir, &name)?;
            let ours = try_lock(&file)?;
            let length = || file.metadata().call(|| format!("fstat({})", Shown(&file))).map(|data| data.len());
            if !ours {
                // Whole, and only held until it is in the store?
                match file.try_lock_shared() {
                    Ok(()) if length()? == blob.size => {}
                    Ok(()) | Err(TryLockError::WouldBlock) => return Ok(None),
                    Err(TryLockError::Error(error)) => return Err(lock_error(&file, &error)),
                }
            }
            if !is_at(&self.dir, &name, &file)? {
                continue;
            }
            if ours
                && length()? == 0
                && let Some(there) = self.in_store(blob)?
            {
                self.dir.unlink(name.as_bytes())?;
                let (dir, name) = (self.blobs.duplicate()?, blob.digest.hex().to_owned());
                return Ok(Some(Claim { file: there, dir, name, place: Place::Store }));
            }
            return Ok(Some(Claim { file, dir: self.dir.duplicate()?, name, place: Place::Partial }));
        }
    }

    /// Another pull may have brought it in while we waited.
    fn in_store(&self, blob: &Descriptor) -> Result<Option<File>, Error> {
        let Some(file) = self.blobs.open_file(blob.digest.hex().as_bytes())? else { return Ok(None) };
        let length = file.metadata().call(|| format!("fstat({})", Shown(&file)))?.len();
        Ok((length == blob.size).then_some(file))
    }
}

impl Claim {
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn length(&self) -> Result<u64, Error> {
        Ok(self.file.metadata().call(|| format!("fstat({})", Shown(&self.file)))?.len())
    }

    pub(crate) fn truncate(&self) -> Result<(), Error> {
        Ok(self.file.set_len(0).call(|| format!("ftruncate({}, 0)", Shown(&self.file)))?)
    }

    /// The file is whole: others may use it as well.
    pub(crate) fn share(&self) -> Result<(), Error> {
        match self.place {
            Place::Partial => self.file.lock_shared().map_err(|error| lock_error(&self.file, &error)),
            Place::Store => Ok(()),
        }
    }

    /// Removes a file whose bytes are wrong, also one of the store: nothing can be done with it.
    pub(crate) fn discard(&self) {
        if is_at(&self.dir, &self.name, &self.file).unwrap_or(false) {
            // What cannot be removed is found to be wrong again.
            let _ = self.dir.unlink(self.name.as_bytes());
        }
    }

    /// Removes a file that is not to be kept, unless another pull is about to use it.
    pub(crate) fn give_up(&self) {
        if self.place == Place::Partial && try_lock(&self.file).unwrap_or(false) {
            self.discard();
        }
    }

    /// Gives the blob its place in the store.
    pub(crate) fn place(&self, target: &Dir, name: &str) -> Result<(), Error> {
        if self.place == Place::Store {
            return Ok(());
        }
        match self.dir.rename(&self.name, target, name) {
            // Another pull of the same blob was first, or the file was removed by hand.
            Err(CallError { errno: Errno::ENOENT, .. }) if is_at(target, name, &self.file)? => Ok(()),
            result => Ok(result?),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Held still: nobody else can have it open as theirs. One that stays is taken by the next pull.
        let _ = self.dir.unlink(self.name.as_bytes());
    }
}

fn open(dir: &Dir, name: &str) -> Result<File, Error> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW;
    Ok(File::from(rooted::open(dir, name.as_bytes(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?))
}

fn try_lock(file: &File) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(lock_error(file, &error)),
    }
}

fn lock_error(file: &File, error: &std::io::Error) -> Error {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    CallError { call: format!("flock({})", Shown(file)), errno }.into()
}

/// Whether the name still means that file: who had it before may have moved or removed it.
fn is_at(dir: &Dir, name: &str, file: &File) -> Result<bool, Error> {
    let own = file.metadata().call(|| format!("fstat({})", Shown(file)))?;
    Ok(dir.stat_of(name.as_bytes())?.is_some_and(|stat| (stat.st_dev, stat.st_ino) == (own.dev(), own.ino())))
}

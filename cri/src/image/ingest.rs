//! The way of every image into the store, wherever it comes from.
//!
//! ```text
//!  begin ─▶ keep ─▶ layers, in parallel: read ─▶ hash ─▶ decompress ─▶ hash ─▶ unpack   (staging folder, no lock)
//!                                                   └▶ blob file
//!        ─▶ syncfs ─▶ seal ─▶ commit: renames, then index.json                          (under the lock, short)
//! ```
//!
//! What a running ingest found in the store already, it writes down as `keep-…` files in its staging folder: nothing
//! that these name is removed while its process lives. A crash at any point leaves the index as it was and a staging
//! folder that the next change of the store clears away.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::syncfs;
use runtime::rooted::{self, Shown};
use runtime::sys::{Call, CallError};

use super::cancel::Cancel;
use super::digest::{Algorithm, Digest};
use super::dir::{Dir, read_bounded};
use super::document::{Descriptor, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use super::error::Error;
use super::layer::{Seal, TREE, sealed};
use super::partial::PARTIAL;
use super::progress::Progress;
use super::receive::{Bytes, Done, Held, Incoming, Job, Kept, Place, receive};
use super::store::{Store, WriteLock};
use super::unpack::{Compression, Unpacked};
use crate::disk::{self, Usage};

/// A staging folder with what is on its way into the store.
pub(crate) struct Ingest<'s> {
    store: &'s Store,
    name: String,
    dir: Dir,
    trash: Dir,
    /// Released, with the folder, when this is dropped.
    _alive: Flock<File>,
    blobs: HashMap<Digest, Held>,
    /// By the name that they will have among the layers.
    layers: HashMap<String, Staged>,
    counter: u64,
    keeping: Blobs,
    distrusted: HashSet<String>,
}

/// Whether the blobs of layers stay when the layers are unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blobs {
    /// They stay: the image can be saved, pushed and repaired without its registry.
    #[default]
    Keep,
    /// They go, which saves their space.
    Discard,
}

struct Staged {
    id: Digest,
    folder: String,
    unpacked: Unpacked,
}

impl<'s> Ingest<'s> {
    /// Makes a staging folder and clears away those of processes that ended.
    pub(crate) fn begin(store: &'s Store) -> Result<Ingest<'s>, Error> {
        let lock = store.lock()?;
        store.clear_stale(&lock)?;
        store.clear_old_partials(&lock)?;
        Ingest::beside(store, &lock)
    }

    /// Makes a staging folder beside whatever is there.
    pub(crate) fn beside(store: &'s Store, _lock: &WriteLock) -> Result<Ingest<'s>, Error> {
        let pid = std::process::id();
        let mut number = 0u32;
        let (name, dir) = loop {
            let name = format!("{pid}-{number}");
            match store.ingest.make(&name) {
                Ok(dir) => break (name, dir),
                Err(CallError { errno: Errno::EEXIST, .. }) => number += 1,
                Err(error) => return Err(error.into()),
            }
        };
        let alive = try_flock(&dir)?.ok_or_else(|| Error::Damaged {
            what: dir.path().display().to_string(),
            reason: "is new, and locked by another process".into(),
        })?;
        let trash = dir.make("trash")?;
        Ok(Ingest {
            store,
            name,
            dir,
            trash,
            _alive: alive,
            blobs: HashMap::new(),
            layers: HashMap::new(),
            counter: 0,
            keeping: Blobs::Keep,
            distrusted: HashSet::new(),
        })
    }

    /// Says whether the blobs of layers are kept.
    pub(crate) fn keeping(mut self, blobs: Blobs) -> Ingest<'s> {
        self.keeping = blobs;
        self
    }

    /// Names blobs and layers of the store that are damaged: they are received again, and replaced.
    pub(crate) fn distrust(&mut self, digest: &Digest) {
        self.distrusted.insert(digest.to_string());
    }

    fn trusts(&self, digest: &Digest) -> bool {
        !self.distrusted.contains(&digest.to_string())
    }

    /// A new file in the staging folder, for a source that must be spooled.
    pub(crate) fn spool(&mut self) -> Result<File, Error> {
        let name = self.next("spool");
        Ok(self.dir.create(&name)?)
    }

    fn next(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}-{}", self.counter)
    }

    /// Takes in a document whose digest was checked.
    pub(crate) fn add_document(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.keep_blob(digest)?;
        let there = match self.store.open_blob(digest)? {
            // A damaged one is replaced.
            Some(file) => {
                read_bounded(file, bytes.len() as u64, || format!("blob {digest}")).is_ok_and(|old| old == bytes)
            }
            None => self.blobs.contains_key(digest),
        };
        if there {
            return Ok(());
        }
        let name = self.next("blob");
        let mut file = self.dir.create(&name)?;
        file.write_all(bytes).call(|| format!("write({})", Shown(&file)))?;
        self.blobs.insert(digest.clone(), Held::Staged(name));
        Ok(())
    }

    /// Nobody removes this blob while the staging folder is there.
    pub(crate) fn keep_blob(&self, digest: &Digest) -> Result<(), Error> {
        self.keep(&format!("keep-blob-{}-{}", digest.algorithm().name(), digest.hex()))
    }

    /// Nobody removes the layer of that name while the staging folder is there.
    pub(crate) fn keep_layer(&self, name: &str) -> Result<(), Error> {
        self.keep(&format!("keep-layer-{name}"))
    }

    fn keep(&self, name: &str) -> Result<(), Error> {
        match self.dir.create(name) {
            Ok(_) | Err(CallError { errno: Errno::EEXIST, .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives all layers, several at a time; gives their blobs in the same order.
    ///
    /// # Errors
    /// The first error of a layer, with its diffID. Nothing of it becomes visible. [`Error::Cancelled`].
    pub(crate) fn layers(
        &mut self,
        incoming: &[Incoming<'_>],
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Descriptor>, Error> {
        let mut received: Vec<Option<Descriptor>> = vec![None; incoming.len()];
        let mut jobs = VecDeque::new();
        let known = self.store.layer_pairs()?;
        {
            // Under the lock nothing can be removed between seeing it and writing down that we keep it.
            let _lock = self.store.lock()?;
            for (at, layer) in incoming.iter().enumerate() {
                let twin = incoming[..at].iter().position(|other| same(other, layer));
                if twin.is_some() {
                    continue;
                }
                match self.plan(at, layer, &known)? {
                    Ok(there) => {
                        progress(Progress::Exists { layer: layer.diff_id.clone() });
                        received[at] = Some(there);
                    }
                    Err(job) => jobs.push_back(job),
                }
            }
        }
        self.run(jobs, &mut received, cancel, progress)?;
        for at in 0..incoming.len() {
            if received[at].is_none() {
                let twin = incoming.iter().position(|other| same(other, &incoming[at]));
                received[at] = twin.and_then(|twin| received[twin].clone());
            }
        }
        let missing = || Error::Damaged { what: "ingest".into(), reason: "a layer was not received".into() };
        received.into_iter().map(|layer| layer.ok_or_else(missing)).collect()
    }

    fn stage(&mut self, name: &str, id: &Digest, folder: &str, unpacked: Unpacked) {
        self.layers.insert(name.to_owned(), Staged { id: id.clone(), folder: folder.to_owned(), unpacked });
    }

    /// Makes the folder of a layer that comes from no archive; gives its `fs`.
    pub(crate) fn make_layer(&mut self, name: &str, id: &Digest, unpacked: Unpacked) -> Result<Dir, Error> {
        let folder = self.next("layer");
        let tree = self.dir.make(&folder)?.make(TREE)?;
        self.stage(name, id, &folder, unpacked);
        Ok(tree)
    }

    /// An empty folder to unpack into only to look at it, and the folder for what is replaced on the way.
    pub(crate) fn scratch(&mut self) -> Result<(Dir, Dir), Error> {
        let name = self.next("scratch");
        Ok((self.dir.make(&name)?, self.trash.make(&name)?))
    }

    /// Moves a layer out of sight; it is removed with the staging folder.
    pub(crate) fn discard(&mut self, _lock: &WriteLock, layer: &str) -> Result<(), Error> {
        let name = self.next("removed");
        Ok(self.store.layers.rename(layer, &self.trash, &name)?)
    }

    /// Says what is to be done for a layer: nothing (its blob) or a job.
    fn plan<'j, 'a>(
        &mut self,
        at: usize,
        layer: &'j Incoming<'a>,
        known: &[(Digest, Digest)],
    ) -> Result<Result<Descriptor, Job<'j, 'a>>, Error> {
        let diff_id = &layer.diff_id;
        self.keep_layer(diff_id.hex())?;
        let sealed = self.trusts(diff_id) && self.store.sealed_layer(diff_id)?.is_some();
        let has_layer = self.layers.contains_key(diff_id.hex()) || sealed;
        // An uncompressed layer is its own blob; that is all we can know about one without a digest.
        let digest = layer.digest.as_ref().unwrap_or(diff_id);
        if self.keeping == Blobs::Keep {
            self.keep_blob(digest)?;
        }
        let blob_size = match self.blobs.get(digest) {
            Some(held) => Some(held.length(&self.dir)?),
            None => match self.store.open_blob(digest)? {
                Some(_) if !self.trusts(digest) => None,
                Some(file) => Some(file.metadata().call(|| format!("fstat({})", Shown(&file)))?.len()),
                None => None,
            },
        };
        let has_blob = blob_size == Some(layer.size);
        // Whether an image in the store says that this blob unpacks to this layer: it was checked then.
        let verified = digest == diff_id || known.iter().any(|(blob, layer)| blob == digest && layer == diff_id);
        let discards = self.keeping == Blobs::Discard;
        if has_layer && (has_blob || discards) && verified {
            return Ok(Ok(blob_descriptor(self.compression_of(digest)?, digest, layer.size)));
        }
        // One that arrives from a registry has its own file.
        let stages = !has_blob && !discards && matches!(layer.bytes, Bytes::Source(_));
        let blob = stages.then(|| self.next("blob"));
        let kept = if has_blob { Kept::Yes } else { Kept::No };
        let folder = (!has_layer && !self.layers.contains_key(diff_id.hex())).then(|| self.next("layer"));
        if let Some(folder) = &folder {
            // Taken now, so that a second blob with the same contents is only checked.
            self.stage(diff_id.hex(), diff_id, folder, Unpacked::default());
        }
        Ok(Err(Job { at, incoming: layer, kept, blob, layer: folder }))
    }

    fn compression_of(&self, digest: &Digest) -> Result<Compression, Error> {
        let mut start = [0; 4];
        let file = match self.blobs.get(digest) {
            Some(held) => Some(held.open(&self.dir)?),
            None => self.store.open_blob(digest)?,
        };
        let read = match file {
            Some(file) => file.read_at(&mut start, 0).call(|| format!("pread64({})", Shown(&file)))?,
            None => 0,
        };
        Ok(Compression::of(&start[..read]))
    }

    /// Carries out the jobs and notes what they made.
    fn run(
        &mut self,
        jobs: VecDeque<Job<'_, '_>>,
        received: &mut [Option<Descriptor>],
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let place = Place { store: self.store, dir: &self.dir, trash: &self.trash };
        for Done { at, diff_id, blob, layer, unpacked, found } in receive(&place, jobs, cancel, progress)? {
            if let (Some(folder), Some(unpacked)) = (&layer, unpacked) {
                self.stage(diff_id.hex(), &diff_id, folder, unpacked);
            }
            if self.keeping == Blobs::Keep {
                self.keep_blob(&found.digest)?;
            }
            received[at] = Some(blob_descriptor(found.compression, &found.digest, found.size));
            if let Some(blob) = blob {
                self.blobs.insert(found.digest, blob);
            }
        }
        Ok(())
    }

    /// Makes everything visible at once: `change` turns the old index into the new one.
    pub(crate) fn commit(
        mut self,
        progress: &mut dyn FnMut(Progress),
        change: impl FnOnce(Vec<Descriptor>) -> Result<Vec<Descriptor>, Error>,
    ) -> Result<(), Error> {
        if !self.blobs.is_empty() || !self.layers.is_empty() {
            progress(Progress::Syncing);
        }
        let folders = self.layers.values().map(|staged| self.dir.sub(&staged.folder)).collect::<Result<Vec<_>, _>>()?;
        for ((staged, folder), disk) in self.layers.values().zip(&folders).zip(self.sync(&folders)?) {
            Seal::new(staged.id.clone(), &staged.unpacked, Some(disk)).write(folder)?;
        }
        let lock = self.store.lock()?;
        for (digest, held) in std::mem::take(&mut self.blobs) {
            let target = self.store.blob_dir(digest.algorithm())?;
            match held {
                Held::Arrived(claim) if self.keeping == Blobs::Discard => claim.give_up(),
                Held::Staged(name) => self.dir.rename(&name, &target, digest.hex())?,
                Held::Arrived(claim) => claim.place(&target, digest.hex())?,
            }
        }
        for (name, staged) in std::mem::take(&mut self.layers) {
            self.place(&staged.id, &name, &staged.folder)?;
        }
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            self.store.blob_dir(algorithm)?.sync()?;
        }
        self.store.layers.sync()?;
        let old = self.store.read_index()?;
        let new = change(old.clone())?;
        if new != old {
            self.store.write_index(&lock, new)?;
        }
        if self.keeping == Blobs::Discard {
            // An image that had blobs may need none now. What cannot be judged stays until the next removal.
            let _ = self.store.sweep(&lock, &mut self);
        }
        Ok(())
    }

    /// Waits until everything is on the disk, and meanwhile counts what folders of layers take there.
    fn sync(&self, folders: &[Dir]) -> Result<Vec<Usage>, Error> {
        if self.blobs.is_empty() && folders.is_empty() {
            return Ok(Vec::new());
        }
        let root = &self.store.root;
        std::thread::scope(|scope| {
            let counting = scope.spawn(|| folders.iter().map(disk::count_of).collect::<Result<Vec<_>, _>>());
            syncfs(root).call(|| format!("syncfs({})", Shown(root)))?;
            Ok(counting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
        })
    }

    /// Gives a sealed folder its name among the layers, unless a whole one has it.
    fn place(&self, id: &Digest, name: &str, folder: &str) -> Result<(), Error> {
        if self.trusts(id) && sealed(&self.store.layers, name, id)?.is_some() {
            return Ok(());
        }
        match self.store.layers.rename(name, &self.trash, &format!("damaged-{name}")) {
            Ok(()) | Err(CallError { errno: Errno::ENOENT, .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.dir.rename(folder, &self.store.layers, name)?)
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next change of the store.
        let _ = self.store.ingest.remove_tree(&self.name);
    }
}

fn same(one: &Incoming<'_>, other: &Incoming<'_>) -> bool {
    one.diff_id == other.diff_id && one.digest == other.digest
}

fn blob_descriptor(compression: Compression, digest: &Digest, size: u64) -> Descriptor {
    let media_type = match compression {
        Compression::None => OCI_LAYER,
        Compression::Gzip => OCI_LAYER_GZIP,
        Compression::Zstd => OCI_LAYER_ZSTD,
    };
    Descriptor { media_type: media_type.into(), digest: digest.clone(), size, platform: None, annotations: None }
}

/// Locks a folder unless another process has it locked.
pub(crate) fn try_flock(dir: &Dir) -> Result<Option<Flock<File>>, Error> {
    let own = rooted::open(dir, b".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
    match Flock::lock(File::from(own), FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(Some(held)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((file, errno)) => {
            Err(CallError { call: format!("flock({}, LOCK_EX|LOCK_NB)", Shown(&file)), errno }.into())
        }
    }
}

impl Store {
    /// Removes staging folders whose processes ended.
    pub(crate) fn clear_stale(&self, lock: &WriteLock) -> Result<(), Error> {
        for name in self.stale(lock)? {
            self.ingest.remove_tree(&name)?;
        }
        Ok(())
    }

    /// Staging folders whose processes ended.
    pub(crate) fn stale(&self, _lock: &WriteLock) -> Result<Vec<String>, Error> {
        let mut stale = Vec::new();
        for name in self.ingest.names()? {
            if name == PARTIAL {
                continue;
            }
            let dir = match self.ingest.sub(&name) {
                Ok(dir) => dir,
                Err(CallError { errno: Errno::ENOENT, .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            if try_flock(&dir)?.is_some() {
                stale.push(name);
            }
        }
        Ok(stale)
    }
}

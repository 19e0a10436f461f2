//! The folders of the store, its lock and its index.
//!
//! ```text
//!  ROOT (/var/lib/rt)
//!  ├── images.lock            flock of whoever changes something
//!  ├── images/                an OCI image layout: oci-layout, index.json, blobs/sha256/HEX (as they were received)
//!  ├── layers/HEX/{fs,seal.json}
//!  └── ingest/N/              what is being received; flocked while its process lives, else rubbish
//! ```
//!
//! Readers take no lock: files appear and change only by rename. Blobs stay after unpacking, because `save` needs the
//! exact bytes and a damaged layer is rebuilt from them.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;
use runtime::rooted::{self, Quoted, Shown};
use runtime::sys::{Call, CallError};

use super::digest::{Algorithm, Digest};
use super::dir::{Dir, read_bounded};
use super::document::{CONTAINERD_NAME, DISCARDED, Descriptor, Index, LAYER_BLOBS, REF_NAME, parse_index};
use super::error::Error;
use super::ingest::Blobs;
use super::layer::{Seal, sealed};
use super::limits::Limits;
use super::noted::Noted;
use super::reference::Reference;

/// Where images are kept unless told otherwise.
pub const DEFAULT_ROOT: &str = "/var/lib/rt";

const LOCK: &str = "images.lock";
const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
const LAYOUT_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_MAX: u64 = 64 << 20;

/// The image store.
#[derive(Debug)]
pub struct Store {
    pub(crate) root: Dir,
    pub(crate) images: Dir,
    blobs: Dir,
    pub(crate) layers: Dir,
    pub(crate) ingest: Dir,
    pub(crate) limits: Limits,
    pub(crate) noted: Noted,
}

/// Held while the index, the blobs or the layers are changed.
#[derive(Debug)]
pub(crate) struct WriteLock {
    _file: Flock<File>,
}

impl Store {
    /// Opens the store below `root`, made if it is missing.
    ///
    /// # Errors
    /// A folder cannot be made or opened, or lets other users in (CVE-2021-41103).
    pub fn open(root: &Path) -> Result<Store, Error> {
        Store::open_with(root, Limits::default())
    }

    /// Opens the store with other bounds.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(root: &Path, limits: Limits) -> Result<Store, Error> {
        use std::os::unix::ffi::OsStrExt;
        let call = || format!("mkdir({}, 0700)", Quoted(root.as_os_str().as_bytes()));
        DirBuilder::new().recursive(true).mode(0o700).create(root).call(call)?;
        let root = Dir::open_path(root)?;
        let images = root.private_sub("images")?;
        let blobs = images.private_sub("blobs")?;
        let layers = root.private_sub("layers")?;
        let ingest = root.private_sub("ingest")?;
        let store = Store { root, images, blobs, layers, ingest, limits, noted: Noted::default() };
        if store.images.stat_of(INDEX.as_bytes())?.is_none() {
            store.start()?;
        }
        Ok(store)
    }

    /// Writes the two files that make a folder an OCI layout. An index that got lost is not replaced by an empty one: then
    /// nothing would be needed any more, and everything be removed.
    fn start(&self) -> Result<(), Error> {
        let lock = self.lock()?;
        self.write_layout(&lock)?;
        let blobs = self.blob_dir(Algorithm::Sha256)?.scan(|_, _| Ok(ControlFlow::Break(())))?;
        if blobs.is_none() && self.images.stat_of(INDEX.as_bytes())?.is_none() {
            self.write_index(&lock, Vec::new())?;
        }
        Ok(())
    }

    pub(crate) fn write_layout(&self, _lock: &WriteLock) -> Result<(), Error> {
        self.images.replace(LAYOUT, LAYOUT_TEXT.as_bytes())
    }

    /// Waits until nobody else changes the store.
    pub(crate) fn lock(&self) -> Result<WriteLock, Error> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file = File::from(rooted::open(&self.root, LOCK.as_bytes(), flags, mode)?);
        loop {
            match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(held) => return Ok(WriteLock { _file: held }),
                Err((again, Errno::EINTR)) => file = again,
                Err((file, errno)) => {
                    return Err(CallError { call: format!("flock({}, LOCK_EX)", Shown(&file)), errno }.into());
                }
            }
        }
    }

    /// All descriptors of `index.json`: one for each name, one without for an image that has none.
    pub(crate) fn read_index(&self) -> Result<Vec<Descriptor>, Error> {
        self.parse_index(&self.read_index_bytes()?)
    }

    /// The bytes of `index.json`.
    pub(crate) fn read_index_bytes(&self) -> Result<Vec<u8>, Error> {
        let bytes = self.images.read(INDEX, INDEX_MAX)?;
        bytes.ok_or_else(|| Error::Damaged {
            what: self.index_name(),
            reason: "is missing; rtctl image fsck --repair finds the images again".into(),
        })
    }

    /// The descriptors in the bytes of `index.json`.
    pub(crate) fn parse_index(&self, bytes: &[u8]) -> Result<Vec<Descriptor>, Error> {
        let limits = Limits { images: usize::MAX, ..self.limits.clone() };
        Ok(parse_index(bytes, &self.index_name(), &limits)?.manifests)
    }

    fn index_name(&self) -> String {
        format!("{}/{INDEX}", self.images.path().display())
    }

    pub(crate) fn write_index(&self, _lock: &WriteLock, manifests: Vec<Descriptor>) -> Result<(), Error> {
        let bytes = serde_json::to_vec(&Index::new(manifests)).expect("a plain structure can be written as JSON");
        self.images.replace(INDEX, &bytes)
    }

    /// The folder of blobs of one hash function.
    pub(crate) fn blob_dir(&self, algorithm: Algorithm) -> Result<Dir, Error> {
        self.blobs.private_sub(algorithm.name())
    }

    /// Opens a blob; `None`: it is not there.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<Option<File>, Error> {
        self.blob_dir(digest.algorithm())?.open_file(digest.hex().as_bytes())
    }

    /// Reads a document and checks that it is what its descriptor says.
    pub(crate) fn read_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let what = format!("blob {}", descriptor.digest);
        let file = self.open_blob(&descriptor.digest)?;
        let file = file.ok_or_else(|| Error::Damaged { what: what.clone(), reason: "is missing".into() })?;
        let bytes = read_bounded(file, self.limits.document_bytes, || what.clone())?;
        check(&bytes, descriptor, &what)?;
        Ok(bytes)
    }

    /// The sealed layer of that diffID; `None`: it is not there or not whole.
    pub(crate) fn sealed_layer(&self, diff_id: &Digest) -> Result<Option<(Dir, Seal)>, Error> {
        sealed(&self.layers, diff_id.hex(), diff_id)
    }
}

/// Checks a document's size and digest.
pub(crate) fn check(bytes: &[u8], descriptor: &Descriptor, what: &str) -> Result<(), Error> {
    let mismatch =
        |field, expected: String, found: String| Error::Mismatch { what: what.into(), field, expected, found };
    if bytes.len() as u64 != descriptor.size {
        return Err(mismatch("size", descriptor.size.to_string(), bytes.len().to_string()));
    }
    let mut hasher = super::digest::Hasher::new(descriptor.digest.algorithm());
    hasher.update(bytes);
    let found = hasher.finish();
    match found == descriptor.digest {
        true => Ok(()),
        false => Err(mismatch("digest", descriptor.digest.to_string(), found.to_string())),
    }
}

/// The name that a descriptor of our own index gives.
pub(crate) fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    descriptor.annotation(REF_NAME)?.parse().ok()
}

/// Whether the blobs of the image's layers are kept, as our own index says.
pub(crate) fn blobs_of(descriptor: &Descriptor) -> Blobs {
    match descriptor.annotation(LAYER_BLOBS) {
        Some(DISCARDED) => Blobs::Discard,
        Some(_) | None => Blobs::Keep,
    }
}

/// The descriptor under which `index.json` keeps an image of that name.
pub(crate) fn named(descriptor: &Descriptor, name: Option<&Reference>) -> Descriptor {
    let mut annotations = BTreeMap::new();
    if let Some(name) = name {
        let full = name.to_string();
        annotations.insert(REF_NAME.to_owned(), full.clone());
        annotations.insert(CONTAINERD_NAME.to_owned(), full);
    }
    if blobs_of(descriptor) == Blobs::Discard {
        annotations.insert(LAYER_BLOBS.to_owned(), DISCARDED.to_owned());
    }
    let annotations = (!annotations.is_empty()).then_some(annotations);
    Descriptor { annotations, platform: descriptor.platform.clone(), ..descriptor.bare() }
}

/// The same with another answer to whether the blobs are kept.
pub(crate) fn with_blobs(descriptor: &Descriptor, blobs: Blobs) -> Descriptor {
    let annotations = match blobs {
        Blobs::Keep => None,
        Blobs::Discard => Some(BTreeMap::from([(LAYER_BLOBS.to_owned(), DISCARDED.to_owned())])),
    };
    let marked = Descriptor { annotations, ..descriptor.clone() };
    named(&marked, name_of(descriptor).as_ref())
}

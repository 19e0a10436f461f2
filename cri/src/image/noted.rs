//! What was read once and is not read again while the files are the same: the list of images, and the seals of layers.
//!
//! The list holds as long as `index.json` has the same bytes and the documents that it names are the same files; a seal as long as
//! it is the same file: device, inode, size and times. So changes by other processes and damage are seen, and a list of images costs
//! one file, and a few calls for each image and layer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::stat::FileStat;
use runtime::sys::CallError;

use super::digest::{Algorithm, Digest};
use super::dir::is_dir;
use super::error::Error;
use super::image::Image;
use super::layer::{SEAL, TREE, sealed};
use super::store::Store;
use crate::disk::{self, Usage};

/// Those of digests.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// What a [`Store`] remembers.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    list: Mutex<Option<List>>,
    /// By the name of the layer's folder.
    layers: Mutex<HashMap<String, (Identity, Layer)>>,
}

/// The images of an index that could all be read.
#[derive(Debug, Clone)]
struct List {
    index: Vec<u8>,
    images: Arc<Vec<Image>>,
    /// The manifests and configs that were read.
    documents: Arc<Vec<(Digest, Identity)>>,
}

/// A file as it was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A whole layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Bytes of file contents.
    pub(crate) content: u64,
    /// What it takes on the disk, its seal included; absent if the seal does not say and nobody has asked yet.
    disk: Option<Usage>,
}

impl Identity {
    fn of(stat: &FileStat) -> Identity {
        Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl Store {
    /// The images of an index with these bytes, if it was read before.
    pub(crate) fn noted_list(&self, index: &[u8]) -> Result<Option<Vec<Image>>, Error> {
        let list = self.noted.list.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(list) = list.filter(|list| list.index == index) else { return Ok(None) };
        for (digest, identity) in list.documents.iter() {
            if self.document_identity(digest)? != Some(*identity) {
                return Ok(None);
            }
        }
        let mut images = list.images.as_ref().clone();
        for image in &mut images {
            image.unpacked_bytes = self.content_bytes(&image.config.diff_ids)?;
        }
        Ok(Some(images))
    }

    /// Remembers the images of an index.
    pub(crate) fn note_list(&self, index: Vec<u8>, images: &[Image]) -> Result<(), Error> {
        let mut documents = Vec::new();
        for image in images {
            for digest in image.manifests.iter().map(|manifest| &manifest.digest).chain([&image.id]) {
                let Some(identity) = self.document_identity(digest)? else { return Ok(()) };
                documents.push((digest.clone(), identity));
            }
        }
        let list = List { index, images: Arc::new(images.to_vec()), documents: Arc::new(documents) };
        *self.noted.list.lock().unwrap_or_else(PoisonError::into_inner) = Some(list);
        Ok(())
    }

    fn document_identity(&self, digest: &Digest) -> Result<Option<Identity>, Error> {
        let stat = self.blob_dir(digest.algorithm())?.stat_of(digest.hex().as_bytes())?;
        Ok(stat.as_ref().map(Identity::of))
    }

    /// Bytes of file contents in layers; those that must be unpacked again do not count.
    pub(crate) fn content_bytes(&self, diff_ids: &[Digest]) -> Result<u64, Error> {
        let mut bytes = 0;
        for diff_id in diff_ids {
            bytes += self.noted_layer(diff_id.hex(), diff_id)?.map_or(0, |layer| layer.content);
        }
        Ok(bytes)
    }

    /// What is known about the layer in the folder `name`; `None`: it is not there or not whole.
    fn noted_layer(&self, name: &str, id: &Digest) -> Result<Option<Layer>, Error> {
        let dir = match self.layers.sub(name) {
            Ok(dir) => dir,
            Err(CallError { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(stat) = dir.stat_of(SEAL.as_bytes())? else { return Ok(None) };
        let identity = Identity::of(&stat);
        let known = self.noted.layers.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        if let Some((before, layer)) = known
            && before == identity
            && dir.stat_of(TREE.as_bytes())?.is_some_and(|stat| is_dir(&stat))
        {
            return Ok(Some(layer));
        }
        let Some((_, seal)) = sealed(&self.layers, name, id)? else { return Ok(None) };
        // The folder was counted before it had its seal.
        let own = Usage { bytes: disk::blocks(&stat), inodes: 1 };
        let layer = Layer { content: seal.bytes, disk: seal.disk.map(|disk| disk + own) };
        self.note_layer(name, identity, layer);
        Ok(Some(layer))
    }

    fn note_layer(&self, name: &str, identity: Identity, layer: Layer) {
        self.noted.layers.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), (identity, layer));
    }

    /// What the layer in the folder `name` takes on the disk. One that was unpacked by a version that did not note it is looked
    /// through, once.
    pub(crate) fn layer_footprint(&self, name: &str) -> Result<Usage, Error> {
        let dir = match self.layers.sub(name) {
            Ok(dir) => dir,
            Err(CallError { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(Usage::default()),
            Err(error) => return Err(error.into()),
        };
        let Some(stat) = dir.stat_of(SEAL.as_bytes())? else { return Ok(disk::count_of(&dir)?) };
        let identity = Identity::of(&stat);
        let known = self.noted.layers.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        if let Some((before, Layer { disk: Some(disk), .. })) = known
            && before == identity
        {
            return Ok(disk);
        }
        // An extra layer's id is not in its name: its seal is not read, it is small.
        let id = ALGORITHMS.iter().find_map(|algorithm| format!("{}:{name}", algorithm.name()).parse::<Digest>().ok());
        let noted = id.map(|id| self.noted_layer(name, &id)).transpose()?.flatten();
        if let Some(disk) = noted.and_then(|layer| layer.disk) {
            return Ok(disk);
        }
        let disk = disk::count_of(&dir)?;
        let content = noted.map_or(0, |layer| layer.content);
        self.note_layer(name, identity, Layer { content, disk: Some(disk) });
        Ok(disk)
    }

    /// Forgets layers that are gone.
    pub(crate) fn forget_layers(&self, there: &[String]) {
        let mut layers = self.noted.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if layers.len() > there.len() {
            layers.retain(|name, _| there.contains(name));
        }
    }
}

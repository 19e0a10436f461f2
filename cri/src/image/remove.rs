//! Removing names and images, and what nothing needs any more.

use std::collections::HashSet;

use nix::errno::Errno;
use runtime::sys::CallError;

use super::config::ImageConfig;
use super::digest::{Algorithm, Digest};
use super::document::{Descriptor, Kind, parse_index};
use super::error::Error;
use super::image::Image;
use super::ingest::{Blobs, Ingest};
use super::names;
use super::reference::Reference;
use super::store::{Store, WriteLock, blobs_of};
use crate::disk;

/// Whether an image that has several names may be removed by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It stays, and the names are told.
    No,
    /// All names go with it. An image that a container uses stays all the same.
    Yes,
}

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that were taken away.
    pub untagged: Vec<Reference>,
    /// The ids of images that are gone.
    pub deleted: Vec<Digest>,
    /// What is free now, in bytes on the disk.
    pub freed_bytes: u64,
}

/// Tells which container uses an image, if any. Called under the store's lock.
pub type InUse<'a> = &'a mut dyn FnMut(&Digest) -> Option<String>;

impl Store {
    /// Removes a name, and with the last name the image and all that only it needed.
    ///
    /// `query` is a name, an id or the beginning of one.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::SeveralNames`], and what [`Store::resolve`] says.
    pub fn remove(&self, query: &str, force: Force, in_use: InUse<'_>) -> Result<Removed, Error> {
        let mut staging = Ingest::begin(self)?;
        let lock = self.lock()?;
        let image = self.resolve(query)?;
        let mut index = self.read_index()?;
        let by_name = query.parse::<Reference>().ok().filter(|name| image.has_name(name));
        let mut removed = Removed::default();
        match by_name {
            Some(name) if untag(&image, &name).len() < image.names.len() + image.digests.len() => {
                for name in untag(&image, &name) {
                    names::remove_name(&mut index, &name);
                    removed.untagged.push(name);
                }
            }
            by_name => {
                if by_name.is_none() && image.names.len() > 1 && force == Force::No {
                    let names = image.names.iter().map(Reference::familiar).collect();
                    return Err(Error::SeveralNames { id: image.id.short().into(), names });
                }
                remove_whole(&mut index, image, in_use, &mut removed)?;
            }
        }
        self.write_index(&lock, index)?;
        removed.freed_bytes = self.sweep(&lock, &mut staging)?;
        Ok(removed)
    }

    /// Removes all images that `chosen` says and that no container uses, and what nothing needs.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn prune(&self, chosen: &mut dyn FnMut(&Image) -> bool, in_use: InUse<'_>) -> Result<Removed, Error> {
        let mut staging = Ingest::begin(self)?;
        let lock = self.lock()?;
        let mut index = self.read_index()?;
        let mut removed = Removed::default();
        for image in self.list()?.into_iter().filter(|image| chosen(image)) {
            match remove_whole(&mut index, image, in_use, &mut removed) {
                Ok(()) | Err(Error::InUse { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.write_index(&lock, index)?;
        removed.freed_bytes = self.sweep(&lock, &mut staging)?;
        Ok(removed)
    }

    /// Removes the blobs and layers that no image of the index and no running ingest needs.
    ///
    /// Gives how many bytes of the disk they took. What cannot be read ends the sweep before anything is removed: nothing
    /// is guessed to be unused.
    pub(crate) fn sweep(&self, lock: &WriteLock, staging: &mut Ingest<'_>) -> Result<u64, Error> {
        let unneeded = self.unneeded(lock)?;
        let mut freed = 0;
        for digest in unneeded.blobs {
            let dir = self.blob_dir(digest.algorithm())?;
            freed += dir.stat_of(digest.hex().as_bytes())?.map_or(0, |stat| disk::blocks(&stat));
            dir.unlink(digest.hex().as_bytes())?;
        }
        for name in unneeded.layers {
            freed += self.layer_usage(&name)?;
            staging.discard(lock, &name)?;
        }
        Ok(freed)
    }

    /// What no image of the index and no running ingest needs.
    ///
    /// # Errors
    /// Something cannot be read: nothing is guessed to be unneeded.
    pub(crate) fn unneeded(&self, _lock: &WriteLock) -> Result<Unneeded, Error> {
        let mut needed = Needed::default();
        for descriptor in self.read_index()? {
            self.mark(&descriptor, &mut needed, 0)?;
        }
        self.mark_kept(&mut needed)?;
        let mut unneeded = Unneeded::default();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for name in self.blob_dir(algorithm)?.names()? {
                // A name that is no digest is not ours to judge.
                let Ok(digest) = format!("{}:{name}", algorithm.name()).parse::<Digest>() else { continue };
                if !needed.all_blobs && !needed.blobs.contains(&digest) {
                    unneeded.blobs.push(digest);
                }
            }
        }
        unneeded.layers.extend(self.layers.names()?.into_iter().filter(|name| !needed.layers.contains(name)));
        Ok(unneeded)
    }

    fn mark(&self, descriptor: &Descriptor, needed: &mut Needed, depth: usize) -> Result<(), Error> {
        needed.blobs.insert(descriptor.digest.clone());
        let what = format!("index.json: {}", descriptor.digest);
        let Ok(kind) = Kind::of(&descriptor.media_type, &what) else {
            // Something that another program put into the layout: we do not know what it points to.
            needed.all_blobs = true;
            return Ok(());
        };
        match kind {
            Kind::Manifest => {
                let manifest = self.read_manifest(descriptor)?;
                let config = self.read_document(&manifest.config)?;
                let config = ImageConfig::parse(&config, &format!("config {}", manifest.config.digest))?;
                needed.layers.extend(config.diff_ids.iter().map(|diff_id| diff_id.hex().to_owned()));
                needed.layers.extend(super::dirs::layer_name(&config.diff_ids));
                needed.blobs.insert(manifest.config.digest);
                if blobs_of(descriptor) == Blobs::Keep {
                    needed.blobs.extend(manifest.layers.into_iter().map(|layer| layer.digest));
                }
            }
            Kind::Index if depth < self.limits.index_depth => {
                let index = parse_index(&self.read_document(descriptor)?, &what, &self.limits)?;
                for member in index.manifests {
                    // Copies of an index may leave out the images of other platforms.
                    if self.open_blob(&member.digest)?.is_some() {
                        self.mark(&member, needed, depth + 1)?;
                    }
                }
            }
            Kind::Index => {
                let allowed = self.limits.index_depth as u64;
                return Err(Error::Limit { what, allowed, unit: "nested indexes" });
            }
        }
        Ok(())
    }

    /// What the ingests that run now found in the store and rely on.
    fn mark_kept(&self, needed: &mut Needed) -> Result<(), Error> {
        for folder in self.ingest.names()? {
            let folder = match self.ingest.sub(&folder) {
                Ok(folder) => folder,
                // It ended just now: what it kept is in the index, or was not needed.
                Err(CallError { errno: Errno::ENOENT, .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            for name in folder.names()? {
                if let Some(blob) = name.strip_prefix("keep-blob-") {
                    needed.blobs.extend(blob.replacen('-', ":", 1).parse::<Digest>());
                }
                if let Some(layer) = name.strip_prefix("keep-layer-") {
                    needed.layers.insert(layer.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// What may go.
#[derive(Debug, Default)]
pub(crate) struct Unneeded {
    pub(crate) blobs: Vec<Digest>,
    /// Names of folders.
    pub(crate) layers: Vec<String>,
}

#[derive(Default)]
struct Needed {
    blobs: HashSet<Digest>,
    all_blobs: bool,
    /// Names of folders.
    layers: HashSet<String>,
}

/// The names that go with one: with the last tag of a repository also the digests of that repository.
fn untag(image: &Image, name: &Reference) -> Vec<Reference> {
    let same_repository = |other: &Reference| other.domain() == name.domain() && other.path() == name.path();
    if let Some(digest) = name.digest() {
        return vec![name.with_digest(digest)];
    }
    let mut names = vec![name.clone()];
    if !image.names.iter().any(|other| other != name && same_repository(other)) {
        names.extend(image.digests.iter().filter(|digest| same_repository(digest)).cloned());
    }
    names
}

fn remove_whole(
    index: &mut Vec<Descriptor>,
    image: Image,
    in_use: InUse<'_>,
    removed: &mut Removed,
) -> Result<(), Error> {
    if let Some(by) = in_use(&image.id) {
        return Err(Error::InUse { id: image.id.short().into(), by });
    }
    for manifest in &image.manifests {
        names::remove_image(index, &manifest.digest);
    }
    removed.untagged.extend(image.names);
    removed.untagged.extend(image.digests);
    removed.deleted.push(image.id);
    Ok(())
}

//! What all images take, by what was counted when they were unpacked: as fast as the number of images is small.
//!
//! [`Store::usage`] looks at every file instead.

use std::collections::HashSet;
use std::path::PathBuf;

use super::error::Error;
use super::store::Store;

/// What all images take. Each layer and blob counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of blobs, and of the files of unpacked layers.
    pub bytes: u64,
    /// Files and folders.
    pub inodes: u64,
}

impl Store {
    /// Counts what the images take.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn footprint(&self) -> Result<Footprint, Error> {
        // A layer that is not compressed has its blob's digest, and is another thing.
        let (mut blobs, mut layers, mut footprint) = (HashSet::new(), HashSet::new(), Footprint::default());
        for image in self.list()? {
            for blob in image.layers.iter().chain(&image.manifests) {
                if blobs.insert(blob.digest.clone()) {
                    footprint.bytes += blob.size;
                    footprint.inodes += 1;
                }
            }
            for diff_id in &image.config.diff_ids {
                if !layers.insert(diff_id.clone()) {
                    continue;
                }
                if let Some((_, seal)) = self.sealed_layer(diff_id)? {
                    footprint.bytes += seal.bytes;
                    footprint.inodes += seal.entries;
                }
            }
        }
        Ok(footprint)
    }

    /// The store's folder, as it is called now.
    pub fn root(&self) -> PathBuf {
        self.root.path()
    }
}

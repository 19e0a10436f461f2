//! What the image store takes on the disk, by what was noted when layers were unpacked: as fast as the number of layers is small.
//!
//! [`Store::usage`] looks at every file instead. Layers that are being unpacked do not count.

use std::path::PathBuf;

use nix::errno::Errno;

use super::error::Error;
use super::partial::PARTIAL;
use super::store::Store;
use crate::disk::{self, Usage};

impl Store {
    /// Counts what the images take: blobs, documents and layers, each once.
    ///
    /// # Errors
    /// A folder of the store cannot be read.
    pub fn footprint(&self) -> Result<Usage, Error> {
        let mut footprint = disk::count_of(&self.images)?;
        let names = self.layers.names()?;
        self.forget_layers(&names);
        footprint += Usage { bytes: disk::blocks(&self.layers.stat()?), inodes: 1 };
        for name in &names {
            footprint += self.layer_footprint(name)?;
        }
        // What is left of broken transfers.
        match self.ingest.sub(PARTIAL) {
            Ok(partial) => footprint += disk::count_of(&partial)?,
            Err(error) if error.errno == Errno::ENOENT => {}
            Err(error) => return Err(error.into()),
        }
        Ok(footprint)
    }

    /// The store's folder, as it is called now.
    pub fn root(&self) -> PathBuf {
        self.root.path()
    }
}

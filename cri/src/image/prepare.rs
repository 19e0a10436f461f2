//! What a container needs of an image: its layers, whole and in order.

use std::path::PathBuf;

use super::config::ImageConfig;
use super::digest::Digest;
use super::dirs::{RootDir, root_dir};
use super::document::Descriptor;
use super::error::Error;
use super::image::Image;
use super::ingest::Ingest;
use super::layer::TREE;
use super::progress::Progress;
use super::receive::Incoming;
use super::store::Store;

/// An image that containers can be made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The image's id.
    pub id: Digest,
    /// Folders for overlayfs's `lowerdir`, top first. Never written to.
    pub layers: Vec<PathBuf>,
    /// What the root of the container's writable layer must look like.
    pub root: RootDir,
    /// What the image says about containers.
    pub config: ImageConfig,
}

impl Store {
    /// Finds an image and sees to it that all its layers are there and whole; those that are not are unpacked again.
    ///
    /// The layers stay as long as the image does: who calls this has written down before that a container uses the image,
    /// where the `in_use` of [`Store::remove`] sees it. An image without layers gives none.
    ///
    /// # Errors
    /// As [`Store::resolve`], and what can go wrong while unpacking.
    pub fn prepare(&self, query: &str, progress: &mut dyn FnMut(Progress)) -> Result<Prepared, Error> {
        let image = self.resolve(query)?;
        let missing = self.missing_layers(&image)?;
        if !missing.is_empty() {
            self.rebuild(&missing, progress)?;
        }
        let mut stack = Vec::new();
        for diff_id in image.config.diff_ids.iter().rev() {
            let sealed = self.sealed_layer(diff_id)?;
            let (dir, seal) = sealed.ok_or_else(|| Error::Damaged {
                what: format!("layer {diff_id}"),
                reason: "was removed while it was prepared".into(),
            })?;
            let hides_all_below = seal.opaque_root;
            stack.push((dir, seal));
            // Overlayfs merges the roots of all layers, whatever they say.
            if hides_all_below {
                break;
            }
        }
        let extra = self.extra_layer(&image.config.diff_ids, &stack, progress)?;
        let layers = extra.iter().chain(stack.iter().map(|(dir, _)| dir)).map(|dir| dir.path().join(TREE)).collect();
        Ok(Prepared { id: image.id, layers, root: root_dir(&stack)?, config: image.config })
    }

    fn missing_layers(&self, image: &Image) -> Result<Vec<(Digest, Descriptor)>, Error> {
        let mut missing = Vec::new();
        for (diff_id, blob) in image.config.diff_ids.iter().zip(&image.layers) {
            if self.sealed_layer(diff_id)?.is_none() {
                missing.push((diff_id.clone(), blob.clone()));
            }
        }
        Ok(missing)
    }

    /// Unpacks layers from the blobs that the store kept.
    fn rebuild(&self, missing: &[(Digest, Descriptor)], progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        let mut ingest = Ingest::begin(self)?;
        let incoming: Vec<Incoming<'_>> =
            missing.iter().map(|(diff_id, blob)| self.incoming_blob(diff_id, blob)).collect();
        ingest.layers(&incoming, progress)?;
        ingest.commit(progress, Ok)
    }
}

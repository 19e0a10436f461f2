//! Checks the store: all documents, blobs and layers against their digests, and layers against their blobs.
//!
//! ```text
//!  index ─▶ manifests ─▶ configs ─▶ blobs and layers, each once ─▶ what nothing needs
//! ```
//!
//! Only looks. While it does, a staging folder keeps others from removing what is looked at.

mod compare;
mod inventory;
mod layer;
mod repair;

use std::collections::BTreeSet;

use super::digest::Digest;
use super::document::Descriptor;
use super::error::Error;
use super::ingest::Ingest;
use super::store::Store;

use inventory::Inventory;
use layer::Checked;
pub use repair::{Lost, Unrepaired};

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Documents, sizes of blobs, seals of layers.
    Fast,
    /// Everything: blobs are hashed, layers compared with them.
    Deep,
}

/// What can be damaged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// `index.json`, the list of images and names.
    Index,
    /// `oci-layout`, by which other tools know the folder.
    Layout,
    /// The manifest of an image.
    Manifest(Digest),
    /// The config of an image.
    Config(Digest),
    /// The blob of a layer.
    Blob(Digest),
    /// An unpacked layer, by its diffID.
    Layer(Digest),
    /// The extra layer of an image, by the name of its folder.
    Extra(String),
    /// A staging folder, by its name: its process was killed.
    Leftover(String),
    /// A blob or the folder of a layer that nothing needs.
    Unneeded(String),
}

impl Object {
    /// What kind of thing it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Object::Index => "index",
            Object::Layout => "layout",
            Object::Manifest(_) => "manifest",
            Object::Config(_) => "config",
            Object::Blob(_) => "blob",
            Object::Layer(_) => "layer",
            Object::Extra(_) => "extra-layer",
            Object::Leftover(_) => "leftover",
            Object::Unneeded(_) => "unneeded",
        }
    }

    /// Which one it is.
    pub fn name(&self) -> String {
        match self {
            Object::Index => "index.json".into(),
            Object::Layout => "oci-layout".into(),
            Object::Manifest(digest) | Object::Config(digest) | Object::Blob(digest) | Object::Layer(digest) => {
                digest.to_string()
            }
            Object::Extra(name) | Object::Leftover(name) | Object::Unneeded(name) => name.clone(),
        }
    }

    /// Whether images suffer, or only space is wasted.
    pub fn matters(&self) -> bool {
        !matches!(self, Object::Leftover(_) | Object::Unneeded(_))
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What.
    pub object: Object,
    /// How it is.
    pub reason: String,
    /// What that means for containers and people.
    pub meaning: &'static str,
    /// The images that need it: their names, or the beginning of the manifest's digest.
    pub images: BTreeSet<String>,
    /// What it would be, for what can be fetched again; for a layer, its blob.
    pub(crate) descriptor: Option<Descriptor>,
    /// The manifests of these images.
    pub(crate) manifests: BTreeSet<Digest>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All damage, that of documents first.
    pub damages: Vec<Damage>,
    /// How many images were looked at.
    pub images: usize,
    /// How many layers.
    pub layers: usize,
    /// Layers that could not be compared with a blob, because there is none, by their diffIDs.
    pub uncompared: Vec<Digest>,
}

impl Store {
    /// Checks the images of these names or ids; none: all, and what nothing needs.
    ///
    /// `progress` is called with the number of layers checked and of all.
    ///
    /// # Errors
    /// An image is not there; the store cannot be looked at. What is damaged is in the report.
    pub fn verify(
        &self,
        queries: &[String],
        depth: Depth,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Report, Error> {
        let lock = self.lock()?;
        let stale = self.stale(&lock)?;
        let mut ingest = Ingest::beside(self, &lock)?;
        let mut inventory = Inventory::take(self, queries)?;
        inventory.keep(&ingest)?;
        if queries.is_empty() {
            inventory.leftovers(stale);
            // Where something cannot be read, nothing is guessed to be unneeded.
            if let Ok(unneeded) = self.unneeded(&lock) {
                inventory.unneeded(unneeded);
            }
        }
        drop(lock);
        let all = inventory.layers.len();
        let mut report = Report { images: inventory.images.len(), layers: all, ..Report::default() };
        let mut whole = BTreeSet::new();
        for (at, layer) in inventory.layers.iter().enumerate() {
            progress(at, all);
            let Checked { damages, compared, layer_is_whole } = self.check_layer(layer, depth, &mut ingest)?;
            inventory.damages.extend(damages);
            if layer_is_whole {
                whole.insert(layer.diff_id.clone());
            }
            if depth == Depth::Deep && !compared {
                report.uncompared.push(layer.diff_id.clone());
            }
        }
        progress(all, all);
        for image in &inventory.images {
            let damage = self.check_extra_of(image, &whole)?;
            inventory.damages.extend(damage);
        }
        report.damages = inventory.damages;
        report.damages.sort_by(|one, other| one.object.cmp(&other.object));
        report.damages.dedup();
        Ok(report)
    }
}

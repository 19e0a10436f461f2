//! What belongs to the images that are checked: their documents, read and checked, their blobs and layers.

use runtime::json;
use std::collections::BTreeSet;

use super::super::config::ImageConfig;
use super::super::digest::Digest;
use super::super::dirs::layer_name;
use super::super::document::{Descriptor, Kind};
use super::super::error::Error;
use super::super::ingest::{Blobs, Ingest};
use super::super::reference::Reference;
use super::super::remove::Unneeded;
use super::super::store::{Store, blobs_of, name_of};
use super::{Damage, Object};

/// An image whose documents are whole.
pub(super) struct Known {
    pub(super) label: BTreeSet<String>,
    pub(super) manifest: Digest,
    pub(super) diff_ids: Vec<Digest>,
}

/// A layer with the blob it comes from.
pub(super) struct Needed {
    pub(super) diff_id: Digest,
    pub(super) blob: Descriptor,
    pub(super) images: BTreeSet<String>,
    pub(super) manifests: BTreeSet<Digest>,
    /// Whether the blob should be there.
    pub(super) blobs: Blobs,
}

/// Everything that is to be checked, and what is known to be damaged already.
#[derive(Default)]
pub(super) struct Inventory {
    pub(super) images: Vec<Known>,
    pub(super) layers: Vec<Needed>,
    documents: Vec<Digest>,
    pub(super) damages: Vec<Damage>,
}

impl Inventory {
    /// Reads the documents of the images asked for; none: of all.
    pub(super) fn take(store: &Store, queries: &[String]) -> Result<Inventory, Error> {
        let mut inventory = Inventory::default();
        if store.images.read("oci-layout", 4096).ok().flatten().is_none_or(|text| !is_layout(&text)) {
            inventory.damages.push(Damage {
                object: Object::Layout,
                reason: "is missing or damaged".into(),
                meaning: "other tools do not take the folder for an image layout",
                images: BTreeSet::new(),
                descriptor: None,
                manifests: BTreeSet::new(),
            });
        }
        let index = match store.read_index() {
            Ok(index) => index,
            Err(error) => {
                inventory.damages.push(Damage {
                    object: Object::Index,
                    reason: error.to_string(),
                    meaning: "no image can be found; names are lost, contents are not",
                    images: BTreeSet::new(),
                    descriptor: None,
                    manifests: BTreeSet::new(),
                });
                return Ok(inventory);
            }
        };
        let mut seen: Vec<Descriptor> = Vec::new();
        for entry in wanted(store, &index, queries)? {
            if !seen.iter().any(|other| other.digest == entry.digest) {
                seen.push(entry);
            }
        }
        for entry in seen {
            let label = labels(&index, &entry.digest);
            inventory.image(store, &entry, label);
        }
        Ok(inventory)
    }

    fn image(&mut self, store: &Store, entry: &Descriptor, label: BTreeSet<String>) {
        // What other programs put into the layout is theirs to check.
        if Kind::of(&entry.media_type, "index.json").ok() != Some(Kind::Manifest) {
            return;
        }
        let damage = |object, error: Error, descriptor: &Descriptor| Damage {
            object,
            reason: error.to_string(),
            meaning: "the image cannot be used",
            images: label.clone(),
            descriptor: Some(descriptor.bare()),
            manifests: [entry.digest.clone()].into(),
        };
        self.documents.push(entry.digest.clone());
        let manifest = match store.read_manifest(entry) {
            Ok(manifest) => manifest,
            Err(error) => return self.damages.push(damage(Object::Manifest(entry.digest.clone()), error, entry)),
        };
        self.documents.push(manifest.config.digest.clone());
        let what = format!("config {}", manifest.config.digest);
        let config = store.read_document(&manifest.config).and_then(|bytes| ImageConfig::parse(&bytes, &what));
        let config = match config {
            Ok(config) => config,
            Err(error) => {
                let object = Object::Config(manifest.config.digest.clone());
                return self.damages.push(damage(object, error, &manifest.config));
            }
        };
        for (diff_id, blob) in config.diff_ids.iter().zip(&manifest.layers) {
            let known =
                self.layers.iter_mut().find(|other| other.diff_id == *diff_id && other.blob.digest == blob.digest);
            match known {
                Some(known) => {
                    known.images.extend(label.iter().cloned());
                    known.manifests.insert(entry.digest.clone());
                    if blobs_of(entry) == Blobs::Keep {
                        known.blobs = Blobs::Keep;
                    }
                }
                None => self.layers.push(Needed {
                    diff_id: diff_id.clone(),
                    blob: blob.bare(),
                    images: label.clone(),
                    manifests: [entry.digest.clone()].into(),
                    blobs: blobs_of(entry),
                }),
            }
        }
        self.images.push(Known { label, manifest: entry.digest.clone(), diff_ids: config.diff_ids });
    }

    /// Keeps others from removing what is looked at.
    pub(super) fn keep(&self, ingest: &Ingest<'_>) -> Result<(), Error> {
        for digest in self.documents.iter().chain(self.layers.iter().map(|layer| &layer.blob.digest)) {
            ingest.keep_blob(digest)?;
        }
        for layer in &self.layers {
            ingest.keep_layer(layer.diff_id.hex())?;
        }
        for name in self.images.iter().filter_map(|image| layer_name(&image.diff_ids)) {
            ingest.keep_layer(&name)?;
        }
        Ok(())
    }

    /// Notes the staging folders of processes that were killed.
    pub(super) fn leftovers(&mut self, names: Vec<String>) {
        self.damages.extend(names.into_iter().map(|name| Damage {
            object: Object::Leftover(name),
            reason: "its process was killed".into(),
            meaning: "wastes space until the next change of the images",
            images: BTreeSet::new(),
            descriptor: None,
            manifests: BTreeSet::new(),
        }));
    }

    /// Notes what nothing needs.
    pub(super) fn unneeded(&mut self, unneeded: Unneeded) {
        let blobs = unneeded.blobs.iter().map(ToString::to_string);
        let layers = unneeded.layers.iter().map(|name| format!("layers/{name}"));
        self.damages.extend(blobs.chain(layers).map(|name| Damage {
            object: Object::Unneeded(name),
            reason: "no image needs it".into(),
            meaning: "wastes space until the next removal of an image",
            images: BTreeSet::new(),
            descriptor: None,
            manifests: BTreeSet::new(),
        }));
    }
}

fn is_layout(text: &[u8]) -> bool {
    json::from_slice::<serde_json::Value>(text).is_ok_and(|value| value["imageLayoutVersion"] == "1.0.0")
}

/// The entries of the images asked for. A name is found even if its image cannot be read.
fn wanted(store: &Store, index: &[Descriptor], queries: &[String]) -> Result<Vec<Descriptor>, Error> {
    if queries.is_empty() {
        return Ok(index.to_vec());
    }
    let mut found = Vec::new();
    for query in queries {
        let name = query.parse::<Reference>().ok();
        let by_name: Vec<&Descriptor> = index.iter().filter(|entry| name.is_some() && name_of(entry) == name).collect();
        if by_name.is_empty() {
            let image = store.resolve(query)?;
            let of_image = |entry: &&Descriptor| image.manifests.iter().any(|other| other.digest == entry.digest);
            found.extend(index.iter().filter(of_image).cloned());
        }
        found.extend(by_name.into_iter().cloned());
    }
    Ok(found)
}

/// How people know the image of a manifest.
fn labels(index: &[Descriptor], manifest: &Digest) -> BTreeSet<String> {
    let names: Vec<Reference> = index.iter().filter(|entry| entry.digest == *manifest).filter_map(name_of).collect();
    let tags: BTreeSet<String> = names.iter().filter(|name| name.digest().is_none()).map(Reference::familiar).collect();
    if !tags.is_empty() {
        return tags;
    }
    let digests: BTreeSet<String> = names.iter().map(Reference::familiar).collect();
    if digests.is_empty() { [format!("<none>@{}", manifest.short())].into() } else { digests }
}

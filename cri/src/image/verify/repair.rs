//! Repairs what a check found: from the blobs that were kept, else from where the image came from.
//!
//! ```text
//!  layout, index, leftovers ─▶ here
//!  layers whose blob is whole ─▶ unpacked again
//!  the rest, image by image ─▶ fetched again; a layer that stays damaged loses its seal: it is never used
//! ```

use runtime::json;
use std::collections::{BTreeMap, BTreeSet};

use super::super::cancel::Cancel;
use super::super::config::ImageConfig;
use super::super::digest::{Algorithm, Digest};
use super::super::dir::read_bounded;
use super::super::document::{Descriptor, Kind, OCI_MANIFEST, parse_manifest};
use super::super::error::Error;
use super::super::ingest::{Blobs, Ingest};
use super::super::names;
use super::super::progress::Progress;
use super::super::receive::{Bytes, Incoming};
use super::super::reference::Reference;
use super::super::store::{Store, WriteLock, blobs_of, name_of};
use super::{Damage, Object, Report};

/// Parts of an image that are damaged and of which the store has no other copy.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Where the image may be fetched from, with the digest of its manifest: first the repositories it was pulled from,
    /// else those that its names are about.
    pub sources: Vec<Reference>,
    /// The damaged layers, by their diffIDs.
    pub(crate) layers: BTreeSet<Digest>,
    /// Whether the blobs of its layers are kept.
    pub(crate) blobs: Blobs,
}

/// What could not be repaired.
#[derive(Debug)]
pub struct Unrepaired {
    /// The objects.
    pub objects: Vec<Object>,
    /// Why not.
    pub error: Error,
}

/// Fetches what is lost of an image.
type Refetch<'a> = &'a mut dyn FnMut(&Lost) -> Result<(), Error>;

/// Tells which container is using the layer of that folder name right now.
type Busy<'a> = &'a mut dyn FnMut(&str) -> Option<String>;

impl Store {
    /// Repairs what is in a report; gives what could not be.
    ///
    /// # Errors
    /// The store cannot be changed at all.
    pub fn repair(
        &self,
        report: &Report,
        busy: Busy<'_>,
        refetch: Refetch<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Unrepaired>, Error> {
        let mut failed = Vec::new();
        self.repair_frame(report)?;
        let mut open: Vec<&Damage> = Vec::new();
        for damage in report.damages.iter().filter(|damage| !damage.manifests.is_empty()) {
            match folder(&damage.object).and_then(&mut *busy) {
                Some(by) => {
                    let what = format!("layer {}", damage.object.name());
                    let reason = format!("a running container sees it: {by}; stop it and repair again");
                    failed.push(Unrepaired {
                        objects: vec![damage.object.clone()],
                        error: Error::Damaged { what, reason },
                    });
                }
                None => open.push(damage),
            }
        }
        let bad_blobs: BTreeSet<&Digest> = open.iter().filter_map(|damage| blob(&damage.object)).collect();
        let (local, lost): (Vec<&Damage>, Vec<&Damage>) = open.into_iter().partition(|damage| match &damage.object {
            Object::Layer(_) => damage.descriptor.as_ref().is_some_and(|blob| {
                !bad_blobs.contains(&blob.digest) && self.open_blob(&blob.digest).is_ok_and(|file| file.is_some())
            }),
            Object::Extra(_) => true,
            _ => false,
        });
        if let Err(error) = self.rebuild_damaged(&local, progress) {
            failed.push(Unrepaired { objects: local.iter().map(|damage| damage.object.clone()).collect(), error });
        }
        for (lost, objects) in self.lost(&lost)? {
            self.remove_lost(&objects)?;
            if let Err(error) = refetch(&lost) {
                self.disown(&objects)?;
                failed.push(Unrepaired { objects, error });
            }
        }
        Ok(failed)
    }

    /// What is not about a single image.
    fn repair_frame(&self, report: &Report) -> Result<(), Error> {
        let has = |wanted: &dyn Fn(&Object) -> bool| report.damages.iter().any(|damage| wanted(&damage.object));
        let lock = self.lock()?;
        if has(&|object| *object == Object::Layout) {
            self.write_layout(&lock)?;
        }
        if has(&|object| *object == Object::Index) {
            self.recover_index(&lock)?;
        }
        if has(&|object| matches!(object, Object::Leftover(_) | Object::Unneeded(_))) {
            self.clear_stale(&lock)?;
            let mut staging = Ingest::beside(self, &lock)?;
            // While a document is damaged, nothing can be said to be unneeded.
            let _ = self.sweep(&lock, &mut staging);
        }
        Ok(())
    }

    /// Makes an index of all images that the blobs hold. Their names are lost.
    fn recover_index(&self, lock: &WriteLock) -> Result<(), Error> {
        let mut index = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for name in self.blob_dir(algorithm)?.names()? {
                let Ok(digest) = format!("{}:{name}", algorithm.name()).parse::<Digest>() else { continue };
                if let Some(found) = self.recognize(&digest)? {
                    names::assign(&mut index, &found, None);
                }
            }
        }
        index.sort_by(|one, other| one.digest.cmp(&other.digest));
        match self.images.rename("index.json", &self.images, "index.json.damaged") {
            Err(error) if error.errno != nix::errno::Errno::ENOENT => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        self.write_index(lock, index)
    }

    /// The descriptor of a blob that is the manifest of an image; `None`: it is something else, or damaged.
    fn recognize(&self, digest: &Digest) -> Result<Option<Descriptor>, Error> {
        let Some(file) = self.open_blob(digest)? else { return Ok(None) };
        let Ok(bytes) = read_bounded(file, self.limits.document_bytes, || digest.to_string()) else { return Ok(None) };
        let Ok(manifest) = parse_manifest(&bytes, "", &self.limits) else { return Ok(None) };
        let media_type = json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|value| value["mediaType"].as_str().map(str::to_owned))
            .filter(|text| Kind::of(text, "").ok() == Some(Kind::Manifest))
            .unwrap_or_else(|| OCI_MANIFEST.to_owned());
        let size = bytes.len() as u64;
        let descriptor = Descriptor { media_type, digest: digest.clone(), size, platform: None, annotations: None };
        let Ok(config) = self.read_document(&descriptor).and_then(|_| self.read_document(&manifest.config)) else {
            return Ok(None);
        };
        let config = ImageConfig::parse(&config, "").ok();
        Ok(config.map(|config| Descriptor { platform: Some(config.platform), ..descriptor }))
    }

    /// Unpacks layers again whose blobs are whole; extra layers are made again by the next container.
    fn rebuild_damaged(&self, damages: &[&Damage], progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        let mut ingest = Ingest::begin(self)?;
        let mut incoming = Vec::new();
        for damage in damages {
            match (&damage.object, &damage.descriptor) {
                (Object::Extra(name), _) => {
                    let lock = self.lock()?;
                    ingest.discard(&lock, name)?;
                }
                (Object::Layer(diff_id), Some(blob)) => {
                    ingest.distrust(diff_id);
                    incoming.push(self.incoming_blob(diff_id, blob));
                }
                _ => {}
            }
        }
        if !incoming.is_empty() {
            ingest.layers(&incoming, &Cancel::new(), progress)?;
            ingest.commit(progress, Ok)?;
        }
        Ok(())
    }

    /// A layer from the blob that the store kept.
    pub(crate) fn incoming_blob<'a>(&'a self, diff_id: &Digest, blob: &'a Descriptor) -> Incoming<'a> {
        Incoming {
            diff_id: diff_id.clone(),
            digest: Some(blob.digest.clone()),
            size: blob.size,
            bytes: Bytes::Source(Box::new(|| match self.open_blob(&blob.digest)? {
                Some(file) => Ok(Box::new(file)),
                None => Err(Error::Damaged { what: format!("blob {}", blob.digest), reason: "is missing".into() }),
            })),
        }
    }

    /// What is lost, by image, and the objects it is about.
    fn lost(&self, damages: &[&Damage]) -> Result<Vec<(Lost, Vec<Object>)>, Error> {
        let index = self.read_index()?;
        let mut by_manifest: BTreeMap<&Digest, Vec<&Damage>> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for damage in damages {
            // One image brings back what several share.
            if let Some(manifest) = damage.manifests.first()
                && taken.insert(&damage.object)
            {
                by_manifest.entry(manifest).or_default().push(damage);
            }
        }
        let mut lost = Vec::new();
        for (manifest, damages) in by_manifest {
            let layer = |damage: &&Damage| match &damage.object {
                Object::Layer(diff_id) => Some(diff_id.clone()),
                _ => None,
            };
            let layers = damages.iter().filter_map(layer).collect();
            let blobs = index.iter().find(|entry| entry.digest == *manifest).map_or(Blobs::Keep, blobs_of);
            let objects = damages.iter().map(|damage| damage.object.clone()).collect();
            lost.push((Lost { sources: sources(&index, manifest), layers, blobs }, objects));
        }
        Ok(lost)
    }

    /// Removes damaged blobs: nothing can be done with them.
    fn remove_lost(&self, objects: &[Object]) -> Result<(), Error> {
        let _lock = self.lock()?;
        for digest in objects.iter().filter_map(blob) {
            self.blob_dir(digest.algorithm())?.unlink(digest.hex().as_bytes())?;
        }
        Ok(())
    }

    /// Takes the seals of damaged layers away: they are never used again, and fetched by the next container.
    fn disown(&self, objects: &[Object]) -> Result<(), Error> {
        let lock = self.lock()?;
        let mut staging = Ingest::beside(self, &lock)?;
        for object in objects {
            if let Some(name) = folder(object)
                && self.layers.stat_of(name.as_bytes())?.is_some()
            {
                staging.discard(&lock, name)?;
            }
        }
        Ok(())
    }
}

/// Where an image came from, with the digest of its manifest.
fn sources(index: &[Descriptor], manifest: &Digest) -> Vec<Reference> {
    let names: Vec<Reference> = index.iter().filter(|entry| entry.digest == *manifest).filter_map(name_of).collect();
    let pulled: Vec<&Reference> = names.iter().filter(|name| name.digest().is_some()).collect();
    let chosen = if pulled.is_empty() { names.iter().collect() } else { pulled };
    let unique: BTreeSet<Reference> = chosen.into_iter().map(|name| name.with_digest(manifest)).collect();
    unique.into_iter().collect()
}

/// The folder among the layers that an object is.
fn folder(object: &Object) -> Option<&str> {
    match object {
        Object::Layer(diff_id) => Some(diff_id.hex()),
        Object::Extra(name) => Some(name),
        _ => None,
    }
}

fn blob(object: &Object) -> Option<&Digest> {
    match object {
        Object::Blob(digest) => Some(digest),
        _ => None,
    }
}

//! Loading images from OCI layouts and docker archives.

use super::choose::{Chosen, Layers, Reading, blob_member, check_digest};
use super::digest::Digest;
use super::document::{Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST};
use super::error::Error;
use super::ingest::{Blobs, Ingest};
use super::names;
use super::platform::Platform;
use super::progress::Progress;
use super::receive::{Incoming, Open};
use super::reference::Reference;
use super::source::{Opened, Source};
use super::store::Store;

/// What to take from a source, and under which name.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The machine that images are wanted for; `None`: this one, and a lone image is taken whatever it is for.
    pub platform: Option<Platform>,
    /// The name for the image, in place of the names that the source gives. The source must hold one image only.
    pub name: Option<Reference>,
    /// Whether the blobs of layers are kept.
    pub blobs: Blobs,
}

/// An image that is in the store now.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedImage {
    /// Its id: the digest of its config.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The names it was given; none: it can be reached by its id.
    pub names: Vec<Reference>,
    /// The machine it is for.
    pub platform: Platform,
}

impl Store {
    /// Loads all images of a layout folder, an OCI archive or a docker archive (`docker save`).
    ///
    /// Every digest, size and diffID is checked. Either all images are in the store afterwards, or none.
    ///
    /// # Errors
    /// What is wrong, with the image, blob or entry; see [`Error`].
    pub fn load(
        &self,
        source: Source<'_>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<LoadedImage>, Error> {
        let mut ingest = Ingest::begin(self)?.keeping(options.blobs);
        let opened = Opened::open(source, &mut ingest, &self.limits)?;
        let fetch = |descriptor: &Descriptor| {
            opened.read(blob_member(&descriptor.digest).as_bytes(), self.limits.document_bytes)
        };
        let platform = options.platform.as_ref();
        let reading = Reading { what: opened.what(), fetch: &fetch, platform, limits: &self.limits };
        let mut images = if opened.has("index.json")? && opened.has("oci-layout")? {
            reading.oci_images(&opened)?
        } else if opened.has("manifest.json")? {
            reading.docker_images(&opened)?
        } else {
            return Err(Error::NotAnImage { what: opened.what().into() });
        };
        if let Some(name) = &options.name {
            let reason = "the source holds several images; load it without a name";
            let [image] = images.as_mut_slice() else {
                return Err(Error::Name { name: name.familiar(), reason });
            };
            check_digest(name, &image.layers)?;
            image.names = vec![name.clone()];
        }
        let mut incoming = Vec::new();
        for image in &images {
            incoming.extend(image.incoming(&opened)?);
        }
        let received = ingest.layers(&incoming, progress)?;
        let mut received = received.into_iter();
        let mut loaded = Vec::new();
        let mut descriptors = Vec::new();
        for image in images {
            let blobs = received.by_ref().take(image.config.diff_ids.len()).collect();
            let id = match &image.layers {
                Layers::Manifest { manifest, .. } => manifest.config.digest.clone(),
                Layers::Files(_) => Digest::of(&image.config_bytes),
            };
            let (descriptor, bytes) = image.manifest(&id, blobs);
            ingest.add_document(&id, &image.config_bytes)?;
            ingest.add_document(&descriptor.digest, &bytes)?;
            let manifest = descriptor.digest.clone();
            descriptors.push(Descriptor { platform: Some(image.config.platform.clone()), ..descriptor });
            loaded.push(LoadedImage { id, manifest, names: image.names, platform: image.config.platform });
        }
        ingest.commit(progress, |mut index| {
            for (image, descriptor) in loaded.iter().zip(&descriptors) {
                if image.names.is_empty() {
                    names::assign(&mut index, descriptor, None);
                }
                for name in &image.names {
                    names::assign(&mut index, descriptor, Some(name));
                }
                names::mark(&mut index, &descriptor.digest, options.blobs);
            }
            Ok(index)
        })?;
        Ok(loaded)
    }
}

impl Chosen {
    fn incoming<'a>(&self, opened: &'a Opened) -> Result<Vec<Incoming<'a>>, Error> {
        let diff_ids = self.config.diff_ids.iter().cloned();
        match &self.layers {
            Layers::Manifest { manifest, .. } => Ok(diff_ids
                .zip(&manifest.layers)
                .map(|(diff_id, layer)| {
                    let member = blob_member(&layer.digest);
                    let open: Open<'a> =
                        Box::new(move || opened.open_member(member.as_bytes()).map(|(bytes, _)| bytes));
                    Incoming { diff_id, digest: Some(layer.digest.clone()), size: layer.size, open }
                })
                .collect()),
            Layers::Files(files) => diff_ids
                .zip(files.clone())
                .map(|(diff_id, member)| {
                    let (_, size) = opened.open_member(member.as_bytes())?;
                    let open: Open<'a> =
                        Box::new(move || opened.open_member(member.as_bytes()).map(|(bytes, _)| bytes));
                    Ok(Incoming { diff_id, digest: None, size, open })
                })
                .collect(),
        }
    }

    /// The manifest: the source's own, or one made for the blobs received.
    fn manifest(&self, id: &Digest, blobs: Vec<Descriptor>) -> (Descriptor, Vec<u8>) {
        match &self.layers {
            Layers::Manifest { descriptor, bytes, .. } => (descriptor.bare(), bytes.clone()),
            Layers::Files(_) => {
                let size = self.config_bytes.len() as u64;
                let config = Descriptor {
                    media_type: OCI_CONFIG.into(),
                    digest: id.clone(),
                    size,
                    platform: None,
                    annotations: None,
                };
                let bytes = serde_json::to_vec(&Manifest::new(config, blobs))
                    .expect("a plain structure can be written as JSON");
                let descriptor = Descriptor {
                    media_type: OCI_MANIFEST.into(),
                    digest: Digest::of(&bytes),
                    size: bytes.len() as u64,
                    platform: None,
                    annotations: None,
                };
                (descriptor, bytes)
            }
        }
    }
}

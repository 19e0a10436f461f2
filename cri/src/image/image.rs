//! The images of the store: listing, looking up, naming.

use super::config::ImageConfig;
use super::digest::Digest;
use super::document::{Descriptor, Kind, Manifest, parse_manifest};
use super::error::Error;
use super::ingest::Blobs;
use super::names;
use super::reference::Reference;
use super::store::{Store, blobs_of, name_of};

/// An image in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The digest of its config; what docker calls the image id.
    pub id: Digest,
    /// Its names with tags, sorted; none: it is dangling.
    pub names: Vec<Reference>,
    /// Its names with digests, sorted: what a repository knew it by when it was pulled. docker's `RepoDigests`.
    pub digests: Vec<Reference>,
    /// The digests of its manifests: more than one if the same image came with differently compressed layers.
    pub manifests: Vec<Descriptor>,
    /// What it says about containers.
    pub config: ImageConfig,
    /// The blobs of its layers (of the first manifest), bottom first.
    pub layers: Vec<Descriptor>,
    /// Whether these blobs were kept.
    pub blobs: Blobs,
    /// Bytes of file contents in its unpacked layers; layers that must be unpacked again do not count.
    pub unpacked_bytes: u64,
}

impl Image {
    /// Whether that is one of its names. Beside a digest a tag says nothing.
    pub fn has_name(&self, name: &Reference) -> bool {
        match name.digest() {
            Some(digest) => self.digests.contains(&name.with_digest(digest)) || self.digests.contains(name),
            None => self.names.contains(name),
        }
    }
}

impl Store {
    /// All images, those with names first, in the order of their names.
    ///
    /// # Errors
    /// The index or a document that it names is unreadable or damaged.
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        loop {
            let index = self.read_index_bytes()?;
            match self.list_of(&index)? {
                (images, None) => return Ok(images),
                // A reader takes no lock: an image may go while it is looked at.
                (_, Some(error)) if self.read_index_bytes()? == index => return Err(error),
                (_, Some(_)) => {}
            }
        }
    }

    /// The images that can be read, and the first error about those that cannot. When all can be read, that is done once for the
    /// same index.
    fn list_of(&self, bytes: &[u8]) -> Result<(Vec<Image>, Option<Error>), Error> {
        if let Some(images) = self.noted_list(bytes)? {
            return Ok((images, None));
        }
        let (images, first_error) = self.read_list(&self.parse_index(bytes)?);
        if first_error.is_none() {
            self.note_list(bytes.to_vec(), &images)?;
        }
        Ok((images, first_error))
    }

    fn read_list(&self, index: &[Descriptor]) -> (Vec<Image>, Option<Error>) {
        let mut images: Vec<Image> = Vec::new();
        let mut first_error = None;
        for descriptor in index {
            if let Err(error) = self.list_one(descriptor, &mut images) {
                first_error.get_or_insert(error);
            }
        }
        for image in &mut images {
            image.names.sort();
            image.digests.sort();
        }
        images.sort_by(|one, other| {
            (one.names.is_empty(), &one.names, &one.id).cmp(&(other.names.is_empty(), &other.names, &other.id))
        });
        (images, first_error)
    }

    fn list_one(&self, descriptor: &Descriptor, images: &mut Vec<Image>) -> Result<(), Error> {
        // Others may put indexes and artifacts into the layout; they are no images to run.
        if Kind::of(&descriptor.media_type, "index.json").ok() != Some(Kind::Manifest) {
            return Ok(());
        }
        let manifest = self.read_manifest(descriptor)?;
        let id = &manifest.config.digest;
        let image = match images.iter().position(|image| image.id == *id) {
            Some(at) => &mut images[at],
            None => {
                images.push(self.read_image(&manifest)?);
                images.last_mut().expect("one was just pushed")
            }
        };
        if image.manifests.is_empty() {
            image.blobs = blobs_of(descriptor);
        }
        match name_of(descriptor) {
            Some(name) if name.digest().is_some() => image.digests.push(name),
            name => image.names.extend(name),
        }
        if !image.manifests.iter().any(|other| other.digest == descriptor.digest) {
            image.manifests.push(descriptor.bare());
        }
        Ok(())
    }

    /// The image of a name, or of an id or the beginning of one (with or without `sha256:`).
    ///
    /// One damaged image does not stand in the way of the others.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`]; if it may be among those that cannot be read, what [`Store::list`] says.
    pub fn resolve(&self, query: &str) -> Result<Image, Error> {
        let (images, _) = self.list_of(&self.read_index_bytes()?)?;
        match find(images, query) {
            Err(Error::NotFound { .. }) => find(self.list()?, query),
            result => result,
        }
    }

    /// Gives an image one more name; an image that had it loses it.
    ///
    /// # Errors
    /// As [`Store::resolve`]; [`Error::Name`] for a name with a digest.
    pub fn tag(&self, query: &str, name: &Reference) -> Result<(), Error> {
        if name.digest().is_some() {
            return Err(Error::Name { name: name.familiar(), reason: "a name that is given has no digest" });
        }
        let lock = self.lock()?;
        let image = self.resolve(query)?;
        let mut index = self.read_index()?;
        let manifest = image.manifests.first().ok_or_else(|| Error::NotFound { query: query.into() })?;
        let manifest = index.iter().find(|entry| entry.digest == manifest.digest).cloned();
        let manifest = manifest.ok_or_else(|| Error::NotFound { query: query.into() })?;
        names::assign(&mut index, &manifest, Some(name));
        self.write_index(&lock, index)
    }

    pub(crate) fn read_manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        let bytes = self.read_document(descriptor)?;
        parse_manifest(&bytes, &format!("manifest {}", descriptor.digest), &self.limits)
    }

    fn read_image(&self, manifest: &Manifest) -> Result<Image, Error> {
        let bytes = self.read_document(&manifest.config)?;
        let config = ImageConfig::parse(&bytes, &format!("config {}", manifest.config.digest))?;
        let unpacked_bytes = self.content_bytes(&config.diff_ids)?;
        Ok(Image {
            id: manifest.config.digest.clone(),
            names: Vec::new(),
            digests: Vec::new(),
            manifests: Vec::new(),
            config,
            layers: manifest.layers.clone(),
            blobs: Blobs::Keep,
            unpacked_bytes,
        })
    }

    /// Which blobs unpack to which layers, by the images that are there. Those that cannot be read say nothing.
    pub(crate) fn layer_pairs(&self) -> Result<Vec<(Digest, Digest)>, Error> {
        let mut pairs = Vec::new();
        for descriptor in self.read_index()? {
            let Ok(manifest) = self.read_manifest(&descriptor) else { continue };
            let Ok(image) = self.read_image(&manifest) else { continue };
            let blobs = manifest.layers.into_iter().map(|layer| layer.digest);
            pairs.extend(blobs.zip(image.config.diff_ids));
        }
        Ok(pairs)
    }
}

/// Finds by name first, then by id.
fn find(images: Vec<Image>, query: &str) -> Result<Image, Error> {
    if let Ok(name) = query.parse::<Reference>() {
        let by_name = |image: &Image| image.has_name(&name) || is_pinned(image, &name);
        if let Some(at) = images.iter().position(by_name) {
            return Ok(images.into_iter().nth(at).expect("the position was just found"));
        }
    }
    let prefix = query.strip_prefix("sha256:").unwrap_or(query);
    let is_hex = !prefix.is_empty() && prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut found: Vec<Image> =
        images.into_iter().filter(|image| is_hex && image.id.hex().starts_with(prefix)).collect();
    match (found.pop(), found.as_slice()) {
        (Some(image), []) => Ok(image),
        (None, _) => Err(Error::NotFound { query: query.into() }),
        (Some(last), rest) => {
            let matches = rest.iter().chain([&last]).map(|image| image.id.short().to_owned()).collect();
            Err(Error::Ambiguous { query: query.into(), matches })
        }
    }
}

/// `name@digest` is also the image that has the name with some tag and that manifest.
fn is_pinned(image: &Image, name: &Reference) -> bool {
    let Some(digest) = name.digest() else { return false };
    let same_repository = |other: &Reference| other.domain() == name.domain() && other.path() == name.path();
    image.manifests.iter().any(|manifest| manifest.digest == *digest)
        && image.names.iter().chain(&image.digests).any(same_repository)
}

//! What the images take on the disk, shared layers counted once.

use std::collections::{BTreeMap, BTreeSet};

use super::digest::{Algorithm, Digest};
use super::dirs::layer_name;
use super::error::Error;
use super::image::Image;
use super::store::Store;
use crate::disk;

/// What an image takes, in bytes on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// Its layers, blobs and documents.
    pub size: u64,
    /// The part of it that other images need, too.
    pub shared: u64,
    objects: BTreeSet<Object>,
}

/// What all images take, in bytes on the disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImagesUsage {
    /// Everything that belongs to the image store, once.
    pub total: u64,
    /// Each image.
    pub images: Vec<ImageUsage>,
    sizes: BTreeMap<Object, u64>,
}

/// Something that images share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Blob(Digest),
    /// The name of a layer's folder.
    Layer(String),
}

impl ImagesUsage {
    /// What would be free if all images were removed but those that `stays` names.
    pub fn reclaimable(&self, stays: impl Fn(&Image) -> bool) -> u64 {
        let staying: BTreeSet<&Object> =
            self.images.iter().filter(|usage| stays(&usage.image)).flat_map(|usage| &usage.objects).collect();
        self.sizes.iter().filter(|(object, _)| !staying.contains(object)).map(|(_, size)| size).sum()
    }
}

impl Store {
    /// Counts what the images take.
    ///
    /// # Errors
    /// As [`Store::list`]; a folder cannot be read.
    pub fn usage(&self) -> Result<ImagesUsage, Error> {
        let mut sizes = BTreeMap::new();
        for name in self.layers.names()? {
            let bytes = self.layer_usage(&name)?;
            sizes.insert(Object::Layer(name), bytes);
        }
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = self.blob_dir(algorithm)?;
            for name in dir.names()? {
                let Ok(digest) = format!("{}:{name}", algorithm.name()).parse::<Digest>() else { continue };
                let bytes = dir.stat_of(name.as_bytes())?.map_or(0, |stat| disk::blocks(&stat));
                sizes.insert(Object::Blob(digest), bytes);
            }
        }
        let mut images = Vec::new();
        for image in self.list()? {
            let objects = self.objects(&image)?;
            images.push(ImageUsage { image, size: 0, shared: 0, objects });
        }
        let mut users: BTreeMap<&Object, usize> = BTreeMap::new();
        for object in images.iter().flat_map(|usage| &usage.objects) {
            *users.entry(object).or_default() += 1;
        }
        let size = |object: &Object| sizes.get(object).copied().unwrap_or(0);
        let sums: Vec<(u64, u64)> = images
            .iter()
            .map(|usage| {
                let shared = usage.objects.iter().filter(|object| users[object] > 1);
                (usage.objects.iter().map(size).sum(), shared.map(size).sum())
            })
            .collect();
        for (usage, (size, shared)) in images.iter_mut().zip(sums) {
            (usage.size, usage.shared) = (size, shared);
        }
        let total = disk::usage_of(&self.images)? + disk::usage_of(&self.layers)? + disk::usage_of(&self.ingest)?;
        Ok(ImagesUsage { total, images, sizes })
    }

    /// What the folder of a layer takes; 0 if it is not there.
    pub(crate) fn layer_usage(&self, name: &str) -> Result<u64, Error> {
        use nix::errno::Errno;
        match self.layers.sub(name) {
            Ok(dir) => Ok(disk::usage_of(&dir)?),
            Err(error) if error.errno == Errno::ENOENT => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn objects(&self, image: &Image) -> Result<BTreeSet<Object>, Error> {
        let mut objects = BTreeSet::from([Object::Blob(image.id.clone())]);
        for descriptor in &image.manifests {
            let manifest = self.read_manifest(descriptor)?;
            objects.insert(Object::Blob(descriptor.digest.clone()));
            objects.extend(manifest.layers.into_iter().map(|layer| Object::Blob(layer.digest)));
        }
        let diff_ids = &image.config.diff_ids;
        objects.extend(diff_ids.iter().map(|diff_id| Object::Layer(diff_id.hex().to_owned())));
        objects.extend(layer_name(diff_ids).map(Object::Layer));
        Ok(objects)
    }
}

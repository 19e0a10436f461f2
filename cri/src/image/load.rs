//! Loading images from OCI layouts and docker archives.

use serde::Deserialize;

use super::config::ImageConfig;
use super::digest::Digest;
use super::document::{
    CONTAINERD_NAME, Descriptor, Kind, Manifest, OCI_CONFIG, OCI_MANIFEST, REF_NAME, parse_index, parse_manifest,
};
use super::error::Error;
use super::ingest::{Incoming, Ingest};
use super::names;
use super::platform::Platform;
use super::progress::Progress;
use super::reference::Reference;
use super::source::{Opened, Source};
use super::store::{Store, check};

/// What to take from a source, and under which name.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The machine that images are wanted for; `None`: this one, and a lone image is taken whatever it is for.
    pub platform: Option<Platform>,
    /// The name for the image, in place of the names that the source gives. The source must hold one image only.
    pub name: Option<Reference>,
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

/// An image of the source, chosen and read.
struct Chosen {
    names: Vec<Reference>,
    config_bytes: Vec<u8>,
    config: ImageConfig,
    layers: Layers,
}

enum Layers {
    /// An OCI manifest, as it is in the source.
    Manifest { descriptor: Descriptor, bytes: Vec<u8>, manifest: Manifest },
    /// Files of a docker archive; a manifest will be made for them.
    Files(Vec<String>),
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
        let mut ingest = Ingest::begin(self)?;
        let opened = Opened::open(source, &mut ingest, &self.limits)?;
        let mut images = if opened.has("index.json")? && opened.has("oci-layout")? {
            oci_images(&opened, options, self)?
        } else if opened.has("manifest.json")? {
            docker_images(&opened, options, self)?
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
            let blobs = received.by_ref().take(image.config.diff_ids.len()).map(|layer| layer.blob).collect();
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
                    let open: super::ingest::Open<'a> =
                        Box::new(move || opened.open_member(member.as_bytes()).map(|(bytes, _)| bytes));
                    Incoming { diff_id, digest: Some(layer.digest.clone()), size: layer.size, open }
                })
                .collect()),
            Layers::Files(files) => diff_ids
                .zip(files.clone())
                .map(|(diff_id, member)| {
                    let (_, size) = opened.open_member(member.as_bytes())?;
                    let open: super::ingest::Open<'a> =
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

fn blob_member(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// A name with a digest is true only for that image.
fn check_digest(name: &Reference, layers: &Layers) -> Result<(), Error> {
    let own = match layers {
        Layers::Manifest { descriptor, .. } => Some(&descriptor.digest),
        Layers::Files(_) => None,
    };
    match name.digest() {
        Some(digest) if Some(digest) != own => {
            Err(Error::Name { name: name.familiar(), reason: "its digest is not that of the image" })
        }
        _ => Ok(()),
    }
}

/// The images of an OCI layout, those for the wanted platform where there is a choice.
fn oci_images(opened: &Opened, options: &LoadOptions, store: &Store) -> Result<Vec<Chosen>, Error> {
    let what = format!("{}: index.json", opened.what());
    let bytes = opened.read(b"index.json", store.limits.document_bytes)?;
    let index = parse_index(&bytes, &what, &store.limits)?;
    let mut groups: Vec<(Option<String>, Vec<Descriptor>)> = Vec::new();
    for descriptor in index.manifests {
        let name = descriptor.annotation(CONTAINERD_NAME).or(descriptor.annotation(REF_NAME)).map(str::to_owned);
        let joins = name.is_some() || descriptor.platform.is_some();
        let group = groups
            .iter_mut()
            .find(|(other, members)| *other == name && joins && (name.is_some() || members[0].platform.is_some()));
        match group {
            Some((_, members)) => members.push(descriptor),
            None => groups.push((name, vec![descriptor])),
        }
    }
    let mut images: Vec<Chosen> = Vec::new();
    for (name, members) in groups {
        let descriptor = choose(opened, members, options, store, &what, 0)?;
        // A name that is none of docker's stays unknown to us: the image is reached by its id.
        let name = name.and_then(|name| name.parse::<Reference>().ok());
        let twin = images.iter_mut().find(
            |image| matches!(&image.layers, Layers::Manifest { descriptor: other, .. } if other.digest == descriptor.digest),
        );
        let image = match twin {
            Some(image) => image,
            None => {
                images.push(oci_image(opened, descriptor, options, store)?);
                images.last_mut().expect("one was just pushed")
            }
        };
        if let Some(name) = name {
            check_digest(&name, &image.layers)?;
            image.names.push(name);
        }
    }
    Ok(images)
}

/// Picks the manifest for the wanted platform, going down into nested indexes.
fn choose(
    opened: &Opened,
    members: Vec<Descriptor>,
    options: &LoadOptions,
    store: &Store,
    what: &str,
    depth: usize,
) -> Result<Descriptor, Error> {
    if depth > store.limits.index_depth {
        return Err(Error::Limit {
            what: what.into(),
            allowed: store.limits.index_depth as u64,
            unit: "nested indexes",
        });
    }
    let wanted = options.platform.clone().unwrap_or_else(Platform::host);
    let lone = members.len() == 1;
    let rank = |descriptor: &Descriptor| match &descriptor.platform {
        Some(platform) => wanted.rank(platform),
        None => Some(u32::MAX),
    };
    let shown = |descriptor: &Descriptor| descriptor.platform.as_ref().map_or("unknown".into(), Platform::to_string);
    let available = members.iter().map(shown).collect();
    let mut ranked: Vec<(u32, Descriptor)> = members
        .into_iter()
        .filter_map(|descriptor| {
            let anything = lone && depth == 0 && options.platform.is_none();
            let rank = if anything { Some(0) } else { rank(&descriptor) };
            rank.map(|rank| (rank, descriptor))
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let Some((_, descriptor)) = ranked.into_iter().next() else {
        return Err(Error::NoPlatform { what: what.into(), wanted, available });
    };
    let what = format!("{}: {}", opened.what(), descriptor.digest);
    match Kind::of(&descriptor.media_type, &what)? {
        Kind::Manifest => Ok(descriptor),
        Kind::Index => {
            let what = format!("{}: index {}", opened.what(), descriptor.digest);
            let bytes = opened.read(blob_member(&descriptor.digest).as_bytes(), store.limits.document_bytes)?;
            check(&bytes, &descriptor, &what)?;
            let index = parse_index(&bytes, &what, &store.limits)?;
            choose(opened, index.manifests, options, store, &what, depth + 1)
        }
    }
}

fn oci_image(opened: &Opened, descriptor: Descriptor, options: &LoadOptions, store: &Store) -> Result<Chosen, Error> {
    let what = format!("{}: manifest {}", opened.what(), descriptor.digest);
    let document = |descriptor: &Descriptor, what: &str| {
        let bytes = opened.read(blob_member(&descriptor.digest).as_bytes(), store.limits.document_bytes)?;
        check(&bytes, descriptor, what).map(|()| bytes)
    };
    let bytes = document(&descriptor, &what)?;
    let manifest = parse_manifest(&bytes, &what, &store.limits)?;
    let config_what = format!("{}: config {}", opened.what(), manifest.config.digest);
    let config_bytes = document(&manifest.config, &config_what)?;
    let config = read_config(&config_bytes, &config_what, manifest.layers.len(), options)?;
    Ok(Chosen { names: Vec::new(), config_bytes, config, layers: Layers::Manifest { descriptor, bytes, manifest } })
}

fn read_config(bytes: &[u8], what: &str, layers: usize, options: &LoadOptions) -> Result<ImageConfig, Error> {
    let config = ImageConfig::parse(bytes, what)?;
    if config.diff_ids.len() != layers {
        let reason = format!("has {} diffIDs for {layers} layers", config.diff_ids.len());
        return Err(Error::Document { what: what.into(), reason });
    }
    let linux = Platform { os: "linux".into(), ..config.platform.clone() };
    let wanted = options.platform.clone().unwrap_or(linux);
    match wanted.rank(&config.platform) {
        Some(_) => Ok(config),
        None => Err(Error::NoPlatform { what: what.into(), wanted, available: vec![config.platform.to_string()] }),
    }
}

/// One image in the `manifest.json` of a docker archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

fn docker_images(opened: &Opened, options: &LoadOptions, store: &Store) -> Result<Vec<Chosen>, Error> {
    let what = format!("{}: manifest.json", opened.what());
    let rule = |reason: String| Error::Document { what: what.clone(), reason };
    let bytes = opened.read(b"manifest.json", store.limits.document_bytes)?;
    let list: Vec<DockerImage> = serde_json::from_slice(&bytes).map_err(|error| rule(error.to_string()))?;
    if list.len() > store.limits.images {
        return Err(Error::Limit { what, allowed: store.limits.images as u64, unit: "images" });
    }
    let mut images = Vec::new();
    for image in list {
        let files = image.layers.unwrap_or_default();
        if files.len() > store.limits.layers {
            return Err(Error::Limit { what, allowed: store.limits.layers as u64, unit: "layers" });
        }
        let config_bytes = opened.read(image.config.as_bytes(), store.limits.document_bytes)?;
        let config_what = format!("{}: config {:?}", opened.what(), image.config);
        check_named_digest(&image.config, &config_bytes, &config_what)?;
        let config = read_config(&config_bytes, &config_what, files.len(), options)?;
        let names = image.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| name.parse::<Reference>().map_err(|error| rule(error.to_string())));
        let names = names.collect::<Result<_, _>>()?;
        images.push(Chosen { names, config_bytes, config, layers: Layers::Files(files) });
    }
    Ok(images)
}

/// `docker save` names a config by its digest (`HEX.json` or `blobs/sha256/HEX`): then it must have that one.
fn check_named_digest(name: &str, bytes: &[u8], what: &str) -> Result<(), Error> {
    let leaf = name.rsplit('/').next().unwrap_or(name);
    let hex = leaf.strip_suffix(".json").unwrap_or(leaf);
    let found = Digest::of(bytes);
    match format!("sha256:{hex}").parse::<Digest>() {
        Ok(expected) if expected != found => Err(Error::Mismatch {
            what: what.into(),
            field: "digest",
            expected: expected.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}

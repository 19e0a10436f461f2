//! Which images of a source are meant, and what belongs to them.

use runtime::json;
use serde::Deserialize;

use super::config::ImageConfig;
use super::digest::Digest;
use super::document::{CONTAINERD_NAME, Descriptor, Kind, Manifest, REF_NAME, parse_index, parse_manifest};
use super::error::Error;
use super::limits::Limits;
use super::platform::Platform;
use super::reference::Reference;
use super::source::Opened;
use super::store::check;

/// An image of the source, chosen and read.
pub(crate) struct Chosen {
    pub(crate) names: Vec<Reference>,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) config: ImageConfig,
    pub(crate) layers: Layers,
}

pub(crate) enum Layers {
    /// An OCI manifest, as it is in the source.
    Manifest { descriptor: Box<Descriptor>, bytes: Vec<u8>, manifest: Box<Manifest> },
    /// Files of a docker archive; a manifest will be made for them.
    Files(Vec<String>),
}

/// Gives the bytes of a document; they are checked against the descriptor by who asks.
pub(crate) type Fetch<'a> = &'a dyn Fn(&Descriptor) -> Result<Vec<u8>, Error>;

/// Reads the documents of an image, wherever they come from.
pub(crate) struct Reading<'a> {
    /// The source, for messages.
    pub(crate) what: &'a str,
    pub(crate) fetch: Fetch<'a>,
    /// `None`: this machine.
    pub(crate) platform: Option<&'a Platform>,
    pub(crate) limits: &'a Limits,
}

/// One image in the `manifest.json` of a docker archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl Reading<'_> {
    /// The images of an OCI layout, those for the wanted platform where there is a choice.
    pub(crate) fn oci_images(&self, opened: &Opened) -> Result<Vec<Chosen>, Error> {
        let what = format!("{}: index.json", self.what);
        let bytes = opened.read(b"index.json", self.limits.document_bytes)?;
        let index = parse_index(&bytes, &what, self.limits)?;
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
            let descriptor = self.choose(members, &what, 0)?;
            // A name that is none of docker's stays unknown to us: the image is reached by its id.
            let name = name.and_then(|name| name.parse::<Reference>().ok());
            let twin = images.iter_mut().find(
            |image| matches!(&image.layers, Layers::Manifest { descriptor: other, .. } if other.digest == descriptor.digest),
        );
            let image = match twin {
                Some(image) => image,
                None => {
                    images.push(self.oci_image(descriptor)?);
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
    ///
    /// `depth` is 0 for what a layout holds; there a lone image is taken whatever it is for, unless a platform was asked for.
    pub(crate) fn choose(&self, members: Vec<Descriptor>, what: &str, depth: usize) -> Result<Descriptor, Error> {
        if depth > self.limits.index_depth {
            return Err(Error::Limit {
                what: what.into(),
                allowed: self.limits.index_depth as u64,
                unit: "nested indexes",
            });
        }
        let wanted = self.platform.cloned().unwrap_or_else(Platform::host);
        let lone = members.len() == 1;
        let rank = |descriptor: &Descriptor| match &descriptor.platform {
            Some(platform) => wanted.rank(platform),
            None => Some(u32::MAX),
        };
        let shown =
            |descriptor: &Descriptor| descriptor.platform.as_ref().map_or("unknown".into(), Platform::to_string);
        let available = members.iter().map(shown).collect();
        let mut ranked: Vec<(u32, Descriptor)> = members
            .into_iter()
            .filter_map(|descriptor| {
                let anything = lone && depth == 0 && self.platform.is_none();
                let rank = if anything { Some(0) } else { rank(&descriptor) };
                rank.map(|rank| (rank, descriptor))
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let Some((_, descriptor)) = ranked.into_iter().next() else {
            return Err(Error::NoPlatform { what: what.into(), wanted, available });
        };
        let what = format!("{}: {}", self.what, descriptor.digest);
        match Kind::of(&descriptor.media_type, &what)? {
            Kind::Manifest => Ok(descriptor),
            Kind::Index => {
                let what = format!("{}: index {}", self.what, descriptor.digest);
                let bytes = self.document(&descriptor, &what)?;
                let index = parse_index(&bytes, &what, self.limits)?;
                self.choose(index.manifests, &what, depth + 1)
            }
        }
    }

    fn document(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>, Error> {
        if descriptor.size > self.limits.document_bytes {
            return Err(Error::Limit { what: what.into(), allowed: self.limits.document_bytes, unit: "bytes" });
        }
        let bytes = (self.fetch)(descriptor)?;
        check(&bytes, descriptor, what).map(|()| bytes)
    }

    /// Reads the manifest and the config of the image.
    pub(crate) fn oci_image(&self, descriptor: Descriptor) -> Result<Chosen, Error> {
        let what = format!("{}: manifest {}", self.what, descriptor.digest);
        let bytes = self.document(&descriptor, &what)?;
        let manifest = parse_manifest(&bytes, &what, self.limits)?;
        let config_what = format!("{}: config {}", self.what, manifest.config.digest);
        let config_bytes = self.document(&manifest.config, &config_what)?;
        let config = self.read_config(&config_bytes, &config_what, manifest.layers.len())?;
        Ok(Chosen {
            names: Vec::new(),
            config_bytes,
            config,
            layers: Layers::Manifest { descriptor: Box::new(descriptor), bytes, manifest: Box::new(manifest) },
        })
    }

    fn read_config(&self, bytes: &[u8], what: &str, layers: usize) -> Result<ImageConfig, Error> {
        let config = ImageConfig::parse(bytes, what)?;
        if config.diff_ids.len() != layers {
            let reason = format!("has {} diffIDs for {layers} layers", config.diff_ids.len());
            return Err(Error::Document { what: what.into(), reason });
        }
        let linux = Platform { os: "linux".into(), ..config.platform.clone() };
        let wanted = self.platform.cloned().unwrap_or(linux);
        match wanted.rank(&config.platform) {
            Some(_) => Ok(config),
            None => Err(Error::NoPlatform { what: what.into(), wanted, available: vec![config.platform.to_string()] }),
        }
    }

    /// The images of a docker archive.
    pub(crate) fn docker_images(&self, opened: &Opened) -> Result<Vec<Chosen>, Error> {
        let what = format!("{}: manifest.json", self.what);
        let rule = |reason: String| Error::Document { what: what.clone(), reason };
        let bytes = opened.read(b"manifest.json", self.limits.document_bytes)?;
        let list: Vec<DockerImage> = json::from_slice(&bytes).map_err(|error| rule(error.to_string()))?;
        if list.len() > self.limits.images {
            return Err(Error::Limit { what, allowed: self.limits.images as u64, unit: "images" });
        }
        let mut images = Vec::new();
        for image in list {
            let files = image.layers.unwrap_or_default();
            if files.len() > self.limits.layers {
                return Err(Error::Limit { what, allowed: self.limits.layers as u64, unit: "layers" });
            }
            let config_bytes = opened.read(image.config.as_bytes(), self.limits.document_bytes)?;
            let config_what = format!("{}: config {:?}", self.what, image.config);
            check_named_digest(&image.config, &config_bytes, &config_what)?;
            let config = self.read_config(&config_bytes, &config_what, files.len())?;
            let names = image.repo_tags.unwrap_or_default();
            let names = names.iter().map(|name| name.parse::<Reference>().map_err(|error| rule(error.to_string())));
            let names = names.collect::<Result<_, _>>()?;
            images.push(Chosen { names, config_bytes, config, layers: Layers::Files(files) });
        }
        Ok(images)
    }
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

pub(crate) fn blob_member(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// A name with a digest is true only for that image.
pub(crate) fn check_digest(name: &Reference, layers: &Layers) -> Result<(), Error> {
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

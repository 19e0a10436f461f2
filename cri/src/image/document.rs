//! Descriptors, manifests and indexes: parsed strictly, one shape only.
//!
//! Source: OCI image-spec manifest.md and image-index.md; docker's schema 2 is the same with other media types.
//! A document that could be read as a manifest and as an index is refused (CVE-2021-41190).

use runtime::json;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::Error;
use super::limits::Limits;
use super::platform::Platform;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Layers that registries need not have; their `urls` are never asked, only the registry, by digest.
const LAYERS: [&str; 9] = [
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
];

pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full name, as containerd and docker write it into layouts.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// In our own `index.json`: the blobs of the image's layers were not kept.
pub(crate) const LAYER_BLOBS: &str = "rt.layer-blobs";
/// The value of [`LAYER_BLOBS`].
pub(crate) const DISCARDED: &str = "discarded";

/// Points to a blob. Source: OCI image-spec descriptor.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The machine it is for, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free data; in `index.json` the name of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// The same blob without what only belongs to the place where the descriptor stands.
    pub(crate) fn bare(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.size,
            platform: None,
            annotations: None,
        }
    }
}

/// One image: its config and its layers, bottom first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    /// The image configuration.
    pub(crate) config: Descriptor,
    /// The layers, bottom first.
    pub(crate) layers: Vec<Descriptor>,
}

impl Manifest {
    pub(crate) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest { schema_version: 2, media_type: Some(OCI_MANIFEST.into()), config, layers }
    }
}

/// Several images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    /// The images, or further indexes.
    pub(crate) manifests: Vec<Descriptor>,
}

impl Index {
    pub(crate) fn new(manifests: Vec<Descriptor>) -> Index {
        Index { schema_version: 2, media_type: Some(OCI_INDEX.into()), manifests }
    }
}

/// What a descriptor in an index points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Index,
}

impl Kind {
    /// What `media_type` announces.
    pub(crate) fn of(media_type: &str, what: &str) -> Result<Kind, Error> {
        match media_type {
            OCI_MANIFEST | DOCKER_MANIFEST => Ok(Kind::Manifest),
            OCI_INDEX | DOCKER_INDEX => Ok(Kind::Index),
            other if other.starts_with("application/vnd.docker.distribution.manifest.v1+") => Err(Error::Document {
                what: what.into(),
                reason:
                    "is a docker schema 1 manifest, which is not supported; push the image again with a newer client"
                        .into(),
            }),
            other => Err(Error::MediaType {
                what: what.into(),
                found: other.into(),
                allowed: "OCI image manifests and indexes and docker's schema 2 manifests and lists",
            }),
        }
    }

    fn types(self) -> [&'static str; 2] {
        match self {
            Kind::Manifest => [OCI_MANIFEST, DOCKER_MANIFEST],
            Kind::Index => [OCI_INDEX, DOCKER_INDEX],
        }
    }
}

/// The members by which manifests and indexes are told apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
    artifact_type: Option<IgnoredAny>,
}

/// Checks that the document has the shape that its descriptor announced, and no second one.
fn check_shape(bytes: &[u8], announced: Kind, what: &str) -> Result<(), Error> {
    let rule = |reason: String| Error::Document { what: what.into(), reason };
    let shape: Shape = json::from_slice(bytes).map_err(|error| rule(error.to_string()))?;
    let both =
        shape.manifests.is_some() && (shape.config.is_some() || shape.layers.is_some() || shape.fs_layers.is_some());
    if both {
        return Err(rule("is ambiguous: it has manifests and also config or layers".into()));
    }
    if shape.fs_layers.is_some() {
        return Err(rule("is a docker schema 1 manifest, which is not supported".into()));
    }
    if shape.artifact_type.is_some() && announced == Kind::Manifest {
        return Err(rule("is an artifact, not an image".into()));
    }
    match shape.media_type {
        Some(inner) if !announced.types().contains(&inner.as_str()) => {
            Err(rule(format!("calls itself {inner:?}, its descriptor says {}", announced.types()[0])))
        }
        _ => Ok(()),
    }
}

/// Parses a manifest; `descriptor` announced it.
///
/// # Errors
/// [`Error::Document`], [`Error::MediaType`] or [`Error::Limit`], naming the manifest.
pub(crate) fn parse_manifest(bytes: &[u8], what: &str, limits: &Limits) -> Result<Manifest, Error> {
    check_shape(bytes, Kind::Manifest, what)?;
    let rule = |reason: String| Error::Document { what: what.into(), reason };
    let manifest: Manifest = json::from_slice(bytes).map_err(|error| rule(error.to_string()))?;
    if manifest.schema_version != 2 {
        return Err(rule(format!("schemaVersion is {}, allowed is 2", manifest.schema_version)));
    }
    if ![OCI_CONFIG, DOCKER_CONFIG].contains(&manifest.config.media_type.as_str()) {
        return Err(Error::MediaType {
            what: format!("{what}: config"),
            found: manifest.config.media_type,
            allowed: "OCI and docker image configs",
        });
    }
    if manifest.config.size > limits.document_bytes {
        return Err(Error::Limit { what: format!("{what}: config"), allowed: limits.document_bytes, unit: "bytes" });
    }
    if manifest.layers.len() > limits.layers {
        return Err(Error::Limit { what: what.into(), allowed: limits.layers as u64, unit: "layers" });
    }
    if let Some(layer) = manifest.layers.iter().find(|layer| !LAYERS.contains(&layer.media_type.as_str())) {
        return Err(Error::MediaType {
            what: format!("{what}: layer {}", layer.digest),
            found: layer.media_type.clone(),
            allowed: "tar, tar+gzip and tar+zstd layers of OCI and docker",
        });
    }
    Ok(manifest)
}

/// Parses an index.
///
/// # Errors
/// [`Error::Document`] or [`Error::Limit`], naming the index.
pub(crate) fn parse_index(bytes: &[u8], what: &str, limits: &Limits) -> Result<Index, Error> {
    check_shape(bytes, Kind::Index, what)?;
    let rule = |reason: String| Error::Document { what: what.into(), reason };
    let index: Index = json::from_slice(bytes).map_err(|error| rule(error.to_string()))?;
    if index.schema_version != 2 {
        return Err(rule(format!("schemaVersion is {}, allowed is 2", index.schema_version)));
    }
    if index.manifests.len() > limits.images {
        return Err(Error::Limit { what: what.into(), allowed: limits.images as u64, unit: "images" });
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":3}}"#, Digest::of(b"x"))
    }

    #[test]
    fn one_shape_only() {
        let config = descriptor(OCI_CONFIG);
        let layer = descriptor(OCI_LAYER_GZIP);
        let good = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
        let limits = Limits::default();
        assert_eq!(parse_manifest(good.as_bytes(), "m", &limits).unwrap().layers.len(), 1);

        let refused = [
            (format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#), "ambiguous"),
            (
                format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"mediaType":"{OCI_INDEX}"}}"#),
                "calls itself",
            ),
            (format!(r#"{{"schemaVersion":1,"config":{config},"layers":[]}}"#), "schemaVersion is 1"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.into(), "schema 1"),
            (format!(r#"{{"schemaVersion":2,"config":{config},"config":{config},"layers":[]}}"#), "duplicate field"),
            (format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[]}}"#), "not supported"),
            (format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{config}]}}"#), "not supported"),
            (r#"{"schemaVersion":2}"#.into(), "missing field"),
            ("[]".into(), "invalid"),
            (good.replace("sha256:", "sha256:../"), "digest"),
            (good.replace(":3", ":-3"), "invalid value"),
        ];
        for (text, expected) in refused {
            let error = parse_manifest(text.as_bytes(), "m", &limits).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}],"layers":[]}}"#, descriptor(OCI_MANIFEST));
        assert!(parse_index(index.as_bytes(), "i", &limits).unwrap_err().to_string().contains("ambiguous"));
    }

    #[test]
    fn bounds() {
        let limits = Limits { layers: 1, images: 1, ..Limits::default() };
        let config = descriptor(OCI_CONFIG);
        let layer = descriptor(OCI_LAYER);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer},{layer}]}}"#);
        let error = parse_manifest(manifest.as_bytes(), "m", &limits).unwrap_err();
        assert_eq!(error.to_string(), "m: more than 1 layers");
        let image = descriptor(OCI_MANIFEST);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{image},{image}]}}"#);
        assert_eq!(parse_index(index.as_bytes(), "i", &limits).unwrap_err().to_string(), "i: more than 1 images");
    }
}

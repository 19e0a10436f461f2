//! Writing images as archives: OCI, or as `docker save` does.
//!
//! An OCI archive holds the blobs as they were received. A docker archive holds the layers uncompressed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};

use serde::Serialize;
use tar::{Builder, EntryType, Header};

use super::digest::{Digest, HashingReader};
use super::document::{Descriptor, Index};
use super::error::Error;
use super::image::Image;
use super::ingest::Blobs;
use super::reference::Reference;
use super::store::{Store, named};
use super::unpack::{Stop, Stream, own_error};

/// The kind of archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An OCI image layout in a tar: what podman, skopeo and containerd read.
    Oci,
    /// `manifest.json` with plain layers: what every docker reads.
    Docker,
}

/// An image and the names under which it goes into the archive.
struct Chosen {
    image: Image,
    names: Vec<Reference>,
}

/// Source: docker's image specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Store {
    /// Writes images to an archive. An image asked for by name has this name there; by id, none.
    ///
    /// Every blob is checked while it is written; what was written before an error is no archive.
    ///
    /// # Errors
    /// As [`Store::resolve`]; a blob is damaged; `output` cannot be written.
    pub fn save(&self, queries: &[&str], format: Format, output: &mut dyn Write) -> Result<(), Error> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for query in queries {
            let image = self.resolve(query)?;
            self.check_blobs(query, &image)?;
            let name = query.parse::<Reference>().ok().filter(|name| image.has_name(name));
            match chosen.iter_mut().find(|other| other.image.id == image.id) {
                Some(other) => other.names.extend(name),
                None => chosen.push(Chosen { image, names: name.into_iter().collect() }),
            }
        }
        let mut archive = Builder::new(output);
        match format {
            Format::Oci => self.save_oci(&chosen, &mut archive)?,
            Format::Docker => self.save_docker(&chosen, &mut archive)?,
        }
        archive.finish().map_err(written)
    }

    /// Checks that the compressed layers of an image are there.
    ///
    /// # Errors
    /// [`Error::NoBlobs`] if they were not kept.
    pub(crate) fn check_blobs(&self, query: &str, image: &Image) -> Result<(), Error> {
        let mut missing = Vec::new();
        for blob in &image.layers {
            if image.blobs == Blobs::Discard && self.open_blob(&blob.digest)?.is_none() {
                missing.push(blob.digest.to_string());
            }
        }
        match missing.as_slice() {
            [] => Ok(()),
            _ => Err(Error::NoBlobs { image: query.into(), missing }),
        }
    }

    fn save_oci(&self, chosen: &[Chosen], archive: &mut Builder<&mut dyn Write>) -> Result<(), Error> {
        let mut index = Vec::new();
        let mut blobs = BTreeMap::new();
        for Chosen { image, names } in chosen {
            let Some(descriptor) = image.manifests.first() else { continue };
            let manifest = self.read_manifest(descriptor)?;
            for blob in [descriptor, &manifest.config].into_iter().chain(&manifest.layers) {
                blobs.insert(blob.digest.clone(), blob.size);
            }
            let descriptor = Descriptor { platform: Some(image.config.platform.clone()), ..descriptor.clone() };
            match names.as_slice() {
                [] => index.push(named(&descriptor, None)),
                names => index.extend(names.iter().map(|name| named(&descriptor, Some(name)))),
            }
        }
        add_bytes(archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add_bytes(archive, "index.json", &json(&Index::new(index)))?;
        for (digest, size) in blobs {
            let member = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
            let mut input = HashingReader::new(self.blob(&digest)?, digest.algorithm());
            add(archive, &member, size, &mut input)?;
            let (found, _) = input.finish();
            expect(&digest, &digest, &found, "digest")?;
        }
        Ok(())
    }

    fn save_docker(&self, chosen: &[Chosen], archive: &mut Builder<&mut dyn Write>) -> Result<(), Error> {
        let mut list = Vec::new();
        let mut layers_done = BTreeSet::new();
        for Chosen { image, names } in chosen {
            let Some(descriptor) = image.manifests.first() else { continue };
            let manifest = self.read_manifest(descriptor)?;
            let config = format!("{}.json", image.id.hex());
            add_bytes(archive, &config, &self.read_document(&manifest.config)?)?;
            let mut layers = Vec::new();
            for (diff_id, blob) in image.config.diff_ids.iter().zip(&manifest.layers) {
                let member = format!("{}.tar", diff_id.hex());
                if layers_done.insert(diff_id.clone()) {
                    self.add_plain_layer(archive, &member, diff_id, blob)?;
                }
                layers.push(member);
            }
            list.push(DockerImage { config, repo_tags: names.iter().map(Reference::familiar).collect(), layers });
        }
        add_bytes(archive, "manifest.json", &json(&list))
    }

    /// A tar header comes before the data and has its size: the layer is decompressed twice, once to count.
    fn add_plain_layer(
        &self,
        archive: &mut Builder<&mut dyn Write>,
        member: &str,
        diff_id: &Digest,
        blob: &Descriptor,
    ) -> Result<(), Error> {
        let size = self.decompress(diff_id, blob, |plain| {
            let failed = |source| Error::Io { what: format!("blob {}", blob.digest), source };
            io::copy(plain, &mut io::sink()).map_err(|error| own_error(error).unwrap_or_else(failed))
        })?;
        self.decompress(diff_id, blob, |plain| add(archive, member, size, plain))
    }

    fn decompress<T>(
        &self,
        diff_id: &Digest,
        blob: &Descriptor,
        take: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let stream = Stream {
            input: &mut self.blob(&blob.digest)?,
            algorithm: blob.digest.algorithm(),
            diff_algorithm: diff_id.algorithm(),
            size: blob.size,
            copy: None,
            progress: &mut |_| {},
            stop: &Stop::default(),
        };
        let (taken, found) = stream.run(&self.limits, take)?;
        expect(&blob.digest, &blob.digest, &found.digest, "digest")?;
        expect(&blob.digest, diff_id, &found.diff_id, "diffID")?;
        Ok(taken)
    }

    fn blob(&self, digest: &Digest) -> Result<File, Error> {
        let missing = || Error::Damaged { what: format!("blob {digest}"), reason: "is missing".into() };
        self.open_blob(digest)?.ok_or_else(missing)
    }
}

fn expect(blob: &Digest, expected: &Digest, found: &Digest, field: &'static str) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (expected.to_string(), found.to_string());
    Err(Error::Mismatch { what: format!("blob {blob}"), field, expected, found })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a plain structure can be written as JSON")
}

fn add_bytes(archive: &mut Builder<&mut dyn Write>, member: &str, bytes: &[u8]) -> Result<(), Error> {
    add(archive, member, bytes.len() as u64, &mut &*bytes)
}

/// Adds a file of exactly `size` bytes; the same contents always give the same archive.
fn add(archive: &mut Builder<&mut dyn Write>, member: &str, size: u64, input: &mut dyn Read) -> Result<(), Error> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    let mut counted = Exact { input, left: size };
    let added = archive.append_data(&mut header, member, &mut counted);
    added.map_err(|error| own_error(error).unwrap_or_else(written))?;
    match counted.left {
        0 => Ok(()),
        left => Err(Error::Mismatch {
            what: member.into(),
            field: "size",
            expected: size.to_string(),
            found: (size - left).to_string(),
        }),
    }
}

/// Ends after `left` bytes, and remembers how many were missing.
struct Exact<'a> {
    input: &'a mut dyn Read,
    left: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.input.read(&mut buffer[..most])?;
        self.left -= length as u64;
        Ok(length)
    }
}

fn written(source: io::Error) -> Error {
    Error::Io { what: "writing the archive".into(), source }
}

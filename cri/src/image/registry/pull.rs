//! Bringing an image from a registry into the store.

use std::io::{self, Read};

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::mpsc;

use super::super::cancel::Cancel;
use super::super::choose::{Layers, Reading};
use super::super::digest::Digest;
use super::super::document::{Descriptor, Kind, parse_index};
use super::super::error::Error;
use super::super::ingest::Ingest;
use super::super::names;
use super::super::platform::Platform;
use super::super::progress::Progress;
use super::super::receive::{Incoming, Open};
use super::super::reference::Reference;
use super::super::store::Store;
use super::Registry;
use super::credentials::Credentials;
use super::endpoint::{Endpoint, default_endpoint};
use super::fault::Fault;

/// What to pull, and how.
pub struct PullOptions<'a> {
    /// The machine that the image is for; `None`: this one.
    pub platform: Option<Platform>,
    /// The credentials for a host, such as `docker.io` or `localhost:5000`. Asked for each registry and mirror by its own
    /// name, at the first request that needs some.
    pub credentials: &'a (dyn Fn(&str) -> Result<Credentials, Error> + Sync),
    /// Ends the pull from outside.
    pub cancel: Cancel,
}

/// An image that was pulled.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulled {
    /// Its id: the digest of its config.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The digest that the reference has in the registry: that of the manifest, or of the index it was chosen from.
    pub resolved: Digest,
    /// The name it has now: with the tag, or with the digest if one was asked for.
    pub name: Reference,
    /// The machine it is for.
    pub platform: Platform,
    /// Whether the store had it under this name before.
    pub fresh: Fresh,
}

/// Whether a pull changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The name means another image now, or one at all.
    New,
    /// It is the image that the name meant before.
    UpToDate,
}

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";

impl Store {
    /// Brings an image from its registry, or from a mirror of it, into the store. Layers that are there are not fetched.
    ///
    /// Blocks the calling thread; must not be called from within an asynchronous task.
    ///
    /// # Errors
    /// [`Error::Registry`] with every endpoint that was tried; what [`Store::load`] says about images.
    pub fn pull(
        &self,
        registry: &Registry,
        reference: &Reference,
        options: &PullOptions<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pulled, Error> {
        let what = reference.familiar();
        let endpoint = default_endpoint(reference.domain());
        let top = registry.block_on(&options.cancel, top_document(registry, &endpoint, reference, self))?;
        let (descriptor, bytes) = top;
        let fetch = |wanted: &Descriptor| {
            if wanted.digest == descriptor.digest {
                return Ok(bytes.clone());
            }
            let kind = if Kind::of(&wanted.media_type, "").is_ok() { "manifests" } else { "blobs" };
            let url = endpoint.url(reference.path(), kind, &wanted.digest.to_string());
            let got = get(registry, url, wanted.size);
            registry.block_on(&options.cancel, got).map(|(bytes, _)| bytes)
        };
        let reading = Reading { what: &what, fetch: &fetch, platform: options.platform.as_ref(), limits: &self.limits };
        let manifest = match Kind::of(&descriptor.media_type, &what)? {
            Kind::Manifest => descriptor.clone(),
            Kind::Index => reading.choose(parse_index(&bytes, &what, &self.limits)?.manifests, &what, 1)?,
        };
        let image = reading.oci_image(manifest)?;
        let Layers::Manifest { descriptor: manifest, bytes: manifest_bytes, manifest: parsed } = &image.layers else {
            return Err(Error::NotAnImage { what });
        };
        let mut ingest = Ingest::begin(self)?;
        let incoming: Vec<Incoming<'_>> = image
            .config
            .diff_ids
            .iter()
            .zip(&parsed.layers)
            .map(|(diff_id, layer)| {
                let url = endpoint.url(reference.path(), "blobs", &layer.digest.to_string());
                let open: Open<'_> = Box::new(move || {
                    let (sender, receiver) = mpsc::channel(16);
                    registry.runtime.spawn(stream(registry.client(), url.clone(), sender));
                    Ok(Box::new(Stream { receiver, rest: Bytes::new() }))
                });
                Incoming { diff_id: diff_id.clone(), digest: Some(layer.digest.clone()), size: layer.size, open }
            })
            .collect();
        ingest.layers(&incoming, progress)?;
        let id = parsed.config.digest.clone();
        ingest.add_document(&id, &image.config_bytes)?;
        ingest.add_document(&manifest.digest, manifest_bytes)?;
        let entry = Descriptor { platform: Some(image.config.platform.clone()), ..manifest.bare() };
        let digested = reference.with_digest(&descriptor.digest);
        let name = if reference.digest().is_some() { digested.clone() } else { reference.clone() };
        let mut fresh = Fresh::New;
        ingest.commit(progress, |mut index| {
            if names::find(&index, &name).is_some_and(|old| old.digest == manifest.digest) {
                fresh = Fresh::UpToDate;
            }
            names::assign(&mut index, &entry, Some(&name));
            names::assign(&mut index, &entry, Some(&digested));
            Ok(index)
        })?;
        Ok(Pulled {
            id,
            manifest: manifest.digest.clone(),
            resolved: descriptor.digest.clone(),
            name,
            platform: image.config.platform,
            fresh,
        })
    }
}

async fn top_document(
    registry: &Registry,
    endpoint: &Endpoint,
    reference: &Reference,
    store: &Store,
) -> Result<(Descriptor, Vec<u8>), Error> {
    let name = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let url = endpoint.url(reference.path(), "manifests", &name);
    let (bytes, headers) = get(registry, url, store.limits.document_bytes).await?;
    let found = Digest::of(&bytes);
    if let Some(wanted) = reference.digest()
        && *wanted != found
    {
        return Err(Error::Mismatch {
            what: reference.familiar(),
            field: "digest",
            expected: wanted.to_string(),
            found: found.to_string(),
        });
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let descriptor = Descriptor {
        media_type: media_type.into(),
        digest: found,
        size: bytes.len() as u64,
        platform: None,
        annotations: None,
    };
    Ok((descriptor, bytes))
}

async fn get(registry: &Registry, url: reqwest::Url, bound: u64) -> Result<(Vec<u8>, HeaderMap), Error> {
    let call = format!("GET {}", super::fault::shown(&url));
    let failed =
        |error: reqwest::Error| Error::Registry { what: call.clone(), faults: vec![Fault::transport(&call, &error)] };
    let request = registry.client().get(url).header(ACCEPT, HeaderValue::from_static(ACCEPTED));
    let mut response = request.send().await.map_err(failed)?;
    if !response.status().is_success() {
        let fault = Fault::Status { call: call.clone(), status: response.status(), detail: String::new() };
        return Err(Error::Registry { what: call, faults: vec![fault] });
    }
    let headers = response.headers().clone();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if (bytes.len() + chunk.len()) as u64 > bound {
            return Err(Error::Limit { what: call, allowed: bound, unit: "bytes" });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, headers))
}

async fn stream(client: reqwest::Client, url: reqwest::Url, sender: mpsc::Sender<Result<Bytes, Fault>>) {
    let call = format!("GET {}", super::fault::shown(&url));
    let result = async {
        let mut response = client.get(url).send().await.map_err(|error| Fault::transport(&call, &error))?;
        if !response.status().is_success() {
            return Err(Fault::Status { call: call.clone(), status: response.status(), detail: String::new() });
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| Fault::transport(&call, &error))? {
            if sender.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    };
    if let Err(fault) = result.await {
        let _ = sender.send(Err(fault)).await;
    }
}

struct Stream {
    receiver: mpsc::Receiver<Result<Bytes, Fault>>,
    rest: Bytes,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(fault)) => {
                    let what = "blob".into();
                    return Err(io::Error::other(Error::Registry { what, faults: vec![fault] }));
                }
            }
        }
        let length = self.rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}

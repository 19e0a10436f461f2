//! Bringing an image from the store to a registry.
//!
//! ```text
//!  each blob: upload     several at a time
//!  then the manifest, under its tag
//! ```
//!
//! Source: distribution-spec 1.1, "Push".

use std::fs::File;
use std::sync::Arc;

use futures_util::stream;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc::unbounded_channel;

use super::super::cancel::Cancel;
use super::super::digest::Digest;
use super::super::document::{Descriptor, Manifest};
use super::super::error::Error;
use super::super::image::Image;
use super::super::names;
use super::super::progress::Progress;
use super::super::reference::Reference;
use super::super::store::Store;
use super::Registry;
use super::credentials::Lookup;
use super::endpoint::Wish;
use super::exchange::{Ask, Body, Session};
use super::fault::Fault;
use super::upload::Upload;

/// How many blobs are sent at once.
const UPLOADS: usize = 3;

/// How to push.
pub struct PushOptions {
    /// The image: a name, an id or the beginning of one.
    pub image: String,
    /// How to log in.
    pub credentials: Lookup,
    /// Ends the push from outside.
    pub cancel: Cancel,
}

/// What a push left in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The bytes of the manifest.
    pub size: u64,
}

impl Store {
    /// Sends an image to the registry of `target`, under its tag.
    ///
    /// Blocks the calling thread; must not be called from within an asynchronous task.
    ///
    /// # Errors
    /// [`Error::Name`] for a target with a digest, [`Error::Missing`] for a blob that is not in the store,
    /// [`Error::Registry`], what [`Store::resolve`] says.
    pub fn push(
        &self,
        registry: &Registry,
        target: &Reference,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pushed, Error> {
        let query = options.image.as_str();
        let (Some(tag), None) = (target.tag(), target.digest()) else {
            let reason = "an image is pushed to a tag, the registry works out its digest";
            return Err(Error::Name { name: target.familiar(), reason });
        };
        let image = self.resolve(query)?;
        self.check_blobs(query, &image)?;
        let missing = |digest: &Digest| Error::Missing {
            what: format!("image {query} is not whole, pull or load it again"),
            member: digest.to_string().into_bytes(),
        };
        let descriptor = image.manifests.first().ok_or_else(|| Error::NotFound { query: query.into() })?;
        let bytes = self.read_document(descriptor)?;
        let manifest = self.read_manifest(descriptor)?;
        let mut blobs: Vec<(Descriptor, Arc<File>)> = Vec::new();
        for blob in blobs_of(&manifest) {
            let file = self.open_blob(&blob.digest)?.ok_or_else(|| missing(&blob.digest))?;
            blobs.push((blob, Arc::new(file)));
        }
        let mut endpoints = registry.inner.endpoints(target.domain())?.into_iter();
        // Mirrors take pushes only where somebody said so; the registry itself comes last.
        let endpoint = endpoints.rfind(|endpoint| Wish::Push.is_granted(endpoint.capabilities));
        let what = target.familiar();
        let endpoint = endpoint.ok_or_else(|| Error::Document {
            what: format!("hosts.toml of {}", target.domain()),
            reason: "none of its hosts has the capability \"push\"".into(),
        })?;
        let other = other_repository(&image, target);
        let mut scope = format!("repository:{}:pull,push", target.path());
        if let Some(other) = &other {
            scope.push_str(&format!(" repository:{other}:pull"));
        }
        let session = Session::new(&registry.inner, endpoint, &options.credentials, scope).with_own_scope();
        let (events, mut heard) = unbounded_channel();
        let (retries, chunk_bytes) = (registry.inner.config.retries, registry.inner.config.chunk_bytes);
        let (session, path, other) = (&session, target.path(), other.as_deref());
        let upload = Upload { session, path, other, retries, chunk_bytes, events };
        let work = async {
            upload.blobs(&blobs).await?;
            upload.manifest(tag, descriptor, bytes).await
        };
        registry.block_on(&options.cancel, async {
            tokio::pin!(work);
            loop {
                tokio::select! {
                    biased;
                    Some(event) = heard.recv() => progress(event),
                    result = &mut work => {
                        while let Ok(event) = heard.try_recv() {
                            progress(event);
                        }
                        return result.map_err(|fault| Error::Registry { what, faults: vec![fault] });
                    }
                }
            }
        })?;
        self.note_digest(&target.with_digest(&descriptor.digest))?;
        Ok(Pushed { digest: descriptor.digest.clone(), size: descriptor.size })
    }

    /// Notes by which digest a repository knows an image now, unless the image was removed meanwhile.
    fn note_digest(&self, name: &Reference) -> Result<(), Error> {
        let lock = self.lock()?;
        let mut index = self.read_index()?;
        let entry = index.iter().find(|entry| Some(&entry.digest) == name.digest()).cloned();
        match entry {
            Some(entry) if names::find(&index, name).is_none() => {
                names::assign(&mut index, &entry, Some(name));
                self.write_index(&lock, index)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// All blobs of an image, each once: the large ones first.
fn blobs_of(manifest: &Manifest) -> Vec<Descriptor> {
    let mut blobs: Vec<Descriptor> = Vec::new();
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        if !blobs.iter().any(|other| other.digest == blob.digest) {
            blobs.push(blob.bare());
        }
    }
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
    blobs
}

/// A repository of the same registry that the image has a name in.
fn other_repository(image: &Image, target: &Reference) -> Option<String> {
    let mut names = image.names.iter().chain(&image.digests);
    let other = names.find(|name| name.domain() == target.domain() && name.path() != target.path())?;
    Some(other.path().to_owned())
}

impl Upload<'_> {
    async fn blobs(&self, blobs: &[(Descriptor, Arc<File>)]) -> Result<(), Fault> {
        use futures_util::stream::{StreamExt, TryStreamExt};
        let uploads = blobs.iter().map(|(blob, file)| self.blob(blob, file));
        stream::iter(uploads).buffer_unordered(UPLOADS).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn manifest(&self, tag: &str, descriptor: &Descriptor, bytes: Vec<u8>) -> Result<(), Fault> {
        let mut ask = Ask::new(Method::PUT, self.session.endpoint.url(self.path, "manifests", tag));
        let call = ask.call();
        let rule = |reason: String| Fault::Answer { call: call.clone(), reason };
        let media_type = HeaderValue::from_str(&descriptor.media_type);
        ask.headers.insert(CONTENT_TYPE, media_type.map_err(|_| rule("its media type cannot be sent".into()))?);
        ask.body = Body::Bytes(bytes.into());
        let response = self.session.send(&ask).await?;
        let told = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        match told.map(str::parse::<Digest>) {
            Some(Ok(told)) if told.algorithm() == descriptor.digest.algorithm() && told != descriptor.digest => {
                Err(rule(format!("the registry has {told}, sent was {}", descriptor.digest)))
            }
            _ => Ok(()),
        }
    }
}

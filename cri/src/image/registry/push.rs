//! Bringing an image from the store to a registry.
//!
//! ```text
//!  each blob: there? ─▶ mount from another repository? ─▶ upload     several at a time
//!  then the manifest, under its tag
//! ```
//!
//! Source: distribution-spec 1.1, "Push".

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::super::cancel::Cancel;
use super::super::digest::Digest;
use super::super::document::{Descriptor, Manifest};
use super::super::error::Error;
use super::super::image::Image;
use super::super::names;
use super::super::progress::{Progress, Sent};
use super::super::reference::Reference;
use super::super::store::Store;
use super::Registry;
use super::credentials::Lookup;
use super::endpoint::Wish;
use super::exchange::{Ask, Body, Session};
use super::fault::Fault;

/// How many blobs are sent at once.
const UPLOADS: usize = 3;
/// Bytes that are read from a blob at a time.
const PIECE: usize = 128 << 10;

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

/// Everything that the upload of one blob needs.
struct Upload<'a> {
    session: &'a Session,
    path: &'a str,
    /// A repository of the same registry that may have the blobs.
    other: Option<&'a str>,
    retries: u32,
    events: UnboundedSender<Progress>,
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
        let retries = registry.inner.config.retries;
        let upload = Upload { session: &session, path: target.path(), other: other.as_deref(), retries, events };
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

    fn tell(&self, event: Progress) {
        // The receiver lives as long as the push.
        let _ = self.events.send(event);
    }

    async fn blob(&self, blob: &Descriptor, file: &Arc<File>) -> Result<(), Fault> {
        let told = |how| Progress::Pushed { blob: blob.digest.clone(), how };
        let name = blob.digest.to_string();
        let head = Ask::new(Method::HEAD, self.session.endpoint.url(self.path, "blobs", &name));
        match self.session.send(&head).await {
            Ok(_) => {
                self.tell(told(Sent::There));
                return Ok(());
            }
            Err(fault) if fault.status() == Some(404) => {}
            Err(fault) => return Err(fault),
        }
        let mut attempt = 0;
        loop {
            let fault = match self.send(blob, file).await {
                Ok(how) => {
                    self.tell(told(how));
                    return Ok(());
                }
                Err(fault) => fault,
            };
            if !fault.is_transient() || attempt >= self.retries {
                return Err(fault);
            }
            self.tell(Progress::Retrying { layer: blob.digest.clone(), why: fault.to_string() });
            tokio::time::sleep(self.session.delay(attempt, &fault)).await;
            attempt += 1;
        }
    }

    /// One upload, from its beginning.
    async fn send(&self, blob: &Descriptor, file: &Arc<File>) -> Result<Sent, Fault> {
        let name = blob.digest.to_string();
        let mut url = self.session.endpoint.url(self.path, "blobs", "uploads/");
        if let Some(other) = self.other {
            url.query_pairs_mut().append_pair("mount", &name).append_pair("from", other);
        }
        let ask = Ask::new(Method::POST, url);
        let call = ask.call();
        let response = self.session.send_once(&ask).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(Sent::Mounted);
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.and_then(|text| response.url().join(text).ok());
        let rule = |reason: &str| Fault::Answer { call: call.clone(), reason: reason.into() };
        let mut location: Url = location.ok_or_else(|| rule("does not say where to upload to"))?;
        if self.session.endpoint.base.scheme() == "https" && location.scheme() != "https" {
            return Err(rule("wants the upload without https, which is refused"));
        }
        location.query_pairs_mut().append_pair("digest", &name);
        let mut put = Ask::new(Method::PUT, location);
        put.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        put.headers.insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
        let (file, digest, total, events) = (Arc::clone(file), blob.digest.clone(), blob.size, self.events.clone());
        put.body = Body::Stream(Arc::new(move || body(Arc::clone(&file), digest.clone(), total, events.clone())));
        self.session.send_once(&put).await?;
        Ok(Sent::Sent)
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

/// The bytes of a blob, as they are wanted.
fn body(file: Arc<File>, blob: Digest, total: u64, events: UnboundedSender<Progress>) -> reqwest::Body {
    let pieces = stream::unfold(0u64, move |at| {
        let (file, blob, events) = (Arc::clone(&file), blob.clone(), events.clone());
        async move {
            if at >= total {
                return None;
            }
            let mut piece = vec![0; PIECE];
            let read = file.read_at(&mut piece, at).and_then(|length| match length {
                0 => Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the blob in the store is too short")),
                length => Ok(length),
            });
            let next = match read {
                Ok(length) => {
                    let length = length.min(usize::try_from(total - at).unwrap_or(usize::MAX));
                    piece.truncate(length);
                    let done = at + length as u64;
                    // The receiver lives as long as the push.
                    let _ = events.send(Progress::Pushing { blob, done, total });
                    (Ok(Bytes::from(piece)), done)
                }
                Err(error) => (Err(error), total),
            };
            Some(next)
        }
    });
    reqwest::Body::wrap_stream(pieces)
}

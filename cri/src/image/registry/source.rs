//! The documents and blobs of one repository, from the first place that has them.

use runtime::json;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::super::digest::{Digest, Hasher};
use super::super::document::{Descriptor, Kind};
use super::super::error::Error;
use super::super::reference::Reference;
use super::Inner;
use super::credentials::Lookup;
use super::endpoint::Wish;
use super::exchange::{Ask, Session, read_body};
use super::fault::Fault;

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A repository and the places to ask.
pub(crate) struct Repository {
    reference: Reference,
    sessions: Vec<Arc<Session>>,
    document_bytes: u64,
}

impl Repository {
    pub(crate) fn new(
        inner: &Arc<Inner>,
        reference: &Reference,
        lookup: &Lookup,
        document_bytes: u64,
    ) -> Result<Repository, Error> {
        let scope = format!("repository:{}:pull", reference.path());
        let endpoints = inner.endpoints(reference.domain())?;
        let session = |endpoint| Arc::new(Session::new(inner, endpoint, lookup, scope.clone()));
        let sessions = endpoints.into_iter().map(session).collect();
        Ok(Repository { reference: reference.clone(), sessions, document_bytes })
    }

    /// The repository within the registry.
    pub(crate) fn path(&self) -> &str {
        self.reference.path()
    }

    /// The places to ask, with their numbers, in order.
    pub(crate) fn places(&self, wish: Wish) -> impl Iterator<Item = (usize, &Session)> {
        let granted = move |session: &&Arc<Session>| wish.is_granted(session.endpoint.capabilities);
        self.sessions.iter().filter(granted).map(|session| &**session).enumerate()
    }

    /// What the reference means: the manifest or index, and its bytes.
    pub(crate) async fn resolve(&self) -> Result<(Descriptor, Vec<u8>), Error> {
        let name = match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let mut faults = Vec::new();
        let wish = if self.reference.digest().is_some() { Wish::Pull } else { Wish::Resolve };
        for (_, session) in self.places(wish) {
            match self.manifest(session, &name, self.reference.digest(), self.document_bytes).await {
                Ok(found) => return Ok(found),
                Err(fault) => faults.push(fault),
            }
        }
        Err(self.failed(faults))
    }

    /// A manifest, an index or a config. It is checked against the descriptor, too, by who asked.
    pub(crate) async fn document(&self, wanted: &Descriptor) -> Result<Vec<u8>, Error> {
        let name = wanted.digest.to_string();
        let is_manifest = Kind::of(&wanted.media_type, "").is_ok();
        let mut faults = Vec::new();
        for (_, session) in self.places(Wish::Pull) {
            let found = match is_manifest {
                true => self.manifest(session, &name, Some(&wanted.digest), wanted.size).await.map(|(_, bytes)| bytes),
                false => self.small_blob(session, wanted).await,
            };
            match found {
                Ok(bytes) => return Ok(bytes),
                Err(fault) => faults.push(fault),
            }
        }
        Err(self.failed(faults))
    }

    fn failed(&self, faults: Vec<Fault>) -> Error {
        Error::Registry { what: self.reference.familiar(), faults }
    }

    async fn manifest(
        &self,
        session: &Session,
        name: &str,
        wanted: Option<&Digest>,
        bound: u64,
    ) -> Result<(Descriptor, Vec<u8>), Fault> {
        let mut ask = Ask::new(Method::GET, session.endpoint.url(self.reference.path(), "manifests", name));
        ask.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let call = ask.call();
        let rule = |reason: String| Fault::Answer { call: call.clone(), reason };
        let response = session.send(&ask).await?;
        let headers = response.headers().clone();
        let bytes = read_body(&call, response, bound).await?;
        let told = text(&headers, CONTENT_DIGEST).map(str::parse::<Digest>);
        let told = match (wanted, told) {
            (Some(wanted), _) => Some(wanted.clone()),
            (None, Some(Ok(told))) => Some(told),
            (None, Some(Err(error))) => return Err(rule(format!("{CONTENT_DIGEST}: {error}"))),
            (None, None) => None,
        };
        let digest = match told {
            Some(told) => {
                let found = hash(&told, &bytes);
                match found == told {
                    true => told,
                    false => return Err(rule(format!("the digest is {found}, expected {told}"))),
                }
            }
            None => Digest::of(&bytes),
        };
        let media_type = media_type(&headers, &bytes).map_err(rule)?;
        let size = bytes.len() as u64;
        Ok((Descriptor { media_type, digest, size, platform: None, annotations: None }, bytes))
    }

    async fn small_blob(&self, session: &Session, wanted: &Descriptor) -> Result<Vec<u8>, Fault> {
        let name = wanted.digest.to_string();
        let ask = Ask::new(Method::GET, session.endpoint.url(self.reference.path(), "blobs", &name));
        let call = ask.call();
        let response = session.send(&ask).await?;
        let bytes = read_body(&call, response, wanted.size).await?;
        let found = hash(&wanted.digest, &bytes);
        match found == wanted.digest {
            true => Ok(bytes),
            false => Err(Fault::Answer { call, reason: format!("the digest is {found}, expected {name}") }),
        }
    }
}

fn hash(wanted: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(wanted.algorithm());
    hasher.update(bytes);
    hasher.finish()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: Option<String>,
}

/// What the document is: by the answer's type, or by its own where that says nothing.
fn media_type(headers: &HeaderMap, bytes: &[u8]) -> Result<String, String> {
    let announced = text(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    let announced = announced.split(';').next().unwrap_or_default().trim();
    let Ok(Typed { media_type }) = json::from_slice::<Typed>(bytes) else {
        return Err(format!("the answer is no JSON document but {}", super::answer::printable(announced)));
    };
    let vague = ["", "application/json", "application/octet-stream", "text/plain"].contains(&announced);
    match media_type {
        Some(own) if vague => Ok(own),
        None if vague => Err("neither the answer nor the document says which kind of manifest it is".into()),
        _ => Ok(announced.to_owned()),
    }
}

//! One blob on its way to a registry: in one request, or in chunks where that does not work.
//!
//! ```text
//!  there? ─▶ POST: mounted, or where to ─▶ PUT with all of it
//!                                      └▶ after 413, or a cut: PATCH, PATCH, … ─▶ PUT     (GET after a cut: how far is it?)
//! ```
//!
//! Source: distribution-spec 1.1, "Pushing blobs" and "Pushing a blob in chunks".

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::mpsc::UnboundedSender;

use super::super::digest::Digest;
use super::super::document::Descriptor;
use super::super::progress::{Progress, Sent};
use super::exchange::{Ask, Body, Session};
use super::fault::Fault;

/// Bytes that are read from a blob at a time.
const PIECE: usize = 128 << 10;
/// A registry that refuses chunks of so few bytes as too large does not want the blob.
const CHUNK_MIN: u64 = 1 << 20;

/// Everything that the upload of one blob needs.
pub(super) struct Upload<'a> {
    pub(super) session: &'a Session,
    pub(super) path: &'a str,
    /// A repository of the same registry that may have the blobs.
    pub(super) other: Option<&'a str>,
    pub(super) retries: u32,
    /// Bytes of a chunk.
    pub(super) chunk_bytes: u64,
    pub(super) events: UnboundedSender<Progress>,
}

/// How a blob is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Whole,
    Chunks,
    /// The registry does no chunks.
    OnlyWhole,
}

impl Way {
    /// What is tried after a fault; `None`: nothing else.
    fn after(self, fault: &Fault, large: bool) -> Option<Way> {
        match (self, fault.status()) {
            (Way::Whole, Some(413)) if large => Some(Way::Chunks),
            (Way::Whole, _) if large && fault.is_transient() => Some(Way::Chunks),
            (Way::Chunks, Some(400 | 404 | 405 | 501)) => Some(Way::OnlyWhole),
            (Way::Whole | Way::Chunks | Way::OnlyWhole, _) => fault.is_transient().then_some(self),
        }
    }
}

/// An upload that was begun.
struct Begun {
    location: Url,
    /// The least that the registry takes in a chunk but the last.
    least: u64,
}

impl Upload<'_> {
    pub(super) async fn blob(&self, blob: &Descriptor, file: &Arc<File>) -> Result<(), Fault> {
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
        let source = Source { file: Arc::clone(file), blob: blob.digest.clone(), total: blob.size };
        let (mut attempt, mut way) = (0, Way::Whole);
        loop {
            let fault = match self.send(&source, way).await {
                Ok(how) => {
                    self.tell(told(how));
                    return Ok(());
                }
                Err(fault) => fault,
            };
            let next = way.after(&fault, blob.size > self.chunk_bytes);
            way = match next {
                Some(next) if attempt < self.retries => next,
                Some(_) | None => return Err(fault),
            };
            self.pause(&source.blob, &fault, attempt).await;
            attempt += 1;
        }
    }

    fn tell(&self, event: Progress) {
        // The receiver lives as long as the push.
        let _ = self.events.send(event);
    }

    async fn pause(&self, blob: &Digest, fault: &Fault, attempt: u32) {
        self.tell(Progress::Retrying { layer: blob.clone(), why: fault.to_string() });
        if fault.is_transient() {
            tokio::time::sleep(self.session.delay(attempt, fault)).await;
        }
    }

    /// One upload, from its beginning.
    async fn send(&self, source: &Source, way: Way) -> Result<Sent, Fault> {
        let name = source.blob.to_string();
        let Some(mut begun) = self.begin(&name).await? else { return Ok(Sent::Mounted) };
        if way == Way::Chunks {
            self.chunks(source, &mut begun).await?;
        }
        begun.location.query_pairs_mut().append_pair("digest", &name);
        let mut put = Ask::new(Method::PUT, begun.location);
        match way {
            Way::Whole | Way::OnlyWhole => self.fill(&mut put, source, 0, source.total),
            Way::Chunks => drop(put.headers.insert(CONTENT_LENGTH, HeaderValue::from(0))),
        }
        self.session.send_once(&put).await?;
        Ok(Sent::Sent)
    }

    /// Begins an upload; `None`: the registry had the blob in the other repository.
    async fn begin(&self, name: &str) -> Result<Option<Begun>, Fault> {
        let mut url = self.session.endpoint.url(self.path, "blobs", "uploads/");
        if let Some(other) = self.other {
            url.query_pairs_mut().append_pair("mount", name).append_pair("from", other);
        }
        let ask = Ask::new(Method::POST, url);
        let response = self.session.send_once(&ask).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let location = self
            .location(&ask.call(), &response)?
            .ok_or_else(|| Fault::Answer { call: ask.call(), reason: "does not say where to upload to".into() })?;
        let least = number(response.headers(), "oci-chunk-min-length").unwrap_or(0);
        Ok(Some(Begun { location, least }))
    }

    /// Where an answer says that the upload goes on.
    fn location(&self, call: &str, response: &Response) -> Result<Option<Url>, Fault> {
        let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
        let location = location.to_str().ok().and_then(|text| response.url().join(text).ok());
        let rule = |reason: &str| Fault::Answer { call: call.into(), reason: reason.into() };
        let location = location.ok_or_else(|| rule("says where to upload to, but that is no address"))?;
        match self.session.endpoint.base.scheme() == "https" && location.scheme() != "https" {
            true => Err(rule("wants the upload without https, which is refused")),
            false => Ok(Some(location)),
        }
    }

    /// Sends all of a blob in chunks; after a cut goes on with what the registry has, as long as that grows.
    async fn chunks(&self, source: &Source, begun: &mut Begun) -> Result<(), Fault> {
        let (mut at, mut attempt) = (0, 0);
        let mut most = self.chunk_bytes.max(begun.least);
        while at < source.total {
            let fault = match self.chunk(source, begun, at, source.total.min(at + most)).await {
                Ok(end) => {
                    (at, attempt) = (end, 0);
                    continue;
                }
                Err(fault) => fault,
            };
            let smaller = most / 4;
            match fault.status() {
                Some(413) if smaller >= CHUNK_MIN.max(begun.least) => most = smaller,
                // Where the registry is differs from what it said.
                Some(416) if attempt < self.retries => {}
                _ if fault.is_transient() && attempt < self.retries => {}
                _ => return Err(fault),
            }
            self.pause(&source.blob, &fault, attempt).await;
            attempt += 1;
            let there = match self.there(source.total, begun).await {
                // It is gone: docker's registry keeps none whose end it could not tell. Another one is begun.
                Err(Fault::Status { status: 400..=499, .. }) => return Err(fault),
                there => there?,
            };
            if there > at {
                attempt = 0;
            }
            at = there;
        }
        Ok(())
    }

    /// Sends a chunk; gives how far the registry is then.
    async fn chunk(&self, source: &Source, begun: &mut Begun, at: u64, end: u64) -> Result<u64, Fault> {
        let mut ask = Ask::new(Method::PATCH, begun.location.clone());
        self.fill(&mut ask, source, at, end);
        let range = HeaderValue::from_str(&format!("{at}-{}", end - 1)).expect("digits can be sent");
        ask.headers.insert(CONTENT_RANGE, range);
        let response = self.session.send_once(&ask).await?;
        if let Some(next) = self.location(&ask.call(), &response)? {
            begun.location = next;
        }
        match has(response.headers()) {
            None => Ok(end),
            // It may have taken a part.
            Some(has) if has > at && has <= end => Ok(has),
            Some(has) => {
                let reason = format!("has {has} bytes after bytes {at} to {} were sent to it", end - 1);
                Err(Fault::Answer { call: ask.call(), reason })
            }
        }
    }

    /// How many bytes the registry has of an upload that was cut.
    async fn there(&self, total: u64, begun: &mut Begun) -> Result<u64, Fault> {
        let ask = Ask::new(Method::GET, begun.location.clone());
        let response = self.session.send(&ask).await?;
        if let Some(next) = self.location(&ask.call(), &response)? {
            begun.location = next;
        }
        match has(response.headers()) {
            Some(there) if there <= total => Ok(there),
            Some(there) => {
                let reason = format!("has {there} bytes of an upload of {}", total);
                Err(Fault::Answer { call: ask.call(), reason })
            }
            None => {
                Err(Fault::Answer { call: ask.call(), reason: "does not say how much it has of the upload".into() })
            }
        }
    }

    /// Has a request send the bytes from `at` to `end`.
    fn fill(&self, ask: &mut Ask, source: &Source, at: u64, end: u64) {
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        ask.headers.insert(CONTENT_LENGTH, HeaderValue::from(end - at));
        let (source, events) = (source.clone(), self.events.clone());
        ask.body = Body::Stream(Arc::new(move || body(source.clone(), at, end, events.clone())));
    }
}

/// How many bytes the answer says that the registry has: `Range: 0-LAST`, also with a unit before.
fn has(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let (first, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    // `0-0` is what docker's registry says of an upload without bytes; one that has a single byte is sent that again.
    match (first, last) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The blob that is sent.
#[derive(Clone)]
struct Source {
    file: Arc<File>,
    blob: Digest,
    total: u64,
}

/// The bytes of a blob from `at` to `end`, as they are wanted.
fn body(source: Source, at: u64, end: u64, events: UnboundedSender<Progress>) -> reqwest::Body {
    let pieces = stream::unfold(at, move |at| {
        let (Source { file, blob, total }, events) = (source.clone(), events.clone());
        async move {
            if at >= end {
                return None;
            }
            let mut piece = vec![0; PIECE];
            let read = file.read_at(&mut piece, at).and_then(|length| match length {
                0 => Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the blob in the store is too short")),
                length => Ok(length),
            });
            let next = match read {
                Ok(length) => {
                    let length = length.min(usize::try_from(end - at).unwrap_or(usize::MAX));
                    piece.truncate(length);
                    let done = at + length as u64;
                    // The receiver lives as long as the push.
                    let _ = events.send(Progress::Pushing { blob, done, total });
                    (Ok(Bytes::from(piece)), done)
                }
                Err(error) => (Err(error), end),
            };
            Some(next)
        }
    });
    reqwest::Body::wrap_stream(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_has() {
        let rows = [
            ("0-0", Some(0)),
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("5-9", None),
            ("0-18446744073709551615", None),
            ("9", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(text))]);
            assert_eq!(has(&headers), expected, "{text}");
        }
    }
}

//! A blob in parts: one stream, or, if it is large, several ranges at a time.
//!
//! ```text
//!  first part ─▶ 206 as asked for? ─▶ further parts, as far as the limit of all transfers has room
//!            └▶ 200: it is the one stream
//!  the part where the file ends ─▶ file          the others ─▶ memory ─▶ file, in their turn
//! ```
//!
//! The file is a beginning of the blob at any time. A part counts until all of its bytes are in the file, and all parts but
//! one of each blob have a permit: so of all pulls together no more than a range for each permit waits in memory. A part
//! that is alone goes on to the end, as one stream, until there is room for others. Permits are never waited for: whole
//! layers come first.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{FuturesUnordered, StreamExt};
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use runtime::rooted::Shown;
use runtime::sys::Call;
use tokio::sync::{Notify, SemaphorePermit};

use super::super::error::Error;
use super::download::Event;
use super::exchange::{Ask, Session};
use super::fault::{Again, Fault};
use super::transfer::{Failed, Task};

/// The parts that one place gives.
pub(super) struct Parts<'t> {
    task: &'t Task,
    place: usize,
    session: &'t Session,
    file: &'t File,
    /// Whether ranges are asked for.
    ranged: bool,
    seen: Mutex<Seen>,
    /// Another part would be welcome, if there were a permit.
    wanting: AtomicBool,
    room: Notify,
}

/// What the answers brought so far.
#[derive(Default)]
struct Seen {
    /// A range came as it was asked for; with the answer's tag.
    tag: Option<Option<HeaderValue>>,
    /// Bytes that are not in the file yet, by the beginning of their part.
    ahead: BTreeMap<u64, Vec<u8>>,
}

/// Parts that were begun and are not in the file yet: where each ends. All but the first have a permit.
struct Begun<'t> {
    ends: VecDeque<Arc<AtomicU64>>,
    permits: Vec<SemaphorePermit<'t>>,
}

/// What one request asks for: the bytes from `from` to `end`, of `size`.
struct Wanted {
    from: u64,
    end: u64,
    size: u64,
    /// `None`: the whole blob.
    range: Option<HeaderValue>,
}

/// A part: its first byte, and the one behind its last. That of the only part comes closer when there is room for others.
struct Part {
    start: u64,
    end: Arc<AtomicU64>,
}

impl<'t> Parts<'t> {
    pub(super) fn new(task: &'t Task, place: usize, session: &'t Session, file: &'t File) -> Parts<'t> {
        let config = &task.inner.config;
        let left = task.blob.size - task.arrival.lock().arrived;
        let large = left >= config.range_bytes.saturating_mul(2);
        let ranged = large && config.ranges > 1 && !task.whole.load(Ordering::Relaxed);
        let (seen, wanting, room) = (Mutex::default(), AtomicBool::new(false), Notify::new());
        Parts { task, place, session, file, ranged, seen, wanting, room }
    }

    /// Fetches all that the file lacks.
    pub(super) async fn run(&self) -> Result<(), Failed> {
        let mut running = FuturesUnordered::new();
        let mut begun = Begun { ends: VecDeque::new(), permits: Vec::new() };
        loop {
            while let Some(part) = self.begin(&mut begun) {
                running.push(self.part(part));
            }
            tokio::select! {
                biased;
                ended = running.next() => match ended {
                    Some(ended) => ended?,
                    None => return Ok(()),
                },
                () = self.room.notified() => {}
            }
        }
    }

    /// The next part, if there is one and there is room for it.
    fn begin(&self, begun: &mut Begun<'t>) -> Option<Part> {
        let (size, written) = (self.task.blob.size, self.written());
        let inner = &self.task.inner;
        let (most, bytes) = (inner.config.ranges, inner.config.range_bytes);
        begun.ends.retain(|end| end.load(Ordering::Relaxed) > written);
        begun.permits.truncate(begun.ends.len().saturating_sub(1));
        let range = |start: u64| Part { start, end: Arc::new(AtomicU64::new(size.min(start + bytes))) };
        let part = match begun.ends.back() {
            None if written == size => return None,
            None if self.ranged && size - written > bytes && inner.downloads.available_permits() > 0 => range(written),
            None => Part { start: written, end: Arc::new(AtomicU64::new(size)) },
            Some(last) => {
                let splits = begun.ends.len() == 1 && size - written >= 2 * bytes;
                let start = last.load(Ordering::Relaxed);
                let start = if start == size && splits { written + bytes } else { start };
                let full = self.lock().tag.is_none() || begun.ends.len() >= most || start == size;
                let permit = if full { None } else { inner.downloads.try_acquire().ok() };
                self.wanting.store(!full && permit.is_none(), Ordering::Relaxed);
                begun.permits.push(permit?);
                last.store(start, Ordering::Relaxed);
                range(start)
            }
        };
        begun.ends.push_back(Arc::clone(&part.end));
        Some(part)
    }

    /// Fetches one part; after a cut goes on from there, as long as each attempt brings something.
    async fn part(&self, part: Part) -> Result<(), Failed> {
        let (mut at, mut attempt) = (part.start, 0);
        loop {
            let before = at;
            let fault = match self.transfer(&part, &mut at).await {
                Ok(()) => return Ok(()),
                Err(Failed::Fault(fault)) => fault,
                Err(error) => return Err(error),
            };
            if at > before {
                attempt = 0;
            }
            if !fault.is_transient() || attempt >= self.task.inner.config.retries {
                return Err(Failed::Fault(fault));
            }
            (self.task.listener)(Event::Retrying(fault.to_string()));
            tokio::time::sleep(self.session.delay(attempt, &fault)).await;
            attempt += 1;
        }
    }

    /// One request, from byte `at` to the end of the part.
    async fn transfer(&self, part: &Part, at: &mut u64) -> Result<(), Failed> {
        let end = part.end.load(Ordering::Relaxed);
        let wanted = Wanted::new(*at, end, self.task.blob.size, self.ranged);
        let name = self.task.blob.digest.to_string();
        let mut ask = Ask::new(Method::GET, self.session.endpoint.url(self.task.repository.path(), "blobs", &name));
        if let Some(range) = &wanted.range {
            ask.headers.insert(RANGE, range.clone());
        }
        let call = ask.call();
        let mut response = match self.session.send_once(&ask).await {
            Err(Fault::Status { status: 400 | 416 | 501, .. }) if self.ranged => return Err(Failed::Ranges),
            response => response?,
        };
        // Where the answer begins and ends.
        let (first, asked) = self.judge(&call, &response, &wanted, part)?;
        let mut skip = *at - first;
        loop {
            let chunk = response.chunk().await.map_err(|error| Fault::transport(&call, &error))?;
            let Some(mut chunk) = chunk else { break };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= skipped as u64;
            chunk = chunk.split_off(skipped);
            if chunk.len() as u64 > asked - *at {
                return Err(self.broken(Fault::Answer { call, reason: format!("more than {asked} bytes") }));
            }
            // Another part may have been begun within this one.
            let end = part.end.load(Ordering::Relaxed);
            chunk.truncate(usize::try_from(end - *at).unwrap_or(usize::MAX));
            if !chunk.is_empty() {
                self.put(part.start, *at, &chunk)?;
                *at += chunk.len() as u64;
            }
            if *at == end && end < asked {
                return Ok(());
            }
        }
        match *at == asked {
            true => Ok(()),
            false => {
                let cause = format!("ended after {at} of {} bytes", wanted.size);
                Err(Fault::Transport { call, cause, again: Again::Yes }.into())
            }
        }
    }

    /// Checks that an answer is about the bytes asked for, and the same blob as before; gives where it begins and ends.
    fn judge(&self, call: &str, response: &Response, wanted: &Wanted, part: &Part) -> Result<(u64, u64), Failed> {
        let mut seen = self.lock();
        let stream = response.status() == StatusCode::OK;
        if stream && self.ranged && seen.tag.is_some() {
            return Err(Failed::Ranges);
        }
        let held = wanted.held(call, response).map_err(|fault| self.broken(fault))?;
        if stream {
            // A server that does no parts: this one is the only one, and stays it.
            part.end.store(wanted.size, Ordering::Relaxed);
        } else if self.ranged {
            let tag = response.headers().get(ETAG).cloned();
            match &seen.tag {
                Some(first) if *first != tag => return Err(Failed::Ranges),
                Some(_) => {}
                None => {
                    seen.tag = Some(tag);
                    self.room.notify_one();
                }
            }
        }
        Ok(held)
    }

    /// An answer that breaks a rule: as one stream it may come right.
    fn broken(&self, fault: Fault) -> Failed {
        if self.ranged { Failed::Ranges } else { Failed::Fault(fault) }
    }

    /// Takes bytes of the part that begins at `start`: into the file, if it ends there, else into memory.
    fn put(&self, start: u64, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut seen = self.lock();
        let mut written = self.written();
        if at == written {
            self.write(bytes, &mut written)?;
            while let Some(next) = seen.ahead.remove(&written) {
                self.write(&next, &mut written)?;
            }
            let wanting = self.wanting.load(Ordering::Relaxed);
            if wanting && self.task.inner.downloads.available_permits() > 0 {
                self.room.notify_one();
            }
        } else {
            let room = usize::try_from(self.task.inner.config.range_bytes).unwrap_or_default();
            seen.ahead.entry(start).or_insert_with(|| Vec::with_capacity(room)).extend_from_slice(bytes);
        }
        let ahead: usize = seen.ahead.values().map(Vec::len).sum();
        (self.task.listener)(Event::Arrived(written + ahead as u64));
        Ok(())
    }

    /// Writes where the file ends.
    fn write(&self, bytes: &[u8], written: &mut u64) -> Result<(), Error> {
        let file = self.file;
        file.write_all_at(bytes, *written).call(|| format!("pwrite64({})", Shown(file)))?;
        *written += bytes.len() as u64;
        self.task.arrival.change(|state| {
            state.arrived = *written;
            if !state.places.contains(&self.place) {
                state.places.push(self.place);
            }
        });
        Ok(())
    }

    fn written(&self) -> u64 {
        self.task.arrival.lock().arrived
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    fn new(from: u64, end: u64, size: u64, ranged: bool) -> Wanted {
        let last = if end == size { String::new() } else { (end - 1).to_string() };
        let range = HeaderValue::from_str(&format!("bytes={from}-{last}")).expect("digits can be sent");
        Wanted { from, end, size, range: (ranged || from > 0).then_some(range) }
    }

    /// Checks that an answer holds what was asked for, or all of the blob; gives where it begins and ends.
    fn held(&self, call: &str, response: &Response) -> Result<(u64, u64), Fault> {
        let Wanted { from, end, size, .. } = *self;
        let rule = |reason: String| Err(Fault::Answer { call: call.into(), reason });
        let (first, end) = match response.status() {
            // The server does not do parts.
            StatusCode::OK => (0, size),
            StatusCode::PARTIAL_CONTENT if self.range.is_some() => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let range = range.unwrap_or_default();
                let holds = content_range(range).is_some_and(|(first, last, total)| {
                    first == from && last.checked_add(1) == Some(end) && total.is_none_or(|total| total == size)
                });
                if !holds {
                    let range = super::answer::printable(range);
                    let asked = format!("bytes from {from} to {} of {size} were asked for", end - 1);
                    return rule(format!("{asked}, the answer holds {range:?}"));
                }
                (from, end)
            }
            other => return rule(format!("answered with status {other}")),
        };
        match response.content_length() {
            Some(length) if length != end - first => {
                rule(format!("the answer has {length} bytes, expected {}", end - first))
            }
            _ => Ok((first, end)),
        }
    }
}

/// First byte, last byte and full length of `bytes FIRST-LAST/TOTAL`.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let rows = [
            ("bytes 5-9/10", Some((5, 9, Some(10)))),
            ("bytes 5-9/*", Some((5, 9, None))),
            ("bytes */10", None),
            ("5-9/10", None),
            ("bytes 5-9", None),
            ("bytes 5-/10", None),
            ("bytes -1-9/10", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}

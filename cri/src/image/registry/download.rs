//! A blob on its way: it arrives in a file, and who unpacks it reads behind.
//!
//! ```text
//!  places ─▶ task: request, Range after a cut ─▶ ingest/partial/ALGORITHM-HEX ─▶ follow: hash ▸ decompress ▸ unpack
//! ```
//!
//! The file stays when a pull fails or its process dies, and the next pull goes on where it ends. Whoever fetches holds a
//! flock on it: exclusive as long as bytes arrive, then shared, until the blob is in the store. So nobody fetches what
//! another process fetches already. Nothing is believed of what is in the file: all of it is hashed each time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use runtime::rooted::Shown;
use runtime::sys::Call;
use tokio::task::JoinHandle;

use super::super::cancel::Cancel;
use super::super::document::Descriptor;
use super::super::error::Error;
use super::super::partial::{Claim, Partials};
use super::Inner;
use super::endpoint::Wish;
use super::exchange::{Ask, Session};
use super::fault::{Again, Fault};
use super::source::Repository;

/// How often a file that another process holds is looked at.
const POLL: Duration = Duration::from_millis(100);

/// What happens to a blob on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Another pull fetches it.
    Waiting,
    /// So many bytes are there from an earlier attempt.
    Resumed(u64),
    /// So many bytes are there.
    Arrived(u64),
    /// The connection was lost, the next attempt begins.
    Retrying(String),
}

/// Told from the threads of the registry client.
pub(crate) type Listener = Arc<dyn Fn(Event) + Send + Sync>;

/// A blob that may be fetched.
pub(crate) struct Download {
    inner: Arc<Inner>,
    runtime: tokio::runtime::Handle,
    repository: Arc<Repository>,
    partials: Arc<Partials>,
    pub(crate) blob: Descriptor,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Option<Arc<Arrival>>,
    /// Places whose bytes were wrong.
    banned: Vec<usize>,
    tasks: Vec<JoinHandle<()>>,
}

/// The bytes that are there and those that still come.
pub(crate) struct Arrival {
    progress: Mutex<Arriving>,
    changed: Condvar,
    cancel: Cancel,
}

#[derive(Default)]
struct Arriving {
    claim: Option<Arc<Claim>>,
    arrived: u64,
    /// Some bytes are from an earlier attempt.
    resumed: bool,
    /// The places that gave bytes.
    places: Vec<usize>,
    ended: Option<Result<(), Error>>,
}

impl Arrival {
    fn lock(&self) -> MutexGuard<'_, Arriving> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Arriving)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// The file with the blob, once it is whole.
    pub(crate) fn claim(&self) -> Option<Arc<Claim>> {
        self.lock().claim.clone()
    }
}

/// However the task ends, who waits for bytes learns of it.
struct Ending(Arc<Arrival>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.ended.get_or_insert(Err(Error::Cancelled));
        });
    }
}

impl Download {
    pub(crate) fn new(
        inner: &Arc<Inner>,
        runtime: &tokio::runtime::Handle,
        repository: &Arc<Repository>,
        partials: &Arc<Partials>,
        blob: Descriptor,
    ) -> Download {
        Download {
            inner: Arc::clone(inner),
            runtime: runtime.clone(),
            repository: Arc::clone(repository),
            partials: Arc::clone(partials),
            blob,
            state: Mutex::default(),
        }
    }

    /// Begins to fetch, unless that was done before.
    pub(crate) fn start(&self, cancel: &Cancel, listener: &Listener) -> Arc<Arrival> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &state.running {
            return Arc::clone(running);
        }
        let arrival = Arc::new(Arrival { progress: Mutex::default(), changed: Condvar::new(), cancel: cancel.child() });
        let task = Task {
            inner: Arc::clone(&self.inner),
            repository: Arc::clone(&self.repository),
            partials: Arc::clone(&self.partials),
            blob: self.blob.clone(),
            arrival: Arc::clone(&arrival),
            listener: Arc::clone(listener),
            banned: state.banned.clone(),
        };
        state.tasks.push(self.runtime.spawn(task.run()));
        state.running = Some(Arc::clone(&arrival));
        arrival
    }

    /// Throws away bytes that turned out to be wrong. Gives whether another attempt may give others: some were from an
    /// earlier attempt, or another place can be asked.
    pub(crate) fn discard(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(arrival) = state.running.take() else { return true };
        arrival.cancel.cancel();
        let mut arriving = arrival.lock();
        if let Some(claim) = arriving.claim.take() {
            claim.discard();
        }
        if !arriving.resumed {
            state.banned.append(&mut arriving.places);
        }
        arriving.resumed || self.repository.places(Wish::Pull).any(|(at, _)| !state.banned.contains(&at))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(arrival) = &state.running {
            arrival.cancel.cancel();
        }
        // Nobody writes to the file, and it is free for others, once this is gone.
        for task in state.tasks.drain(..) {
            // One that panicked has ended as well.
            let _ = self.runtime.block_on(task);
        }
    }
}

/// Reads an arriving blob from its start.
pub(crate) struct Follow {
    arrival: Arc<Arrival>,
    claim: Option<Arc<Claim>>,
    at: u64,
}

impl Follow {
    pub(crate) fn new(arrival: Arc<Arrival>) -> Follow {
        Follow { arrival, claim: None, at: 0 }
    }

    /// Waits for bytes behind those read; gives how many are there.
    fn wait(&mut self) -> io::Result<u64> {
        let mut state = self.arrival.lock();
        loop {
            if state.arrived > self.at || matches!(state.ended, Some(Ok(()))) {
                if self.claim.is_none() {
                    self.claim.clone_from(&state.claim);
                }
                return Ok(state.arrived);
            }
            if let Some(Err(error)) = &mut state.ended {
                return Err(io::Error::other(std::mem::replace(error, Error::Cancelled)));
            }
            state = self.arrival.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Read for Follow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.wait()?;
        let Some(claim) = &self.claim else { return Ok(0) };
        let most = usize::try_from(there - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let length = claim.file().read_at(&mut buffer[..most], self.at)?;
        if length == 0 && most > 0 {
            return Err(io::Error::other(Error::Damaged {
                what: format!("{}", Shown(claim.file())),
                reason: "was cut short while it was read".into(),
            }));
        }
        self.at += length as u64;
        Ok(length)
    }
}

/// Fetches one blob.
struct Task {
    inner: Arc<Inner>,
    repository: Arc<Repository>,
    partials: Arc<Partials>,
    blob: Descriptor,
    arrival: Arc<Arrival>,
    listener: Listener,
    banned: Vec<usize>,
}

impl Task {
    async fn run(self) {
        let _ending = Ending(Arc::clone(&self.arrival));
        let cancel = self.arrival.cancel.clone();
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            result = self.fetch() => result,
        };
        self.arrival.change(|state| {
            state.ended.get_or_insert(result);
        });
    }

    async fn fetch(&self) -> Result<(), Error> {
        let claim = Arc::new(self.claim().await?);
        let (mut there, size) = (claim.length()?, self.blob.size);
        if there > size {
            claim.truncate()?;
            there = 0;
        }
        self.arrival.change(|state| {
            state.claim = Some(Arc::clone(&claim));
            state.arrived = there;
            state.resumed = there > 0;
        });
        if there > 0 {
            (self.listener)(Event::Resumed(there));
        }
        if there < size {
            let permit = self.inner.downloads.acquire().await;
            let _permit = permit.map_err(|_| Error::Cancelled)?;
            self.fetch_rest(claim.file()).await?;
        }
        claim.share()
    }

    /// Waits until the file is ours, or whole.
    async fn claim(&self) -> Result<Claim, Error> {
        let mut told = false;
        loop {
            if let Some(claim) = self.partials.claim(&self.blob)? {
                return Ok(claim);
            }
            if !told {
                (self.listener)(Event::Waiting);
                told = true;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn fetch_rest(&self, file: &File) -> Result<(), Error> {
        let mut faults = Vec::new();
        for (at, session) in self.repository.places(Wish::Pull).filter(|(at, _)| !self.banned.contains(at)) {
            match self.fetch_from(at, session, file).await {
                Ok(()) => return Ok(()),
                Err(Failed::Fault(fault)) => faults.push(fault),
                Err(Failed::Error(error)) => return Err(error),
            }
        }
        Err(Error::Registry { what: format!("blob {}", self.blob.digest), faults })
    }

    /// Fetches from one place; after a cut goes on from there, as long as each attempt brings something.
    async fn fetch_from(&self, place: usize, session: &Session, file: &File) -> Result<(), Failed> {
        let mut attempt = 0;
        loop {
            let before = self.arrival.lock().arrived;
            let fault = match self.transfer(place, session, file, before).await {
                Ok(()) => return Ok(()),
                Err(Failed::Fault(fault)) => fault,
                Err(error) => return Err(error),
            };
            if self.arrival.lock().arrived > before {
                attempt = 0;
            }
            if !fault.is_transient() || attempt >= self.inner.config.retries {
                return Err(Failed::Fault(fault));
            }
            (self.listener)(Event::Retrying(fault.to_string()));
            tokio::time::sleep(session.delay(attempt, &fault)).await;
            attempt += 1;
        }
    }

    /// One request, from byte `from` to the end of the blob.
    async fn transfer(&self, place: usize, session: &Session, file: &File, from: u64) -> Result<(), Failed> {
        let name = self.blob.digest.to_string();
        let mut ask = Ask::new(Method::GET, session.endpoint.url(self.repository.path(), "blobs", &name));
        if from > 0 {
            let range = HeaderValue::from_str(&format!("bytes={from}-"));
            ask.headers.insert(RANGE, range.expect("digits can be sent"));
        }
        let call = ask.call();
        let mut response = session.send_once(&ask).await?;
        let size = self.blob.size;
        // Bytes of the answer that are there already.
        let mut skip = check_start(&call, &response, from, size)?;
        let mut at = from;
        loop {
            let chunk = response.chunk().await.map_err(|error| Fault::transport(&call, &error))?;
            let Some(mut chunk) = chunk else { break };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= skipped as u64;
            let chunk = chunk.split_off(skipped);
            if chunk.len() as u64 > size - at {
                return Err(Fault::Answer { call, reason: format!("more than {size} bytes") }.into());
            }
            if chunk.is_empty() {
                continue;
            }
            file.write_all_at(&chunk, at).call(|| format!("pwrite64({})", Shown(file))).map_err(Error::from)?;
            at += chunk.len() as u64;
            self.arrival.change(|state| {
                state.arrived = at;
                if !state.places.contains(&place) {
                    state.places.push(place);
                }
            });
            (self.listener)(Event::Arrived(at));
        }
        match at == size {
            true => Ok(()),
            false => {
                let cause = format!("ended after {at} of {size} bytes");
                Err(Fault::Transport { call, cause, again: Again::Yes }.into())
            }
        }
    }
}

/// Checks that an answer is about the bytes asked for; gives how many of its first bytes are there already.
fn check_start(call: &str, response: &Response, from: u64, size: u64) -> Result<u64, Fault> {
    let rule = |reason: String| Err(Fault::Answer { call: call.into(), reason });
    let skip = match response.status() {
        // The server does not do parts.
        StatusCode::OK => from,
        StatusCode::PARTIAL_CONTENT if from > 0 => {
            let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let (start, total) = content_range(range).unwrap_or((u64::MAX, None));
            if start != from || total.is_some_and(|total| total != size) {
                let range = super::answer::printable(range);
                return rule(format!("bytes from {from} of {size} were asked for, the answer holds {range:?}"));
            }
            0
        }
        other => return rule(format!("answered with status {other}")),
    };
    match response.content_length() {
        Some(length) if length != size - from + skip => {
            rule(format!("the answer has {length} bytes, expected {}", size - from + skip))
        }
        _ => Ok(skip),
    }
}

/// First byte and full length of `bytes FIRST-LAST/TOTAL`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, total))
}

/// Whether the next place can help.
enum Failed {
    Fault(Fault),
    Error(Error),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Fault(fault)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Error(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let rows = [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("5-9/10", None),
            ("bytes 5-9", None),
            ("bytes -1-9/10", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}

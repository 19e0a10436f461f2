//! A blob on its way: it arrives in a file, and who unpacks it reads behind.
//!
//! ```text
//!  places ─▶ transfer: parts, ranges ─▶ ingest/partial/ALGORITHM-HEX ─▶ follow: hash ▸ decompress ▸ unpack
//! ```
//!
//! The file stays when a pull fails or its process dies, and the next pull goes on where it ends. Whoever fetches holds a
//! flock on it: exclusive as long as bytes arrive, then shared, until the blob is in the store. So nobody fetches what
//! another process fetches already. Nothing is believed of what is in the file: all of it is hashed each time.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use runtime::rooted::Shown;
use tokio::task::JoinHandle;

use super::super::cancel::Cancel;
use super::super::document::Descriptor;
use super::super::error::Error;
use super::super::partial::{Claim, Partials};
use super::Inner;
use super::endpoint::Wish;
use super::source::Repository;
use super::transfer::Task;

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
    /// Somebody's ranges were wrong: it comes as one stream from now on.
    whole: Arc<AtomicBool>,
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
    pub(super) cancel: Cancel,
}

#[derive(Default)]
pub(super) struct Arriving {
    pub(super) claim: Option<Arc<Claim>>,
    pub(super) arrived: u64,
    /// Some bytes are from an earlier attempt, or perhaps of another version of the blob.
    pub(super) resumed: bool,
    /// The places that gave bytes.
    pub(super) places: Vec<usize>,
    pub(super) ended: Option<Result<(), Error>>,
}

impl Arrival {
    pub(super) fn lock(&self) -> MutexGuard<'_, Arriving> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Arriving)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// The file with the blob, once it is whole.
    pub(crate) fn claim(&self) -> Option<Arc<Claim>> {
        self.lock().claim.clone()
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
            whole: Arc::default(),
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
            whole: Arc::clone(&self.whole),
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

//! The task that fetches one blob into its file: from one place after another, from each in parts.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::document::Descriptor;
use super::super::error::Error;
use super::super::partial::{Claim, Partials};
use super::Inner;
use super::download::{Arrival, Event, Listener};
use super::endpoint::Wish;
use super::exchange::Session;
use super::fault::Fault;
use super::parts::Parts;
use super::source::Repository;

/// How often a file that another process holds is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Fetches one blob.
pub(super) struct Task {
    pub(super) inner: Arc<Inner>,
    pub(super) repository: Arc<Repository>,
    pub(super) partials: Arc<Partials>,
    pub(super) blob: Descriptor,
    pub(super) arrival: Arc<Arrival>,
    pub(super) listener: Listener,
    pub(super) banned: Vec<usize>,
    /// Somebody's ranges were wrong: this blob comes as one stream from now on.
    pub(super) whole: Arc<AtomicBool>,
}

/// Why a place did not give the rest.
pub(super) enum Failed {
    /// Another place may.
    Fault(Fault),
    /// It may as one stream.
    Ranges,
    /// Nobody can.
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

/// However the task ends, who waits for bytes learns of it.
struct Ending(Arc<Arrival>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.ended.get_or_insert(Err(Error::Cancelled));
        });
    }
}

impl Task {
    pub(super) async fn run(self) {
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
            match self.fetch_from(at, session, file).await? {
                Ok(()) => return Ok(()),
                Err(fault) => faults.push(fault),
            }
        }
        Err(Error::Registry { what: format!("blob {}", self.blob.digest), faults })
    }

    /// Fetches from one place; as one stream if it does no ranges, or not as it should.
    async fn fetch_from(&self, place: usize, session: &Session, file: &File) -> Result<Result<(), Fault>, Error> {
        loop {
            match Parts::new(self, place, session, file).run().await {
                Ok(()) => return Ok(Ok(())),
                Err(Failed::Fault(fault)) => return Ok(Err(fault)),
                Err(Failed::Error(error)) => return Err(error),
                Err(Failed::Ranges) => self.whole.store(true, Ordering::Relaxed),
            }
            // Bytes of two versions of the blob may have met: if they are wrong, it is fetched from the start.
            self.arrival.change(|state| state.resumed |= state.arrived > 0);
        }
    }
}

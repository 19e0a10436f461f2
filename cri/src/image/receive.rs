//! Receives layers into a staging folder, several at a time.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use runtime::rooted::Shown;
use runtime::sys::Call;

use super::cancel::Cancel;
use super::digest::{Algorithm, Digest};
use super::dir::Dir;
use super::error::{EntryFault, Error};
use super::layer::TREE;
use super::partial::Claim;
use super::progress::Progress;
use super::registry::{Download, Event, Follow, Listener};
use super::store::Store;
use super::unpack::{Contents, Found, Stream, Unpacked, unpack};

/// Gives the bytes of a layer, from the start each time it is called.
pub(crate) type Open<'a> = Box<dyn Fn() -> Result<Box<dyn Read + 'a>, Error> + Send + Sync + 'a>;

/// Where the bytes of a layer are.
pub(crate) enum Bytes<'a> {
    /// In a file or an archive; they are copied.
    Source(Open<'a>),
    /// In a registry; they arrive in a file of the store.
    Registry(&'a Download),
}

/// A layer that an image needs.
pub(crate) struct Incoming<'a> {
    /// What it unpacks to.
    pub(crate) diff_id: Digest,
    /// The digest of the bytes; `None`: the source does not say (docker archives).
    pub(crate) digest: Option<Digest>,
    /// The number of bytes.
    pub(crate) size: u64,
    pub(crate) bytes: Bytes<'a>,
}

/// Whether the store has the blob.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    No,
}

/// What is to be done for one layer.
pub(crate) struct Job<'j, 'a> {
    /// Its place in the list of layers.
    pub(crate) at: usize,
    pub(crate) incoming: &'j Incoming<'a>,
    pub(crate) kept: Kept,
    /// Name of the file for a copy of the blob, if one is to be made.
    pub(crate) blob: Option<String>,
    /// Name of the folder for the layer, unless it is there.
    pub(crate) layer: Option<String>,
}

/// A blob that will be in the store.
pub(crate) enum Held {
    /// In a file of the staging folder.
    Staged(String),
    /// In its file of `ingest/partial/`.
    Arrived(Arc<Claim>),
}

impl Held {
    pub(crate) fn length(&self, staging: &Dir) -> Result<u64, Error> {
        match self {
            Held::Staged(name) => Ok(staging.stat_of(name.as_bytes())?.map_or(0, |stat| stat.st_size.unsigned_abs())),
            Held::Arrived(claim) => claim.length(),
        }
    }

    pub(crate) fn open(&self, staging: &Dir) -> Result<File, Error> {
        match self {
            Held::Staged(name) => staging.open_file(name.as_bytes())?.ok_or_else(|| Error::Damaged {
                what: format!("{}/{name}", staging.path().display()),
                reason: "is missing".into(),
            }),
            Held::Arrived(claim) => {
                let file = claim.file();
                Ok(file.try_clone().call(|| format!("fcntl({}, F_DUPFD_CLOEXEC)", Shown(file)))?)
            }
        }
    }
}

/// A job that was done.
pub(crate) struct Done {
    pub(crate) at: usize,
    pub(crate) diff_id: Digest,
    pub(crate) blob: Option<Held>,
    pub(crate) layer: Option<String>,
    /// What was unpacked, if the layer was not there.
    pub(crate) unpacked: Option<Unpacked>,
    pub(crate) found: Found,
}

/// Where the layers go.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    pub(crate) store: &'p Store,
    /// The staging folder.
    pub(crate) dir: &'p Dir,
    pub(crate) trash: &'p Dir,
}

/// What a worker or a download tells.
enum Report {
    Bytes(usize, u64),
    Arriving(usize, Event),
    Ended(Box<Result<Done, Error>>),
    /// A worker has no more to do.
    Idle,
}

/// How many bytes are read between two reports.
const REPORT_BYTES: u64 = 1 << 20;

/// Does all jobs, as many at a time as there are processors; what comes from a registry is fetched ahead. The first error
/// stops the others.
pub(crate) fn receive(
    place: &Place<'_>,
    jobs: VecDeque<Job<'_, '_>>,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Done>, Error> {
    let mut tally = Tally::new(&jobs);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let stop = &cancel.child();
    let (sender, reports) = mpsc::channel();
    for job in jobs.iter().filter(|job| job.kept == Kept::No) {
        if let Bytes::Registry(download) = &job.incoming.bytes {
            download.start(stop, &listener(&sender, job.at));
        }
    }
    let queue = &Mutex::new(jobs);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let sender = sender.clone();
            scope.spawn(move || {
                // A call of its own, so that the lock is not held during the work.
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(job) = next() {
                    let worker = Worker { place: *place, stop, sender: &sender };
                    let result = worker.layer(&job).map_err(|source| {
                        stop.cancel();
                        Error::Layer { diff_id: job.incoming.diff_id.clone(), source: Box::new(source) }
                    });
                    // The receiver lives until all threads have ended.
                    let _ = sender.send(Report::Ended(Box::new(result)));
                }
                let _ = sender.send(Report::Idle);
            });
        }
        drop(sender);
        let mut busy = threads;
        while busy > 0 {
            match reports.recv() {
                Ok(Report::Idle) => busy -= 1,
                Ok(report) => tally.take(report, progress),
                // A worker panicked: the scope passes it on.
                Err(_) => break,
            }
        }
    });
    tally.finish()
}

fn listener(sender: &mpsc::Sender<Report>, at: usize) -> Listener {
    let sender = sender.clone();
    // Nobody listens any more once all layers are there.
    Arc::new(move |event| drop(sender.send(Report::Arriving(at, event))))
}

/// What was told so far.
struct Tally {
    /// Layer and size of each job, bytes read and bytes told as arrived.
    jobs: HashMap<usize, (Digest, u64, u64, u64)>,
    done: Vec<Done>,
    cancelled: bool,
    first_error: Option<Error>,
}

impl Tally {
    fn new(jobs: &VecDeque<Job<'_, '_>>) -> Tally {
        let row = |job: &Job<'_, '_>| (job.at, (job.incoming.diff_id.clone(), job.incoming.size, 0, 0));
        Tally { jobs: jobs.iter().map(row).collect(), done: Vec::new(), cancelled: false, first_error: None }
    }

    fn take(&mut self, report: Report, progress: &mut dyn FnMut(Progress)) {
        match report {
            Report::Idle => {}
            Report::Bytes(at, more) => {
                if let Some((layer, total, done, _)) = self.jobs.get_mut(&at) {
                    *done = (*done + more).min(*total);
                    progress(Progress::Bytes { layer: layer.clone(), done: *done, total: *total });
                }
            }
            Report::Arriving(at, event) => {
                let Some((layer, total, _, told)) = self.jobs.get_mut(&at) else { return };
                let (layer, total) = (layer.clone(), *total);
                match event {
                    Event::Waiting => progress(Progress::Waiting { layer }),
                    Event::Resumed(at) => progress(Progress::Resumed { layer, at }),
                    Event::Retrying(why) => progress(Progress::Retrying { layer, why }),
                    Event::Arrived(done) if done >= *told + REPORT_BYTES || done == total => {
                        *told = done;
                        progress(Progress::Downloading { layer, done, total });
                    }
                    Event::Arrived(_) => {}
                }
            }
            Report::Ended(result) => match *result {
                Ok(layer) => {
                    progress(Progress::Unpacked { layer: layer.diff_id.clone() });
                    self.done.push(layer);
                }
                // The error that stopped the others is the one to tell.
                Err(error) if is_cancelled(&error) => self.cancelled = true,
                Err(error) => drop(self.first_error.get_or_insert(error)),
            },
        }
    }

    fn finish(self) -> Result<Vec<Done>, Error> {
        match (self.first_error, self.cancelled) {
            (Some(error), _) => Err(error),
            (None, true) => Err(Error::Cancelled),
            (None, false) => Ok(self.done),
        }
    }
}

fn is_cancelled(error: &Error) -> bool {
    match error {
        Error::Cancelled => true,
        Error::Layer { source, .. } => is_cancelled(source),
        _ => false,
    }
}

struct Worker<'w> {
    place: Place<'w>,
    stop: &'w Cancel,
    sender: &'w mpsc::Sender<Report>,
}

impl Worker<'_> {
    /// One layer; from a registry again, if the bytes that were there are not right.
    fn layer(&self, job: &Job<'_, '_>) -> Result<Done, Error> {
        let Bytes::Registry(download) = &job.incoming.bytes else {
            let Bytes::Source(open) = &job.incoming.bytes else { return Err(Error::Cancelled) };
            return self.pass(job, &mut *open()?, job.blob.clone().map(Held::Staged));
        };
        if job.kept == Kept::Yes
            && let Some(mut file) = self.place.store.open_blob(&download.blob.digest)?
        {
            match self.pass(job, &mut file, None) {
                Err(error) if is_about_bytes(&error) => self.clear(job)?,
                result => return result,
            }
        }
        loop {
            let arrival = download.start(self.stop, &listener(self.sender, job.at));
            let mut input = Follow::new(Arc::clone(&arrival));
            match self.pass(job, &mut input, None) {
                Ok(done) => return Ok(Done { blob: arrival.claim().map(Held::Arrived), ..done }),
                Err(error) if is_about_bytes(&error) => {
                    if !download.discard() {
                        return Err(error);
                    }
                    let _ = self.sender.send(Report::Arriving(job.at, Event::Retrying(error.to_string())));
                    self.clear(job)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what an attempt unpacked.
    fn clear(&self, job: &Job<'_, '_>) -> Result<(), Error> {
        for dir in [self.place.dir, self.place.trash] {
            if let Some(name) = &job.layer {
                dir.remove_tree(name)?;
            }
        }
        Ok(())
    }

    /// Blob and tree in one pass over the bytes, and all promises checked.
    fn pass(&self, job: &Job<'_, '_>, input: &mut dyn Read, blob: Option<Held>) -> Result<Done, Error> {
        let Place { store, dir, trash } = self.place;
        let incoming = job.incoming;
        let copy = match &blob {
            Some(Held::Staged(name)) => Some(dir.create(name)?),
            Some(Held::Arrived(_)) | None => None,
        };
        let tree = match &job.layer {
            Some(name) => Some((dir.make(name)?.make(TREE)?, trash.make(name)?)),
            None => None,
        };
        let mut waiting = 0u64;
        let mut report = |bytes: u64| {
            waiting += bytes;
            if waiting >= REPORT_BYTES {
                let _ = self.sender.send(Report::Bytes(job.at, std::mem::take(&mut waiting)));
            }
        };
        let stream = Stream {
            input,
            algorithm: incoming.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm),
            diff_algorithm: incoming.diff_id.algorithm(),
            size: incoming.size,
            copy: copy.as_ref(),
            progress: &mut report,
            stop: self.stop,
        };
        let (unpacked, found) = stream.run(&store.limits, |plain| match &tree {
            Some((tree, trash)) => unpack(plain, tree.as_fd(), trash, &store.limits, Contents::Written).map(Some),
            None => Ok(None),
        })?;
        check("size", &incoming.size, &found.size)?;
        check("digest", incoming.digest.as_ref().unwrap_or(&found.digest), &found.digest)?;
        check("diffID", &incoming.diff_id, &found.diff_id)?;
        let _ = self.sender.send(Report::Bytes(job.at, waiting));
        let (at, diff_id, layer) = (job.at, incoming.diff_id.clone(), job.layer.clone());
        Ok(Done { at, diff_id, blob, layer, unpacked, found })
    }
}

/// Whether other bytes could make it right. Failed calls and faults of registries are not about the bytes.
fn is_about_bytes(error: &Error) -> bool {
    match error {
        Error::Mismatch { .. } | Error::Tar { .. } | Error::Limit { .. } | Error::Io { .. } => true,
        Error::Entry { fault, .. } => !matches!(fault, EntryFault::Call(_)),
        _ => false,
    }
}

fn check<T: PartialEq + Display>(field: &'static str, expected: &T, found: &T) -> Result<(), Error> {
    match expected == found {
        true => Ok(()),
        false => Err(Error::Mismatch {
            what: "blob".into(),
            field,
            expected: expected.to_string(),
            found: found.to_string(),
        }),
    }
}

//! Receives layers into a staging folder, several at a time.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError, mpsc};

use super::digest::{Algorithm, Digest};
use super::dir::Dir;
use super::error::Error;
use super::layer::TREE;
use super::progress::Progress;
use super::store::Store;
use super::unpack::{Contents, Found, Stop, Stream, Unpacked, unpack};

/// Gives the bytes of a layer, from the start each time it is called.
pub(crate) type Open<'a> = Box<dyn Fn() -> Result<Box<dyn Read + 'a>, Error> + Send + Sync + 'a>;

/// A layer that an image needs.
pub(crate) struct Incoming<'a> {
    /// What it unpacks to.
    pub(crate) diff_id: Digest,
    /// The digest of the bytes; `None`: the source does not say (docker archives).
    pub(crate) digest: Option<Digest>,
    /// The number of bytes.
    pub(crate) size: u64,
    /// Where the bytes are.
    pub(crate) open: Open<'a>,
}

/// What is to be done for one layer.
pub(crate) struct Job<'j, 'a> {
    /// Its place in the list of layers.
    pub(crate) at: usize,
    pub(crate) incoming: &'j Incoming<'a>,
    /// Name of the file for the blob, unless it is there.
    pub(crate) blob: Option<String>,
    /// Name of the folder for the layer, unless it is there.
    pub(crate) layer: Option<String>,
}

/// A job that was done.
pub(crate) struct Done {
    pub(crate) at: usize,
    pub(crate) diff_id: Digest,
    pub(crate) blob: Option<String>,
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

/// What a worker tells.
enum Report {
    Bytes(usize, u64),
    Ended(Box<Result<Done, Error>>),
}

/// How many bytes are read between two reports.
const REPORT_BYTES: u64 = 1 << 20;

/// Does all jobs, as many at a time as there are processors. The first error stops the others.
pub(crate) fn receive(
    place: &Place<'_>,
    jobs: VecDeque<Job<'_, '_>>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Done>, Error> {
    let totals: HashMap<usize, (Digest, u64)> =
        jobs.iter().map(|job| (job.at, (job.incoming.diff_id.clone(), job.incoming.size))).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let queue = Mutex::new(jobs);
    let stop = Stop::default();
    let (sender, reports) = mpsc::channel();
    let mut done = Vec::new();
    let mut first_error = None;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, queue, stop) = (sender.clone(), &queue, &stop);
            scope.spawn(move || {
                // A call of its own, so that the lock is not held during the work.
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(job) = next() {
                    let worker = Worker { place: *place, stop, sender: &sender };
                    let result = worker.layer(&job).map_err(|source| {
                        stop.set();
                        Error::Layer { diff_id: job.incoming.diff_id.clone(), source: Box::new(source) }
                    });
                    // The receiver lives until all threads have ended.
                    let _ = sender.send(Report::Ended(Box::new(result)));
                }
            });
        }
        drop(sender);
        let mut counts: HashMap<usize, u64> = HashMap::new();
        for report in reports {
            match report {
                Report::Bytes(at, more) => {
                    let (layer, total) = totals[&at].clone();
                    let done = counts.entry(at).or_default();
                    *done += more;
                    progress(Progress::Bytes { layer, done: *done, total });
                }
                Report::Ended(result) => match *result {
                    Ok(layer) => {
                        progress(Progress::Unpacked { layer: layer.diff_id.clone() });
                        done.push(layer);
                    }
                    // The error that stopped the others is the one to tell.
                    Err(error) if first_error.is_none() && !is_cancelled(&error) => first_error = Some(error),
                    Err(_) => {}
                },
            }
        }
    });
    match first_error {
        Some(error) => Err(error),
        None => Ok(done),
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
    stop: &'w Stop,
    sender: &'w mpsc::Sender<Report>,
}

impl Worker<'_> {
    /// One layer: blob and tree in one pass over its bytes, and all promises checked.
    fn layer(&self, job: &Job<'_, '_>) -> Result<Done, Error> {
        let Place { store, dir, trash } = self.place;
        let incoming = job.incoming;
        let copy = job.blob.as_ref().map(|name| dir.create(name)).transpose()?;
        let tree = match &job.layer {
            Some(name) => Some((dir.make(name)?.make(TREE)?, trash.make(name)?)),
            None => None,
        };
        let mut input = (incoming.open)()?;
        let mut waiting = 0u64;
        let mut report = |bytes: u64| {
            waiting += bytes;
            if waiting >= REPORT_BYTES {
                let _ = self.sender.send(Report::Bytes(job.at, std::mem::take(&mut waiting)));
            }
        };
        let stream = Stream {
            input: &mut *input,
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
        Ok(Done {
            at: job.at,
            diff_id: incoming.diff_id.clone(),
            blob: job.blob.clone(),
            layer: job.layer.clone(),
            unpacked,
            found,
        })
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

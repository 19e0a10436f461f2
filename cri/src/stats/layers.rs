//! What writable layers take on the disk.
//!
//! Counting means to look at every file. That is done in the background by at most [`WORKERS`] threads, which live only as long as
//! there is something to count. A layer is counted again when somebody asks for it and the last figure is old: at least [`PERIOD`],
//! and [`SHARE`] times what counting took, so that large layers cost no more than a small part of a CPU.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use runtime::sys::CallError;

use crate::disk::{self, Usage};

/// Threads that count at the same time.
const WORKERS: usize = 2;

/// How old a figure may be.
const PERIOD: Duration = Duration::from_secs(10);

/// A figure may be as old as this many times what it took to get it.
const SHARE: u32 = 20;

/// How long a figure is kept when nobody asks for it.
const KEPT: Duration = Duration::from_secs(600);

/// What a layer took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// How much.
    pub usage: Usage,
    /// When that was.
    pub at: SystemTime,
}

/// Figures of writable layers.
#[derive(Debug, Default)]
pub struct WritableLayers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    counted: Condvar,
}

#[derive(Debug, Default)]
struct State {
    layers: HashMap<PathBuf, Layer>,
    queue: VecDeque<PathBuf>,
    workers: usize,
}

#[derive(Debug)]
struct Layer {
    measured: Option<Measured>,
    /// When it is to be counted again.
    due: Instant,
    /// It is being counted, or will be.
    pending: bool,
    asked: Instant,
}

impl WritableLayers {
    /// What the folder takes; a new figure is made in the background if the last one is old. The first one is waited for until a
    /// moment. `None`: it takes longer, or it could not be counted.
    pub fn usage(&self, folder: &Path, until: Instant) -> Option<Measured> {
        let now = Instant::now();
        let mut state = self.shared.lock();
        if !state.layers.contains_key(folder) {
            state.layers.retain(|_, layer| layer.pending || now.duration_since(layer.asked) < KEPT);
        }
        let new = || Layer { measured: None, due: now, pending: false, asked: now };
        let layer = state.layers.entry(folder.to_owned()).or_insert_with(new);
        layer.asked = now;
        if !layer.pending && layer.due <= now {
            layer.pending = true;
            state.queue.push_back(folder.to_owned());
            self.shared.hire(&mut state);
        }
        let waits =
            |state: &mut State| state.layers.get(folder).is_some_and(|layer| layer.measured.is_none() && layer.pending);
        let waited = self.shared.counted.wait_timeout_while(state, until.saturating_duration_since(now), waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.layers.get(folder)?.measured
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread unless there are enough. If none can be started now, the next one to ask tries again.
    fn hire(self: &Arc<Shared>, state: &mut State) {
        if state.workers >= WORKERS {
            return;
        }
        let shared = Arc::clone(self);
        if thread::Builder::new().name("disk usage".to_owned()).spawn(move || shared.work()).is_ok() {
            state.workers += 1;
        } else if state.workers == 0 {
            for folder in std::mem::take(&mut state.queue) {
                state.layers.entry(folder).and_modify(|layer| layer.pending = false);
            }
        }
    }

    /// Counts until there is nothing to count.
    fn work(&self) {
        loop {
            let folder = {
                let mut state = self.lock();
                match state.queue.pop_front() {
                    Some(folder) => folder,
                    None => {
                        state.workers -= 1;
                        return;
                    }
                }
            };
            let start = Instant::now();
            let result = disk::count(&folder);
            let due = Instant::now() + (start.elapsed() * SHARE).max(PERIOD);
            self.note(&folder, result, due);
            self.counted.notify_all();
        }
    }

    fn note(&self, folder: &Path, result: Result<Usage, CallError>, due: Instant) {
        let mut state = self.lock();
        let Some(layer) = state.layers.get_mut(folder) else { return };
        layer.pending = false;
        layer.due = due;
        match result {
            Ok(usage) => layer.measured = Some(Measured { usage, at: SystemTime::now() }),
            // The figure before stays, with its time.
            Err(error) => {
                tracing::warn!(layer = %folder.display(), "what a writable layer takes is not known: {error}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn counted_once_in_a_period() {
        let scratch = tempfile::tempdir().unwrap();
        let layers = WritableLayers::default();
        fs::write(scratch.path().join("file"), [1; 5000]).unwrap();
        let first = layers.usage(scratch.path(), soon()).unwrap();
        assert_eq!(first.usage.inodes, 2);
        assert!(first.usage.bytes >= 8192, "{first:?}");
        fs::write(scratch.path().join("more"), [1; 5000]).unwrap();
        assert_eq!(layers.usage(scratch.path(), soon()), Some(first), "the figure is new enough");

        // Somebody asks when it is old: that one gets the old figure, and the next one is made.
        layers.shared.lock().layers.get_mut(scratch.path()).unwrap().due = Instant::now();
        assert_eq!(layers.usage(scratch.path(), soon()), Some(first));
        let state = layers.shared.lock();
        let pending = |state: &mut State| state.layers[scratch.path()].pending;
        let (state, _) = layers.shared.counted.wait_timeout_while(state, Duration::from_secs(20), pending).unwrap();
        let second = state.layers[scratch.path()].measured.unwrap();
        assert_eq!(second.usage.inodes, 3);
        assert!(second.at >= first.at);
    }

    #[test]
    fn many_at_the_same_time() {
        let scratch = tempfile::tempdir().unwrap();
        let layers = WritableLayers::default();
        for number in 0..40 {
            fs::create_dir_all(scratch.path().join(format!("{number}/sub"))).unwrap();
        }
        thread::scope(|scope| {
            for number in 0..40 {
                let (layers, folder) = (&layers, scratch.path().join(number.to_string()));
                scope.spawn(move || assert_eq!(layers.usage(&folder, soon()).unwrap().usage.inodes, 2));
            }
        });
        let state = layers.shared.lock();
        assert!(state.queue.is_empty() && state.workers <= WORKERS);
    }

    #[test]
    fn a_layer_that_is_not_there_takes_nothing() {
        let layers = WritableLayers::default();
        assert_eq!(layers.usage(Path::new("/no/such/layer"), soon()).unwrap().usage, Usage::default());
        assert_eq!(layers.usage(Path::new("/proc/self/mem/x"), soon()), None, "it cannot be counted");
    }
}

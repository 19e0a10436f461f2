//! Operations under way: who asks for the same again joins, and nobody who goes away ends one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tracing::{Instrument, Span};

use super::config::{ContainerMetadata, PodMetadata};
use super::error::Error;
use super::id::Id;
use crate::metrics::{self, Phase};

/// What an operation is and on what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Run(PodMetadata),
    StopPod(Id),
    RemovePod(Id),
    Create(Id, ContainerMetadata),
    Start(Id),
    Update(Id),
    RemoveContainer(Id),
}

/// For how long a caller waits; `None`: for ever.
pub type Patience = Option<Duration>;

/// How an operation ended: the id of what it was on.
pub(super) type Outcome = Result<Id, Arc<Error>>;

impl Key {
    /// The name of the operation, as metrics and traces have it.
    fn operation(&self) -> &'static str {
        match self {
            Key::Run(_) => "run_pod_sandbox",
            Key::StopPod(_) => "stop_pod_sandbox",
            Key::RemovePod(_) => "remove_pod_sandbox",
            Key::Create(..) => "create_container",
            Key::Start(_) => "start_container",
            Key::RemoveContainer(_) => "remove_container",
            Key::Update(_) => "update_container_resources",
        }
    }
}

/// Where an operation is, for whoever waits for it, and for the metrics.
#[derive(Debug, Clone)]
pub(super) struct Steps(Arc<Mutex<Step>>);

#[derive(Debug)]
struct Step {
    operation: &'static str,
    /// The span of the call that began it.
    span: Span,
    name: &'static str,
    since: Instant,
    /// Absent when the operation is over.
    phase: Option<Phase>,
}

impl Steps {
    fn new(operation: &'static str) -> Steps {
        let (span, name) = (Span::current(), "begin");
        let phase = Some(metrics::phase_in(&span, operation, name));
        Steps(Arc::new(Mutex::new(Step { operation, span, name, since: Instant::now(), phase })))
    }

    fn lock(&self) -> MutexGuard<'_, Step> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operation has come to this step.
    pub(super) fn at(&self, name: &'static str) {
        let mut step = self.lock();
        // The last one ends before this one begins.
        step.phase = None;
        step.phase = Some(metrics::phase_in(&step.span, step.operation, name));
        (step.name, step.since) = (name, Instant::now());
    }

    /// The step, and for how long it has been there.
    pub(super) fn now(&self) -> (&'static str, Duration) {
        let step = self.lock();
        (step.name, step.since.elapsed())
    }

    fn end(&self) {
        let mut step = self.lock();
        step.phase = None;
        step.span = Span::none();
    }
}

/// Ends the last step however the operation ends.
struct LastStep(Steps);

impl Drop for LastStep {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// An operation that can be waited for by many.
#[derive(Clone)]
pub(super) struct Flight {
    outcome: Shared<BoxFuture<'static, Outcome>>,
    pub(super) steps: Steps,
}

impl Flight {
    /// Its end.
    pub(super) async fn end(self) -> Outcome {
        self.outcome.await
    }

    /// Its end, or where it is when the caller's patience is over: the operation goes on.
    pub(super) async fn end_within(self, patience: Patience, operation: &'static str, id: &str) -> Outcome {
        let Some(patience) = patience else { return self.end().await };
        match tokio::time::timeout(patience, self.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let (step, since) = self.steps.now();
                let (id, step) = (id.to_owned(), step.to_owned());
                Err(Arc::new(Error::UnderWay { operation, id, step, since }))
            }
        }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Flights {
    under_way: Arc<Mutex<HashMap<Key, Flight>>>,
}

impl Flights {
    /// Joins the operation, or begins it. It goes on when nobody waits any more.
    pub(super) fn join<F>(&self, key: Key, begin: impl FnOnce(Steps) -> F) -> Flight
    where
        F: Future<Output = Result<Id, Error>> + Send + 'static,
    {
        // Held until the flight is in the map: its end takes it out.
        let mut map = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = map.get(&key) {
            return flight.clone();
        }
        let steps = Steps::new(key.operation());
        let last = LastStep(steps.clone());
        let (work, all, own) = (begin(steps.clone()), Arc::clone(&self.under_way), key.clone());
        let work = async move {
            let outcome = work.await;
            drop(last);
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
            outcome
        };
        let task = tokio::spawn(work.instrument(Span::current()));
        let (all, own) = (Arc::clone(&self.under_way), key.clone());
        let outcome = async move {
            match task.await {
                Ok(outcome) => outcome.map_err(Arc::new),
                Err(panic) => {
                    all.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
                    Err(Arc::new(Error::Panic(panic.to_string())))
                }
            }
        };
        let flight = Flight { outcome: outcome.boxed().shared(), steps };
        map.insert(key, flight.clone());
        flight
    }

    /// The operation, if it is under way.
    pub(super) fn get(&self, key: &Key) -> Option<Flight> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Creations in a pod that are under way.
    pub(super) fn creations(&self, pod: &Id) -> Vec<(ContainerMetadata, Flight)> {
        let map = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let of_pod = |(key, flight): (&Key, &Flight)| match key {
            Key::Create(id, metadata) if id == pod => Some((metadata.clone(), flight.clone())),
            _ => None,
        };
        map.iter().filter_map(of_pod).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_is_joined_and_goes_on_alone() {
        let flights = Flights::default();
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        let id = Id::new().unwrap();
        let (key, done) = (Key::StopPod(id.clone()), id.clone());
        let first = flights.join(key.clone(), |steps| async move {
            steps.at("gate");
            gate.await.unwrap();
            Ok(done)
        });
        let second = flights.join(key.clone(), |_| async { panic!("begun twice") });
        drop(first);
        while flights.get(&key).unwrap().steps.now().0 != "gate" {
            tokio::task::yield_now().await;
        }
        open.send(()).unwrap();
        assert_eq!(second.end().await.unwrap(), id);
        assert!(flights.get(&key).is_none());
        let text = metrics::text();
        for line in [
            "rtd_phase_duration_seconds_count{operation=\"stop_pod_sandbox\",phase=\"begin\"} 1",
            "rtd_phase_duration_seconds_count{operation=\"stop_pod_sandbox\",phase=\"gate\"} 1",
            "rtd_phases_in_flight{operation=\"stop_pod_sandbox\",phase=\"gate\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_ends_it() {
        let flights = Flights::default();
        let key = Key::Start(Id::new().unwrap());
        let flight = flights.join(key.clone(), |_| async { panic!("on purpose") });
        assert!(matches!(*flight.end().await.unwrap_err(), Error::Panic(_)));
        assert!(flights.get(&key).is_none());
    }
}

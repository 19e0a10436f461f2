//! Operations under way: who asks for the same again joins, and nobody who goes away ends one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::config::{ContainerMetadata, PodMetadata};
use super::error::Error;
use super::id::Id;

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

/// Where an operation is, for whoever waits for it.
#[derive(Debug, Clone)]
pub(super) struct Steps(Arc<Mutex<(&'static str, Instant)>>);

impl Steps {
    fn new() -> Steps {
        Steps(Arc::new(Mutex::new(("begin", Instant::now()))))
    }

    /// The operation has come to this step.
    pub(super) fn at(&self, step: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (step, Instant::now());
    }

    /// The step, and for how long it has been there.
    pub(super) fn now(&self) -> (&'static str, Duration) {
        let (step, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (step, since.elapsed())
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
        let steps = Steps::new();
        let (work, all, own) = (begin(steps.clone()), Arc::clone(&self.under_way), key.clone());
        let task = tokio::spawn(async move {
            let outcome = work.await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
            outcome
        });
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

//! Stopping a container.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shim::layout::{State, Status};
use shim::local::Wait;
use shim::protocol::{FailureKind, Request};
use shim::record;

use super::engine::{Engine, blocking, now};
use super::error::Error;
use super::flight::{Key, Patience};
use super::id::Id;
use super::run::open;
use super::shim_peer::Peer;
use super::state::{Container, ContainerState};

impl Engine {
    /// Asks a container to end and kills it after `timeout`; returns when it has ended. One that is not there, never ran or has
    /// ended is done; one that is being started is stopped when it runs. A second call joins the first and can only shorten the time. CRI: StopContainer
    ///
    /// # Errors
    /// What kept it from being killed; [`Error::UnderWay`]: the caller's patience is over, and it goes on.
    pub async fn stop_container(&self, id: &str, timeout: Duration, patience: Patience) -> Result<(), Error> {
        let container = match self.find_container(id) {
            Ok(container) => container,
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (engine, id, began) = (self.clone(), container.id().clone(), Instant::now());
        // Whoever asked may go away; the container ends all the same.
        let stopping = tokio::spawn(async move {
            if let Some(start) = engine.0.flights.get(&Key::Start(container.id().clone())) {
                // Its own caller is told how it ended.
                let _ = start.end().await;
            }
            engine.stop_running(&container, timeout).await
        });
        let stopped = match patience {
            None => stopping.await,
            Some(patience) => match tokio::time::timeout(patience, stopping).await {
                Ok(stopped) => stopped,
                Err(_) => return Err(self.stop_under_way(&id, began)),
            },
        };
        stopped.map_err(|panic| Error::Panic(panic.to_string()))?
    }

    fn stop_under_way(&self, id: &Id, began: Instant) -> Error {
        let starting = self.0.flights.get(&Key::Start(id.clone())).is_some();
        let step = if starting { "start under way" } else { "processes" }.to_owned();
        Error::UnderWay { operation: "StopContainer", id: id.to_string(), step, since: began.elapsed() }
    }

    pub(super) async fn stop_running(&self, container: &Arc<Container>, timeout: Duration) -> Result<(), Error> {
        match container.state() {
            ContainerState::Created | ContainerState::Exited(_) => return Ok(()),
            ContainerState::Running { .. } => {}
        }
        let request = Request::Stop {
            container: container.id().to_string(),
            signal: container.record.stop_signal,
            timeout: Some(timeout),
        };
        if let Some(shim) = Peer::connect(&container.dir).await? {
            match shim.ask(&container.dir, &request).await {
                Ok(_) => {}
                Err(Error::Shim(
                    shim::client::Error::Gone
                    | shim::client::Error::Failed { kind: FailureKind::NotFound | FailureKind::WrongState, .. },
                )) => {}
                Err(error) => return Err(error),
            }
        }
        self.refresh(container).await
    }

    /// Reads how a container is. One whose shim has died is seen to have ended, and what is left of it is killed.
    pub(super) async fn refresh(&self, container: &Arc<Container>) -> Result<(), Error> {
        let dir = container.dir.clone();
        let status = blocking(move || {
            let directory = open(&dir)?;
            let malformed = |source| Error::Record { path: dir.clone(), source };
            let recorded = record::read::<Status>(&directory).map_err(malformed)?;
            let ended = recorded.as_ref().is_none_or(|status| status.state == State::Exited);
            // A shim that is killed closes its socket some moments before it has ended: settling waits for that.
            if !ended && directory.connect()?.is_none() {
                let lock = directory.lock(Wait::Yes)?;
                directory.settle(&lock)?;
            }
            Ok(directory.status()?)
        });
        let state = ContainerState::of(status.await?.as_ref(), None, now());
        self.advance(container, state);
        Ok(())
    }
}

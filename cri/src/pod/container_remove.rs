//! Removing a container.

use std::sync::Arc;

use shim::local::{self, Directory, Wait};

use super::engine::{Engine, blocking};
use super::error::Error;
use super::event::EventKind;
use super::flight::{Key, Outcome, Patience, Steps};
use super::state::Container;

impl Engine {
    /// Removes a container, killing it first if it runs; its log stays. One that is not there is done. CRI: RemoveContainer
    ///
    /// # Errors
    /// What could not be removed: the next call goes on with it.
    pub async fn remove_container(&self, id: &str, patience: Patience) -> Result<(), Arc<Error>> {
        let container = match self.find_container(id) {
            Ok(container) => container,
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(Arc::new(error)),
        };
        self.join_removal(container, patience).await.map(|_| ())
    }

    pub(super) async fn join_removal(&self, container: Arc<Container>, patience: Patience) -> Outcome {
        let (engine, id) = (self.clone(), container.id().clone());
        let begin = |steps| async move {
            engine.remove_now(&container, &steps).await?;
            Ok(container.id().clone())
        };
        let flight = self.0.flights.join(Key::RemoveContainer(id.clone()), begin);
        flight.end_within(patience, "RemoveContainer", id.as_str()).await
    }

    async fn remove_now(&self, container: &Arc<Container>, steps: &Steps) -> Result<(), Error> {
        steps.at("start under way");
        if let Some(start) = self.0.flights.get(&Key::Start(container.id().clone())) {
            // Its own caller is told how it ended.
            let _ = start.end().await;
        }
        steps.at("processes and files");
        self.stop_running(container, std::time::Duration::ZERO).await?;
        let dir = container.dir.clone();
        blocking(move || {
            let Some(directory) = Directory::open(&dir)? else { return Ok(()) };
            let lock = match directory.lock(Wait::Yes) {
                Err(local::Error::Removed(_)) => return Ok(()),
                lock => lock?,
            };
            Ok(directory.remove(&lock, true)?)
        })
        .await?;
        steps.at("cgroup");
        if let Ok(pod) = self.pod_of(container) {
            self.0.settings.cgroups.release(&pod.record.config.cgroup_parent, container.id().as_str()).await?;
        }
        self.tell(container.id(), EventKind::Deleted, &container.record.pod);
        self.forget_container(container.id());
        Ok(())
    }
}

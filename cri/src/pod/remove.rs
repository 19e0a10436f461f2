//! Removing a pod with all that is left of it.

use std::sync::Arc;
use std::time::Duration;

use shim::local::{self, Directory};
use shim::protocol::Request;

use super::engine::{Engine, blocking};
use super::error::Error;
use super::event::{Event, EventKind};
use super::flight::{Key, Patience, Steps};
use super::run;
use super::state::{Phase, Pod};

/// For how long containers that are being made are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

impl Engine {
    /// Removes a pod and its containers; one that is not there is done. CRI: RemovePodSandbox
    ///
    /// # Errors
    /// What could not be removed: the next call goes on with it.
    pub async fn remove(&self, id: &str, patience: Patience) -> Result<(), Arc<Error>> {
        let pod = match self.find_pod(id) {
            Ok(pod) => pod,
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(Arc::new(error)),
        };
        let (engine, id) = (self.clone(), pod.id().clone());
        let begin = |steps| async move {
            engine.remove_pod(&pod, &steps).await?;
            Ok(pod.id().clone())
        };
        let flight = self.0.flights.join(Key::RemovePod(id.clone()), begin);
        flight.end_within(patience, "RemovePodSandbox", id.as_str()).await.map(|_| ())
    }

    async fn remove_pod(&self, pod: &Arc<Pod>, steps: &Steps) -> Result<(), Error> {
        steps.at("stop");
        // From here on nothing new is begun in it.
        self.join_stop(Arc::clone(pod), None).await?;
        pod.advance(Phase::Removing);
        steps.at("creations");
        for (metadata, flight) in self.0.flights.creations(pod.id()) {
            let where_it_is = flight.steps.clone();
            if tokio::time::timeout(PATIENCE, flight.end()).await.is_err() {
                let (step, since) = where_it_is.now();
                let id = format!("container {} of pod sandbox {}", metadata.name, pod.id());
                return Err(Error::UnderWay { operation: "CreateContainer", id, step: step.to_owned(), since });
            }
        }
        steps.at("containers");
        for container in pod.containers() {
            self.join_removal(container, None).await?;
        }
        steps.at("directory");
        let (engine, gone) = (self.clone(), Arc::clone(pod));
        blocking(move || engine.remove_pod_dir(&gone)).await?;
        let event = Event {
            id: pod.id().clone(),
            kind: EventKind::Deleted,
            at: super::engine::now(),
            pod: pod.view(),
            containers: Vec::new(),
        };
        self.forget_pod(pod.id());
        // An error says that nobody listens.
        let _ = self.0.events.send(Arc::new(event));
        Ok(())
    }

    fn remove_pod_dir(&self, pod: &Pod) -> Result<(), Error> {
        if let Some(directory) = Directory::open(&pod.dir)? {
            match directory.connect()? {
                Some(shim) => match shim.request(&Request::RemoveSandbox {}, &[]) {
                    Ok(_) | Err(shim::client::Error::Gone) => {}
                    Err(error) => return Err(error.into()),
                },
                None => local::remove_pod_files(&directory, &pod.dir)?,
            }
        }
        run::remove_cgroup(&pod.record)
    }
}

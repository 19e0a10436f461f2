//! Stopping a pod: its containers are killed, its network is given back, its namespaces end.

use std::sync::Arc;
use std::time::Duration;

use shim::protocol::Request;

use super::engine::{Engine, blocking};
use super::error::{Error, Io};
use super::event::EventKind;
use super::flight::{Key, Outcome, Patience, Steps};
use super::shim_peer::Peer;
use super::state::{Phase, Pod};

impl Engine {
    /// Stops a pod; one that is not there or has ended is done. CRI: StopPodSandbox
    ///
    /// # Errors
    /// What could not be given back: the network stays recorded, and the next call tries again.
    pub async fn stop(&self, id: &str, patience: Patience) -> Result<(), Arc<Error>> {
        let pod = match self.find_pod(id) {
            Ok(pod) => pod,
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(Arc::new(error)),
        };
        self.join_stop(pod, patience).await.map(|_| ())
    }

    pub(super) async fn join_stop(&self, pod: Arc<Pod>, patience: Patience) -> Outcome {
        let (engine, id) = (self.clone(), pod.id().clone());
        let begin = |steps| async move {
            engine.stop_pod(&pod, &steps).await?;
            Ok(pod.id().clone())
        };
        let flight = self.0.flights.join(Key::StopPod(id.clone()), begin);
        flight.end_within(patience, "StopPodSandbox", id.as_str()).await
    }

    async fn stop_pod(&self, pod: &Arc<Pod>, steps: &Steps) -> Result<(), Error> {
        pod.advance(Phase::Stopping);
        steps.at("containers");
        let kills = pod
            .containers()
            .into_iter()
            .map(|container| async move { self.stop_running(&container, Duration::ZERO).await });
        let mut problems: Vec<Error> = Vec::new();
        for killed in futures_util::future::join_all(kills).await {
            problems.extend(killed.err());
        }
        steps.at("network");
        problems.extend(self.detach_pod(pod).await.err().map(|error| error.at("network")));
        steps.at("namespaces");
        match end_namespaces(pod).await {
            Ok(()) => {
                self.unwatch(pod);
                // Whatever the network says: nothing of it runs any more.
                if pod.advance(Phase::NotReady) {
                    self.tell(pod.id(), EventKind::Stopped, pod.id());
                }
            }
            Err(error) => problems.push(error.at("namespaces")),
        }
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => Err(Error::Several(problems)),
        }
    }

    /// Takes a pod off its network, and forgets that it was on it.
    pub(super) async fn detach_pod(&self, pod: &Arc<Pod>) -> Result<(), Error> {
        if pod.lock().network.is_none() {
            return Ok(());
        }
        let (engine, pod) = (self.clone(), Arc::clone(pod));
        blocking(move || {
            engine.0.network.detach(pod.id(), pod.record.network)?;
            let path = pod.dir.join("network.json");
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.io(|| format!("unlink({path:?})"))?,
            }
            pod.lock().network = None;
            Ok(())
        })
        .await
    }
}

/// Ends what runs in the pod's namespaces, and the namespaces.
async fn end_namespaces(pod: &Pod) -> Result<(), Error> {
    let Some(shim) = Peer::connect(&pod.dir).await? else { return Ok(()) };
    match shim.request(&Request::StopSandbox { timeout: Some(Duration::ZERO) }, &[]).await {
        Ok(_) | Err(Error::Shim(shim::client::Error::Gone)) => Ok(()),
        Err(error) => Err(error),
    }
}

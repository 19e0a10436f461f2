//! Stopping a pod: its containers are killed, its network is given back, its namespaces end. A shim that does not answer is killed: what
//! is stuck makes no pod immortal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shim::layout::SandboxStatus;
use shim::protocol::Request;
use shim::{client, record};

use super::engine::{Engine, blocking};
use super::error::{Error, Io};
use super::event::EventKind;
use super::flight::{Key, Outcome, Patience, Steps};
use super::run::open;
use super::shim_peer::Peer;
use super::state::{Phase, Pod};

/// For how long a shim that was killed may take to end.
const KILLED: Duration = Duration::from_secs(10);

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
        let mut problems = self.kill_containers(pod).await;
        if problems.iter().any(is_silence) {
            self.kill_shim(pod, steps).await?;
            problems = self.kill_containers(pod).await;
        }
        steps.at("network");
        problems.extend(self.detach_pod(pod).await.err().map(|error| error.at("network")));
        steps.at("namespaces");
        let mut ended = end_namespaces(pod).await;
        if ended.as_ref().is_err_and(is_silence) {
            self.kill_shim(pod, steps).await?;
            ended = end_namespaces(pod).await;
        }
        match ended {
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

    /// Kills what runs in the pod; what could not be killed.
    async fn kill_containers(&self, pod: &Pod) -> Vec<Error> {
        let kill = |container| async move { self.stop_running(&container, Duration::ZERO).await };
        let kills = pod.containers().into_iter().map(kill);
        futures_util::future::join_all(kills).await.into_iter().filter_map(Result::err).collect()
    }

    /// Kills a shim that does not answer. All that runs in the pod ends with it, which is what was asked for; how its programs ended is
    /// not known.
    async fn kill_shim(&self, pod: &Pod, steps: &Steps) -> Result<(), Error> {
        steps.at("shim that does not answer");
        tracing::warn!("pod sandbox {}: its shim does not answer and is killed", pod.id());
        // Its end is no surprise.
        self.unwatch(pod);
        let dir = pod.dir.clone();
        blocking(move || kill_silent(&dir)).await
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
    match shim.ask(&pod.dir, &Request::StopSandbox { timeout: Some(Duration::ZERO) }).await {
        Ok(_) | Err(Error::Shim(client::Error::Gone)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Kills the shim of a pod's directory.
pub(super) fn kill_silent(dir: &Path) -> Result<(), Error> {
    let wrong = |source| Error::Record { path: dir.to_owned(), source };
    let Some(status) = record::read::<SandboxStatus>(&open(dir)?).map_err(wrong)? else { return Ok(()) };
    Ok(shim::stuck::kill(status.shim, &status.boot_id, KILLED)?)
}

fn is_silence(error: &Error) -> bool {
    matches!(error.cause(), Error::Shim(client::Error::Silent))
}

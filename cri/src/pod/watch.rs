//! Watching shims: exits are told by them, and their own end is seen.

use std::sync::Arc;

use shim::client;
use shim::protocol::{Reply, Request};

use super::engine::Engine;
use super::error::Error;
use super::event::EventKind;
use super::shim_peer::Peer;
use super::state::{Container, Phase, Pod};

impl Engine {
    /// Sees the end of a pod's shim. An open connection keeps the shim from ending by itself.
    pub(super) fn watch_pod(&self, pod: &Arc<Pod>, shim: Peer) {
        let (engine, watched) = (self.clone(), Arc::clone(pod));
        let task = tokio::spawn(async move {
            // A shim says nothing unasked: whatever comes is its end.
            while let Ok(_unasked) = shim.receive().await {}
            drop(shim);
            engine.shim_died(&watched).await;
        });
        if let Some(before) = pod.lock().watch.replace(task.abort_handle()) {
            before.abort();
        }
    }

    /// The pod's shim is to end by itself.
    pub(super) fn unwatch(&self, pod: &Pod) {
        if let Some(watch) = pod.lock().watch.take() {
            watch.abort();
        }
    }

    async fn shim_died(&self, pod: &Arc<Pod>) {
        if pod.lock().phase >= Phase::NotReady {
            return;
        }
        tracing::warn!("pod sandbox {}: its shim has died; its containers are gone", pod.id());
        for container in pod.containers() {
            if let Err(error) = self.refresh(&container).await {
                tracing::error!("container {}: {error}", container.id());
            }
        }
        if pod.advance(Phase::NotReady) {
            self.tell(pod.id(), EventKind::Stopped, pod.id());
        }
        if let Err(error) = self.detach_pod(pod).await {
            // StopPodSandbox tries again.
            tracing::warn!("pod sandbox {}: network: {error}", pod.id());
        }
    }

    /// Waits for the end of a container that runs.
    pub(super) fn watch_container(&self, container: &Arc<Container>, shim: Peer) {
        let (engine, container) = (self.clone(), Arc::clone(container));
        tokio::spawn(async move {
            let request = Request::Wait { container: container.id().to_string() };
            match shim.request(&request, &[]).await {
                Ok(Reply::Exited { .. } | Reply::Done) | Err(Error::Shim(client::Error::Gone)) => {}
                Ok(other) => tracing::error!("container {}: unexpected answer of its shim: {other:?}", container.id()),
                Err(error) => tracing::error!("container {}: {error}", container.id()),
            }
            drop(shim);
            match engine.refresh(&container).await {
                Ok(()) => {}
                // It has been removed meanwhile.
                Err(_) if !container.dir.try_exists().unwrap_or(true) => {}
                Err(error) => tracing::error!("container {}: {error}", container.id()),
            }
        });
    }
}

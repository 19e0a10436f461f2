//! Starting a container: the shim makes its process and lets the program run.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use runtime::sys::CallError;
use shim::client;
use shim::layout::VERSION;
use shim::local::Directory;
use shim::protocol::{FailureKind, Reply, Request};
use shim::record;

use super::engine::{Engine, blocking, now};
use super::error::Error;
use super::flight::{Key, Outcome, Patience, Steps};
use super::record::StartFailure;
use super::run::open;
use super::shim_peer::Peer;
use super::state::{Container, ContainerState, Phase};
use crate::cgroup::{CgroupDriver, Placement};

/// Exit code of a container whose program could not be started, where there is no better one; containerd's.
const NOT_STARTED: i32 = 128;

impl Engine {
    /// Starts a container that was made and never started. CRI: StartContainer
    ///
    /// # Errors
    /// [`Error::WrongState`]; [`Error::Start`]: then it has ended, and its status tells why.
    pub async fn start_container(&self, id: &str, patience: Patience) -> Outcome {
        let container = self.find_container(id)?;
        let (engine, id) = (self.clone(), container.id().clone());
        let begin = |steps| async move {
            engine.start_now(&container, &steps).await?;
            Ok(container.id().clone())
        };
        let flight = self.0.flights.join(Key::Start(id.clone()), begin);
        flight.end_within(patience, "StartContainer", id.as_str()).await
    }

    async fn start_now(&self, container: &Arc<Container>, steps: &Steps) -> Result<(), Error> {
        let pod = self.pod_of(container)?;
        if pod.lock().phase != Phase::Ready {
            return Err(Error::NotReady { id: pod.id().clone() });
        }
        let state = container.state();
        if state != ContainerState::Created {
            return Err(Error::WrongState { id: container.id().clone(), state: state.word(), wanted: "created" });
        }
        steps.at("shim");
        let Some(shim) = Peer::connect(&pod.dir).await? else {
            return Err(Error::NotReady { id: pod.id().clone() });
        };
        match self.make_and_run(container, &shim, steps).await {
            Ok(pid) => {
                // It runs, whether the record can be read or not.
                let status = read_status(&container.dir).await.unwrap_or_else(|error| {
                    tracing::warn!("container {}: {error}", container.id());
                    None
                });
                let started_at = status.map_or_else(now, |status| status.started_at);
                self.advance(container, ContainerState::Running { started_at, pid });
                self.watch_container(container, shim);
                Ok(())
            }
            Err(Error::Shim(client::Error::Failed { kind, message })) => {
                self.fail_start(container, kind, &message).await?;
                Err(Error::Start { message })
            }
            Err(error) => Err(error),
        }
    }

    async fn make_and_run(&self, container: &Container, shim: &Peer, steps: &Steps) -> Result<i32, Error> {
        let id = container.id().to_string();
        let directory = open(&container.dir)?;
        steps.at("cgroup");
        let placement = self.placement(container, &directory).await.map_err(|error| error.at("cgroup"))?;
        steps.at("create");
        shim.request(&Request::Create { container: id.clone(), dir: ".".to_owned() }, &[directory.as_fd()]).await?;
        steps.at("start");
        let pid = match shim.request(&Request::Start { container: id }, &[]).await? {
            Reply::Started { pid } => pid,
            other => return Err(client::Error::Unexpected(format!("{other:?}")).into()),
        };
        placement.settle().await;
        Ok(pid)
    }

    /// A scope of systemd's for the container, where systemd makes cgroups; else the shim does what is to be done.
    async fn placement(&self, container: &Container, directory: &Directory) -> Result<Placement, Error> {
        let driver = &self.0.settings.cgroups;
        if let CgroupDriver::Cgroupfs = driver {
            return Ok(Placement::default());
        }
        let pod = self.pod_of(container)?;
        let spec = runtime::spec::load(directory, Path::new("config.json"))?;
        let resources = spec.linux.and_then(|linux| linux.resources).unwrap_or_default();
        let placement = driver.prepare(&pod.record.config.cgroup_parent, container.id().as_str(), &resources);
        Ok(placement.await?)
    }

    /// Records that a container could not be started: it has ended.
    pub(super) async fn fail_start(
        &self,
        container: &Arc<Container>,
        kind: FailureKind,
        message: &str,
    ) -> Result<(), Error> {
        let code = match kind {
            FailureKind::CommandNotFound => 127,
            FailureKind::CommandNotExecutable => 126,
            FailureKind::NotFound | FailureKind::WrongState | FailureKind::Invalid | FailureKind::Internal => {
                NOT_STARTED
            }
        };
        let failure = StartFailure { version: VERSION, at: now(), code, message: message.to_owned() };
        let (dir, record) = (container.dir.clone(), failure.clone());
        let written = blocking(move || Ok(record::write(open(&dir)?, &record)?)).await;
        match written {
            // Without room for the record it is told from memory.
            Ok(()) | Err(Error::Call(CallError { errno: Errno::ENOSPC | Errno::EDQUOT, .. })) => {}
            Err(error) => return Err(error),
        }
        self.advance(container, ContainerState::of(None, Some(&failure), failure.at));
        Ok(())
    }
}

/// `status.json` of a container as it is true now.
pub(super) async fn read_status(dir: &Path) -> Result<Option<shim::layout::Status>, Error> {
    let dir = dir.to_owned();
    blocking(move || Ok(open(&dir)?.status()?)).await
}

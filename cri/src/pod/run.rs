//! Making a pod: its directory, its shim with the namespaces, its network; complete, or nothing is left.
//!
//! ```text
//!  intent.json, sandbox.json ─▶ shim, namespaces ─▶ network ─▶ hosts, resolv.conf ─▶ network.json ─▶ pod.json: now it is there
//! ```

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use runtime::cgroup::{self, Cgroup};
use shim::client::{self, Connection};
use shim::layout::VERSION;
use shim::local::Directory;
use shim::protocol::Request;
use shim::record;

use super::config::PodConfig;
use super::engine::{Engine, blocking, now};
use super::error::{Error, Io};
use super::event::EventKind;
use super::flight::{Key, Outcome, Patience, Steps};
use super::id::Id;
use super::network::Sandboxed;
use super::record::{CONTAINERS, Intent, NetworkRecord, PodRecord};
use super::shim_peer::Peer;
use super::state::{Phase, Pod, PodChanging};
use super::undo::Debt;
use super::{files, plan, selinux};
use crate::cgroup::CgroupDriver;

impl Engine {
    /// Makes a pod, or joins whoever is making it; one that is there and ready is found. CRI: RunPodSandbox
    ///
    /// # Errors
    /// [`Error::PodExists`], [`Error::Handler`], and the step that failed with its reason.
    pub async fn run(&self, config: PodConfig, patience: Patience) -> Outcome {
        let (engine, key) = (self.clone(), Key::Run(config.metadata.clone()));
        let who = format!("pod {}/{}", config.metadata.namespace, config.metadata.name);
        let flight = self.0.flights.join(key, |steps| async move { engine.run_pod(config, steps).await });
        flight.end_within(patience, "RunPodSandbox", &who).await
    }

    async fn run_pod(&self, config: PodConfig, steps: Steps) -> Result<Id, Error> {
        if let Some(pod) = self.pod_list().into_iter().find(|pod| pod.record.config.metadata == config.metadata) {
            return match pod.lock().phase {
                Phase::Ready => Ok(pod.id().clone()),
                Phase::Stopping | Phase::NotReady | Phase::Removing => {
                    Err(Error::PodExists { metadata: Box::new(config.metadata), id: pod.id().clone() })
                }
            };
        }
        // What is missing is told now and not by its first container.
        self.runner(&config.handler)?;
        let engine = self.clone();
        let (pod, connection) = blocking(move || engine.make_pod(config, &steps)).await?;
        let id = pod.id().clone();
        self.insert_pod(&pod);
        self.watch_pod(&pod, Peer::new(connection)?);
        self.tell(&id, EventKind::Created, &id);
        self.tell(&id, EventKind::Started, &id);
        Ok(id)
    }

    fn make_pod(&self, config: PodConfig, steps: &Steps) -> Result<(Arc<Pod>, Connection), Error> {
        let handler = self.handler_name(&config.handler);
        let labels = self.new_labels(&config)?;
        let sandbox = plan::sandbox(&config, &self.defaults(&handler)?, labels.as_ref())?;
        let id = Id::new().io(|| "read(/dev/urandom)".to_owned())?;
        let dir = self.pod_dir(&id);
        let record = PodRecord {
            version: VERSION,
            network: self.0.network.kind(&config),
            owns_cgroup: self.owns_cgroup(&config.cgroup_parent)?,
            handler,
            created_at: now(),
            labels,
            id,
            config,
        };
        let made = self.build_pod(&record, &sandbox, &dir, steps);
        match made {
            Ok((network, connection)) => {
                let changing = PodChanging { network, ..PodChanging::default() };
                Ok((Arc::new(Pod::new(record, dir, changing)), connection))
            }
            Err(error) => match self.undo_pod(&record, &dir) {
                Ok(()) => Err(error),
                Err(undo) => {
                    self.undo_later(Debt::Pod(Box::new(record), dir), &undo);
                    Err(Error::Several(vec![error, undo.at("undoing it")]))
                }
            },
        }
    }

    /// Whether the cgroup that the containers' are made in is ours to remove: made for this pod, or for one that shares it.
    fn owns_cgroup(&self, parent: &str) -> Result<bool, Error> {
        let shares = |pod: &Arc<Pod>| pod.record.owns_cgroup && pod.record.config.cgroup_parent == parent;
        Ok(cgroup_is_missing(&self.0.settings.cgroups, parent)? || self.pod_list().iter().any(shares))
    }

    fn build_pod(
        &self,
        record: &PodRecord,
        sandbox: &shim::layout::Sandbox,
        dir: &Path,
        steps: &Steps,
    ) -> Result<(Option<NetworkRecord>, Connection), Error> {
        steps.at("directory");
        let config = &record.config;
        std::fs::DirBuilder::new().mode(0o700).create(dir).io(|| format!("mkdir({dir:?})"))?;
        super::engine::private_dir(&dir.join(CONTAINERS))?;
        let directory = open(dir)?;
        record::write(&directory, &Intent(record.clone()))?;
        record::write(&directory, sandbox)?;
        if let Some(logs) = &config.log_directory {
            steps.at("log directory");
            files::public_dir(logs).map_err(|error| error.at("log directory"))?;
        }

        steps.at("shim");
        let (connection, pid) =
            client::spawn(&self.0.settings.shim, dir).map_err(|error| Error::from(error).at("shim"))?;
        steps.at("namespaces");
        let made = connection.sandbox().map_err(|error| Error::from(error).at("namespaces"))?;

        steps.at("network");
        let network = match made.network.zip(made.network_number) {
            None => None,
            Some((netns, netns_number)) => {
                let shim = Sandboxed { connection: &connection, netns, shim_pid: pid.as_raw(), netns_number };
                self.0.network.attach(&record.id, record.network, config, &shim).map_err(|error| error.at("network"))?
            }
        };

        steps.at("files");
        let hostname = match &sandbox.hostname {
            Some(name) => name.clone(),
            None => node_name()?,
        };
        let ips = network.as_ref().map(|network| network.ips.as_slice()).unwrap_or_default();
        files::write(dir, config, &hostname, ips)?;
        if let Some(labels) = &record.labels {
            selinux::relabel_shared(dir, labels)?;
        }
        if let Some(network) = &network {
            record::write(&directory, network)?;
        }
        record::write(&directory, record)?;
        Ok((network, connection))
    }

    /// Undoes a pod that did not come about: its network, its shim with the namespaces, its directory. What is gone already is done.
    pub(super) fn undo_pod(&self, record: &PodRecord, dir: &Path) -> Result<(), Error> {
        let mut problems = Vec::new();
        problems.extend(self.0.network.detach(&record.id, record.network).err());
        if let Some(directory) = Directory::open(dir)? {
            let removed = match directory.connect() {
                Ok(Some(shim)) => shim.request(&Request::RemoveSandbox {}, &[]).map(|_| ()).map_err(Error::from),
                Ok(None) => shim::local::remove_pod_files(&directory, dir).map_err(Error::from),
                Err(client::Error::Silent) => super::stop::kill_silent(dir)
                    .and_then(|()| shim::local::remove_pod_files(&directory, dir).map_err(Error::from)),
                Err(error) => Err(error.into()),
            };
            problems.extend(removed.err());
        }
        problems.extend(remove_cgroup(record).err());
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => Err(Error::Several(problems)),
        }
    }
}

/// Opens a directory that must be there.
pub(super) fn open(dir: &Path) -> Result<Directory, Error> {
    let missing = || Error::Io { call: format!("open({dir:?})"), source: std::io::ErrorKind::NotFound.into() };
    Directory::open(dir)?.ok_or_else(missing)
}

fn node_name() -> Result<String, Error> {
    let name = nix::unistd::gethostname().map_err(std::io::Error::from).io(|| "uname()".to_owned())?;
    Ok(name.to_string_lossy().into_owned())
}

/// Whether the cgroup that the containers' are made in has still to be made, and so will be ours to remove. Slices are systemd's.
fn cgroup_is_missing(driver: &CgroupDriver, parent: &str) -> Result<bool, Error> {
    let path = driver.pod_path(parent)?;
    match driver {
        CgroupDriver::Cgroupfs if !parent.is_empty() => {
            Ok(Cgroup::open(&cgroup::Host::detect()?, &path.parse()?)?.is_none())
        }
        CgroupDriver::Cgroupfs | CgroupDriver::Systemd(_) => Ok(false),
    }
}

/// Removes the cgroup of the pod, if it is ours and nothing is in it: other pods may have the same.
pub(super) fn remove_cgroup(record: &PodRecord) -> Result<(), Error> {
    if !record.owns_cgroup {
        return Ok(());
    }
    let host = cgroup::Host::detect()?;
    if let Some(group) = Cgroup::open(&host, &record.config.cgroup_parent.parse()?)? {
        group.remove_empty()?;
    }
    Ok(())
}

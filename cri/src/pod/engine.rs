//! The engine: all pods of this node, and what is done to them.
//!
//! ```text
//!  a call ──▶ flight: joins the same call under way ──▶ an operation (a file each: run, stop, create, …)
//!                                                           │ blocking parts on threads that may wait
//!  lists, statuses ◀── copies of what is known ◀────────────┤
//!  events ◀───────────────────────────────────── advance ◀──┴── watch: shims tell exits
//! ```
//!
//! The maps are locked for a look-up or an insertion, never across a wait: one pod that is stuck delays nobody.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use super::error::{Error, Io, Kind};
use super::event::{Event, EventKind};
use super::flight::Flights;
use super::handler::{Features, Known};
use super::id::{self, Id};
use super::network::{Choice, Network};
use super::state::{Container, ContainerState, ContainerView, Pod, PodView};
use super::undo::Debts;
use crate::cgroup::CgroupDriver;
use crate::config;
use crate::image::{Digest, Store};
use crate::network::cni;
use crate::spec::Host;

/// Events that a slow listener may be behind.
const EVENTS: usize = 4096;

/// Where everything is, and what is made how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of images and writable layers.
    pub root: PathBuf,
    /// Directory of what runs.
    pub state: PathBuf,
    /// `rt-shim`.
    pub shim: PathBuf,
    /// How pods get their network.
    pub network: Choice,
    /// CNI.
    pub cni: cni::Settings,
    /// How long attaching a pod to its network may take, and detaching it.
    pub network_timeout: Duration,
    /// Who makes cgroups.
    pub cgroups: CgroupDriver,
    /// What pods may ask for on this machine.
    pub features: Features,
    /// The daemon's settings: what of them is read when something is made may change at any time.
    pub daemon: config::Settings,
}

impl Settings {
    /// The usual ones.
    #[must_use]
    pub fn new(root: &Path, state: &Path, shim: &Path) -> Settings {
        Settings {
            root: root.to_owned(),
            state: state.to_owned(),
            shim: shim.to_owned(),
            network: Choice::Auto,
            cni: cni::Settings::new(root.join("net").join("cni")),
            network_timeout: Duration::from_secs(120),
            cgroups: CgroupDriver::new(config::CgroupDriver::Auto, shim.to_owned()),
            features: Features::default(),
            daemon: config::Settings::fixed(config::Loaded::defaults().config),
        }
    }
}

/// The engine; cheap to clone.
#[derive(Clone)]
pub struct Engine(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) store: Arc<Store>,
    pub(super) network: Network,
    pub(super) host: Host,
    pub(super) flights: Flights,
    /// What could not be undone yet.
    pub(super) debts: Debts,
    pub(super) events: broadcast::Sender<Arc<Event>>,
    pub(super) features: Known,
    pods: RwLock<HashMap<Id, Arc<Pod>>>,
    containers: RwLock<HashMap<Id, Arc<Container>>>,
    /// Images of containers that are being made, and of those that are there.
    in_use: RwLock<HashMap<Id, Vec<Digest>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// Nanoseconds since the epoch.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs what may wait for the disk, a plugin or another process on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // What is logged there belongs to the same call.
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work)).await.map_err(|panic| Error::Panic(panic.to_string()))?
}

impl Engine {
    /// Opens the engine and takes up what an earlier one left: see [`super::recover`].
    ///
    /// # Errors
    /// The directories cannot be made or read; what is wrong with a single pod is logged, and the pod is kept.
    pub async fn open(settings: Settings, store: Arc<Store>) -> Result<Engine, Error> {
        let opened = blocking(move || {
            let pods = settings.state.join("pods");
            private_dir(&settings.state)?;
            private_dir(&pods)?;
            private_dir(&settings.root.join("upper"))?;
            let network = Network::open(&settings)?;
            let host = Host::read().io(|| "read(/proc/self/status, /sys/fs/cgroup)".to_owned())?;
            Ok(Engine(Arc::new(Inner {
                settings,
                store,
                network,
                host,
                flights: Flights::default(),
                debts: Debts::default(),
                events: broadcast::Sender::new(EVENTS),
                features: Known::default(),
                pods: RwLock::default(),
                containers: RwLock::default(),
                in_use: RwLock::default(),
            })))
        });
        let engine = opened.await?;
        engine.recover().await?;
        engine.watch_network()?;
        Ok(engine)
    }

    /// All pods, oldest first.
    #[must_use]
    pub fn pods(&self) -> Vec<PodView> {
        let mut list: Vec<PodView> = read(&self.0.pods).values().map(|pod| pod.view()).collect();
        list.sort_by(|a, b| (a.record.created_at, &a.record.id).cmp(&(b.record.created_at, &b.record.id)));
        list
    }

    /// All containers, oldest first.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerView> {
        let mut list: Vec<ContainerView> = read(&self.0.containers).values().map(|one| one.view()).collect();
        list.sort_by(|a, b| (a.record.created_at, &a.record.id).cmp(&(b.record.created_at, &b.record.id)));
        list
    }

    /// The pod of this id, or of an id that begins so.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub fn pod(&self, id: &str) -> Result<PodView, Error> {
        Ok(self.find_pod(id)?.view())
    }

    /// The container of this id, or of an id that begins so.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub fn container(&self, id: &str) -> Result<ContainerView, Error> {
        Ok(self.find_container(id)?.view())
    }

    /// The containers of a pod, oldest first.
    #[must_use]
    pub fn containers_of(&self, pod: &Id) -> Vec<ContainerView> {
        let Some(pod) = read(&self.0.pods).get(pod).cloned() else { return Vec::new() };
        let mut list: Vec<ContainerView> = pod.containers().iter().map(|container| container.view()).collect();
        list.sort_by_key(|container| container.record.created_at);
        list
    }

    /// What happens from now on. One that is too far behind loses events and is told how many.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.events.subscribe()
    }

    /// What it was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Which container uses an image, if any: what [`Store::remove`] asks.
    #[must_use]
    pub fn user_of_image(&self, image: &Digest) -> Option<Id> {
        let in_use = self.0.in_use.read().unwrap_or_else(PoisonError::into_inner);
        in_use.iter().find(|(_, images)| images.contains(image)).map(|(id, _)| id.clone())
    }

    pub(super) fn find_pod(&self, id: &str) -> Result<Arc<Pod>, Error> {
        find(&read(&self.0.pods), Kind::Pod, id)
    }

    pub(super) fn find_container(&self, id: &str) -> Result<Arc<Container>, Error> {
        find(&read(&self.0.containers), Kind::Container, id)
    }

    pub(super) fn pod_of(&self, container: &Container) -> Result<Arc<Pod>, Error> {
        self.find_pod(container.record.pod.as_str())
    }

    pub(super) fn pod_list(&self) -> Vec<Arc<Pod>> {
        read(&self.0.pods).values().cloned().collect()
    }

    pub(super) fn insert_pod(&self, pod: &Arc<Pod>) {
        write(&self.0.pods).insert(pod.id().clone(), Arc::clone(pod));
    }

    pub(super) fn forget_pod(&self, id: &Id) {
        write(&self.0.pods).remove(id);
    }

    pub(super) fn insert_container(&self, pod: &Pod, container: &Arc<Container>) {
        write(&self.0.containers).insert(container.id().clone(), Arc::clone(container));
        pod.lock().containers.insert(container.id().clone(), Arc::clone(container));
    }

    pub(super) fn forget_container(&self, id: &Id) {
        let gone = write(&self.0.containers).remove(id);
        if let Some(container) = gone
            && let Ok(pod) = self.pod_of(&container)
        {
            pod.lock().containers.remove(id);
        }
        self.release_images(id);
    }

    /// Keeps images for a container, before it is known whether it comes about.
    pub(super) fn hold_image(&self, container: &Id, image: &Digest) {
        write(&self.0.in_use).entry(container.clone()).or_default().push(image.clone());
    }

    pub(super) fn release_images(&self, container: &Id) {
        write(&self.0.in_use).remove(container);
    }

    /// Takes a container on to a later state, and tells it.
    pub(super) fn advance(&self, container: &Container, state: ContainerState) {
        let kind = match &state {
            ContainerState::Created => EventKind::Created,
            ContainerState::Running { .. } => EventKind::Started,
            ContainerState::Exited(_) => EventKind::Stopped,
        };
        if container.advance(state) {
            self.tell(container.id(), kind, &container.record.pod);
        }
    }

    /// Tells what happened to a pod or container of the pod.
    pub(super) fn tell(&self, id: &Id, kind: EventKind, pod: &Id) {
        let Some(known) = read(&self.0.pods).get(pod).cloned() else { return };
        let event = Event { id: id.clone(), kind, at: now(), pod: known.view(), containers: self.containers_of(pod) };
        // An error says that nobody listens.
        let _ = self.0.events.send(Arc::new(event));
    }

    pub(super) fn pod_dir(&self, id: &Id) -> PathBuf {
        self.0.settings.state.join("pods").join(id.as_str())
    }

    pub(super) fn upper_dir(&self, id: &Id) -> PathBuf {
        self.0.settings.root.join("upper").join(id.as_str())
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn find<T>(map: &HashMap<Id, Arc<T>>, kind: Kind, query: &str) -> Result<Arc<T>, Error> {
    if let Some(found) = Id::parse(query).and_then(|id| map.get(&id)) {
        return Ok(Arc::clone(found));
    }
    let missing = || Error::NotFound { kind, id: query.chars().take(80).collect() };
    if !id::is_prefix(query) {
        return Err(missing());
    }
    let mut found = map.iter().filter(|(id, _)| id.as_str().starts_with(query));
    match (found.next(), found.next()) {
        (Some((_, one)), None) => Ok(Arc::clone(one)),
        (Some(_), Some(_)) => Err(Error::Ambiguous { kind, id: query.to_owned() }),
        (None, _) => Err(missing()),
    }
}

/// Makes a directory of mode 0700, unless it is there.
pub(super) fn private_dir(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.io(|| format!("mkdir({path:?}, 0700)"))
}

//! Taking up what an earlier daemon left: the truth is in the records and the shims, and nothing that runs is touched.
//!
//! | what is found | what is done |
//! |---|---|
//! | `pod.json`, its shim lives | it is ready, and watched |
//! | `pod.json`, its shim is gone, or is of another boot | not ready; taken off its network in the background |
//! | `intent.json` alone | it never came about, or was being removed: undone in the background |
//! | `pod.json`, its shim does not answer | ready, as its records tell; watched once it answers |
//! | `container.json` | known, in the state that its records tell |
//! | `container.json`, its start was cut off | it has ended with StartError; what there is of it is killed |
//! | a container's directory without it | it never came about, or was being removed: removed in the background |
//! | a record that cannot be read | told, and left as it is, with its images: nothing is guessed |

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shim::client;
use shim::layout::SandboxState;
use shim::local::{self, Directory, Wait};
use shim::protocol::{FailureKind, Request};
use shim::record::{self, Record};

use super::container_start::read_status;
use super::engine::{Engine, blocking, now};
use super::error::{Error, Io};
use super::flight::Key;
use super::id::Id;
use super::record::{
    Applied, CONTAINERS, ContainerRecord, IMAGES, Intent, NetworkRecord, OWNER, PodRecord, PodResources, StartFailure,
};
use super::run::open;
use super::shim_peer::Peer;
use super::state::{Container, ContainerChanging, ContainerState, Phase, Pod, PodChanging};
use super::undo::Debt;
use crate::image::Digest;

/// How long shims are waited for before calls are served.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a pod's directory holds.
enum Found {
    Pod(Arc<Pod>, Vec<Remnant>),
    /// A pod that did not come about.
    Intent(Box<PodRecord>, PathBuf),
    /// Not even the intent was written: nothing was made but the directory.
    Nothing(PathBuf),
}

/// A container's directory without a record.
struct Remnant(PathBuf);

impl Engine {
    pub(super) async fn recover(&self) -> Result<(), Error> {
        let engine = self.clone();
        let found = blocking(move || engine.scan()).await?;
        let (mut unfinished, mut taken_up) = (Vec::new(), Vec::new());
        for one in found {
            match one {
                Found::Pod(pod, remnants) => {
                    self.insert_pod(&pod);
                    for container in pod.containers() {
                        self.hold_images_of(&container);
                        self.insert_container(&pod, &container);
                    }
                    let engine = self.clone();
                    taken_up.push(tokio::spawn(async move { engine.take_up(&pod).await }));
                    unfinished.extend(remnants.into_iter().map(|Remnant(dir)| Unfinished::Container(dir)));
                }
                Found::Intent(record, dir) => unfinished.push(Unfinished::Pod(record, dir)),
                Found::Nothing(dir) => unfinished.push(Unfinished::Directory(dir)),
            }
        }
        // One whose shim does not answer keeps nobody from being served; it is taken up once it answers.
        let all = futures_util::future::join_all(taken_up);
        let _overdue = tokio::time::timeout(PATIENCE, all).await;
        let engine = self.clone();
        let uppers = self.abandoned_uppers()?;
        tokio::task::spawn_blocking(move || engine.finish(unfinished, uppers));
        Ok(())
    }

    /// Reads all pods. What is wrong with one is told, and does not keep the others.
    fn scan(&self) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for dir in subdirectories(&self.0.settings.state.join("pods"))? {
            match self.load(&dir) {
                Ok(one) => found.push(one),
                Err(error) => {
                    tracing::error!("{}: {error}; it is left as it is", dir.display());
                    for container in subdirectories(&dir.join(CONTAINERS))? {
                        self.hold_images_in(&container)?;
                    }
                }
            }
        }
        Ok(found)
    }

    /// Keeps the images of a container whose records cannot be read: it may run.
    fn hold_images_in(&self, dir: &Path) -> Result<(), Error> {
        let Some(id) = dir.file_name().and_then(|name| name.to_str()).and_then(Id::parse) else { return Ok(()) };
        let path = dir.join(IMAGES);
        let images = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            images => images.io(|| format!("read({path:?})"))?,
        };
        for digest in images.lines().filter_map(|line| line.parse::<Digest>().ok()) {
            self.hold_image(&id, &digest);
        }
        Ok(())
    }

    fn load(&self, dir: &Path) -> Result<Found, Error> {
        let directory = open(dir)?;
        let Some(pod) = load_record::<PodRecord>(&directory, dir)? else {
            return Ok(match load_record::<Intent>(&directory, dir)? {
                Some(Intent(record)) => Found::Intent(Box::new(record), dir.to_owned()),
                None => Found::Nothing(dir.to_owned()),
            });
        };
        let status = local::sandbox_status(&directory)?;
        let ready = status.is_some_and(|status| status.state == SandboxState::Ready);
        let mut changing = PodChanging {
            phase: if ready { Phase::Ready } else { Phase::NotReady },
            network: load_record::<NetworkRecord>(&directory, dir)?,
            resources: load_record::<PodResources>(&directory, dir)?,
            ..PodChanging::default()
        };
        let mut remnants = Vec::new();
        for dir in subdirectories(&dir.join(CONTAINERS))? {
            match load_container(&dir, &pod) {
                Ok(Some(container)) => {
                    changing.containers.insert(container.id().clone(), Arc::new(container));
                }
                Ok(None) => remnants.push(Remnant(dir)),
                Err(error) => {
                    tracing::error!("{}: {error}; it is left as it is", dir.display());
                    self.hold_images_in(&dir)?;
                }
            }
        }
        Ok(Found::Pod(Arc::new(Pod::new(pod, dir.to_owned(), changing)), remnants))
    }

    fn hold_images_of(&self, container: &Container) {
        let record = &container.record;
        let mounted = record.mounted_images.iter().map(|(_, id)| id);
        for id in std::iter::once(&record.image_id).chain(mounted) {
            match id.parse::<Digest>() {
                Ok(digest) => self.hold_image(container.id(), &digest),
                Err(error) => tracing::error!("container {}: image {id:?}: {error}", container.id()),
            }
        }
    }

    /// Watches what lives, and lets go what does not.
    async fn take_up(&self, pod: &Arc<Pod>) {
        for container in pod.containers() {
            if let Err(error) = self.undo_cut_off_start(&container).await {
                tracing::error!("container {}: {error}", container.id());
            }
        }
        let ready = pod.lock().phase == Phase::Ready;
        let connected = if ready { connect(pod).await } else { Ok(None) };
        match connected {
            Ok(Some(shim)) => {
                // It may have been stopped meanwhile: then the shim is to end.
                if pod.lock().phase == Phase::Ready {
                    self.watch_pod(pod, shim);
                }
            }
            Ok(None) => {
                pod.advance(Phase::NotReady);
                let (engine, pod) = (self.clone(), Arc::clone(pod));
                tokio::spawn(async move {
                    if let Err(error) = engine.detach_pod(&pod).await {
                        tracing::warn!("pod sandbox {}: network: {error}", pod.id());
                    }
                });
            }
            Err(error) => tracing::error!("pod sandbox {}: its shim: {error}", pod.id()),
        }
        for container in pod.containers() {
            if let Err(error) = self.take_up_container(&container).await {
                tracing::error!("container {}: {error}", container.id());
            }
        }
    }

    async fn take_up_container(&self, container: &Arc<Container>) -> Result<(), Error> {
        match container.state() {
            ContainerState::Created | ContainerState::Exited(_) => Ok(()),
            ContainerState::Running { .. } => {
                if let Some(shim) = Peer::connect(&container.dir).await? {
                    self.watch_container(container, shim);
                    return Ok(());
                }
                self.refresh(container).await
            }
        }
    }

    /// A start that was cut off half way is undone, since nobody waits for it any more: the container has ended. Who starts it or
    /// removes it meanwhile waits for that.
    async fn undo_cut_off_start(&self, container: &Arc<Container>) -> Result<(), Error> {
        if container.state() != ContainerState::Created || read_status(&container.dir).await?.is_none() {
            return Ok(());
        }
        let (engine, container) = (self.clone(), Arc::clone(container));
        self.0.flights.join(Key::Start(container.id().clone()), |steps| async move {
            steps.at("undo");
            if let Err(error) = engine.end_cut_off(&container).await {
                tracing::error!("container {}: {error}", container.id());
            }
            Err(Error::Start { message: CUT_OFF.to_owned() })
        });
        Ok(())
    }

    async fn end_cut_off(&self, container: &Arc<Container>) -> Result<(), Error> {
        self.fail_start(container, FailureKind::Internal, CUT_OFF).await?;
        let id = container.id().to_string();
        let stop = Request::Stop { container: id, signal: nix::libc::SIGKILL, timeout: Some(Duration::ZERO) };
        let Some(shim) = Peer::connect(&container.dir).await? else { return Ok(()) };
        match shim.request(&stop, &[]).await {
            Ok(_) | Err(Error::Shim(client::Error::Gone | client::Error::Failed { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writable layers of containers of ours that are not there any more: those of another boot, where the records were in memory.
    fn abandoned_uppers(&self) -> Result<Vec<PathBuf>, Error> {
        let own = self.0.settings.state.display().to_string();
        let mut abandoned = Vec::new();
        for dir in subdirectories(&self.0.settings.root.join("upper"))? {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let ours = std::fs::read_to_string(dir.join(OWNER)).is_ok_and(|owner| owner == own);
            // One whose record cannot be read is kept.
            if ours && self.find_container(&name).is_err() && !self.has_directory(&name)? {
                abandoned.push(dir);
            }
        }
        Ok(abandoned)
    }

    /// Whether some pod has a directory for the container, read or not.
    fn has_directory(&self, container: &str) -> Result<bool, Error> {
        for pod in subdirectories(&self.0.settings.state.join("pods"))? {
            let path = pod.join(CONTAINERS).join(container);
            if path.try_exists().io(|| format!("stat({path:?})"))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Undoes what did not come about; blocks.
    fn finish(&self, unfinished: Vec<Unfinished>, uppers: Vec<PathBuf>) {
        let known: Vec<Id> = self.pod_list().iter().map(|pod| pod.id().clone()).collect();
        for one in unfinished {
            let (what, done, debt) = match one {
                Unfinished::Pod(record, dir) => {
                    let done = self.undo_pod(&record, &dir);
                    (dir.clone(), done, Some(Debt::Pod(record, dir)))
                }
                Unfinished::Container(dir) => {
                    let done = remove_remnant(&dir);
                    (dir, done, None)
                }
                Unfinished::Directory(dir) => {
                    let done = remove_tree(&dir);
                    (dir, done, None)
                }
            };
            if let Err(error) = done {
                tracing::error!("{}: {error}", what.display());
                if let Some(debt) = debt {
                    self.undo_later(debt, &error);
                }
            }
        }
        for upper in uppers {
            if let Err(error) = remove_tree(&upper) {
                tracing::error!("{}: {error}", upper.display());
            }
        }
        for (container, error) in self.0.network.undo_unfinished(&known) {
            tracing::warn!("CNI attachment of {}: {error}", container.as_str());
            self.undo_later(Debt::Attachment(container), &error);
        }
    }
}

/// Why a container has ended whose start the end of the daemon cut off.
const CUT_OFF: &str = "the daemon ended while it was being started";

/// Connects to a pod's shim, however long it takes to answer.
async fn connect(pod: &Pod) -> Result<Option<Peer>, Error> {
    loop {
        match Peer::connect(&pod.dir).await {
            Err(error @ Error::Shim(client::Error::Silent)) => tracing::warn!("pod sandbox {}: {error}", pod.id()),
            connected => return connected,
        }
    }
}

enum Unfinished {
    Pod(Box<PodRecord>, PathBuf),
    Container(PathBuf),
    Directory(PathBuf),
}

fn load_container(dir: &Path, pod: &PodRecord) -> Result<Option<Container>, Error> {
    let directory = open(dir)?;
    let Some(record) = load_record::<ContainerRecord>(&directory, dir)? else { return Ok(None) };
    let status = directory.status()?;
    let failure = load_record::<StartFailure>(&directory, dir)?;
    let applied = load_record::<Applied>(&directory, dir)?;
    let known = ContainerChanging {
        state: ContainerState::of(status.as_ref(), failure.as_ref(), now()),
        resources: applied.map_or_else(|| record.config.resources.clone(), |applied| applied.resources),
    };
    Ok(Some(Container::new(record, pod, dir.to_owned(), known)))
}

fn load_record<T: Record>(directory: &Directory, dir: &Path) -> Result<Option<T>, Error> {
    record::read(directory).map_err(|source| Error::Record { path: dir.to_owned(), source })
}

fn remove_remnant(dir: &Path) -> Result<(), Error> {
    let directory = open(dir)?;
    let lock = directory.lock(Wait::Yes)?;
    Ok(directory.remove(&lock, true)?)
}

fn remove_tree(dir: &Path) -> Result<(), Error> {
    let removed = shim::remove::tree(dir);
    removed.map_err(|problems| Error::Several(problems.into_iter().map(Error::from).collect()))
}

fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.io(|| format!("open({dir:?})"))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.io(|| format!("getdents({dir:?})"))?;
        let kind = entry.file_type().io(|| format!("stat({:?})", entry.path()))?;
        let id = entry.file_name().to_str().and_then(Id::parse).is_some();
        if kind.is_dir() && id {
            found.push(entry.path());
        }
    }
    Ok(found)
}

//! What pods and containers use: read on threads that may wait, several at a time, each with an end.
//!
//! Who does not answer in [`PATIENCE`] is left out. As long as it has not answered it is not asked again, so one that is stuck costs one
//! thread and delays nobody, however often it is asked for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream;
use runtime::cgroup;

use super::Service;
use crate::network::InterfaceCounters;
use crate::pod::{self, ContainerView, Engine, PodView};
use crate::stats::{Collector, FileSystem, Measured, Processes, Reading, Subject};

/// How long one answer may take: crictl gives a list 2 seconds.
const PATIENCE: Duration = Duration::from_millis(1200);

/// How long figures about disks are waited for that were never taken before.
const FIRST: Duration = Duration::from_millis(500);

/// How many are asked at a time.
const ABREAST: usize = 16;

/// What a container uses.
#[derive(Debug, Clone)]
pub(super) struct ContainerUse {
    pub(super) container: ContainerView,
    /// Absent when it does not run.
    pub(super) running: Option<(Subject, Reading)>,
    pub(super) layer: Option<Measured>,
}

/// What a pod uses.
#[derive(Debug, Clone)]
pub(super) struct PodUse {
    pub(super) pod: PodView,
    /// The pod as a whole.
    pub(super) total: Reading,
    pub(super) processes: u64,
    /// Its control group, where it has one of its own.
    pub(super) cgroup: String,
    pub(super) containers: Vec<ContainerUse>,
    /// Absent on the node's network, and when it could not be read.
    pub(super) network: Option<(SystemTime, Vec<InterfaceCounters>)>,
}

/// What only metrics tell about a container.
#[derive(Debug, Clone)]
pub(super) struct Details {
    pub(super) processes: Processes,
    pub(super) filesystem: Option<FileSystem>,
}

/// What reads, and who has not answered.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) collector: Collector,
    unanswered: Unanswered,
}

impl Figures {
    /// # Errors
    /// As [`Collector::new`].
    pub(super) fn new() -> Result<Figures, cgroup::Error> {
        Ok(Figures { collector: Collector::new()?, unanswered: Unanswered::default() })
    }
}

/// Who was asked and has not answered, by a word for what and an id.
#[derive(Debug, Default)]
struct Unanswered(Mutex<HashMap<(&'static str, String), Vec<Instant>>>);

impl Unanswered {
    /// Notes a question, unless an earlier one is overdue.
    fn ask(&self, what: &'static str, id: &str) -> Option<Instant> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = all.entry((what, id.to_owned())).or_default();
        if asked.first().is_some_and(|first| first.elapsed() > PATIENCE) {
            return None;
        }
        let now = Instant::now();
        asked.push(now);
        Some(now)
    }

    fn answered(&self, what: &'static str, id: &str, asked: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (what, id.to_owned());
        if let Some(times) = all.get_mut(&key) {
            if let Some(at) = times.iter().position(|time| *time == asked) {
                times.remove(at);
            }
            if times.is_empty() {
                all.remove(&key);
            }
        }
    }
}

/// Asks all, several at a time, and gives back the answers that came, in the order of the questions.
async fn each<I, T>(
    service: &Service,
    what: &'static str,
    items: Vec<(String, I)>,
    ask: impl Fn(&Engine, &Collector, I) -> Result<Option<T>, pod::Error> + Send + Sync + 'static,
) -> Vec<T>
where
    I: Send + 'static,
    T: Send + 'static,
{
    let ask = Arc::new(ask);
    let answers = stream::iter(items.into_iter().enumerate()).map(|(at, (id, item))| {
        let (service, ask) = (service.clone(), Arc::clone(&ask));
        async move { one(&service, what, id, item, ask).await.map(|answer| (at, answer)) }
    });
    let mut answers: Vec<(usize, T)> = answers.buffer_unordered(ABREAST).filter_map(std::future::ready).collect().await;
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn one<I, T>(
    service: &Service,
    what: &'static str,
    id: String,
    item: I,
    ask: Arc<impl Fn(&Engine, &Collector, I) -> Result<Option<T>, pod::Error> + Send + Sync + 'static>,
) -> Option<T>
where
    I: Send + 'static,
    T: Send + 'static,
{
    let asked = service.figures.unanswered.ask(what, &id)?;
    let (engine, figures, name) = (service.engine.clone(), Arc::clone(&service.figures), id.clone());
    let work = tokio::task::spawn_blocking(move || {
        let answer = ask(&engine, &figures.collector, item);
        figures.unanswered.answered(what, &name, asked);
        answer
    });
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(Ok(answer))) => answer,
        Ok(Ok(Err(error))) => {
            tracing::warn!("{what} of {id}: {error}");
            None
        }
        Ok(Err(panic)) => {
            tracing::error!("{what} of {id}: {panic}");
            None
        }
        Err(_) => {
            tracing::warn!("{what} of {id}: no answer within {PATIENCE:?}; it is left out until there is one");
            None
        }
    }
}

/// What containers use, those left out that are gone.
pub(super) async fn containers(service: &Service, containers: Vec<ContainerView>) -> Vec<ContainerUse> {
    let until = Instant::now() + FIRST;
    let items = containers.into_iter().map(|container| (container.record.id.to_string(), container)).collect();
    each(service, "usage", items, move |engine, collector, container| {
        container_use(engine, collector, container, until).map(Some)
    })
    .await
}

fn container_use(
    engine: &Engine,
    collector: &Collector,
    container: ContainerView,
    until: Instant,
) -> Result<ContainerUse, pod::Error> {
    let running = match engine.subject(&container)? {
        Some(subject) => collector.group(&subject)?.map(|reading| (subject, reading)),
        None => None,
    };
    let layer = collector.layer(&engine.writable_layer(&container), until);
    Ok(ContainerUse { container, running, layer })
}

/// What pods use, with their containers that run.
pub(super) async fn pods(service: &Service, pods: Vec<PodView>) -> Vec<PodUse> {
    let until = Instant::now() + FIRST;
    let items = |pods: &[PodView]| pods.iter().map(|pod| (pod.record.id.to_string(), pod.clone())).collect();
    let usage = each(service, "usage", items(&pods), move |engine, collector, pod| {
        pod_use(engine, collector, pod, until).map(Some)
    });
    let network = each(service, "network usage", items(&pods), |engine, _, pod| {
        let at = SystemTime::now();
        Ok(engine.network_counters(&pod)?.map(|counters| (pod.record.id.clone(), at, counters)))
    });
    let (mut usage, network) = tokio::join!(usage, network);
    let mut network: HashMap<pod::Id, _> = network.into_iter().map(|(id, at, counters)| (id, (at, counters))).collect();
    for one in &mut usage {
        one.network = network.remove(&one.pod.record.id);
    }
    usage
}

fn pod_use(engine: &Engine, collector: &Collector, pod: PodView, until: Instant) -> Result<PodUse, pod::Error> {
    let mut containers = Vec::new();
    for container in engine.containers_of(&pod.record.id) {
        let usage = container_use(engine, collector, container, until)?;
        if usage.running.is_some() {
            containers.push(usage);
        }
    }
    let inside: Vec<&(Subject, Reading)> = containers.iter().filter_map(|one| one.running.as_ref()).collect();
    let own = engine.pod_subject(&pod, inside.first().map(|(subject, _)| subject));
    let group = own.as_ref().map(|subject| collector.group(subject)).transpose()?.flatten();
    let (total, processes, cgroup) = match (own, group) {
        (Some(subject), Some(reading)) => {
            let count = collector.process_count(&subject)?.unwrap_or(0);
            (reading, count, subject.cgroup.to_string())
        }
        // Its containers' groups are all there is.
        (None, _) | (_, None) => {
            let mut count = 0;
            for (subject, _) in &inside {
                count += collector.process_count(subject)?.unwrap_or(0);
            }
            (Reading::sum(SystemTime::now(), inside.iter().map(|(_, reading)| reading)), count, String::new())
        }
    };
    Ok(PodUse { pod, total, processes, cgroup, containers, network: None })
}

/// What only metrics tell about containers, by their ids.
pub(super) async fn details(service: &Service, containers: &[&ContainerUse]) -> HashMap<pod::Id, Details> {
    let running = containers.iter().filter_map(|one| Some((one.container.record.id.clone(), one.running.as_ref()?)));
    let items = running.map(|(id, (subject, _))| (id.to_string(), (id.clone(), subject.clone()))).collect();
    let layers = service.engine.writable_layers();
    let found = each(service, "processes", items, move |_, collector, (id, subject): (pod::Id, Subject)| {
        let Some(processes) = collector.processes(&subject)? else { return Ok(None) };
        Ok(Some((id, Details { processes, filesystem: FileSystem::of(&layers).ok() })))
    });
    found.await.into_iter().collect()
}

/// The directory that stands for the file system of writable layers.
pub(super) fn layers_directory(service: &Service) -> PathBuf {
    one_of(service.store.root(), service.engine.writable_layers())
}

/// The directory of the images if both are on the same file system.
fn one_of(images: PathBuf, layers: PathBuf) -> PathBuf {
    let device = |path: &PathBuf| nix::sys::stat::stat(path).map(|stat| stat.st_dev);
    match (device(&images), device(&layers)) {
        (Ok(one), Ok(other)) if one != other => layers,
        (Ok(_) | Err(_), _) => images,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_stuck_is_asked_once() {
        let unanswered = Unanswered::default();
        let first = unanswered.ask("usage", "a").unwrap();
        let second = unanswered.ask("usage", "a").expect("the first one may still answer");
        unanswered.answered("usage", "a", second);
        // As if it had been asked long ago.
        let key = ("usage", "a".to_owned());
        let long_ago = first - 2 * PATIENCE;
        unanswered.0.lock().unwrap().insert(key.clone(), vec![long_ago]);
        assert_eq!(unanswered.ask("usage", "a"), None);
        assert!(unanswered.ask("network usage", "a").is_some(), "something else");
        assert!(unanswered.ask("usage", "b").is_some(), "somebody else");
        unanswered.answered("usage", "a", long_ago);
        assert!(unanswered.ask("usage", "a").is_some());
    }

    #[test]
    fn file_systems() {
        let scratch = tempfile::tempdir().unwrap();
        let (images, layers) = (scratch.path().to_owned(), scratch.path().join("upper"));
        std::fs::create_dir(&layers).unwrap();
        assert_eq!(one_of(images.clone(), layers), images);
        assert_eq!(one_of(images.clone(), PathBuf::from("/proc")), PathBuf::from("/proc"));
        assert_eq!(one_of(images.clone(), PathBuf::from("/no/such")), images);
    }
}

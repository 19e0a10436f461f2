//! Changing the limits of a container, and what is known of a pod's.
//!
//! A container that runs is changed by its shim, all or nothing. One that waits for its start has only a configuration; if it is
//! started meanwhile, the shim may have read the old one, and is told, too.

use std::sync::Arc;

use runtime::spec;
use shim::layout::VERSION;
use shim::protocol::Request;
use shim::{record, update};

use super::config::Resources;
use super::engine::{Engine, blocking};
use super::error::Error;
use super::flight::Key;
use super::plan;
use super::record::{Applied, PodResources};
use super::run::open;
use super::shim_peer::Peer;
use super::state::{Container, ContainerState};
use crate::spec::Host;

impl Engine {
    /// Changes limits of a container that has not ended; what is 0 or empty stays. Changes of one container come one after the other.
    /// CRI: UpdateContainerResources
    ///
    /// # Errors
    /// Nothing has changed then: limits that do not go together, [`Error::WrongState`], or what the kernel did not take.
    pub async fn update_container(&self, id: &str, changes: &Resources) -> Result<(), Arc<Error>> {
        let container = self.find_container(id)?;
        loop {
            let mut begun = false;
            let flight = self.0.flights.join(Key::Update(container.id().clone()), |_| {
                begun = true;
                let (engine, container, changes) = (self.clone(), Arc::clone(&container), changes.clone());
                async move {
                    engine.update_now(&container, &changes).await?;
                    Ok(container.id().clone())
                }
            });
            let outcome = flight.end().await;
            if begun {
                return outcome.map(|_| ());
            }
        }
    }

    async fn update_now(&self, container: &Arc<Container>, changes: &Resources) -> Result<(), Error> {
        let old = container.lock().resources.clone();
        let merged = merge(old.clone(), changes)?;
        let limits = Limits::of(&effective(changes, &merged), &self.0.host);
        if container.state() == ContainerState::Created {
            configure(container, limits.clone()).await?;
            if let Some(start) = self.0.flights.get(&Key::Start(container.id().clone())) {
                // Why it failed is told to who started it.
                let _ = start.end().await;
            }
        }
        match container.state() {
            ContainerState::Created => {}
            ContainerState::Running { .. } => {
                if let Err(error) = self.change(container, limits).await {
                    // What the kernel took before it refused something is taken back.
                    let resources = plan::resources(&restore(&old, changes), &self.0.host);
                    let score = i32::try_from(old.oom_score_adj).ok().filter(|_| changes.oom_score_adj != 0);
                    let back = Limits { resources, oom_score_adj: score };
                    return Err(match self.change(container, back).await {
                        Ok(()) => error,
                        Err(undo) => Error::Several(vec![error, undo.at("undoing it")]),
                    });
                }
            }
            state @ ContainerState::Exited(_) => {
                let (id, state) = (container.id().clone(), state.word());
                return Err(Error::WrongState { id, state, wanted: "created or running" });
            }
        }
        let (dir, applied) = (container.dir.clone(), Applied { version: VERSION, resources: merged.clone() });
        blocking(move || Ok(record::write(open(&dir)?, &applied)?)).await?;
        container.lock().resources = merged;
        Ok(())
    }

    /// Has the shim change what runs.
    async fn change(&self, container: &Container, limits: Limits) -> Result<(), Error> {
        let Some(shim) = Peer::connect(&container.dir).await? else {
            let id = container.id().clone();
            return Err(Error::WrongState { id, state: "exited", wanted: "created or running" });
        };
        let id = container.id().to_string();
        // Systemd would bring its own values back one day if it were not told.
        self.0.settings.cgroups.update(&id, &limits.resources).await?;
        let Limits { resources, oom_score_adj } = limits;
        let request =
            Request::Update { container: id, resources: Some(Box::new(resources)), restart: None, oom_score_adj };
        shim.request(&request, &[]).await?;
        Ok(())
    }

    /// Notes what the pod's containers may have together; the kubelet has changed the pod's cgroup. What is absent stays.
    /// CRI: UpdatePodSandboxResources
    ///
    /// # Errors
    /// There is no such pod, or the record cannot be written.
    pub async fn update_pod(
        &self,
        id: &str,
        overhead: Option<Resources>,
        resources: Option<Resources>,
    ) -> Result<(), Error> {
        let pod = self.find_pod(id)?;
        blocking(move || {
            let mut changing = pod.lock();
            let old = changing.resources.clone();
            let config = &pod.record.config;
            let (old_overhead, old_resources) = match old {
                Some(old) => (old.overhead, old.resources),
                None => (config.overhead.clone(), config.resources.clone()),
            };
            let noted = PodResources {
                version: VERSION,
                overhead: overhead.or(old_overhead),
                resources: resources.or(old_resources),
            };
            record::write(open(&pod.dir)?, &noted)?;
            changing.resources = Some(noted);
            Ok(())
        })
        .await
    }
}

/// Limits as the shim takes them.
#[derive(Clone)]
struct Limits {
    resources: spec::Resources,
    /// Absent: it stays.
    oom_score_adj: Option<i32>,
}

impl Limits {
    fn of(limits: &Resources, host: &Host) -> Limits {
        let score = i32::try_from(limits.oom_score_adj).ok().filter(|score| *score != 0);
        Limits { resources: plan::resources(limits, host), oom_score_adj: score }
    }
}

/// Puts limits into the configuration of a container that waits for its start.
async fn configure(container: &Container, limits: Limits) -> Result<(), Error> {
    let dir = container.dir.clone();
    blocking(move || {
        let directory = open(&dir)?;
        let wrong = |source| Error::Record { path: dir.clone(), source };
        let text = record::read_file(&directory, "config.json").map_err(wrong)?.unwrap_or_default();
        let malformed =
            |problem: String| Error::Record { path: dir.clone(), source: record::Error::Malformed(problem) };
        let spec: spec::Spec = spec::parse("config.json", &text).map_err(|error| malformed(error.to_string()))?;
        let mut all = spec.linux.and_then(|linux| linux.resources).unwrap_or_default();
        update::merge(&mut all, limits.resources);
        update::rewrite(&directory, &all, limits.oom_score_adj).map_err(wrong)
    })
    .await
}

/// The limits afterwards.
fn merge(mut limits: Resources, changes: &Resources) -> Result<Resources, Error> {
    let invalid = |field: &str, problem: String| Error::Invalid { field: format!("linux.{field}"), problem };
    for (old, new) in [
        (&mut limits.cpu_period, changes.cpu_period),
        (&mut limits.cpu_quota, changes.cpu_quota),
        (&mut limits.cpu_shares, changes.cpu_shares),
        (&mut limits.memory_limit, changes.memory_limit),
        (&mut limits.memory_swap_limit, changes.memory_swap_limit),
        // It comes with another memory request: that is what the kubelet makes it of.
        (&mut limits.oom_score_adj, changes.oom_score_adj),
    ] {
        if new != 0 {
            *old = new;
        }
    }
    for (old, new) in [(&mut limits.cpuset_cpus, &changes.cpuset_cpus), (&mut limits.cpuset_mems, &changes.cpuset_mems)]
    {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    for (size, limit) in &changes.hugepage_limits {
        limits.hugepage_limits.retain(|(other, _)| other != size);
        limits.hugepage_limits.push((size.clone(), *limit));
    }
    limits.unified.extend(changes.unified.clone());
    let (memory, both) = (limits.memory_limit, limits.memory_swap_limit);
    if both > 0 && (memory > both || memory < 0) {
        let problem = format!("{both} counts memory and swap together and is less than the memory limit, {memory}");
        return Err(invalid("memory_swap_limit_in_bytes", problem));
    }
    Ok(limits)
}

/// The limits of before for all that was to be changed; what had none gets the kernel's default. CPUs and memory nodes of before are
/// not known where none were given: those that are left are allowed.
fn restore(old: &Resources, changes: &Resources) -> Resources {
    let back = |new: i64, old: i64, default: i64| match (new, old) {
        (0, _) => 0,
        (_, 0) => default,
        (_, old) => old,
    };
    let page = |(size, _): &(String, u64)| {
        let limit = old.hugepage_limits.iter().find(|(other, _)| other == size).map_or(u64::MAX, |(_, limit)| *limit);
        (size.clone(), limit)
    };
    let file = |name: &String| Some((name.clone(), old.unified.get(name)?.clone()));
    Resources {
        cpu_period: back(changes.cpu_period, old.cpu_period, 100_000),
        cpu_quota: back(changes.cpu_quota, old.cpu_quota, -1),
        cpu_shares: back(changes.cpu_shares, old.cpu_shares, 1024),
        memory_limit: back(changes.memory_limit, old.memory_limit, -1),
        memory_swap_limit: back(changes.memory_swap_limit, old.memory_swap_limit, 0),
        oom_score_adj: 0,
        cpuset_cpus: old.cpuset_cpus.clone(),
        cpuset_mems: old.cpuset_mems.clone(),
        hugepage_limits: changes.hugepage_limits.iter().map(page).collect(),
        unified: changes.unified.keys().filter_map(file).collect(),
    }
}

/// What is written: a new memory limit goes with that of swap that was given before.
fn effective(changes: &Resources, merged: &Resources) -> Resources {
    let mut effective = changes.clone();
    if effective.memory_limit != 0 {
        effective.memory_swap_limit = merged.memory_swap_limit;
    }
    effective
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_stays() {
        let old = Resources {
            cpu_shares: 512,
            memory_limit: 100,
            oom_score_adj: 900,
            cpuset_cpus: "0".into(),
            hugepage_limits: vec![("2MB".into(), 1), ("1GB".into(), 2)],
            unified: [("memory.high".to_owned(), "1".to_owned())].into(),
            ..Resources::default()
        };
        assert_eq!(merge(old.clone(), &Resources::default()).unwrap(), old);
        let changes = Resources {
            cpu_quota: -1,
            memory_limit: 200,
            hugepage_limits: vec![("2MB".into(), 3)],
            unified: [("memory.low".to_owned(), "2".to_owned())].into(),
            ..Resources::default()
        };
        let merged = merge(old.clone(), &changes).unwrap();
        assert_eq!((merged.cpu_shares, merged.cpu_quota, merged.memory_limit), (512, -1, 200));
        assert_eq!(merged.cpuset_cpus, "0");
        assert_eq!(merged.hugepage_limits, [("1GB".to_owned(), 2), ("2MB".to_owned(), 3)]);
        assert_eq!(merged.unified.len(), 2);
        assert_eq!(merged.oom_score_adj, 900);
        let score = Resources { oom_score_adj: 1, ..Resources::default() };
        assert_eq!(merge(old.clone(), &score).unwrap(), Resources { oom_score_adj: 1, ..old.clone() });
    }

    #[test]
    fn what_was_changed_goes_back() {
        let old = Resources { cpu_shares: 512, memory_limit: 0, ..Resources::default() };
        let changes = Resources { cpu_shares: 7, memory_limit: 5, cpu_quota: 3000, ..Resources::default() };
        let expected = Resources { cpu_shares: 512, memory_limit: -1, cpu_quota: -1, ..Resources::default() };
        assert_eq!(restore(&old, &changes), expected);
    }

    #[test]
    fn swap_goes_along() {
        let limits =
            |memory_limit, memory_swap_limit| Resources { memory_limit, memory_swap_limit, ..Resources::default() };
        assert_eq!(effective(&limits(200, 0), &merge(limits(100, 300), &limits(200, 0)).unwrap()), limits(200, 300));
        assert_eq!(effective(&limits(200, 0), &merge(limits(100, 0), &limits(200, 0)).unwrap()), limits(200, 0));
        for changes in [limits(400, 0), limits(0, 50), limits(-1, 0)] {
            let error = merge(limits(100, 300), &changes).unwrap_err().to_string();
            assert!(error.starts_with("linux.memory_swap_limit_in_bytes: "), "{error}");
        }
    }
}

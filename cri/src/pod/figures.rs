//! Where the figures of pods and containers are to be read.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runtime::cgroup;
use shim::client::Connection;
use shim::local::Directory;

use super::engine::Engine;
use super::error::Error;
use super::record::NetworkKind;
use super::state::{ContainerState, ContainerView, PodView};
use crate::network::{self, InterfaceCounters};
use crate::stats::Subject;

impl Engine {
    /// The processes of a container; `None`: it does not run, or has no control group.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn subject(&self, container: &ContainerView) -> Result<Option<Subject>, Error> {
        let ContainerState::Running { started_at, .. } = container.state else { return Ok(None) };
        // It may be removed meanwhile.
        let Some(directory) = Directory::open(&container.dir)? else { return Ok(None) };
        let Some(path) = directory.status()?.and_then(|status| status.cgroup) else { return Ok(None) };
        let id = container.record.id.to_string();
        Ok(Some(Subject { id, cgroup: path.parse()?, started: time(started_at) }))
    }

    /// The control group that the kubelet made for a pod; `None`: it has none of its own.
    ///
    /// `inside` is one of its containers, if one runs: with systemd's driver the pod's name is not its group's.
    #[must_use]
    pub fn pod_subject(&self, pod: &PodView, inside: Option<&Subject>) -> Option<Subject> {
        let parent = &pod.record.config.cgroup_parent;
        if parent.is_empty() {
            return None;
        }
        let slice = inside.and_then(|container| slice_of(&container.cgroup));
        let cgroup = slice.or_else(|| parent.starts_with('/').then(|| parent.parse().ok())?)?;
        Some(Subject { id: pod.record.id.to_string(), cgroup, started: time(pod.record.created_at) })
    }

    /// The directory of what a container changed in its root file system.
    #[must_use]
    pub fn writable_layer(&self, container: &ContainerView) -> PathBuf {
        self.upper_dir(&container.record.id).join("fs")
    }

    /// The directory of all writable layers.
    #[must_use]
    pub fn writable_layers(&self) -> PathBuf {
        self.settings().root.join("upper")
    }

    /// What went through a pod's interfaces; `None`: it uses the node's, or has ended. Waits for its shim.
    ///
    /// # Errors
    /// The shim's answer, or the kernel's.
    pub fn network_counters(&self, pod: &PodView) -> Result<Option<Vec<InterfaceCounters>>, Error> {
        if pod.record.network == NetworkKind::Node || !pod.ready {
            return Ok(None);
        }
        let Some(shim) = Connection::connect(&pod.dir)? else { return Ok(None) };
        let Some(netns) = shim.sandbox()?.network else { return Ok(None) };
        Ok(Some(network::counters(netns.as_fd())?))
    }
}

/// The slice of systemd that a group is in.
fn slice_of(group: &cgroup::Path) -> Option<cgroup::Path> {
    let components = group.components();
    let last = components.iter().rposition(|component| component.ends_with(".slice"))?;
    format!("/{}", components[..=last].join("/")).parse().ok()
}

fn time(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices() {
        for (group, expected) in [
            ("/kubepods/burstable/pod1/c1", None),
            ("/a.slice/a-b.slice/rt-1.scope/container", Some("/a.slice/a-b.slice")),
            ("/test.slice/c1", Some("/test.slice")),
        ] {
            let found = slice_of(&group.parse().unwrap()).map(|path| path.to_string());
            assert_eq!(found.as_deref(), expected, "{group}");
        }
    }
}

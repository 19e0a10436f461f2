//! What a runtime handler makes of a container: who runs it, and the configuration that it starts from.

use std::collections::BTreeMap;

use runtime::spec::{Hooks, Linux, Spec};
use shim::layout::Program;

use super::super::config::{ContainerConfig, PodConfig};
use crate::config::AnnotationPattern;

/// A runtime handler, as far as its containers are concerned.
#[derive(Debug)]
pub(in crate::pod) struct Runner {
    /// An OCI command line; absent is the runtime within the shim.
    pub(in crate::pod) program: Option<Program>,
    /// What a container has that does not say otherwise.
    pub(in crate::pod) base: Option<Spec>,
    /// Annotations that it gets to see.
    pub(in crate::pod) annotations: Vec<AnnotationPattern>,
    /// Whether privileged containers get all devices of the node.
    pub(in crate::pod) host_devices: bool,
}

impl Default for Runner {
    fn default() -> Runner {
        Runner { program: None, base: None, annotations: Vec::new(), host_devices: true }
    }
}

impl Runner {
    /// The annotations that a container's configuration has: those of its pod and its own that are allowed.
    pub(super) fn annotations(&self, pod: &PodConfig, config: &ContainerConfig) -> BTreeMap<String, String> {
        let all = pod.annotations.iter().chain(&config.annotations);
        let allowed = all.filter(|(name, _)| self.annotations.iter().any(|pattern| pattern.matches(name)));
        allowed.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Lays a configuration over the base.
    pub(super) fn finish(&self, own: Spec) -> Spec {
        match &self.base {
            Some(base) => over(base.clone(), own),
            None => own,
        }
    }
}

/// `own` over `base`: a single value of `own` counts if there is one; of lists whose elements have names (mounts, variables, limits,
/// devices, kernel parameters, annotations) both count, and `own`'s for the same name; hooks of both are run, the base's first;
/// any other list is `own`'s unless that is empty.
fn over(base: Spec, mut own: Spec) -> Spec {
    own.mounts = named(base.mounts, own.mounts, |mount| mount.destination.clone());
    own.hostname = own.hostname.or(base.hostname);
    own.domainname = own.domainname.or(base.domainname);
    own.hooks = hooks(base.hooks, own.hooks);
    own.annotations = base.annotations.into_iter().chain(own.annotations).collect();
    own.process = match (base.process, own.process) {
        (Some(base), Some(mut own)) => {
            own.env = named(base.env, own.env, |variable| variable.split('=').next().unwrap_or_default().to_owned());
            own.rlimits = named(base.rlimits, own.rlimits, |limit| limit.kind.clone());
            own.no_new_privileges |= base.no_new_privileges;
            own.apparmor_profile = own.apparmor_profile.or(base.apparmor_profile);
            own.selinux_label = own.selinux_label.or(base.selinux_label);
            own.oom_score_adj = own.oom_score_adj.or(base.oom_score_adj);
            own.scheduler = own.scheduler.or(base.scheduler);
            own.io_priority = own.io_priority.or(base.io_priority);
            own.exec_cpu_affinity = own.exec_cpu_affinity.or(base.exec_cpu_affinity);
            own.capabilities = own.capabilities.or(base.capabilities);
            own.user.umask = own.user.umask.or(base.user.umask);
            Some(own)
        }
        (base, own) => own.or(base),
    };
    own.linux = match (base.linux, own.linux) {
        (Some(base), Some(own)) => Some(linux(base, own)),
        (base, own) => own.or(base),
    };
    own
}

fn linux(base: Linux, mut own: Linux) -> Linux {
    own.devices = named(base.devices, own.devices, |device| device.path.clone());
    own.sysctl = base.sysctl.into_iter().chain(own.sysctl).collect();
    own.time_offsets = own.time_offsets.or(base.time_offsets);
    own.net_devices = own.net_devices.or(base.net_devices);
    own.intel_rdt = own.intel_rdt.or(base.intel_rdt);
    own.memory_policy = own.memory_policy.or(base.memory_policy);
    own.seccomp = own.seccomp.or(base.seccomp);
    own.rootfs_propagation = own.rootfs_propagation.or(base.rootfs_propagation);
    own.mount_label = own.mount_label.or(base.mount_label);
    own.personality = own.personality.or(base.personality);
    own.masked_paths = nonempty(own.masked_paths, base.masked_paths);
    own.readonly_paths = nonempty(own.readonly_paths, base.readonly_paths);
    own.resources = match (base.resources, own.resources) {
        (Some(mut base), Some(own)) => {
            // A list of rules is a whole.
            shim::update::merge(&mut base, own);
            Some(base)
        }
        (base, own) => own.or(base),
    };
    own
}

fn hooks(base: Option<Hooks>, own: Option<Hooks>) -> Option<Hooks> {
    let (Some(mut all), Some(own)) = (base.clone(), own.clone()) else { return own.or(base) };
    all.prestart.extend(own.prestart);
    all.create_runtime.extend(own.create_runtime);
    all.create_container.extend(own.create_container);
    all.start_container.extend(own.start_container);
    all.poststart.extend(own.poststart);
    all.poststop.extend(own.poststop);
    Some(all)
}

fn nonempty<T>(own: Vec<T>, base: Vec<T>) -> Vec<T> {
    if own.is_empty() { base } else { own }
}

/// Both lists; where a name is in both, `own`'s element in the base's place.
fn named<T>(base: Vec<T>, own: Vec<T>, name: impl Fn(&T) -> String) -> Vec<T> {
    let mut all = base;
    for element in own {
        match all.iter_mut().find(|other| name(other) == name(&element)) {
            Some(other) => *other = element,
            None => all.push(element),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        serde_json::from_str(&text.replacen('{', r#"{"ociVersion":"1.0.2","#, 1)).unwrap()
    }

    #[test]
    fn a_container_over_a_base() {
        let base = spec(
            r#"{"mounts":[{"destination":"/a","source":"base"},{"destination":"/b","source":"base"}],
                "annotations":{"x":"base","y":"base"},
                "hooks":{"poststop":[{"path":"/base"}]},
                "process":{"args":["base"],"cwd":"/base","env":["A=base","B=base"],"oomScoreAdj":5,
                    "rlimits":[{"type":"RLIMIT_CORE","soft":1,"hard":1}]},
                "linux":{"sysctl":{"a":"base","b":"base"},"maskedPaths":["/base"],"cgroupsPath":"/base",
                    "resources":{"pids":{"limit":5},"memory":{"limit":7}},"personality":{"domain":"LINUX32"}}}"#,
        );
        let own = spec(
            r#"{"mounts":[{"destination":"/c","source":"own"},{"destination":"/b","source":"own"}],
                "annotations":{"y":"own"},
                "hooks":{"poststop":[{"path":"/own"}]},
                "process":{"args":["own"],"cwd":"/","env":["B=own","C=own"]},
                "linux":{"sysctl":{"b":"own"},"cgroupsPath":"/own","resources":{"pids":{"limit":9}}}}"#,
        );
        let expected = r#"{"ociVersion":"1.0.2",
            "mounts":[{"destination":"/a","source":"base"},{"destination":"/b","source":"own"},{"destination":"/c","source":"own"}],
            "process":{"user":{"uid":0,"gid":0},"args":["own"],"env":["A=base","B=own","C=own"],"cwd":"/",
                "rlimits":[{"type":"RLIMIT_CORE","soft":1,"hard":1}],"oomScoreAdj":5},
            "hooks":{"poststop":[{"path":"/base"},{"path":"/own"}]},
            "annotations":{"x":"base","y":"own"},
            "linux":{"cgroupsPath":"/own","resources":{"memory":{"limit":7},"pids":{"limit":9}},
                "sysctl":{"a":"base","b":"own"},"maskedPaths":["/base"],"personality":{"domain":"LINUX32"}}}"#;
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(serde_json::to_value(over(base, own)).unwrap(), expected);
    }
}

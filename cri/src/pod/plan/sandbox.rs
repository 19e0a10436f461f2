//! The sandbox of a pod.

use std::collections::BTreeMap;

use runtime::plan::{SandboxPlan, SandboxSpec};
use runtime::spec::NamespaceKind;
use shim::layout::{Ends, Sandbox, VERSION};

use super::super::config::{PidScope, PodConfig, Scope};
use super::super::error::Error;
use super::Defaults;
use crate::selinux::Labels;
use crate::spec::SHM_SIZE;

/// Longest host name that is made of a pod's name; longer ones are cut, as the kubelet cuts them.
const HOSTNAME_LENGTH: usize = 63;

/// Parameters of a network namespace that make capabilities superfluous where they protect nobody: all ports of a pod are its own,
/// and so is who may ping. They hold unless the pod says otherwise.
const PORT_START: (&str, &str) = ("net.ipv4.ip_unprivileged_port_start", "0");
/// See [`PORT_START`]. In a user namespace most of these groups would not exist, and the kernel refuses those.
const PING_GROUPS: (&str, &str) = ("net.ipv4.ping_group_range", "0 2147483647");

/// What the shim makes for a pod before its first container.
///
/// # Errors
/// Kernel parameters of namespaces that the pod shares with the node, and namespaces that do not go together.
pub(in crate::pod) fn sandbox(pod: &PodConfig, defaults: &Defaults, labels: Option<&Labels>) -> Result<Sandbox, Error> {
    let scopes = &pod.namespaces;
    if scopes.user.is_some() && scopes.pid == PidScope::Node {
        let problem = "needs pid to be POD or CONTAINER: the node's procfs cannot be mounted in a user namespace";
        return Err(Error::Invalid {
            field: "config.linux.security_context.namespace_options.userns_options".to_owned(),
            problem: problem.to_owned(),
        });
    }
    let namespaces = namespaces(pod);
    let (uid_mappings, gid_mappings) = match scopes.user {
        Some(maps) => (vec![maps.uids], vec![maps.gids]),
        None => (Vec::new(), Vec::new()),
    };
    let sandbox = Sandbox {
        version: VERSION,
        hostname: namespaces.contains(&NamespaceKind::Uts).then(|| hostname(pod)),
        domainname: None,
        sysctls: sysctls(pod, defaults),
        uid_mappings,
        gid_mappings,
        shm_size: namespaces.contains(&NamespaceKind::Ipc).then_some(SHM_SIZE),
        mount_label: labels.map(|labels| labels.mount.clone()),
        process_label: labels.map(|labels| labels.process.clone()).filter(|_| !pod.privileged),
        namespaces,
        ends: Ends::OnRequest,
        on_exit: Vec::new(),
    };
    check(&sandbox)?;
    Ok(sandbox)
}

/// Namespaces that the pod has and its containers share. The host name goes with the network.
pub(super) fn namespaces(pod: &PodConfig) -> Vec<NamespaceKind> {
    let scopes = &pod.namespaces;
    let mut list = Vec::new();
    if scopes.user.is_some() {
        list.push(NamespaceKind::User);
    }
    match scopes.network {
        Scope::Pod => list.extend([NamespaceKind::Network, NamespaceKind::Uts]),
        Scope::Node => {}
    }
    match scopes.ipc {
        Scope::Pod => list.push(NamespaceKind::Ipc),
        Scope::Node => {}
    }
    match scopes.pid {
        PidScope::Pod => list.push(NamespaceKind::Pid),
        PidScope::Container | PidScope::Node | PidScope::Target(_) => {}
    }
    list
}

/// The host name of a pod with a network of its own.
pub(super) fn hostname(pod: &PodConfig) -> String {
    if !pod.hostname.is_empty() {
        return pod.hostname.clone();
    }
    let name: String =
        pod.metadata.name.chars().filter(|c| c.is_ascii_graphic() && *c != '/').take(HOSTNAME_LENGTH).collect();
    match name.trim_end_matches(['-', '.']) {
        "" => "pod".to_owned(),
        name => name.to_owned(),
    }
}

fn sysctls(pod: &PodConfig, defaults: &Defaults) -> BTreeMap<String, String> {
    let mut all = pod.sysctls.clone();
    let mut default = |(name, value): (&str, &str)| {
        all.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    if pod.namespaces.network == Scope::Pod {
        if defaults.unprivileged_ports {
            default(PORT_START);
        }
        if defaults.unprivileged_icmp && pod.namespaces.user.is_none() {
            default(PING_GROUPS);
        }
    }
    all
}

/// What cannot be is found now, and in the words of who asked.
fn check(sandbox: &Sandbox) -> Result<(), Error> {
    let spec = SandboxSpec {
        namespaces: &sandbox.namespaces,
        uid_mappings: &sandbox.uid_mappings,
        gid_mappings: &sandbox.gid_mappings,
        hostname: sandbox.hostname.as_deref(),
        domainname: None,
        sysctls: &sandbox.sysctls,
        shm_size: sandbox.shm_size,
        mount_label: sandbox.mount_label.as_deref(),
        process_label: sandbox.process_label.as_deref(),
    };
    match SandboxPlan::new(&spec) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.at.strip_prefix("linux.sysctl") {
            Some(name) => Error::Invalid {
                field: format!("config.linux.sysctls{name}"),
                problem: error.problem.replace("in linux.namespaces", "of the pod's own"),
            },
            None => Error::Invalid { field: format!("config: {}", error.at), problem: error.problem },
        }),
    }
}

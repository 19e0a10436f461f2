//! Parts of a pod's status.

use proto::v1::{self, NamespaceMode};
use runtime::spec::IdMapping;

use crate::pod::config::{Namespaces, PidScope, PodMetadata, Scope};

/// Who a pod is.
pub(crate) fn pod_metadata(value: &PodMetadata) -> v1::PodSandboxMetadata {
    let PodMetadata { name, uid, namespace, attempt } = value.clone();
    v1::PodSandboxMetadata { name, uid, namespace, attempt }
}

/// Whose namespaces a pod has, as it was asked for: the kubelet compares it, and makes the pod anew if it differs.
pub(crate) fn namespace_options(value: &Namespaces) -> v1::NamespaceOption {
    let (pid, target_id) = match &value.pid {
        PidScope::Pod => (NamespaceMode::Pod, String::new()),
        PidScope::Container => (NamespaceMode::Container, String::new()),
        PidScope::Node => (NamespaceMode::Node, String::new()),
        PidScope::Target(id) => (NamespaceMode::Target, id.clone()),
    };
    let userns_options = value.user.map(|maps| v1::UserNamespace {
        mode: NamespaceMode::Pod as i32,
        uids: vec![mapping(maps.uids)],
        gids: vec![mapping(maps.gids)],
    });
    v1::NamespaceOption {
        network: scope(value.network) as i32,
        pid: pid as i32,
        ipc: scope(value.ipc) as i32,
        target_id,
        userns_options,
    }
}

fn scope(scope: Scope) -> NamespaceMode {
    match scope {
        Scope::Pod => NamespaceMode::Pod,
        Scope::Node => NamespaceMode::Node,
    }
}

/// A range of ids.
pub(super) fn mapping(IdMapping { container_id, host_id, size }: IdMapping) -> v1::IdMapping {
    v1::IdMapping { host_id, container_id, length: size }
}

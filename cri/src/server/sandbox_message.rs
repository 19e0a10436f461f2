//! A pod as the wire has it.

use proto::v1::{
    LinuxPodSandboxStatus, Namespace, PodIp, PodSandbox, PodSandboxNetworkStatus, PodSandboxState, PodSandboxStatus,
};

use super::{encode, nanoseconds};
use crate::pod::{NetworkKind, PodView};

/// State of a pod.
pub(super) fn state(pod: &PodView) -> PodSandboxState {
    if pod.ready { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready }
}

/// A pod in a list.
pub(super) fn listed(pod: &PodView) -> PodSandbox {
    let config = &pod.record.config;
    PodSandbox {
        id: pod.record.id.to_string(),
        metadata: Some(encode::pod_metadata(&config.metadata)),
        state: state(pod) as i32,
        created_at: nanoseconds(pod.record.created_at),
        labels: config.labels.clone().into_iter().collect(),
        annotations: config.annotations.clone().into_iter().collect(),
        runtime_handler: config.handler.clone(),
    }
}

/// The whole status of a pod.
pub(super) fn status(pod: &PodView) -> PodSandboxStatus {
    let config = &pod.record.config;
    let PodSandbox { id, metadata, state, created_at, labels, annotations, runtime_handler } = listed(pod);
    let network = match pod.record.network {
        // The kubelet takes the node's addresses for it.
        NetworkKind::Node => PodSandboxNetworkStatus::default(),
        NetworkKind::Cni | NetworkKind::Bridge => {
            let mut ips = pod.ips.iter().map(ToString::to_string);
            PodSandboxNetworkStatus {
                ip: ips.next().unwrap_or_default(),
                additional_ips: ips.map(|ip| PodIp { ip }).collect(),
            }
        }
    };
    let options = Some(encode::namespace_options(&config.namespaces));
    PodSandboxStatus {
        id,
        metadata,
        state,
        created_at,
        network: Some(network),
        linux: Some(LinuxPodSandboxStatus { namespaces: Some(Namespace { options }) }),
        labels,
        annotations,
        runtime_handler,
    }
}

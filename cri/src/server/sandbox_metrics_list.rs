//! ListPodSandboxMetrics, StreamPodSandboxMetrics.

use std::collections::HashMap;

use proto::v1::{ContainerMetrics, PodSandboxMetrics};

use super::Service;
use super::gather::{self, ContainerUse, Details, PodUse};
use super::metrics_message::{self, ContainerFigures, Whom};
use crate::pod::Id;

/// The metrics of all pods that are ready. CRI: ListPodSandboxMetrics
pub(super) async fn list_pod_sandbox_metrics(service: &Service) -> Vec<PodSandboxMetrics> {
    let mut pods = service.engine.pods();
    pods.retain(|pod| pod.ready);
    let usages = gather::pods(service, pods).await;
    let containers: Vec<&ContainerUse> = usages.iter().flat_map(|usage| &usage.containers).collect();
    let details = gather::details(service, &containers).await;
    usages.iter().map(|usage| message(usage, &details)).collect()
}

/// CRI: PodSandboxMetrics
fn message(usage: &PodUse, details: &HashMap<Id, Details>) -> PodSandboxMetrics {
    let pod = &usage.pod.record;
    let whom = Whom {
        cgroup: usage.cgroup.clone(),
        id: pod.id.to_string(),
        namespace: pod.config.metadata.namespace.clone(),
        pod: pod.config.metadata.name.clone(),
        ..Whom::default()
    };
    let counters = usage.network.as_ref().map_or(&[][..], |(_, counters)| counters);
    PodSandboxMetrics {
        pod_sandbox_id: pod.id.to_string(),
        metrics: metrics_message::pod(&whom, counters),
        container_metrics: usage.containers.iter().filter_map(|one| container(&whom, one, details)).collect(),
    }
}

fn container(pod: &Whom, usage: &ContainerUse, details: &HashMap<Id, Details>) -> Option<ContainerMetrics> {
    let record = &usage.container.record;
    let (subject, reading) = usage.running.as_ref()?;
    let Details { processes, filesystem } = details.get(&record.id)?;
    let image = &record.config.image;
    let name = if image.user_specified_image.is_empty() { &image.image } else { &image.user_specified_image };
    let whom = Whom {
        container: record.config.metadata.name.clone(),
        cgroup: subject.cgroup.to_string(),
        image: name.clone(),
        id: record.id.to_string(),
        ..pod.clone()
    };
    let figures = ContainerFigures {
        reading,
        processes,
        layer: usage.layer.as_ref(),
        filesystem: filesystem.as_ref(),
        resources: &usage.container.resources,
        started: subject.started,
    };
    Some(ContainerMetrics { container_id: record.id.to_string(), metrics: metrics_message::container(&whom, &figures) })
}

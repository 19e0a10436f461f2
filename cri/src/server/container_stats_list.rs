//! ListContainerStats, StreamContainerStats.

use proto::v1::{ContainerStats, ContainerStatsFilter};

use super::{Service, container_stats, gather, select};
use crate::pod::ContainerState;

/// What the containers use that run and fit all parts of the filter. CRI: ListContainerStats
pub(super) async fn list_container_stats(
    service: &Service,
    filter: Option<ContainerStatsFilter>,
) -> Vec<ContainerStats> {
    let filter = filter.unwrap_or_default();
    let mut containers = service.engine.containers();
    containers.retain(|container| {
        matches!(container.state, ContainerState::Running { .. })
            && select::id(&filter.id, &container.record.id)
            && select::id(&filter.pod_sandbox_id, &container.record.pod)
            && select::labels(&filter.label_selector, &container.record.config.labels)
    });
    let directory = gather::layers_directory(service);
    let mut usages = gather::containers(service, containers).await;
    // One that ended meanwhile.
    usages.retain(|usage| usage.running.is_some());
    usages.iter().map(|usage| container_stats::message(&directory, usage)).collect()
}

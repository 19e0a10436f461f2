//! ListContainers, StreamContainers.

use proto::v1::{Container, ContainerFilter};

use super::{Service, container_message, select};

/// The containers that fit all parts of the filter. CRI: ListContainers
pub(super) fn list_containers(service: &Service, filter: Option<ContainerFilter>) -> Vec<Container> {
    let filter = filter.unwrap_or_default();
    let mut containers = service.engine.containers();
    containers.retain(|container| {
        let state = container_message::state(container) as i32;
        select::id(&filter.id, &container.record.id)
            && select::id(&filter.pod_sandbox_id, &container.record.pod)
            && filter.state.as_ref().is_none_or(|wanted| wanted.state == state)
            && select::labels(&filter.label_selector, &container.record.config.labels)
    });
    containers.iter().map(container_message::listed).collect()
}

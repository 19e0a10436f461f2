//! GetContainerEvents.

use std::sync::Arc;

use proto::v1::{ContainerEventResponse, ContainerEventType};
use tokio::sync::broadcast::error::RecvError;
use tokio_stream::Stream;
use tonic::Status;

use super::{Service, container_message, nanoseconds, sandbox_message};
use crate::pod::{Event, EventKind};

/// What happens from now on, without end. A client that is too slow is cut off: it has to list what is there anyway.
/// CRI: GetContainerEvents
pub(super) fn container_events(
    service: &Service,
) -> impl Stream<Item = Result<ContainerEventResponse, Status>> + Send + use<> {
    futures_util::stream::unfold(Some(service.engine.events()), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Ok(event) => Some((Ok(message(&event)), Some(receiver))),
            Err(RecvError::Lagged(lost)) => {
                Some((Err(Status::data_loss(format!("too slow: {lost} events were lost; list and begin again"))), None))
            }
            Err(RecvError::Closed) => None,
        }
    })
}

fn message(event: &Arc<Event>) -> ContainerEventResponse {
    let kind = match event.kind {
        EventKind::Created => ContainerEventType::ContainerCreatedEvent,
        EventKind::Started => ContainerEventType::ContainerStartedEvent,
        EventKind::Stopped => ContainerEventType::ContainerStoppedEvent,
        EventKind::Deleted => ContainerEventType::ContainerDeletedEvent,
    };
    ContainerEventResponse {
        container_id: event.id.to_string(),
        container_event_type: kind as i32,
        created_at: nanoseconds(event.at),
        pod_sandbox_status: Some(sandbox_message::status(&event.pod)),
        containers_statuses: event.containers.iter().map(container_message::status).collect(),
    }
}

//! ContainerStats.

use std::path::Path;

use proto::v1::{ContainerAttributes, ContainerStats, ContainerStatsResponse};
use tonic::Status;

use super::gather::{self, ContainerUse};
use super::{Service, encode, failure, stats_message};

/// What a container uses; one that does not run has no figures but that of its writable layer. CRI: ContainerStats
pub(super) async fn container_stats(service: &Service, id: &str) -> Result<ContainerStatsResponse, Status> {
    let container =
        service.engine.container(failure::given("container_id", id)?).map_err(|error| failure::pod(&error))?;
    let directory = gather::layers_directory(service);
    let id = container.record.id.clone();
    let found = gather::containers(service, vec![container]).await.pop();
    let usage = found.ok_or_else(|| Status::unavailable(format!("container {id}: its figures cannot be read now")))?;
    Ok(ContainerStatsResponse { stats: Some(message(&directory, &usage)) })
}

/// CRI: ContainerStats
pub(super) fn message(directory: &Path, usage: &ContainerUse) -> ContainerStats {
    let config = &usage.container.record.config;
    let reading = usage.running.as_ref().map(|(_, reading)| reading);
    ContainerStats {
        attributes: Some(ContainerAttributes {
            id: usage.container.record.id.to_string(),
            metadata: Some(encode::container_metadata(&config.metadata)),
            labels: config.labels.clone().into_iter().collect(),
            annotations: config.annotations.clone().into_iter().collect(),
        }),
        cpu: reading.map(stats_message::cpu),
        memory: reading.and_then(stats_message::memory),
        writable_layer: usage.layer.as_ref().map(|layer| stats_message::writable_layer(directory, layer)),
        swap: reading.and_then(stats_message::swap),
        io: reading.and_then(stats_message::io),
    }
}

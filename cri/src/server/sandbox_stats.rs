//! PodSandboxStats.

use std::path::Path;

use proto::v1::{LinuxPodSandboxStats, PodSandboxAttributes, PodSandboxStats, PodSandboxStatsResponse, ProcessUsage};
use tonic::Status;

use super::gather::{self, PodUse};
use super::{Service, container_stats, encode, failure, stats_message};

/// What a pod uses. CRI: PodSandboxStats
pub(super) async fn pod_sandbox_stats(service: &Service, id: &str) -> Result<PodSandboxStatsResponse, Status> {
    let pod = service.engine.pod(failure::given("pod_sandbox_id", id)?).map_err(|error| failure::pod(&error))?;
    let directory = gather::layers_directory(service);
    let id = pod.record.id.clone();
    let found = gather::pods(service, vec![pod]).await.pop();
    let usage = found.ok_or_else(|| Status::unavailable(format!("pod {id}: its figures cannot be read now")))?;
    Ok(PodSandboxStatsResponse { stats: Some(message(&directory, &usage)) })
}

/// CRI: PodSandboxStats
pub(super) fn message(directory: &Path, usage: &PodUse) -> PodSandboxStats {
    let config = &usage.pod.record.config;
    let total = &usage.total;
    PodSandboxStats {
        attributes: Some(PodSandboxAttributes {
            id: usage.pod.record.id.to_string(),
            metadata: Some(encode::pod_metadata(&config.metadata)),
            labels: config.labels.clone().into_iter().collect(),
            annotations: config.annotations.clone().into_iter().collect(),
        }),
        linux: Some(LinuxPodSandboxStats {
            cpu: Some(stats_message::cpu(total)),
            memory: stats_message::memory(total),
            network: usage.network.as_ref().map(|(at, counters)| stats_message::network(*at, counters)),
            process: Some(ProcessUsage {
                timestamp: stats_message::nanoseconds(total.at),
                process_count: Some(stats_message::number(usage.processes)),
            }),
            containers: usage.containers.iter().map(|one| container_stats::message(directory, one)).collect(),
            io: stats_message::io(total),
        }),
    }
}

//! ListPodSandboxStats, StreamPodSandboxStats.

use proto::v1::{PodSandboxStats, PodSandboxStatsFilter};

use super::{Service, gather, sandbox_stats, select};

/// What the pods use that are ready and fit all parts of the filter. CRI: ListPodSandboxStats
pub(super) async fn list_pod_sandbox_stats(
    service: &Service,
    filter: Option<PodSandboxStatsFilter>,
) -> Vec<PodSandboxStats> {
    let filter = filter.unwrap_or_default();
    let mut pods = service.engine.pods();
    pods.retain(|pod| {
        pod.ready
            && select::id(&filter.id, &pod.record.id)
            && select::labels(&filter.label_selector, &pod.record.config.labels)
    });
    let directory = gather::layers_directory(service);
    gather::pods(service, pods).await.iter().map(|usage| sandbox_stats::message(&directory, usage)).collect()
}

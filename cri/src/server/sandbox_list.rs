//! ListPodSandbox, StreamPodSandboxes.

use proto::v1::{PodSandbox, PodSandboxFilter};

use super::{Service, sandbox_message, select};

/// The pods that fit all parts of the filter. CRI: ListPodSandbox
pub(super) fn list_pod_sandbox(service: &Service, filter: Option<PodSandboxFilter>) -> Vec<PodSandbox> {
    let filter = filter.unwrap_or_default();
    let mut pods = service.engine.pods();
    pods.retain(|pod| {
        let state = sandbox_message::state(pod) as i32;
        select::id(&filter.id, &pod.record.id)
            && filter.state.as_ref().is_none_or(|wanted| wanted.state == state)
            && select::labels(&filter.label_selector, &pod.record.config.labels)
    });
    pods.iter().map(sandbox_message::listed).collect()
}

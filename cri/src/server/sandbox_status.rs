//! PodSandboxStatus.

use proto::v1::{PodSandboxStatusRequest, PodSandboxStatusResponse};
use tonic::Status;

use super::{Service, container_message, failure, info, sandbox_message};

/// How a pod and its containers are. CRI: PodSandboxStatus
pub(super) async fn pod_sandbox_status(
    service: &Service,
    request: PodSandboxStatusRequest,
) -> Result<PodSandboxStatusResponse, Status> {
    let id = failure::given("pod_sandbox_id", &request.pod_sandbox_id)?;
    let pod = service.engine.pod(id).map_err(|error| failure::pod(&error))?;
    let containers = service.engine.containers_of(&pod.record.id);
    let timestamp = super::now();
    let info = if request.verbose { info::pod(pod.clone()).await? } else { Default::default() };
    Ok(PodSandboxStatusResponse {
        status: Some(sandbox_message::status(&pod)),
        info,
        containers_statuses: containers.iter().map(container_message::status).collect(),
        timestamp,
    })
}

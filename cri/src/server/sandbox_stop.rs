//! StopPodSandbox.

use proto::v1::{StopPodSandboxRequest, StopPodSandboxResponse};
use tonic::Status;

use super::{Service, failure};
use crate::pod::Patience;

/// Kills the containers of a pod and ends its namespaces; one that is not there is done. CRI: StopPodSandbox
pub(super) async fn stop_pod_sandbox(
    service: &Service,
    request: StopPodSandboxRequest,
    patience: Patience,
) -> Result<StopPodSandboxResponse, Status> {
    let id = failure::given("pod_sandbox_id", &request.pod_sandbox_id)?;
    service.engine.stop(id, patience).await.map_err(|error| failure::pod(&error))?;
    Ok(StopPodSandboxResponse {})
}

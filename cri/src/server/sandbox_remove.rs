//! RemovePodSandbox.

use proto::v1::{RemovePodSandboxRequest, RemovePodSandboxResponse};
use tonic::Status;

use super::{Service, failure};

/// Removes a pod with its containers; one that is not there is done. CRI: RemovePodSandbox
pub(super) async fn remove_pod_sandbox(
    service: &Service,
    request: RemovePodSandboxRequest,
) -> Result<RemovePodSandboxResponse, Status> {
    let id = failure::given("pod_sandbox_id", &request.pod_sandbox_id)?;
    service.engine.remove(id).await.map_err(|error| failure::pod(&error))?;
    Ok(RemovePodSandboxResponse {})
}

//! RemovePodSandbox.

use proto::v1::{RemovePodSandboxRequest, RemovePodSandboxResponse};
use tonic::Status;

use super::{Service, failure};
use crate::pod::Patience;

/// Removes a pod with its containers; one that is not there is done. CRI: RemovePodSandbox
pub(super) async fn remove_pod_sandbox(
    service: &Service,
    request: RemovePodSandboxRequest,
    patience: Patience,
) -> Result<RemovePodSandboxResponse, Status> {
    let id = failure::given("pod_sandbox_id", &request.pod_sandbox_id)?;
    service.engine.remove(id, patience).await.map_err(|error| failure::pod(&error))?;
    Ok(RemovePodSandboxResponse {})
}

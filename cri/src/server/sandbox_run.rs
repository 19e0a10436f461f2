//! RunPodSandbox.

use proto::v1::{RunPodSandboxRequest, RunPodSandboxResponse};
use tonic::Status;

use super::{Service, decode, failure};
use crate::pod::Patience;

/// Makes a pod; the same asked again joins, or finds it. CRI: RunPodSandbox
pub(super) async fn run_pod_sandbox(
    service: &Service,
    request: RunPodSandboxRequest,
    patience: Patience,
) -> Result<RunPodSandboxResponse, Status> {
    let config = request.config.ok_or_else(|| Status::invalid_argument("config: missing"))?;
    let config = decode::pod(config, request.runtime_handler).map_err(|error| failure::invalid(&error))?;
    let id = service.engine.run(config, patience).await.map_err(|error| failure::pod(&error))?;
    Ok(RunPodSandboxResponse { pod_sandbox_id: id.into() })
}

//! CreateContainer.

use proto::v1::{CreateContainerRequest, CreateContainerResponse};
use tonic::Status;

use super::{Service, decode, failure};
use crate::pod::Patience;

/// Makes a container in a pod; its program is started later. CRI: CreateContainer
///
/// The pod's configuration comes along for convenience; the one that the pod was made with counts.
pub(super) async fn create_container(
    service: &Service,
    request: CreateContainerRequest,
    patience: Patience,
) -> Result<CreateContainerResponse, Status> {
    let pod = failure::given("pod_sandbox_id", &request.pod_sandbox_id)?;
    let config = request.config.ok_or_else(|| Status::invalid_argument("config: missing"))?;
    let known = service.engine.pod(pod).map_err(|error| failure::pod(&error))?;
    let config = decode::container(config, &known.record.config).map_err(|error| failure::invalid(&error))?;
    let id = service.engine.create_container(pod, config, patience).await.map_err(|error| failure::pod(&error))?;
    Ok(CreateContainerResponse { container_id: id.into() })
}

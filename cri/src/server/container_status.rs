//! ContainerStatus.

use proto::v1::{ContainerStatusRequest, ContainerStatusResponse};
use tonic::Status;

use super::{Service, container_message, failure, info};

/// How a container is. CRI: ContainerStatus
pub(super) async fn container_status(
    service: &Service,
    request: ContainerStatusRequest,
) -> Result<ContainerStatusResponse, Status> {
    let id = failure::given("container_id", &request.container_id)?;
    let container = service.engine.container(id).map_err(|error| failure::pod(&error))?;
    let status = Some(container_message::status(&container));
    let info = if request.verbose { info::container(container).await? } else { Default::default() };
    Ok(ContainerStatusResponse { status, info })
}

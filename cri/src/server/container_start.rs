//! StartContainer.

use proto::v1::{StartContainerRequest, StartContainerResponse};
use tonic::Status;

use super::{Service, failure};
use crate::pod::Patience;

/// Lets a container's program run. CRI: StartContainer
pub(super) async fn start_container(
    service: &Service,
    request: StartContainerRequest,
    patience: Patience,
) -> Result<StartContainerResponse, Status> {
    let id = failure::given("container_id", &request.container_id)?;
    service.engine.start_container(id, patience).await.map_err(|error| failure::pod(&error))?;
    Ok(StartContainerResponse {})
}

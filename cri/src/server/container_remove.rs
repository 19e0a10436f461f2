//! RemoveContainer.

use proto::v1::{RemoveContainerRequest, RemoveContainerResponse};
use tonic::Status;

use super::{Service, failure};
use crate::pod::Patience;

/// Removes a container, killing it first if it runs; its log stays. CRI: RemoveContainer
pub(super) async fn remove_container(
    service: &Service,
    request: RemoveContainerRequest,
    patience: Patience,
) -> Result<RemoveContainerResponse, Status> {
    let id = failure::given("container_id", &request.container_id)?;
    service.engine.remove_container(id, patience).await.map_err(|error| failure::pod(&error))?;
    Ok(RemoveContainerResponse {})
}

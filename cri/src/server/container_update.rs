//! UpdateContainerResources.

use proto::v1::{UpdateContainerResourcesRequest, UpdateContainerResourcesResponse};
use tonic::Status;

use super::{Service, decode, failure};

/// Changes the limits of a container, all of them or none; what is 0 stays. CRI: UpdateContainerResources
pub(super) async fn update_container_resources(
    service: &Service,
    request: UpdateContainerResourcesRequest,
) -> Result<UpdateContainerResourcesResponse, Status> {
    let id = failure::given("container_id", &request.container_id)?;
    let changes = decode::resources(request.linux.unwrap_or_default());
    let changes = changes.map_err(|error| failure::invalid(&error.within("linux")))?;
    service.engine.update_container(id, &changes).await.map_err(|error| failure::pod(&error))?;
    Ok(UpdateContainerResourcesResponse {})
}

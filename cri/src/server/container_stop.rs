//! StopContainer.

use std::time::Duration;

use proto::v1::{StopContainerRequest, StopContainerResponse};
use tonic::Status;

use super::{Service, failure};

/// Asks a container to end, and kills it after the timeout in seconds; without one at once. CRI: StopContainer
pub(super) async fn stop_container(
    service: &Service,
    request: StopContainerRequest,
    patience: Option<Duration>,
) -> Result<StopContainerResponse, Status> {
    let id = failure::given("container_id", &request.container_id)?;
    let timeout = Duration::from_secs(u64::try_from(request.timeout).unwrap_or(0));
    service.engine.stop_container(id, timeout, patience).await.map_err(|error| failure::pod(&error))?;
    Ok(StopContainerResponse {})
}

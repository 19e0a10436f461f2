//! ReopenContainerLog.

use proto::v1::{ReopenContainerLogRequest, ReopenContainerLogResponse};
use tonic::Status;

use super::{Service, failure};

/// Begins a new log file, after the old one was renamed. CRI: ReopenContainerLog
pub(super) async fn reopen_container_log(
    service: &Service,
    request: ReopenContainerLogRequest,
) -> Result<ReopenContainerLogResponse, Status> {
    let id = failure::given("container_id", &request.container_id)?;
    service.engine.reopen_log(id).await.map_err(|error| failure::pod(&error))?;
    Ok(ReopenContainerLogResponse {})
}

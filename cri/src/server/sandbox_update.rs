//! UpdatePodSandboxResources.

use proto::v1::{LinuxContainerResources, UpdatePodSandboxResourcesRequest, UpdatePodSandboxResourcesResponse};
use tonic::Status;

use super::{Service, decode, failure};
use crate::pod::config::Resources;

/// Notes the limits that the kubelet has given to the pod's cgroup. CRI: UpdatePodSandboxResources
pub(super) async fn update_pod_sandbox_resources(
    service: &Service,
    request: UpdatePodSandboxResourcesRequest,
) -> Result<UpdatePodSandboxResourcesResponse, Status> {
    let id = failure::given("pod_sandbox_id", &request.pod_sandbox_id)?;
    let overhead = limits("overhead", request.overhead)?;
    let resources = limits("resources", request.resources)?;
    service.engine.update_pod(id, overhead, resources).await.map_err(|error| failure::pod(&error))?;
    Ok(UpdatePodSandboxResourcesResponse {})
}

fn limits(field: &str, message: Option<LinuxContainerResources>) -> Result<Option<Resources>, Status> {
    let limits = message.map(decode::resources).transpose();
    limits.map_err(|error| failure::invalid(&error.within(field)))
}

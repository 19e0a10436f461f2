//! RuntimeService: which call is answered where.

use proto::v1::runtime_service_server::RuntimeService;
use proto::v1::*;
use tonic::{Request, Response, Status};

use super::{
    Service, container_attach, container_create, container_events, container_exec, container_list, container_log,
    container_remove, container_start, container_stats, container_stats_list, container_status, container_stop,
    container_update, exec_sync, metric_descriptors, parts, patience, runtime_config, runtime_status, runtime_update,
    runtime_version, sandbox_list, sandbox_metrics_list, sandbox_port_forward, sandbox_remove, sandbox_run,
    sandbox_stats, sandbox_stats_list, sandbox_status, sandbox_stop, sandbox_update,
};

/// The answer of a call that is not built.
fn not_built(call: &str) -> Status {
    Status::unimplemented(format!("{call} is not built yet"))
}

#[tonic::async_trait]
impl RuntimeService for Service {
    type GetContainerEventsStream = futures_util::stream::BoxStream<'static, Result<ContainerEventResponse, Status>>;
    type StreamPodSandboxesStream = parts::Parts<StreamPodSandboxesResponse>;
    type StreamContainersStream = parts::Parts<StreamContainersResponse>;
    type StreamContainerStatsStream = parts::Parts<StreamContainerStatsResponse>;
    type StreamPodSandboxStatsStream = parts::Parts<StreamPodSandboxStatsResponse>;
    type StreamPodSandboxMetricsStream = parts::Parts<StreamPodSandboxMetricsResponse>;

    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(runtime_version::version()))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<RunPodSandboxRequest>,
    ) -> Result<Response<RunPodSandboxResponse>, Status> {
        let patience = patience::of(&request);
        sandbox_run::run_pod_sandbox(self, request.into_inner(), patience).await.map(Response::new)
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<StopPodSandboxRequest>,
    ) -> Result<Response<StopPodSandboxResponse>, Status> {
        let patience = patience::of(&request);
        sandbox_stop::stop_pod_sandbox(self, request.into_inner(), patience).await.map(Response::new)
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<RemovePodSandboxRequest>,
    ) -> Result<Response<RemovePodSandboxResponse>, Status> {
        let patience = patience::of(&request);
        sandbox_remove::remove_pod_sandbox(self, request.into_inner(), patience).await.map(Response::new)
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Result<Response<PodSandboxStatusResponse>, Status> {
        sandbox_status::pod_sandbox_status(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Result<Response<ListPodSandboxResponse>, Status> {
        let items = sandbox_list::list_pod_sandbox(self, request.into_inner().filter);
        Ok(Response::new(ListPodSandboxResponse { items }))
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        let patience = patience::of(&request);
        container_create::create_container(self, request.into_inner(), patience).await.map(Response::new)
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Result<Response<StartContainerResponse>, Status> {
        let patience = patience::of(&request);
        container_start::start_container(self, request.into_inner(), patience).await.map(Response::new)
    }

    async fn stop_container(
        &self,
        request: Request<StopContainerRequest>,
    ) -> Result<Response<StopContainerResponse>, Status> {
        let patience = patience::of(&request);
        container_stop::stop_container(self, request.into_inner(), patience).await.map(Response::new)
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Result<Response<RemoveContainerResponse>, Status> {
        let patience = patience::of(&request);
        container_remove::remove_container(self, request.into_inner(), patience).await.map(Response::new)
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        let containers = container_list::list_containers(self, request.into_inner().filter);
        Ok(Response::new(ListContainersResponse { containers }))
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Result<Response<ContainerStatusResponse>, Status> {
        container_status::container_status(self, request.into_inner()).await.map(Response::new)
    }

    async fn update_container_resources(
        &self,
        request: Request<UpdateContainerResourcesRequest>,
    ) -> Result<Response<UpdateContainerResourcesResponse>, Status> {
        container_update::update_container_resources(self, request.into_inner()).await.map(Response::new)
    }

    async fn reopen_container_log(
        &self,
        request: Request<ReopenContainerLogRequest>,
    ) -> Result<Response<ReopenContainerLogResponse>, Status> {
        container_log::reopen_container_log(self, request.into_inner()).await.map(Response::new)
    }

    async fn exec_sync(&self, request: Request<ExecSyncRequest>) -> Result<Response<ExecSyncResponse>, Status> {
        Ok(Response::new(exec_sync::exec_sync(self, request.into_inner()).await?))
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Result<Response<ExecResponse>, Status> {
        Ok(Response::new(container_exec::exec(self, request.into_inner())?))
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Result<Response<AttachResponse>, Status> {
        Ok(Response::new(container_attach::attach(self, request.into_inner())?))
    }

    async fn port_forward(
        &self,
        request: Request<PortForwardRequest>,
    ) -> Result<Response<PortForwardResponse>, Status> {
        Ok(Response::new(sandbox_port_forward::port_forward(self, request.into_inner())?))
    }

    async fn container_stats(
        &self,
        request: Request<ContainerStatsRequest>,
    ) -> Result<Response<ContainerStatsResponse>, Status> {
        container_stats::container_stats(self, &request.into_inner().container_id).await.map(Response::new)
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Result<Response<ListContainerStatsResponse>, Status> {
        let stats = container_stats_list::list_container_stats(self, request.into_inner().filter).await;
        Ok(Response::new(ListContainerStatsResponse { stats }))
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<PodSandboxStatsRequest>,
    ) -> Result<Response<PodSandboxStatsResponse>, Status> {
        sandbox_stats::pod_sandbox_stats(self, &request.into_inner().pod_sandbox_id).await.map(Response::new)
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<ListPodSandboxStatsRequest>,
    ) -> Result<Response<ListPodSandboxStatsResponse>, Status> {
        let stats = sandbox_stats_list::list_pod_sandbox_stats(self, request.into_inner().filter).await;
        Ok(Response::new(ListPodSandboxStatsResponse { stats }))
    }

    async fn update_runtime_config(
        &self,
        request: Request<UpdateRuntimeConfigRequest>,
    ) -> Result<Response<UpdateRuntimeConfigResponse>, Status> {
        runtime_update::update_runtime_config(self, request.into_inner()).await.map(Response::new)
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(runtime_status::status(self, request.into_inner()).await))
    }

    async fn checkpoint_container(
        &self,
        _: Request<CheckpointContainerRequest>,
    ) -> Result<Response<CheckpointContainerResponse>, Status> {
        Err(not_built("CheckpointContainer"))
    }

    async fn get_container_events(
        &self,
        request: Request<GetEventsRequest>,
    ) -> Result<Response<Self::GetContainerEventsStream>, Status> {
        let _ = request;
        Ok(Response::new(Box::pin(container_events::container_events(self))))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<ListMetricDescriptorsRequest>,
    ) -> Result<Response<ListMetricDescriptorsResponse>, Status> {
        Ok(Response::new(metric_descriptors::list_metric_descriptors()))
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<ListPodSandboxMetricsRequest>,
    ) -> Result<Response<ListPodSandboxMetricsResponse>, Status> {
        let pod_metrics = sandbox_metrics_list::list_pod_sandbox_metrics(self).await;
        Ok(Response::new(ListPodSandboxMetricsResponse { pod_metrics }))
    }

    async fn runtime_config(
        &self,
        _: Request<RuntimeConfigRequest>,
    ) -> Result<Response<RuntimeConfigResponse>, Status> {
        Ok(Response::new(runtime_config::runtime_config(&self.engine.settings().cgroups)))
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<UpdatePodSandboxResourcesRequest>,
    ) -> Result<Response<UpdatePodSandboxResourcesResponse>, Status> {
        sandbox_update::update_pod_sandbox_resources(self, request.into_inner()).await.map(Response::new)
    }

    async fn stream_pod_sandboxes(
        &self,
        request: Request<StreamPodSandboxesRequest>,
    ) -> Result<Response<Self::StreamPodSandboxesStream>, Status> {
        let pods = sandbox_list::list_pod_sandbox(self, request.into_inner().filter);
        Ok(Response::new(parts::of(&pods, |pod_sandboxes| StreamPodSandboxesResponse { pod_sandboxes })))
    }

    async fn stream_containers(
        &self,
        request: Request<StreamContainersRequest>,
    ) -> Result<Response<Self::StreamContainersStream>, Status> {
        let containers = container_list::list_containers(self, request.into_inner().filter);
        Ok(Response::new(parts::of(&containers, |containers| StreamContainersResponse { containers })))
    }

    async fn stream_container_stats(
        &self,
        request: Request<StreamContainerStatsRequest>,
    ) -> Result<Response<Self::StreamContainerStatsStream>, Status> {
        let stats = container_stats_list::list_container_stats(self, request.into_inner().filter).await;
        let part = |container_stats| StreamContainerStatsResponse { container_stats };
        Ok(Response::new(parts::of(&stats, part)))
    }

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<StreamPodSandboxStatsRequest>,
    ) -> Result<Response<Self::StreamPodSandboxStatsStream>, Status> {
        let stats = sandbox_stats_list::list_pod_sandbox_stats(self, request.into_inner().filter).await;
        let part = |pod_sandbox_stats| StreamPodSandboxStatsResponse { pod_sandbox_stats };
        Ok(Response::new(parts::of(&stats, part)))
    }

    async fn stream_pod_sandbox_metrics(
        &self,
        _: Request<StreamPodSandboxMetricsRequest>,
    ) -> Result<Response<Self::StreamPodSandboxMetricsStream>, Status> {
        let metrics = sandbox_metrics_list::list_pod_sandbox_metrics(self).await;
        let part = |pod_sandbox_metrics| StreamPodSandboxMetricsResponse { pod_sandbox_metrics };
        Ok(Response::new(parts::of(&metrics, part)))
    }

    async fn checkpoint_pod(
        &self,
        _: Request<CheckpointPodRequest>,
    ) -> Result<Response<CheckpointPodResponse>, Status> {
        Err(not_built("CheckpointPod"))
    }

    async fn restore_pod(&self, _: Request<RestorePodRequest>) -> Result<Response<RestorePodResponse>, Status> {
        Err(not_built("RestorePod"))
    }
}

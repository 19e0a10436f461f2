//! Pods as a kubelet asks for them.

use std::collections::HashMap;

use proto::v1::{
    Container, ContainerConfig, ContainerMetadata, ContainerState, ContainerStatus, ContainerStatusRequest,
    CreateContainerRequest, ExecSyncRequest, ExecSyncResponse, ImageSpec, LinuxContainerConfig,
    LinuxContainerSecurityContext, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, ListContainersRequest,
    ListPodSandboxRequest, NamespaceMode, NamespaceOption, PodSandbox, PodSandboxConfig, PodSandboxMetadata,
    PodSandboxStatus, PodSandboxStatusRequest, RemoveContainerRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StopContainerRequest, StopPodSandboxRequest,
};
use tonic::Status;

use crate::programs::handler;
use crate::rtd::Rtd;

/// The image that is there in every test of pods.
pub const IMAGE: &str = "docker.io/library/busybox:latest";

/// A pod on the node's network, with ordinary namespaces otherwise.
#[must_use]
pub fn pod(name: &str) -> PodSandboxConfig {
    let namespaces = NamespaceOption {
        network: NamespaceMode::Node as i32,
        pid: NamespaceMode::Container as i32,
        ipc: NamespaceMode::Pod as i32,
        ..NamespaceOption::default()
    };
    let security =
        LinuxSandboxSecurityContext { namespace_options: Some(namespaces), ..LinuxSandboxSecurityContext::default() };
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("{name}-uid"),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        labels: HashMap::from([("app".to_owned(), name.to_owned())]),
        annotations: HashMap::from([("note".to_owned(), "byte for byte \u{e9}".to_owned())]),
        linux: Some(LinuxPodSandboxConfig { security_context: Some(security), ..LinuxPodSandboxConfig::default() }),
        ..PodSandboxConfig::default()
    }
}

/// Changes the namespaces of a pod.
pub fn namespaces_of(pod: &mut PodSandboxConfig) -> &mut NamespaceOption {
    let security = pod.linux.get_or_insert_default().security_context.get_or_insert_default();
    security.namespace_options.get_or_insert_default()
}

/// A container of busybox that runs a shell's script, in the namespaces that [`pod`] has.
#[must_use]
pub fn container(name: &str, script: &str) -> ContainerConfig {
    let words = ["/bin/sh", "-c", script];
    let namespaces = NamespaceOption {
        network: NamespaceMode::Node as i32,
        pid: NamespaceMode::Container as i32,
        ipc: NamespaceMode::Pod as i32,
        ..NamespaceOption::default()
    };
    let security = LinuxContainerSecurityContext {
        namespace_options: Some(namespaces),
        ..LinuxContainerSecurityContext::default()
    };
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(ImageSpec { image: IMAGE.to_owned(), ..ImageSpec::default() }),
        command: words.map(str::to_owned).to_vec(),
        linux: Some(LinuxContainerConfig { security_context: Some(security), ..LinuxContainerConfig::default() }),
        ..ContainerConfig::default()
    }
}

impl Rtd<'_> {
    /// RunPodSandbox.
    pub async fn run(&mut self, config: &PodSandboxConfig) -> Result<String, Status> {
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: handler() };
        Ok(self.runtime.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
    }

    /// CreateContainer.
    pub async fn create(
        &mut self,
        pod: &str,
        config: &ContainerConfig,
        of: &PodSandboxConfig,
    ) -> Result<String, Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config.clone()),
            sandbox_config: Some(of.clone()),
        };
        Ok(self.runtime.create_container(request).await?.into_inner().container_id)
    }

    /// StartContainer.
    pub async fn start(&mut self, id: &str) -> Result<(), Status> {
        self.runtime.start_container(StartContainerRequest { container_id: id.to_owned() }).await.map(|_| ())
    }

    /// CreateContainer and StartContainer of [`container`].
    pub async fn launch(&mut self, pod: &str, name: &str, script: &str, of: &PodSandboxConfig) -> String {
        let id = self.create(pod, &container(name, script), of).await.unwrap();
        self.start(&id).await.unwrap();
        id
    }

    /// StopContainer.
    pub async fn stop_container(&mut self, id: &str, timeout: i64) -> Result<(), Status> {
        let request = StopContainerRequest { container_id: id.to_owned(), timeout };
        self.runtime.stop_container(request).await.map(|_| ())
    }

    /// RemoveContainer.
    pub async fn remove_container(&mut self, id: &str) -> Result<(), Status> {
        self.runtime.remove_container(RemoveContainerRequest { container_id: id.to_owned() }).await.map(|_| ())
    }

    /// StopPodSandbox.
    pub async fn stop_pod(&mut self, id: &str) -> Result<(), Status> {
        self.runtime.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id.to_owned() }).await.map(|_| ())
    }

    /// RemovePodSandbox.
    pub async fn remove_pod(&mut self, id: &str) -> Result<(), Status> {
        self.runtime.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() }).await.map(|_| ())
    }

    /// PodSandboxStatus.
    pub async fn pod_status(&mut self, id: &str) -> Result<PodSandboxStatus, Status> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        Ok(self.runtime.pod_sandbox_status(request).await?.into_inner().status.unwrap())
    }

    /// ContainerStatus.
    pub async fn status(&mut self, id: &str) -> Result<ContainerStatus, Status> {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        Ok(self.runtime.container_status(request).await?.into_inner().status.unwrap())
    }

    /// ListPodSandbox without filter.
    pub async fn pods(&mut self) -> Vec<PodSandbox> {
        self.runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await.unwrap().into_inner().items
    }

    /// ListContainers without filter.
    pub async fn containers(&mut self) -> Vec<Container> {
        self.runtime.list_containers(ListContainersRequest::default()).await.unwrap().into_inner().containers
    }

    /// ExecSync of a shell's script.
    pub async fn exec(&mut self, id: &str, script: &str) -> Result<ExecSyncResponse, Status> {
        let cmd = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let request = ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: 30 };
        Ok(self.runtime.exec_sync(request).await?.into_inner())
    }

    /// Waits until a container has ended, by the events of the runtime and its status.
    pub async fn ended(&mut self, id: &str) -> ContainerStatus {
        let events = self.runtime.get_container_events(proto::v1::GetEventsRequest {}).await.unwrap();
        let mut events = events.into_inner();
        loop {
            let status = self.status(id).await.unwrap();
            if status.state == ContainerState::ContainerExited as i32 {
                return status;
            }
            events.message().await.unwrap().unwrap();
        }
    }
}

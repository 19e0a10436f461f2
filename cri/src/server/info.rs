//! What verbose statuses tell beside the fields of the interface: JSON by name, as `crictl inspect` shows it.

use runtime::json;
use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};
use tonic::Status;

use crate::pod::{ContainerState, ContainerView, PodView};

/// The info of a container: `info` with its process, its configuration and its cgroup.
pub(super) async fn container(container: ContainerView) -> Result<HashMap<String, String>, Status> {
    told(move || {
        let pid = match container.state {
            ContainerState::Running { pid, .. } => pid,
            ContainerState::Created | ContainerState::Exited(_) => 0,
        };
        let spec = document(&container.dir.join("config.json"));
        json!({
            "sandboxID": container.record.pod,
            "pid": pid,
            "dir": container.dir,
            "cgroupsPath": spec["linux"]["cgroupsPath"],
            "runtimeSpec": without_environment(spec),
            "status": document(&container.dir.join("status.json")),
        })
    })
    .await
}

/// The info of a pod: `info` with its namespaces and what its network answered.
pub(super) async fn pod(pod: PodView) -> Result<HashMap<String, String>, Status> {
    told(move || {
        json!({
            "dir": pod.dir,
            "sandbox": document(&pod.dir.join("sandbox.json")),
            "sandboxStatus": document(&pod.dir.join("sandbox-status.json")),
            "network": document(&pod.dir.join("network.json")),
            "cgroupParent": pod.record.config.cgroup_parent,
        })
    })
    .await
}

async fn told(read: impl FnOnce() -> Value + Send + 'static) -> Result<HashMap<String, String>, Status> {
    let value = tokio::task::spawn_blocking(read).await.map_err(|panic| Status::internal(panic.to_string()))?;
    Ok(HashMap::from([("info".to_owned(), value.to_string())]))
}

/// A document of ours; null where there is none.
fn document(path: &Path) -> Value {
    std::fs::read(path).ok().and_then(|text| json::from_slice(&text).ok()).unwrap_or_default()
}

/// The environment is where programs get their passwords.
fn without_environment(mut spec: Value) -> Value {
    if let Some(process) = spec.get_mut("process").and_then(Value::as_object_mut) {
        process.remove("env");
        process.remove("rt.envBytes");
    }
    spec
}

//! Containers that tell what they see.

use std::fs;
use std::path::Path;

use proto::v1::{ContainerConfig, LinuxContainerSecurityContext, LinuxPodSandboxConfig, PodSandboxConfig};
use tests::Rtd;
use tests::pods::{container, pod};
use tonic::Status;

/// A pod whose containers have logs.
pub(crate) fn logged(rtd: &Rtd<'_>, name: &str) -> PodSandboxConfig {
    let directory = rtd.test.dir.join("logs").join(name);
    PodSandboxConfig { log_directory: directory.display().to_string(), ..pod(name) }
}

/// The Linux part of a pod.
pub(crate) fn linux(pod: &mut PodSandboxConfig) -> &mut LinuxPodSandboxConfig {
    pod.linux.get_or_insert_default()
}

/// What a container may do.
pub(crate) fn security(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config.linux.get_or_insert_default().security_context.get_or_insert_default()
}

/// A container that runs a script, changed.
pub(crate) fn changed(name: &str, script: &str, change: impl FnOnce(&mut ContainerConfig)) -> ContainerConfig {
    let mut config = container(name, script);
    config.log_path = format!("{name}.log");
    change(&mut config);
    config
}

/// A container with other security.
pub(crate) fn secured(
    name: &str,
    script: &str,
    change: impl FnOnce(&mut LinuxContainerSecurityContext),
) -> ContainerConfig {
    changed(name, script, |config| change(security(config)))
}

/// Runs a container to its end: its exit code, and what it wrote to both streams.
pub(crate) async fn finish(
    rtd: &mut Rtd<'_>,
    pod: &str,
    of: &PodSandboxConfig,
    config: &ContainerConfig,
) -> Result<(i32, String), Status> {
    let id = rtd.create(pod, config, of).await?;
    rtd.start(&id).await?;
    let ended = rtd.ended(&id).await;
    let text = log(Path::new(&ended.log_path));
    rtd.remove_container(&id).await?;
    fs::remove_file(&ended.log_path).unwrap();
    Ok((ended.exit_code, text))
}

/// What a container that must succeed wrote.
pub(crate) async fn output(rtd: &mut Rtd<'_>, pod: &str, of: &PodSandboxConfig, config: &ContainerConfig) -> String {
    let (code, text) = finish(rtd, pod, of, config).await.unwrap();
    assert_eq!(code, 0, "{text}");
    text
}

/// The content of a log's records, put together. CRI: log format
fn log(path: &Path) -> String {
    let mut all = String::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let mut parts = line.splitn(4, ' ').skip(2);
        let (tag, content) = (parts.next().unwrap(), parts.next().unwrap());
        all.push_str(content);
        if tag == "F" {
            all.push('\n');
        }
    }
    all
}

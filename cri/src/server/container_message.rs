//! A container as the wire has it.

use proto::v1::{
    Container, ContainerResources, ContainerState as State, ContainerStatus, ContainerUser, LinuxContainerUser,
};

use super::{encode, nanoseconds};
use crate::pod::{ContainerState, ContainerView};

/// State of a container.
pub(super) fn state(container: &ContainerView) -> State {
    match container.state {
        ContainerState::Created => State::ContainerCreated,
        ContainerState::Running { .. } => State::ContainerRunning,
        ContainerState::Exited(_) => State::ContainerExited,
    }
}

/// A container in a list.
pub(super) fn listed(container: &ContainerView) -> Container {
    let record = &container.record;
    let config = &record.config;
    Container {
        id: record.id.to_string(),
        pod_sandbox_id: record.pod.to_string(),
        metadata: Some(encode::container_metadata(&config.metadata)),
        image: Some(encode::image_spec(&config.image, "")),
        image_ref: record.image_id.clone(),
        state: state(container) as i32,
        created_at: nanoseconds(record.created_at),
        labels: config.labels.clone().into_iter().collect(),
        annotations: config.annotations.clone().into_iter().collect(),
        image_id: record.image_id.clone(),
    }
}

/// The whole status of a container.
pub(super) fn status(container: &ContainerView) -> ContainerStatus {
    let record = &container.record;
    let config = &record.config;
    let (started_at, finished_at, exit_code, reason, message) = match &container.state {
        ContainerState::Created => (0, 0, 0, "", ""),
        ContainerState::Running { started_at, .. } => (*started_at, 0, 0, "", ""),
        ContainerState::Exited(ended) => {
            (ended.started_at, ended.finished_at, ended.code, ended.reason, ended.message.as_str())
        }
    };
    let mounted = |path: &str| {
        let found = record.mounted_images.iter().find(|(destination, _)| destination == path);
        found.map_or("", |(_, id)| id.as_str())
    };
    let groups = record.user.groups.iter().copied().map(i64::from).collect();
    let user = LinuxContainerUser {
        uid: i64::from(record.user.uid),
        gid: i64::from(record.user.gid),
        supplemental_groups: groups,
    };
    ContainerStatus {
        id: record.id.to_string(),
        metadata: Some(encode::container_metadata(&config.metadata)),
        state: state(container) as i32,
        created_at: nanoseconds(record.created_at),
        started_at: nanoseconds(started_at),
        finished_at: nanoseconds(finished_at),
        exit_code,
        image: Some(encode::image_spec(&config.image, "")),
        image_ref: record.image_id.clone(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        labels: config.labels.clone().into_iter().collect(),
        annotations: config.annotations.clone().into_iter().collect(),
        mounts: config.mounts.iter().map(|mount| encode::mount(mount, mounted(&mount.container_path))).collect(),
        log_path: container.log_path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        resources: Some(ContainerResources { linux: Some(encode::resources(&container.resources)) }),
        image_id: record.image_id.clone(),
        user: Some(ContainerUser { linux: Some(user) }),
        stop_signal: encode::stop_signal(record.stop_signal),
    }
}

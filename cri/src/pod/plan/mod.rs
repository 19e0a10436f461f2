//! stub
use super::config::*;
use super::error::Error;
use std::path::{Path, PathBuf};
pub(super) fn sandbox(_c: &PodConfig) -> Result<shim::layout::Sandbox, Error> {
    todo!()
}
pub(super) enum ResolvedMount {
    Host(PathBuf),
    Image { layers: Vec<PathBuf>, sub_path: String },
}
pub(super) struct ContainerInput<'a> {
    pub id: &'a str,
    pub pod: &'a PodConfig,
    pub config: &'a ContainerConfig,
    pub image: &'a crate::spec::Image,
    pub identity: &'a crate::image::identity::Identity,
    pub host: &'a crate::spec::Host,
    pub layers: &'a [PathBuf],
    pub upper: &'a Path,
    pub files: &'a Path,
    pub mounts: &'a [ResolvedMount],
    pub cdi: &'a crate::spec::cdi::Edits,
    pub seccomp: Option<&'a str>,
    pub target_pid: Option<i32>,
}
pub(super) struct ContainerPlan {
    pub spec: runtime::spec::Spec,
    pub task: shim::layout::Task,
}
pub(super) fn container(_i: &ContainerInput<'_>) -> Result<ContainerPlan, Error> {
    todo!()
}

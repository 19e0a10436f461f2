//! SELinux labels of pods, their containers and their files.

use std::path::Path;

use super::config::{ContainerConfig, PodConfig};
use super::engine::Engine;
use super::error::Error;
use super::files;
use super::record::PodRecord;
use crate::selinux::{self, Labels};

impl Engine {
    /// The labels of a new pod; `None` where SELinux is off, or has no policy for containers. CRI: LinuxSandboxSecurityContext
    pub(super) fn new_labels(&self, config: &PodConfig) -> Result<Option<Labels>, Error> {
        if !self.0.host.selinux {
            return Ok(None);
        }
        let Some(base) = selinux::policy()? else { return Ok(None) };
        let pods = self.pod_list();
        let level = selinux::new_level(pods.iter().filter_map(|pod| pod.record.labels.as_ref()))?;
        Ok(Some(base.with(config.selinux.as_ref(), &level)))
    }
}

/// The labels of a container. The processes of a privileged one are confined by none; the policy may have one for who executes files of
/// containers (`spc_t`), so its files have theirs.
pub(super) fn of_container(pod: &PodRecord, config: &ContainerConfig) -> Option<Labels> {
    let labels = pod.labels.as_ref()?.within(config.selinux.as_ref());
    let process = if config.privileged { String::new() } else { labels.process };
    Some(Labels { process, ..labels })
}

/// Labels a file or directory of the node, and all below it, for a pod's containers alone. CRI: Mount.selinux_relabel
///
/// # Errors
/// A tree that the node itself needs; what the kernel refused.
pub(super) fn relabel(path: &Path, label: &str) -> Result<(), Error> {
    selinux::relabel(path, label, None).map_err(|error| match error {
        kept @ selinux::Error::Kept(_) => {
            Error::Invalid { field: "config.mounts: selinux_relabel".to_owned(), problem: kept.to_string() }
        }
        selinux::Error::Call(error) => error.into(),
    })
}

/// Labels the files of a pod for its containers. CRI: LinuxSandboxSecurityContext
pub(super) fn relabel_shared(dir: &Path, labels: &Labels) -> Result<(), Error> {
    files::NAMES.iter().try_for_each(|name| relabel(&dir.join(name), &labels.shared()))
}

//! Whose the containers' cgroups are: ours, by the file system, or systemd's, over D-Bus.
//!
//! ```text
//!               prepare                                shim                                      settle            release
//!  cgroupfs     PARENT/ID                              makes it                                  -                 -
//!  systemd      scope rt-ID.scope in the pod's slice,  makes `container` in the scope: it was    the placeholder   stops the scope
//!               with a placeholder in it               delegated, systemd leaves it alone        ends
//! ```
//!
//! With systemd's driver, systemd makes and removes the group of the scope and keeps its limits through a `daemon-reload`; everything
//! below is the shim's. The limits are set twice, on the scope by systemd and below it by the shim: weights and protections
//! (`cpu.weight`, `memory.min`) only mean something on the level of the scope, all others are seen by the container in its own group.
//! The shim never removes a scope, so systemd always sees it end.

mod bus;
mod error;
mod hold;
mod slice;
mod systemd;

use std::path::PathBuf;

use runtime::spec::Resources;

use crate::config::CgroupDriver as Choice;

pub use error::Error;
pub use hold::Placement;
pub use slice::Slice;
pub use systemd::Systemd;

/// What makes the cgroups of containers. Cheap to clone. CRI: RuntimeConfig
#[derive(Debug, Clone)]
pub enum CgroupDriver {
    /// The shim, by the file system.
    Cgroupfs,
    /// systemd makes a scope for each container, in the slice of its pod.
    Systemd(Systemd),
}

impl CgroupDriver {
    /// The driver that was chosen. No connection is made before it is needed. `shim` is the program `rt-shim`, which also is the
    /// placeholder in new scopes.
    pub fn new(choice: Choice, shim: PathBuf) -> CgroupDriver {
        match choice {
            Choice::Cgroupfs => CgroupDriver::Cgroupfs,
            Choice::Auto if !is_booted() => CgroupDriver::Cgroupfs,
            Choice::Auto | Choice::Systemd => CgroupDriver::Systemd(Systemd::new(shim)),
        }
    }

    /// The cgroup of a pod, from the root of each hierarchy: what its containers' groups are below. Without a parent it is
    /// `/rt`, or `/rt.slice`.
    ///
    /// # Errors
    /// [`Error::Parent`].
    pub fn pod_path(&self, parent: &str) -> Result<String, Error> {
        match self {
            CgroupDriver::Cgroupfs => slice::absolute(parent),
            CgroupDriver::Systemd(_) => Ok(Slice::of_parent(parent)?.path()),
        }
    }

    /// `linux.cgroupsPath` of a container. OCI runtime-spec config-linux.md, "Cgroups Path"
    ///
    /// # Errors
    /// [`Error::Parent`], [`Error::Container`].
    pub fn container_path(&self, parent: &str, id: &str) -> Result<String, Error> {
        match self {
            CgroupDriver::Cgroupfs => Ok(format!("{}/{id}", slice::absolute(parent)?)),
            CgroupDriver::Systemd(_) => Ok(slice::container_path(&Slice::of_parent(parent)?, id)?),
        }
    }

    /// Makes room for a container before its shim creates it at [`CgroupDriver::container_path`]. Call [`Placement::settle`] once its init process is there; a placement
    /// that is dropped takes the scope back, unless somebody else is in it.
    ///
    /// `parent` is what the CRI gives, a path also with systemd's driver: its last part is the slice. CRI: LinuxPodSandboxConfig
    ///
    /// # Errors
    /// [`Error::Parent`], [`Error::Resource`]; what systemd and the kernel answered.
    pub async fn prepare(&self, parent: &str, id: &str, resources: &Resources) -> Result<Placement, Error> {
        match self {
            CgroupDriver::Cgroupfs => Ok(Placement::default()),
            CgroupDriver::Systemd(systemd) => systemd.prepare(&Slice::of_parent(parent)?, id, resources).await,
        }
    }

    /// Changes what systemd knows of the limits of a container; what `resources` do not mention stays. The shim's update goes
    /// beside it, and is what the container sees.
    ///
    /// # Errors
    /// [`Error::Resource`] before anything is changed; what systemd answered.
    pub async fn update(&self, id: &str, resources: &Resources) -> Result<(), Error> {
        match self {
            CgroupDriver::Cgroupfs => Ok(()),
            CgroupDriver::Systemd(systemd) => systemd.update(id, resources).await,
        }
    }

    /// Sees to it that nothing is left of a container that has been removed, whatever state it is in. Processes that are still there are
    /// killed. What is gone is done.
    ///
    /// # Errors
    /// What systemd answered.
    pub async fn release(&self, parent: &str, id: &str) -> Result<(), Error> {
        match self {
            CgroupDriver::Cgroupfs => Ok(()),
            CgroupDriver::Systemd(systemd) => systemd.release(&Slice::of_parent(parent)?, id).await,
        }
    }
}

/// Whether systemd runs this host. sd_booted(3)
#[must_use]
pub fn is_booted() -> bool {
    std::fs::symlink_metadata("/run/systemd/system").is_ok_and(|metadata| metadata.is_dir())
}

//! The files of a pod: where they are, and what is in those that the daemon writes.
//!
//! ```text
//! <state>/pods/<id>/               0700, one per pod
//!     intent.json                  [`PodRecord`], first of all: what to undo if the pod does not come about
//!     sandbox.json                 what the shim makes; see `shim::layout`
//!     sandbox-status.json          written by the shim
//!     shim.sock                    the shim's socket
//!     hosts hostname resolv.conf   mounted into the containers
//!     network.json                 [`NetworkRecord`], once it is attached; gone once it is detached
//!     pod-resources.json           [`PodResources`], when they were changed
//!     pod.json                     [`PodRecord`], last of all: now the pod is there; never changes
//!     containers/<id>/             one per container
//!         images                       ids of the images that it is made of, a line each; before they are used
//!         shim.json config.json    what the shim makes
//!         status.json              written by the shim, once it was started
//!         resources.json           [`Applied`]: the limits it has
//!         failure.json             [`StartFailure`]: why it did not start
//!         shim.sock                link to the pod's
//!         container.json           [`ContainerRecord`], last of all; never changes
//! <root>/upper/<container id>/     writable layer
//!     fs work                      of the overlay
//!     volumes/<n>                  of the image: a copy of what it has there
//!     owner                        `<state>`: who may remove it when the container is not there any more
//! ```

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use shim::record::Record;

use super::config::{ContainerConfig, PodConfig, Resources};
use super::id::Id;
use crate::selinux::Labels;

/// Name of the directory of containers in a pod's.
pub(super) const CONTAINERS: &str = "containers";

/// Name of the file in a container's part of `upper/` that says whose it is.
pub(super) const OWNER: &str = "owner";

/// Name of the file in a container's directory that tells which images it is made of.
pub(super) const IMAGES: &str = "images";

/// `pod.json`, and before that `intent.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodRecord {
    /// [`shim::layout::VERSION`].
    pub version: u32,
    /// Its id.
    pub id: Id,
    /// What was asked for.
    pub config: PodConfig,
    /// The handler that runs its containers, whatever the default becomes later; empty in records of versions that did not keep it.
    #[serde(default)]
    pub handler: String,
    /// Nanoseconds since the epoch.
    pub created_at: u64,
    /// How it is on the network.
    pub network: NetworkKind,
    /// Whether the cgroup that the containers' are made in is ours to remove.
    pub owns_cgroup: bool,
    /// SELinux labels; absent where there is no SELinux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

/// How a pod is on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// It uses the node's.
    Node,
    /// By CNI plugins.
    Cni,
    /// By the built-in bridge.
    Bridge,
}

/// `network.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// [`shim::layout::VERSION`].
    pub version: u32,
    /// Its addresses, the first one is the pod's.
    pub ips: Vec<IpAddr>,
    /// Name of the network.
    pub network: String,
    /// What the plugins answered, or the bridge's attachment.
    pub result: serde_json::Value,
}

/// `pod-resources.json`: CRI UpdatePodSandboxResources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodResources {
    /// [`shim::layout::VERSION`].
    pub version: u32,
    /// As in [`PodConfig`].
    pub overhead: Option<Resources>,
    /// As in [`PodConfig`].
    pub resources: Option<Resources>,
}

/// `container.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// [`shim::layout::VERSION`].
    pub version: u32,
    /// Its id.
    pub id: Id,
    /// Its pod's id.
    pub pod: Id,
    /// What was asked for.
    pub config: ContainerConfig,
    /// Nanoseconds since the epoch.
    pub created_at: u64,
    /// Id of its image.
    pub image_id: String,
    /// Ids of the images of its mounts, by destination.
    pub mounted_images: Vec<(String, String)>,
    /// Who its program is, in the container.
    pub user: UserRecord,
    /// Signal that asks it to end.
    pub stop_signal: i32,
}

/// Who a program is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// `resources.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Applied {
    /// [`shim::layout::VERSION`].
    pub version: u32,
    /// The limits.
    pub resources: Resources,
}

/// `failure.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// [`shim::layout::VERSION`].
    pub version: u32,
    /// Nanoseconds since the epoch.
    pub at: u64,
    /// Exit code to tell.
    pub code: i32,
    /// Why.
    pub message: String,
}

/// [`PodRecord`] under the name of `intent.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Intent(pub(super) PodRecord);

impl Record for Intent {
    const NAME: &'static str = "intent.json";
}

impl Record for PodRecord {
    const NAME: &'static str = "pod.json";
}

impl Record for NetworkRecord {
    const NAME: &'static str = "network.json";
}

impl Record for PodResources {
    const NAME: &'static str = "pod-resources.json";
}

impl Record for ContainerRecord {
    const NAME: &'static str = "container.json";
}

impl Record for Applied {
    const NAME: &'static str = "resources.json";
}

impl Record for StartFailure {
    const NAME: &'static str = "failure.json";
}

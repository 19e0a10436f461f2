//! What was asked for: a pod, and a container in it. As the wire has it, but typed and checked; kept in `pod.json` and `container.json`, and
//! told again by every status.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use runtime::spec::IdMapping;
use serde::{Deserialize, Serialize};

use crate::selinux::Context;

/// Who a pod is: what a caller that asks again names it by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodMetadata {
    /// Name of the pod.
    pub name: String,
    /// Uid of the pod.
    pub uid: String,
    /// Namespace of the cluster.
    pub namespace: String,
    /// How many sandboxes the pod had before.
    pub attempt: u32,
}

/// A pod. CRI: PodSandboxConfig
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodConfig {
    /// Who it is.
    pub metadata: PodMetadata,
    /// Host name; empty means the node's with the node's network, else the name of the pod.
    pub hostname: String,
    /// Directory of its containers' logs; absent means that they have none.
    pub log_directory: Option<PathBuf>,
    /// Resolver; absent means the node's own.
    pub dns: Option<Dns>,
    /// Ports of the node that lead into it, and ports that its network plugins are told of.
    pub ports: Vec<Port>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Runtime handler; empty means the default.
    pub handler: String,
    /// Cgroup that the containers' are made in: an absolute path, or `NAME.slice` with systemd's driver; empty means ours.
    pub cgroup_parent: String,
    /// Kernel parameters of its namespaces, by dotted names.
    pub sysctls: BTreeMap<String, String>,
    /// What its containers need together beside what they ask for.
    pub overhead: Option<Resources>,
    /// What its containers ask for together.
    pub resources: Option<Resources>,
    /// Namespaces that its containers share or not.
    pub namespaces: Namespaces,
    /// Whether it may have privileged containers.
    pub privileged: bool,
    /// SELinux context.
    pub selinux: Option<Context>,
    /// System call filter of the sandbox; nothing runs there, so it is only told again.
    pub seccomp: Option<Profile>,
    /// AppArmor profile of the sandbox; nothing runs there, so it is only told again.
    pub apparmor: Option<Profile>,
}

/// Resolver of a pod. CRI: DNSConfig
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options of resolv.conf(5).
    pub options: Vec<String>,
}

/// A port. CRI: PortMapping
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Transport.
    pub protocol: Protocol,
    /// Port in the pod.
    pub container_port: u16,
    /// Port of the node; absent means that none leads there.
    pub host_port: Option<u16>,
    /// Address of the node; absent means all.
    pub host_ip: Option<IpAddr>,
}

/// Transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Namespaces of a pod or container. CRI: NamespaceOption
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network, and with it the host name.
    pub network: Scope,
    /// Processes.
    pub pid: PidScope,
    /// System V IPC and /dev/shm.
    pub ipc: Scope,
    /// User namespace; absent means the node's.
    pub user: Option<UserMaps>,
}

/// Whose namespace it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The pod's.
    Pod,
    /// The node's.
    Node,
}

/// Whose pid namespace it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PidScope {
    /// One for all containers of the pod.
    Pod,
    /// The container's own.
    Container,
    /// The node's.
    Node,
    /// That of another container of the pod, by its id.
    Target(String),
}

/// Maps of a user namespace: one line each, from id 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMaps {
    /// Users.
    pub uids: IdMapping,
    /// Groups.
    pub gids: IdMapping,
}

/// Limits, and weights. What is 0 or empty was not given. CRI: LinuxContainerResources
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds per period; negative means no limit.
    pub cpu_quota: i64,
    /// Relative weight, cgroup v1's.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory_limit: i64,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// List of CPUs.
    pub cpuset_cpus: String,
    /// List of memory nodes.
    pub cpuset_mems: String,
    /// Bytes by page size such as `2MB`.
    pub hugepage_limits: Vec<(String, u64)>,
    /// Files of cgroup v2, written last.
    pub unified: BTreeMap<String, String>,
    /// Bytes of memory and swap together.
    pub memory_swap_limit: i64,
}

/// A profile of seccomp or AppArmor. CRI: SecurityProfile
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The runtime's own.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// The node's own: the path of a seccomp profile, or the name of an AppArmor profile without `localhost/`.
    Localhost(String),
}

/// Who a container is: its name in the pod and how often it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerMetadata {
    /// Name in the pod.
    pub name: String,
    /// How many there were before.
    pub attempt: u32,
}

/// A container. CRI: ContainerConfig
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Who it is.
    pub metadata: ContainerMetadata,
    /// Image.
    pub image: ImageSpec,
    /// Program and first arguments; empty means the image's entrypoint.
    pub command: Vec<String>,
    /// Arguments; empty means the image's, if there is no command either.
    pub args: Vec<String>,
    /// Working directory; empty means the image's.
    pub working_dir: String,
    /// Environment, in order; values need not be UTF-8 and are kept as bytes.
    pub envs: Vec<(String, Vec<u8>)>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Devices of the node.
    pub devices: Vec<Device>,
    /// CDI devices by qualified names.
    pub cdi_devices: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Log file, below the pod's log directory; absent means no log.
    pub log_path: Option<PathBuf>,
    /// Whether its input is open.
    pub stdin: bool,
    /// Whether its input ends with that of the first client.
    pub stdin_once: bool,
    /// Whether its streams are a pseudo terminal.
    pub tty: bool,
    /// Signal that asks it to end; absent means the image's.
    pub stop_signal: Option<i32>,
    /// Limits.
    pub resources: Resources,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// All capabilities and devices, no confinement.
    pub privileged: bool,
    /// Namespaces; absent means the pod's.
    pub namespaces: Option<Namespaces>,
    /// SELinux context; absent means the pod's.
    pub selinux: Option<Context>,
    /// Who it runs as.
    pub user: User,
    /// Whether its root file system is read-only.
    pub readonly_rootfs: bool,
    /// Groups beside those of the user.
    pub supplemental_groups: Vec<u32>,
    /// Whether the groups that the image's files name count.
    pub supplemental_groups_policy: GroupsPolicy,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// Paths that it sees empty; none are added.
    pub masked_paths: Vec<String>,
    /// Paths that it sees read-only; none are added.
    pub readonly_paths: Vec<String>,
    /// System call filter; absent means none.
    pub seccomp: Option<Profile>,
    /// AppArmor profile; absent means the runtime's own where AppArmor is there.
    pub apparmor: Option<Profile>,
}

/// An image as the caller names it. CRI: ImageSpec
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Name or id.
    pub image: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// What the user wrote.
    pub user_specified_image: String,
    /// Runtime handler that it is for.
    pub runtime_handler: String,
}

/// A mount. CRI: Mount
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where in the container.
    pub container_path: String,
    /// What.
    pub source: MountSource,
    /// Read-only.
    pub readonly: bool,
    /// With all mounts below it.
    pub recursive_read_only: bool,
    /// Ask for the container's SELinux label.
    pub selinux_relabel: bool,
    /// How mounts pass.
    pub propagation: Propagation,
    /// Its files' ids, mapped as in the container's user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// The same of groups.
    pub gid_mappings: Vec<IdMapping>,
    /// noexec, nodev, nosuid and their opposites.
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A file or directory of the node.
    Host(PathBuf),
    /// An image, or a directory in it.
    Image {
        /// Which.
        image: ImageSpec,
        /// Path in it; empty means all of it.
        sub_path: String,
    },
}

/// How mounts pass between node and container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    /// Not at all.
    Private,
    /// From the node.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// A device. CRI: Device
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where in the container.
    pub container_path: String,
    /// Which, or a directory of devices.
    pub host_path: PathBuf,
    /// Letters of `rwm`.
    pub permissions: String,
}

/// Changes of the default capabilities; names with or without `CAP_`, or `ALL`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Added.
    pub add: Vec<String>,
    /// Removed.
    pub drop: Vec<String>,
    /// Added, and kept by programs that are no root's.
    pub add_ambient: Vec<String>,
}

/// Who a container runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum User {
    /// As the image says.
    Image,
    /// A number, and perhaps a group.
    Id {
        /// User.
        uid: u32,
        /// Group; absent means that of the image's files.
        gid: Option<u32>,
    },
    /// A name of the image's files, and perhaps a group.
    Name {
        /// User.
        name: String,
        /// Group; absent means that of the image's files.
        gid: Option<u32>,
    },
}

/// Which supplementary groups a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupsPolicy {
    /// Those that the image's files name, too.
    Merge,
    /// Only those that were asked for.
    Strict,
}

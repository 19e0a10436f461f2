//! What can be asked of a container: typed, and free of contradictions once [`Options::check`] has passed.

use std::collections::BTreeMap;

use runtime::spec::{DeviceRule, IdMapping, Resources, Rlimit, Seccomp};
use serde::{Deserialize, Serialize};

use super::capabilities::CapabilityChange;
use super::devices::DeviceRequest;
use super::error::Error;
use super::mounts::{MountIdMap, MountRequest, MountTarget};
use crate::image::ImageConfig;
use crate::selinux::Labels;

/// What an image says about its containers: `config` of the OCI image configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Start of the command line.
    pub entrypoint: Vec<String>,
    /// Rest of the command line, replaced by the user's arguments.
    pub cmd: Vec<String>,
    /// `NAME=value` pairs.
    pub env: Vec<String>,
    /// `user[:group]`, names or numbers; empty means root.
    pub user: String,
    /// Working directory; empty means `/`.
    pub working_dir: String,
    /// Directories that get an anonymous volume.
    pub volumes: Vec<String>,
    /// Signal that stops it.
    pub stop_signal: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Ports it listens on, as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// The health check as docker writes it, not interpreted.
    pub healthcheck: Option<serde_json::Value>,
}

impl From<&ImageConfig> for Image {
    fn from(config: &ImageConfig) -> Image {
        Image {
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone(),
            env: config.env.clone(),
            user: config.user.clone(),
            working_dir: config.working_dir.clone(),
            volumes: config.volumes.clone(),
            stop_signal: config.stop_signal.clone(),
            labels: config.labels.clone(),
            exposed_ports: config.exposed_ports.clone(),
            healthcheck: config.healthcheck.clone(),
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `root.path` of the document: a directory, or the name under which the runtime mounts layers.
    pub rootfs: String,
    /// Arguments after the image.
    pub command: Vec<String>,
    /// Replaces the image's entrypoint; an empty list removes it.
    pub entrypoint: Option<Vec<String>>,
    /// Environment, in order.
    pub env: Vec<EnvChange>,
    /// Working directory; absent means the image's.
    pub workdir: Option<String>,
    /// Whether standard streams are a pseudo terminal.
    pub terminal: bool,
    /// Initial size of it.
    pub console_size: Option<runtime::spec::ConsoleSize>,
    /// Host name; absent means the first 12 digits of the id, or the host's with [`NamespaceChoice::Host`].
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Network namespace.
    pub network: NamespaceChoice,
    /// Process namespace.
    pub pid: NamespaceChoice,
    /// IPC namespace.
    pub ipc: NamespaceChoice,
    /// Whether a private ipc namespace comes with no `/dev/shm` (`--ipc none`).
    pub no_shm: bool,
    /// UTS namespace.
    pub uts: NamespaceChoice,
    /// Control group namespace; absent means docker's default: private on cgroup v2, the host's on v1.
    pub cgroupns: Option<NamespaceChoice>,
    /// User namespace.
    pub userns: UserNamespace,
    /// Parent of the control group.
    pub cgroup_parent: Option<String>,
    /// Limits; device rules are added by [`super::build`].
    pub resources: Resources,
    /// Mounts, volumes already resolved to directories.
    pub mounts: Vec<MountRequest>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// Source for `/dev/shm` instead of a new one (joined ipc namespaces).
    pub shm_source: Option<String>,
    /// Files bound over `/etc/hostname`, `/etc/hosts`, `/etc/resolv.conf`: (destination, source).
    pub etc_files: Vec<(String, String)>,
    /// Capabilities added and dropped.
    pub capabilities: CapabilityChange,
    /// All capabilities of the host's bounding set, all devices, nothing masked, no seccomp filter.
    pub privileged: bool,
    /// Confinement.
    pub security: Security,
    /// Read-only root file system.
    pub read_only: bool,
    /// Devices beside the default ones.
    pub devices: Vec<DeviceRequest>,
    /// Device access rules beside those that follow from `devices`.
    pub device_rules: Vec<DeviceRule>,
    /// Kernel parameters.
    pub sysctl: BTreeMap<String, String>,
    /// Whether process 1 is a small init that starts the command. The configuration says nothing of it: the shim makes it.
    pub init: bool,
    /// setrlimit(2) values.
    pub rlimits: Vec<Rlimit>,
    /// `/proc/PID/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Passed on to the runtime.
    pub annotations: BTreeMap<String, String>,
}

/// A change of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvChange {
    /// `NAME=value`.
    Set(String, String),
    /// Removes what the image sets.
    Unset(String),
}

/// Where a namespace comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NamespaceChoice {
    /// A new one.
    #[default]
    Private,
    /// The host's.
    Host,
    /// An existing one, by the path of its file.
    Join(String),
}

/// User namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UserNamespace {
    /// The host's: ids mean the same inside and outside.
    #[default]
    Host,
    /// A new one with these maps.
    Mapped {
        /// Lines of uid_map.
        uids: Vec<IdMapping>,
        /// Lines of gid_map.
        gids: Vec<IdMapping>,
    },
}

/// `--security-opt`.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// System call filter.
    pub seccomp: SeccompChoice,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// AppArmor profile; absent means the one of the caller.
    pub apparmor: Option<String>,
    /// Leave masked and read-only paths as they are.
    pub unconfined_paths: bool,
    /// SELinux labels; absent where there is no SELinux.
    pub labels: Option<Labels>,
}

/// System call filter.
#[derive(Debug, Clone, Default)]
pub enum SeccompChoice {
    /// Docker's default profile; none for a privileged container.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// This one.
    Profile(Box<Seccomp>),
}

impl Options {
    /// Finds contradictions.
    ///
    /// # Errors
    /// [`Error::Conflict`] and [`Error::Invalid`], naming the options.
    pub fn check(&self) -> Result<(), Error> {
        let conflict = |left, right, why| Err(Error::Conflict { left, right, why });
        if self.hostname.is_some() && self.uts != NamespaceChoice::Private {
            return conflict("--hostname", "--uts", "the host name belongs to the uts namespace that is shared");
        }
        if self.domainname.is_some() && self.uts != NamespaceChoice::Private {
            return conflict("--domainname", "--uts", "the domain name belongs to the uts namespace that is shared");
        }
        if self.privileged && matches!(self.userns, UserNamespace::Mapped { .. }) {
            return conflict(
                "--privileged",
                "--userns",
                "privileges over the host end at a user namespace; use --userns host",
            );
        }
        if matches!(self.userns, UserNamespace::Mapped { .. }) && self.pid == NamespaceChoice::Host {
            return conflict("--pid host", "--userns", "procfs of a pid namespace can only be mounted by its owner");
        }
        if self.init && self.pid != NamespaceChoice::Private {
            return conflict(
                "--init",
                "--pid",
                "an init process reaps orphans only as process 1 of its own pid namespace",
            );
        }
        if let Some(workdir) = &self.workdir
            && !workdir.starts_with('/')
        {
            return Err(Error::Invalid {
                option: "--workdir",
                value: workdir.clone(),
                rule: "an absolute path in the container",
            });
        }
        for rlimit in &self.rlimits {
            if rlimit.soft > rlimit.hard {
                return Err(Error::Invalid {
                    option: "--ulimit",
                    value: format!("{}={}:{}", rlimit.kind, rlimit.soft, rlimit.hard),
                    rule: "the soft limit is at most the hard limit",
                });
            }
        }
        if let Some(score) = self.oom_score_adj
            && !(-1000..=1000).contains(&score)
        {
            return Err(Error::Invalid { option: "--oom-score-adj", value: score.to_string(), rule: "-1000 to 1000" });
        }
        self.check_mounts()
    }

    fn check_mounts(&self) -> Result<(), Error> {
        let mut seen = std::collections::BTreeSet::new();
        for mount in &self.mounts {
            if !seen.insert(mount.destination.as_str()) {
                return Err(Error::DuplicateMount { destination: mount.destination.clone() });
            }
            if self.userns == UserNamespace::Host
                && matches!(mount.target, MountTarget::Bind { id_map: Some(MountIdMap::Container), .. })
            {
                let why = "ids are mapped as those of the container's user namespace, and it has none";
                return Err(Error::Conflict { left: "idmap", right: "--userns host", why });
            }
        }
        Ok(())
    }
}

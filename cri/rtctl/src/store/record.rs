//! `container.json`: what a container was made from. It never changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::flag::create::RootfsFlag;
use crate::flag::health::Healthcheck;
use crate::flag::namespace::{Ipc, Mode, Userns};
use crate::flag::network::NetworkMode;

/// Version of the record. A newer one is refused, an older one is read.
pub(crate) const VERSION: u32 = 1;

/// `container.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// Nanoseconds since the epoch.
    pub(crate) created: u64,
    /// Id of the pod that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<String>,
    /// What it was made from.
    pub(crate) origin: Origin,
    /// Command line, the program first.
    pub(crate) command: Vec<String>,
    /// What it was made by.
    #[serde(default)]
    pub(crate) command_line: CommandLine,
    /// What is asked of the program.
    pub(crate) config: Config,
    /// What is asked of the host.
    pub(crate) host: HostConfig,
    /// Mounts of the user.
    pub(crate) mounts: Vec<MountPoint>,
    /// Its log file.
    pub(crate) log: Option<String>,
}

/// A command line of this program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommandLine {
    /// Its arguments.
    pub(crate) words: Vec<String>,
    /// Where it was started.
    pub(crate) directory: String,
}

impl CommandLine {
    /// This process's; what is not UTF-8 is not kept.
    pub(crate) fn own() -> CommandLine {
        let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
        CommandLine {
            words: std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect(),
            directory: directory.to_string_lossy().into_owned(),
        }
    }
}

impl Record {
    /// Whether its root file system or a mount is of that image.
    pub(crate) fn uses(&self, image: &str) -> bool {
        matches!(&self.origin, Origin::Image { id, .. } if id == image)
            || self.mounts.iter().any(|mount| matches!(&mount.kind, MountKind::Image { id, .. } if id == image))
    }
}

/// Where the root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// An image.
    Image {
        /// As the user called it.
        name: String,
        /// `sha256:…` of its configuration.
        id: String,
    },
    /// A directory.
    Rootfs(RootfsFlag),
}

impl Origin {
    /// As `ps` shows it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Origin::Image { name, .. } => name,
            Origin::Rootfs(rootfs) => &rootfs.dir,
        }
    }
}

/// The part of docker's `Config` that we know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) user: String,
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) attach_stderr: bool,
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) env: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) volumes: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) stop_signal: String,
    /// Seconds; -1 waits for ever.
    pub(crate) stop_timeout: Option<i64>,
    pub(crate) exposed_ports: Vec<String>,
    #[serde(default)]
    pub(crate) healthcheck: Option<Healthcheck>,
}

/// The part of docker's `HostConfig` that is not in `config.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostConfig {
    pub(crate) auto_remove: bool,
    pub(crate) network: NetworkMode,
    /// `--publish` as it was given, and what `--publish-all` adds.
    #[serde(default)]
    pub(crate) publish: Vec<String>,
    #[serde(default)]
    pub(crate) publish_all: bool,
    pub(crate) pid: Mode,
    pub(crate) ipc: Ipc,
    pub(crate) uts: Mode,
    pub(crate) cgroupns: Option<Mode>,
    pub(crate) userns: Userns,
    pub(crate) cgroup_parent: Option<String>,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) group_add: Vec<String>,
    pub(crate) privileged: bool,
    pub(crate) read_only: bool,
    pub(crate) init: bool,
    pub(crate) security_opt: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) dns_option: Vec<String>,
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) shm_size: u64,
    pub(crate) cidfile: Option<String>,
    /// `--cpus` in billionths.
    pub(crate) nano_cpus: u64,
    /// CDI devices by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cdi: Vec<String>,
    #[serde(default)]
    pub(crate) log_driver: String,
    #[serde(default)]
    pub(crate) log_options: BTreeMap<String, String>,
}

/// An element of docker's `Mounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountPoint {
    pub(crate) kind: MountKind,
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) options: String,
    pub(crate) read_only: bool,
    pub(crate) propagation: String,
    /// What happens to mounts below the source of a bind mount.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) recursion: cri::spec::BindRecursion,
    /// Whether its ids are mapped as those of the container's user namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) id_map: bool,
}

fn is_default(recursion: &cri::spec::BindRecursion) -> bool {
    *recursion == cri::spec::BindRecursion::default()
}

/// Kind of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MountKind {
    /// A path of the host.
    Bind,
    /// A volume, by its name.
    Volume {
        name: String,
        /// Made for this container and removed with it on request.
        anonymous: bool,
        /// Only this part of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// An image.
    Image {
        /// `sha256:…` of its configuration.
        id: String,
        /// Only this part of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// Memory.
    Tmpfs,
}

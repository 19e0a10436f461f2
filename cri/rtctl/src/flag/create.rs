//! The flags that `run` and `create` share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cri::network::Mac;
use runtime::spec::{DeviceRule, NamespaceKind, Rlimit};
use serde::{Deserialize, Serialize};
use shim::layout::RestartPolicy;

use super::device::DeviceFlag;
use super::health::HealthFlags;
use super::log::LogFlags;
use super::namespace::{self, Ipc, Mode, Userns};
use super::network::{self, ExtraHost, Link, NetworkFlag};
use super::resources::{FixedResourceFlags, ResourceFlags};
use super::security::SecurityFlag;
use super::volume::{self, MountFlag};
use super::{device, port, restart, security, signal, size, ulimit};
use crate::transfer::{BlobFlags, RegistryFlags};

/// Flags of `run` and `create`.
#[derive(Debug, Args)]
pub(crate) struct CreateFlags {
    /// Name of the container; otherwise one is made up
    #[arg(long, value_name = "NAME", value_parser = crate::store::name::parse)]
    pub(crate) name: Option<String>,
    /// Run it in a pod; new:NAME makes one
    #[arg(long, value_name = "POD")]
    pub(crate) pod: Option<String>,
    /// The pod, once it is known.
    #[arg(skip)]
    pub(crate) joined: Option<JoinedPod>,
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Allocate a pseudo terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Attach only stdin, stdout or stderr
    #[arg(short, long, value_name = "STREAM", ignore_case = true)]
    pub(crate) attach: Vec<Stream>,
    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// Restart policy: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no", value_parser = restart::parse)]
    pub(crate) restart: RestartPolicy,
    /// Whether to get the image: always, missing, never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(crate) pull: Pull,
    #[command(flatten)]
    pub(crate) registries: RegistryFlags,
    #[command(flatten)]
    pub(crate) blobs: BlobFlags,
    /// Platform of the image, such as linux/amd64
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Say nothing while getting the image
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Use this directory instead of an image; DIR:O puts an overlay over it that is thrown away
    #[arg(long, value_name = "DIR[:O]", value_parser = rootfs)]
    pub(crate) rootfs: Option<RootfsFlag>,
    /// Write the container's id to this new file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Write the process id to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
    /// Signal that stops the container
    #[arg(long, value_name = "SIGNAL", value_parser = stop_signal)]
    pub(crate) stop_signal: Option<String>,
    /// Seconds after which stop kills; -1 waits
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    pub(crate) stop_timeout: Option<i64>,
    /// Add a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,
    /// Add an annotation
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    #[command(flatten)]
    pub(crate) log: LogFlags,
    #[command(flatten)]
    pub(crate) health: HealthFlags,
    #[command(flatten)]
    pub(crate) process: ProcessFlags,
    #[command(flatten)]
    pub(crate) mounts: MountFlags,
    #[command(flatten)]
    pub(crate) network: NetworkFlags,
    #[command(flatten)]
    pub(crate) isolation: IsolationFlags,
    #[command(flatten)]
    pub(crate) resources: ResourceFlags,
    #[command(flatten)]
    pub(crate) fixed_resources: FixedResourceFlags,
    /// Image, then the command and its arguments; flags end here
    #[arg(value_name = "IMAGE [COMMAND [ARG...]]", trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
}

/// The pod of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedPod {
    /// Its id.
    pub(crate) id: String,
    /// Namespaces that the container takes from it.
    pub(crate) sandbox: Vec<NamespaceKind>,
}

/// What runs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessFlags {
    /// Replace the image's entrypoint; empty for none
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Set a variable; NAME alone passes on the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User and group, names or numbers
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Add the user to a group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Run a small init as process 1 that reaps orphans and passes signals on
    #[arg(long)]
    pub(crate) init: bool,
    /// Set a resource limit, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = ulimit::parse)]
    pub(crate) ulimit: Vec<Rlimit>,
    /// How readily the kernel kills it when memory is short, -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub(crate) oom_score_adj: Option<i32>,
}

/// File systems and devices.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Mounts and devices")]
pub(crate) struct MountFlags {
    /// Mount a directory of the host (/SOURCE) or a volume (NAME); z labels it for all containers by SELinux, Z for this one
    #[arg(short, long, value_name = "[SOURCE:]DEST[:OPTIONS]", value_parser = volume::volume)]
    pub(crate) volume: Vec<MountFlag>,
    /// Mount, in the long form: type=bind|volume|tmpfs,source=...,target=...
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = volume::mount)]
    pub(crate) mount: Vec<MountFlag>,
    /// Mount what another container has: its volumes and binds
    #[arg(long, value_name = "CONTAINER[:ro]", value_parser = volume::volumes_from)]
    pub(crate) volumes_from: Vec<volume::VolumesFrom>,
    /// Driver of volumes that are made: local
    #[arg(long, value_name = "DRIVER", value_parser = volume::driver)]
    pub(crate) volume_driver: Option<String>,
    /// Mount an empty file system in memory
    #[arg(long, value_name = "DEST[:OPTIONS]", value_parser = volume::tmpfs)]
    pub(crate) tmpfs: Vec<MountFlag>,
    /// Make the root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = size::bytes)]
    pub(crate) shm_size: Option<u64>,
    /// Pass a device of the host: its path, or its CDI name (vendor.com/class=name)
    #[arg(long, value_name = "HOST[:DEST][:rwm]", value_parser = device::device)]
    pub(crate) device: Vec<DeviceFlag>,
    /// Pass GPUs by their CDI specs: all, a number, or device=NAME,...
    #[arg(long, value_name = "GPUS", value_parser = device::gpus)]
    pub(crate) gpus: Option<device::Gpus>,
    /// Directory of CDI specs instead of /etc/cdi and /var/run/cdi
    #[arg(long, value_name = "DIR")]
    pub(crate) cdi_spec_dir: Vec<PathBuf>,
    /// Allow access to devices, such as 'c 10:* rwm'
    #[arg(long, value_name = "RULE", value_parser = device::rule)]
    pub(crate) device_cgroup_rule: Vec<DeviceRule>,
}

/// Networks, ports and names.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkFlags {
    /// Network: bridge, none, host, container:NAME, ns:PATH, or NAME[:alias=,ip=,ip6=,mac=] of rtctl network ls; bridge by default
    #[arg(long, visible_alias = "net", value_name = "NETWORK", value_parser = network::network)]
    pub(crate) network: Vec<NetworkFlag>,
    /// Publish a port of the container on the host
    #[arg(short, long, value_name = "[[ADDRESS:]HOST_PORT:]PORT[/PROTOCOL]", value_parser = port::publish)]
    pub(crate) publish: Vec<String>,
    /// Publish all exposed ports on free ports of the host
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = port::expose)]
    pub(crate) expose: Vec<String>,
    /// IPv4 address in the first network
    #[arg(long, value_name = "ADDRESS", value_parser = network::ip)]
    pub(crate) ip: Option<Ipv4Addr>,
    /// IPv6 address in the first network
    #[arg(long, value_name = "ADDRESS", value_parser = network::ip6)]
    pub(crate) ip6: Option<Ipv6Addr>,
    /// Hardware address in the first network
    #[arg(long, value_name = "MAC", value_parser = network::mac)]
    pub(crate) mac_address: Option<Mac>,
    /// Another name for it in the first network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME", value_parser = network::alias)]
    pub(crate) network_alias: Vec<String>,
    /// Know another container of the same network by a name
    #[arg(long, value_name = "CONTAINER[:NAME]", value_parser = network::link)]
    pub(crate) link: Vec<Link>,
    /// Add a line to /etc/hosts; the address may be host-gateway
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = ExtraHost::parse)]
    pub(crate) add_host: Vec<ExtraHost>,
    /// Name server in /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<IpAddr>,
    /// Search domain in /etc/resolv.conf; . for none
    #[arg(long, value_name = "DOMAIN", value_parser = network::domain)]
    pub(crate) dns_search: Vec<String>,
    /// Option in /etc/resolv.conf
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION", value_parser = network::resolver_option)]
    pub(crate) dns_option: Vec<String>,
}

/// Namespaces and privileges.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct IsolationFlags {
    /// Host name
    #[arg(short = 'h', long, value_name = "NAME", value_parser = super::network::alias)]
    pub(crate) hostname: Option<String>,
    /// NIS domain name
    #[arg(long, value_name = "NAME", value_parser = super::network::alias)]
    pub(crate) domainname: Option<String>,
    /// Process ids: private, host, container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", value_parser = namespace::pid)]
    pub(crate) pid: Mode,
    /// IPC and /dev/shm: private, none, host, container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", value_parser = namespace::ipc)]
    pub(crate) ipc: Ipc,
    /// Host name: private or host
    #[arg(long, value_name = "MODE", default_value = "private", value_parser = namespace::host_or_private)]
    pub(crate) uts: Mode,
    /// View of the cgroup tree: private or host; private by default on cgroup v2, host on v1
    #[arg(long, value_name = "MODE", value_parser = namespace::host_or_private)]
    pub(crate) cgroupns: Option<Mode>,
    /// User ids: host, auto[:size=N], map=CONTAINER_ID:HOST_ID:SIZE[,...]
    #[arg(long, value_name = "MODE", default_value = "host", value_parser = namespace::userns)]
    pub(crate) userns: Userns,
    /// Parent of the container's control group
    #[arg(long, value_name = "PATH", value_parser = cgroup_parent)]
    pub(crate) cgroup_parent: Option<String>,
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAP", value_delimiter = ',')]
    pub(crate) cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAP", value_delimiter = ',')]
    pub(crate) cap_drop: Vec<String>,
    /// All capabilities and devices, no confinement
    #[arg(long)]
    pub(crate) privileged: bool,
    /// seccomp=FILE|unconfined, no-new-privileges, apparmor=PROFILE, systempaths=unconfined, and for SELinux label=disable|nested or label=user:USER, role:ROLE, type:TYPE, level:LEVEL, filetype:TYPE
    #[arg(long, value_name = "OPTION", value_parser = security::parse)]
    pub(crate) security_opt: Vec<SecurityFlag>,
    /// Set a kernel parameter of the container's namespaces
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<String>,
}

/// `--attach`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// `--pull`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    Always,
    Missing,
    Never,
}

/// `--rootfs`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootfsFlag {
    /// Absolute path.
    pub(crate) dir: String,
    /// Put an overlay over it.
    pub(crate) overlay: bool,
}

fn rootfs(text: &str) -> Result<RootfsFlag, String> {
    let (dir, overlay) = match text.strip_suffix(":O") {
        Some(dir) => (dir, true),
        None => (text, false),
    };
    if dir.is_empty() {
        return Err("empty; name a directory".to_owned());
    }
    let path = std::path::absolute(dir).map_err(|error| format!("{dir}: {error}"))?;
    let dir = path.into_os_string().into_string().map_err(|path| format!("{}: not UTF-8", path.display()))?;
    Ok(RootfsFlag { dir, overlay })
}

/// Checked, but kept as the user spelled it.
fn stop_signal(text: &str) -> Result<String, String> {
    signal::parse(text).map(|_| text.to_owned())
}

fn cgroup_parent(text: &str) -> Result<String, String> {
    if text.ends_with(".slice") {
        return Err(format!("{text:?}: systemd slices are not built yet; give a path such as /mine"));
    }
    if !text.starts_with('/') || text.split('/').any(|part| part == ".." || part == ".") || text.contains('\0') {
        return Err(format!("{text:?}: must be an absolute path without . and .."));
    }
    Ok(text.to_owned())
}

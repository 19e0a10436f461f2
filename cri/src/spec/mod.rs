//! What a container is to be, as an OCI runtime configuration.
//!
//! ```text
//!  image config ──┐
//!  Options ───────┼─▶ build ─▶ runtime::spec::Spec
//!  Host, Identity ┘  (pure)
//! ```
//!
//! [`Options`] are typed: their text forms are parsed by who has them (`rtctl`'s flags, CRI messages). [`Host`] and
//! [`Identity`] hold what had to be read from the machine and the image's files. [`build`] itself reads nothing: the same
//! input always gives the same document. Nothing here is granted by an absent value (CVE-2025-27612).

mod capabilities;
pub mod cdi;
mod devices;
mod error;
mod host;
mod hosts;
mod mounts;
mod namespaces;
mod options;
mod process;
mod resolv_conf;
mod seccomp_profile;
mod sysctl;
mod ulimit;

use std::collections::BTreeMap;

use runtime::spec::{Linux, Root, Spec};

use crate::image::identity::Identity;

pub use capabilities::{
    CapabilityChange, DEFAULT as DEFAULT_CAPABILITIES, effective as effective_capabilities, sets as capability_sets,
};
/// Names of all capabilities that this program knows; capabilities(7).
pub fn all_capabilities() -> impl Iterator<Item = String> {
    caps::all().into_iter().map(|capability| capability.to_string())
}

pub use devices::{DeviceNode, DeviceRequest, NodeKind, host_nodes};
pub use error::Error;
pub use host::{CgroupMode, Host};
pub use hosts::{HostEntry, hosts, own_names, with_current};
pub use mounts::{
    BindRecursion, BindSource, MountIdMap, MountRequest, MountTarget, Propagation, SHM_SIZE, image_mounts,
};
pub use namespaces::is_private;
pub use options::*;
pub use process::{DEFAULT_PATH, command, environment, merged_environment};
pub use resolv_conf::{BEHIND_RESOLVED, Families, RESOLV_CONF_LIMIT, ResolvConf, Resolver, resolv_conf};
pub use seccomp_profile::{kernel_version, parse as parse_seccomp_profile};
pub use ulimit::{NoUlimit, ULIMITS, parse_ulimit};

/// Everything that [`build`] looks at.
pub struct Input<'a> {
    /// Id of the container.
    pub id: &'a str,
    /// What its image says.
    pub image: &'a Image,
    /// What was asked for.
    pub options: &'a Options,
    /// Who it runs as.
    pub identity: &'a Identity,
    /// What the machine is like.
    pub host: &'a Host,
}

/// Makes the configuration of a container.
///
/// # Errors
/// [`Error`] where the options contradict each other or the host cannot satisfy them.
pub fn build(input: &Input<'_>) -> Result<Spec, Error> {
    let Input { id, options, host, .. } = *input;
    options.check()?;
    let bounding = capabilities::effective(&options.capabilities, options.privileged, host)?;
    let sysctl = sysctl::check(options)?;
    let mut resources = options.resources.clone();
    resources.devices = devices::rules(options);
    let (uid_mappings, gid_mappings) = match &options.userns {
        UserNamespace::Host => (Vec::new(), Vec::new()),
        UserNamespace::Mapped { uids, gids } => (uids.clone(), gids.clone()),
    };
    let confined = !options.privileged && !options.security.unconfined_paths;
    let linux = Linux {
        namespaces: namespaces::namespaces(options, host),
        uid_mappings,
        gid_mappings,
        devices: devices::nodes(options, host),
        cgroups_path: Some(cgroup_path(options, id)),
        resources: Some(resources),
        sysctl,
        seccomp: seccomp(options, &bounding),
        mount_label: options.security.labels.as_ref().map(|labels| labels.mount.clone()),
        rootfs_propagation: mounts::rootfs_propagation(options).map(str::to_owned),
        masked_paths: if confined { strings(MASKED_PATHS) } else { Vec::new() },
        readonly_paths: if confined { strings(READONLY_PATHS) } else { Vec::new() },
        ..Linux::default()
    };
    Ok(Spec {
        oci_version: "1.3.0".to_owned(),
        root: Some(Root { path: options.rootfs.clone(), readonly: options.read_only }),
        mounts: mounts::mounts(options),
        process: Some(process::process(input, &bounding)?),
        hostname: namespaces::hostname(options, id),
        domainname: options.domainname.clone(),
        hooks: None,
        annotations: annotations(options),
        linux: Some(linux),
    })
}

/// Paths of procfs and sysfs that tell about, or act on, the machine and not the container: docker's list.
pub const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths of procfs that are shown but not writable: docker's list.
pub const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where the container's control group is: `<parent>/<id>`, below `/rt` when no parent is given.
fn cgroup_path(options: &Options, id: &str) -> String {
    match &options.cgroup_parent {
        None => format!("/rt/{id}"),
        Some(parent) => format!("{}/{id}", parent.trim_end_matches('/')),
    }
}

fn seccomp(options: &Options, bounding: &[caps::Capability]) -> Option<runtime::spec::Seccomp> {
    match &options.security.seccomp {
        SeccompChoice::Default if options.privileged => None,
        SeccompChoice::Default => Some(runtime::seccomp::default_profile(bounding)),
        SeccompChoice::Unconfined => None,
        SeccompChoice::Profile(profile) => Some((**profile).clone()),
    }
}

fn annotations(options: &Options) -> BTreeMap<String, String> {
    options.annotations.clone()
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests;

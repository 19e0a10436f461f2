//! What will be done for a container, as plain data: `Spec` → [`Plan`].
//!
//! Pure: no system call is made here, and everything that can be wrong about a document is found here, before the first
//! effect. The order of the steps is that of [`crate::init`].

mod clocks;
mod devices;
mod landlock;
mod links;
mod mounts;
pub(crate) mod namespaces;
mod options;
mod process;
mod sandbox;
mod scheduling;
mod sysctl;

use std::ffi::CString;
use std::path::PathBuf;

pub use devices::{Device, DeviceKind, with_default_devices};
pub use landlock::{ANNOTATION as LANDLOCK, Landlock, landlock};
pub use links::Link;
pub use mounts::{IdMap, Mount, Source};
pub use namespaces::Namespaces;
pub use options::{Extra, Options, Parameter, SUBPATH};
pub use process::{Capabilities, Process, Rlimit, process};
pub use sandbox::{SandboxPlan, SandboxSpec};
pub use scheduling::{MEMORY_FLAGS, MEMORY_MODES, MemoryPolicy, memory_policy};
pub use sysctl::Sysctl;

use crate::root::clean;
use crate::spec::{self, Spec};
use crate::sys::mount::Depth;

/// A member of `config.json` that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("config.json: {at}: {problem}")]
pub struct PlanError {
    /// JSON path.
    pub at: String,
    /// The rule it breaks.
    pub problem: String,
}

impl From<spec::Wrong> for PlanError {
    fn from(wrong: spec::Wrong) -> Self {
        Self { at: wrong.at, problem: wrong.problem }
    }
}

/// A [`PlanError`].
fn refuse(at: &str, problem: impl Into<String>) -> PlanError {
    PlanError { at: at.to_owned(), problem: problem.into() }
}

/// A container, checked.
pub struct Plan {
    /// Namespaces to make and to join.
    pub namespaces: Namespaces,
    /// Root directory, absolute or relative to the bundle.
    pub root: PathBuf,
    /// Whether the root is made read-only at the end.
    pub readonly_root: bool,
    /// Propagation of the root mount, an MS_* flag.
    pub root_propagation: (u64, Depth),
    /// Mounts in order.
    pub mounts: Vec<Mount>,
    /// Nodes of /dev; empty where a bind mount covers it.
    pub devices: Vec<Device>,
    /// Whether /dev gets its default links and a console.
    pub populate_dev: bool,
    /// Kernel parameters.
    pub sysctls: Vec<Sysctl>,
    /// Paths hidden, relative to the root.
    pub masked: Vec<PathBuf>,
    /// Paths made read-only, relative to the root.
    pub readonly: Vec<PathBuf>,
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// personality(2) of the init process.
    pub personality: Option<u64>,
    /// Lines of `/proc/PID/timens_offsets` of a new time namespace.
    pub clock_offsets: String,
    /// Interfaces that move into the container.
    pub links: Vec<Link>,
    /// Where memory comes from.
    pub memory_policy: Option<MemoryPolicy>,
    /// Rules of Landlock.
    pub landlock: Option<Landlock>,
    /// SELinux context of new file systems.
    pub mount_label: Option<CString>,
    /// The init process.
    pub process: Process,
}

impl Plan {
    /// Checks a document.
    ///
    /// # Errors
    /// [`PlanError`] for the first member that is wrong, contradictory or not supported.
    pub fn new(spec: &Spec) -> Result<Self, PlanError> {
        version(&spec.oci_version)?;
        let none = spec::Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);
        if linux.intel_rdt.as_ref().is_some_and(|value| !value.is_null()) {
            let problem =
                "is not supported: no resctrl groups are made; leave it out, or use a runtime that makes them";
            return Err(refuse("linux.intelRdt", problem));
        }
        let root = spec.root.as_ref().ok_or_else(|| refuse("root", "is missing"))?;
        if root.path.is_empty() || root.path.contains('\0') {
            return Err(refuse("root.path", "must be a directory"));
        }
        let namespaces = Namespaces::new(linux)?;
        let process_spec = spec.process.as_ref().ok_or_else(|| refuse("process", "is missing"))?;
        let process = process(process_spec, "process")?;
        name(spec.hostname.as_deref(), "hostname", &namespaces)?;
        name(spec.domainname.as_deref(), "domainname", &namespaces)?;
        if !namespaces.makes(spec::NamespaceKind::Mount) {
            without_mounts(spec, linux, root)?;
        }
        let mounts = mounts::mounts(&spec.mounts, &namespaces)?;
        let populate_dev = namespaces.makes(spec::NamespaceKind::Mount) && !mounts.iter().any(Mount::binds_dev);
        if let Some(hooks) = &spec.hooks {
            check_hooks(hooks)?;
        }
        Ok(Self {
            root: PathBuf::from(&root.path),
            readonly_root: root.readonly,
            root_propagation: root_propagation(linux.rootfs_propagation.as_deref())?,
            devices: devices::devices(&linux.devices, populate_dev)?,
            populate_dev,
            sysctls: sysctl::sysctls(&linux.sysctl, &namespaces)?,
            masked: paths(&linux.masked_paths, "linux.maskedPaths")?,
            readonly: paths(&linux.readonly_paths, "linux.readonlyPaths")?,
            hostname: spec.hostname.clone().filter(|name| !name.is_empty()),
            domainname: spec.domainname.clone().filter(|name| !name.is_empty()),
            personality: linux.personality.as_ref().map(personality).transpose()?,
            clock_offsets: clocks::offsets(linux.time_offsets.as_ref(), &namespaces)?,
            links: links::links(linux.net_devices.as_ref(), &namespaces)?,
            memory_policy: present(linux.memory_policy.as_ref()).map(memory_policy).transpose()?,
            landlock: landlock(&spec.annotations)?,
            mount_label: mount_label(linux.mount_label.as_deref(), "linux.mountLabel")?,
            namespaces,
            mounts,
            process,
        })
    }
}

/// Any 1.x is taken (OCI runtime-spec config.md, "Specification version").
fn version(version: &str) -> Result<(), PlanError> {
    let major = version.split('.').next().unwrap_or_default();
    if major == "1" && version.split(['.', '-', '+']).take(3).count() == 3 {
        return Ok(());
    }
    Err(refuse("ociVersion", format!("{version:?} is not supported, only 1.x.y is")))
}

/// A value that is not null.
pub(crate) fn present(value: Option<&serde_json::Value>) -> Option<&serde_json::Value> {
    value.filter(|value| !value.is_null())
}

fn mount_label(label: Option<&str>, at: &str) -> Result<Option<CString>, PlanError> {
    let label = label.filter(|label| !label.is_empty());
    label.map(CString::new).transpose().map_err(|_| refuse(at, "has a NUL byte"))
}

/// Without a mount namespace of its own nothing may be mounted for a container: the host's mounts, or another container's, are not
/// touched (runc 1.5.3 changed the host's propagation).
fn without_mounts(spec: &Spec, linux: &spec::Linux, root: &spec::Root) -> Result<(), PlanError> {
    let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
    let members = [
        ("mounts", !spec.mounts.is_empty()),
        ("linux.maskedPaths", !linux.masked_paths.is_empty()),
        ("linux.readonlyPaths", !linux.readonly_paths.is_empty()),
        ("linux.devices", !linux.devices.is_empty()),
        ("linux.rootfsPropagation", linux.rootfs_propagation.as_deref().is_some_and(|word| !word.is_empty())),
        ("root.readonly", root.readonly),
        ("process.terminal", terminal),
    ];
    match members.iter().find(|(_, present)| *present) {
        Some((at, _)) => Err(refuse(at, "needs a new mount namespace in linux.namespaces")),
        None if root.path.starts_with('/')
            || !linux.namespaces.iter().any(|namespace| namespace.kind == spec::NamespaceKind::Mount) =>
        {
            Ok(())
        }
        None => Err(refuse("root.path", "must be an absolute path in the mount namespace that is joined")),
    }
}

fn name(name: Option<&str>, at: &str, namespaces: &Namespaces) -> Result<(), PlanError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(()) };
    if name.len() > 64 || name.contains('\0') {
        return Err(refuse(at, "must be at most 64 bytes without NUL"));
    }
    if !namespaces.own(spec::NamespaceKind::Uts) {
        return Err(refuse(at, "needs a uts namespace in linux.namespaces"));
    }
    Ok(())
}

fn root_propagation(word: Option<&str>) -> Result<(u64, Depth), PlanError> {
    match word {
        None | Some("") => Ok((libc::MS_PRIVATE, Depth::Recursive)),
        Some(word) => match options::propagation(word) {
            Some(propagation) => Ok(propagation),
            None => Err(refuse(
                "linux.rootfsPropagation",
                format!("{word:?} is none of private, shared, slave, unbindable and their r forms"),
            )),
        },
    }
}

/// personality(2) of a document; also for processes that enter the container.
///
/// # Errors
/// An unknown domain, or flags: none are defined.
pub fn personality(personality: &spec::Personality) -> Result<u64, PlanError> {
    if !personality.flags.is_empty() {
        return Err(refuse("linux.personality.flags", "none are defined"));
    }
    match personality.domain.as_str() {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        other => Err(refuse("linux.personality.domain", format!("{other:?} is neither LINUX nor LINUX32"))),
    }
}

fn paths(paths: &[String], at: &str) -> Result<Vec<PathBuf>, PlanError> {
    paths
        .iter()
        .enumerate()
        .map(|(index, path)| {
            if !path.starts_with('/') || path.contains('\0') {
                return Err(refuse(&format!("{at}[{index}]"), format!("{path:?} is not an absolute path")));
            }
            Ok(clean(path.as_ref()))
        })
        .collect()
}

fn check_hooks(hooks: &spec::Hooks) -> Result<(), PlanError> {
    let lists = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    for (list, hooks) in lists {
        for (index, hook) in hooks.iter().enumerate() {
            let at = format!("hooks.{list}[{index}]");
            if !hook.path.starts_with('/') || hook.path.contains('\0') {
                return Err(refuse(&format!("{at}.path"), format!("{:?} is not an absolute path", hook.path)));
            }
            if hook.timeout.is_some_and(|timeout| timeout <= 0) {
                return Err(refuse(&format!("{at}.timeout"), "must be above 0 seconds"));
            }
            if hook.args.iter().chain(&hook.env).any(|text| text.contains('\0')) {
                return Err(refuse(&at, "an argument or variable has a NUL byte"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

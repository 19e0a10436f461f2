//! Device nodes and the rules of the device controller.

use std::ffi::OsStr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use runtime::spec::{Device, DeviceRule};

use super::host::Host;
use super::options::Options;

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    /// Its path, on the host or in the container.
    pub path: String,
    /// Character or block device.
    pub kind: NodeKind,
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// Character device.
    Char,
    /// Block device.
    Block,
}

impl NodeKind {
    /// `c` or `b`.
    pub fn letter(self) -> &'static str {
        match self {
            NodeKind::Char => "c",
            NodeKind::Block => "b",
        }
    }
}

/// A device that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRequest {
    /// The node, with its path in the container.
    pub node: DeviceNode,
    /// Letters of `rwm`.
    pub access: String,
}

/// What every container may use: making any node (mknod alone gives no access), and the nodes that runtime-spec
/// config-linux.md "Default Devices" puts into `/dev`.
const ALLOWED: &[(&str, Option<i64>, Option<i64>, &str)] = &[
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(5), Some(1), "rwm"),
    ("c", Some(5), Some(2), "rwm"),
    ("c", Some(136), None, "rwm"),
];

/// `linux.resources.devices`: everything is denied first; the last rule that matches decides.
pub(super) fn rules(options: &Options) -> Vec<DeviceRule> {
    if options.privileged {
        return vec![DeviceRule { allow: true, access: Some("rwm".to_owned()), ..DeviceRule::default() }];
    }
    let mut rules = vec![DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() }];
    let rule = |kind: &str, major, minor, access: &str| DeviceRule {
        allow: true,
        kind: Some(kind.to_owned()),
        major,
        minor,
        access: Some(access.to_owned()),
    };
    rules.extend(ALLOWED.iter().map(|(kind, major, minor, access)| rule(kind, *major, *minor, access)));
    rules.extend(options.devices.iter().map(|DeviceRequest { node, access }| {
        rule(node.kind.letter(), i64::try_from(node.major).ok(), i64::try_from(node.minor).ok(), access)
    }));
    rules.extend(options.device_rules.iter().cloned());
    rules
}

/// `linux.devices`: what was asked for, and for a privileged container also all of the host's.
pub(super) fn nodes(options: &Options, host: &Host) -> Vec<Device> {
    let mut devices: Vec<Device> = options.devices.iter().map(|request| device(&request.node)).collect();
    if options.privileged {
        for node in &host.devices {
            if !devices.iter().any(|device| device.path == node.path) {
                devices.push(device(node));
            }
        }
    }
    devices
}

fn device(node: &DeviceNode) -> Device {
    Device {
        kind: node.kind.letter().to_owned(),
        path: node.path.clone(),
        major: node.major.cast_signed(),
        minor: node.minor.cast_signed(),
        file_mode: Some(node.mode & 0o777),
        uid: Some(node.uid),
        gid: Some(node.gid),
    }
}

impl DeviceNode {
    /// Looks at a device node of the host; `None` when the file is no device.
    ///
    /// # Errors
    /// That of stat(2).
    pub fn read(path: &Path) -> std::io::Result<Option<DeviceNode>> {
        let meta = std::fs::metadata(path)?;
        let kind = if meta.file_type().is_char_device() {
            NodeKind::Char
        } else if meta.file_type().is_block_device() {
            NodeKind::Block
        } else {
            return Ok(None);
        };
        Ok(Some(DeviceNode {
            path: path.to_string_lossy().into_owned(),
            kind,
            major: nix::sys::stat::major(meta.rdev()),
            minor: nix::sys::stat::minor(meta.rdev()),
            mode: meta.mode() & 0o777,
            uid: meta.uid(),
            gid: meta.gid(),
        }))
    }
}

/// Directories of `/dev` that are mounts of their own in a container, and nodes that name the reader's own terminal.
const NOT_SHARED: &[&str] = &["pts", "shm", "fd", "mqueue", "hugepages", ".udev", "console", "ptmx"];

/// All device nodes below `dir`, for privileged containers. Symbolic links are not followed; what vanishes meanwhile is
/// left out.
///
/// # Errors
/// When `dir` itself cannot be read.
pub fn host_nodes(dir: &Path) -> std::io::Result<Vec<DeviceNode>> {
    let mut nodes = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(current) = pending.pop() {
        let entries = match std::fs::read_dir(&current) {
            Ok(entries) => entries,
            Err(error) if current == dir => return Err(error),
            Err(_) => continue,
        };
        for entry in entries {
            let entry = entry?;
            if NOT_SHARED.iter().any(|name| entry.file_name() == OsStr::new(name)) {
                continue;
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                pending.push(entry.path());
            } else if (kind.is_char_device() || kind.is_block_device())
                && let Ok(Some(node)) = DeviceNode::read(&entry.path())
            {
                nodes.push(node);
            }
        }
    }
    nodes.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(nodes)
}

//! `linux.devices` and the devices that every container has.

use std::path::{Path, PathBuf};

use super::{PlanError, refuse};
use crate::root::clean;
use crate::spec;

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Path relative to the root.
    pub path: PathBuf,
    /// Kind.
    pub kind: DeviceKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
}

/// Kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character device, major and minor.
    Character(u32, u32),
    /// Block device, major and minor.
    Block(u32, u32),
    /// Named pipe.
    Fifo,
}

/// Default devices (OCI runtime-spec config-linux.md, "Default Devices"), in the order in which they are made.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("dev/null", 1, 3),
    ("dev/zero", 1, 5),
    ("dev/full", 1, 7),
    ("dev/random", 1, 8),
    ("dev/urandom", 1, 9),
    ("dev/tty", 5, 0),
];

/// The default devices (if `defaults`) and those of the document; a device of the document replaces a default one.
///
/// # Errors
/// [`PlanError`] with the path of the member.
pub(super) fn devices(devices: &[spec::Device], defaults: bool) -> Result<Vec<Device>, PlanError> {
    let mut all: Vec<Device> = Vec::with_capacity(DEFAULT.len() + devices.len());
    if defaults {
        all.extend(DEFAULT.iter().map(|(path, major, minor)| Device {
            path: PathBuf::from(path),
            kind: DeviceKind::Character(*major, *minor),
            mode: 0o666,
            uid: 0,
            gid: 0,
        }));
    }
    for (index, device) in devices.iter().enumerate() {
        let device = convert(device, &format!("linux.devices[{index}]"))?;
        match all.iter_mut().find(|other| other.path == device.path) {
            Some(other) => *other = device,
            None => all.push(device),
        }
    }
    Ok(all)
}

/// Device numbers that every container may use (config-linux.md, "Default Devices", and its terminals); -1 is any.
const ALLOWED: [(i64, i64); 9] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1)];

/// The resources with the devices that every container may use behind the rules of the document, which as a rule begin with a
/// denial of everything. Nodes may always be made: what opens them is checked.
#[must_use]
pub fn with_default_devices(resources: &spec::Resources) -> spec::Resources {
    let mut resources = resources.clone();
    if resources.devices.is_empty() {
        return resources;
    }
    let rule = |kind: &str, major, minor, access: &str| spec::DeviceRule {
        allow: true,
        kind: Some(kind.to_owned()),
        major: Some(major),
        minor: Some(minor),
        access: Some(access.to_owned()),
    };
    resources.devices.extend([rule("c", -1, -1, "m"), rule("b", -1, -1, "m")]);
    resources.devices.extend(ALLOWED.iter().map(|(major, minor)| rule("c", *major, *minor, "rwm")));
    resources
}

fn convert(device: &spec::Device, at: &str) -> Result<Device, PlanError> {
    let path = clean(Path::new(&device.path));
    if !device.path.starts_with('/') || device.path.contains('\0') || path.as_os_str().is_empty() {
        return Err(refuse(&format!("{at}.path"), format!("{:?} is not an absolute path", device.path)));
    }
    let number = |value: i64, member: &str, limit: i64| -> Result<u32, PlanError> {
        u32::try_from(value)
            .ok()
            .filter(|_| value < limit)
            .ok_or_else(|| refuse(&format!("{at}.{member}"), format!("{value} is not from 0 to {}", limit - 1)))
    };
    let numbers =
        || Ok::<_, PlanError>((number(device.major, "major", 1 << 12)?, number(device.minor, "minor", 1 << 20)?));
    let kind = match device.kind.as_str() {
        "c" | "u" => numbers().map(|(major, minor)| DeviceKind::Character(major, minor))?,
        "b" => numbers().map(|(major, minor)| DeviceKind::Block(major, minor))?,
        "p" => DeviceKind::Fifo,
        other => return Err(refuse(&format!("{at}.type"), format!("{other:?} is none of c, b, u, p"))),
    };
    Ok(Device {
        path,
        kind,
        // Callers hand over st_mode as it is: only the permission bits count.
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

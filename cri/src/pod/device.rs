//! Devices of the node that a container is given.

use std::fs;
use std::path::{Component, Path};

use super::config::Device;
use super::error::{Error, Io};
use crate::spec::{DeviceNode, DeviceRequest, host_nodes};

/// Looks at the devices. A directory stands for all devices below it, under the same names.
///
/// # Errors
/// A path that is not there, or is no device and no directory.
pub(super) fn read(devices: &[Device]) -> Result<Vec<DeviceRequest>, Error> {
    let mut list = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let path = &device.host_path;
        let stat = || format!("stat({path:?}): config.devices[{index}].host_path");
        let access = device.permissions.clone();
        if fs::metadata(path).io(stat)?.is_dir() {
            for node in host_nodes(path).io(|| format!("readdir({path:?})"))? {
                let name = Path::new(&node.path).strip_prefix(path).unwrap_or(Path::new(""));
                let place = below(&device.container_path, name);
                list.push(DeviceRequest { node: DeviceNode { path: place, ..node }, access: access.clone() });
            }
        } else {
            let Some(node) = DeviceNode::read(path).io(stat)? else {
                let field = format!("config.devices[{index}].host_path");
                return Err(Error::Invalid { field, problem: format!("{path:?} is neither a device nor a directory") });
            };
            let node = DeviceNode { path: device.container_path.clone(), ..node };
            list.push(DeviceRequest { node, access });
        }
    }
    Ok(list)
}

fn below(directory: &str, name: &Path) -> String {
    let mut path = directory.trim_end_matches('/').to_owned();
    for component in name.components() {
        if let Component::Normal(part) = component {
            path.push('/');
            path.push_str(&part.to_string_lossy());
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(host: &Path, container: &str) -> Device {
        Device { container_path: container.to_owned(), host_path: host.to_owned(), permissions: "rw".to_owned() }
    }

    #[test]
    fn nodes_and_directories() {
        let null = read(&[device(Path::new("/dev/null"), "/dev/nothing")]).unwrap();
        let [request] = null.as_slice() else { panic!("{null:?}") };
        assert_eq!((request.node.path.as_str(), request.node.major, request.node.minor), ("/dev/nothing", 1, 3));
        assert_eq!(request.access, "rw");
        let all = read(&[device(Path::new("/dev"), "/dev/all/")]).unwrap();
        assert!(all.iter().any(|request| request.node.path == "/dev/all/zero"), "{all:?}");
        assert!(read(&[device(Path::new("/proc/version"), "/dev/x")]).unwrap_err().to_string().contains("neither"));
        let missing = read(&[device(Path::new("/dev/is-not-there"), "/dev/x")]).unwrap_err().to_string();
        assert!(missing.starts_with("stat(\"/dev/is-not-there\"): config.devices[0].host_path: "), "{missing}");
    }
}

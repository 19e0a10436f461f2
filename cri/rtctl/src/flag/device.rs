//! `--device`, `--gpus` and `--device-cgroup-rule`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use cri::spec::cdi::{DeviceName, Registry};
use cri::spec::{DeviceNode, DeviceRequest};
use runtime::spec::DeviceRule;

/// `--device`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceFlag {
    /// A path of the host.
    Path(PathFlag),
    /// `vendor.com/class=name`
    Cdi(DeviceName),
}

/// `HOST[:CONTAINER][:rwm]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathFlag {
    host: String,
    container: String,
    access: String,
}

/// Parses `--device`.
pub(crate) fn device(text: &str) -> Result<DeviceFlag, String> {
    if !text.starts_with('/') && text.contains('=') {
        return text.parse().map(DeviceFlag::Cdi).map_err(|error: cri::spec::cdi::Error| error.to_string());
    }
    let is_access = |part: &str| !part.is_empty() && part.bytes().all(|byte| b"rwm".contains(&byte));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, access) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, access] if is_access(access) => (*host, *host, *access),
        [host, container] => (*host, *container, "rwm"),
        [host, container, access] if is_access(access) => (*host, *container, *access),
        _ => return Err(format!("{text:?}: write it as HOST_PATH[:CONTAINER_PATH][:rwm]")),
    };
    if !host.starts_with('/') {
        return Err(format!("{text:?}: give the path of a device, or a CDI device as vendor.com/class=name"));
    }
    let container = super::volume::destination(container)?;
    Ok(DeviceFlag::Path(PathFlag { host: host.to_owned(), container, access: access.to_owned() }))
}

/// `--gpus`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gpus {
    /// All that there are.
    All,
    /// The first ones, so many.
    Count(u32),
    /// These.
    Devices(Vec<String>),
}

/// Parses `--gpus all|N|device=NAME,...`; as docker's it is CSV, so that the list is quoted: `'"device=0,1"'`.
pub(crate) fn gpus(text: &str) -> Result<Gpus, String> {
    let wrong = || format!("{text:?}: write all, a number, or device=NAME[,NAME...]");
    let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if let Some(list) = unquoted.strip_prefix("device=") {
        let names: Vec<String> = list.split(',').map(str::to_owned).collect();
        return match names.iter().any(|name| name.is_empty() || name.contains('=')) {
            true => Err(wrong()),
            false => Ok(Gpus::Devices(names)),
        };
    }
    if let Some((option, _)) = unquoted.split_once('=')
        && let Some(option) = option.rsplit(',').next()
        && ["capabilities", "driver", "options"].contains(&option)
    {
        return Err(format!("{text:?}: {option} is not built; the vendor's CDI spec says what a device comes with"));
    }
    match unquoted {
        "all" => Ok(Gpus::All),
        text => match text.strip_prefix("count=").unwrap_or(text) {
            "all" | "-1" => Ok(Gpus::All),
            count => count.parse().ok().filter(|count| *count > 0).map(Gpus::Count).ok_or_else(wrong),
        },
    }
}

/// Vendors whose kinds `--gpus` means: the first one that the host has, NVIDIA's if none.
const GPU_KINDS: &[&str] = &["nvidia.com/gpu", "amd.com/gpu"];

/// CDI names of the devices asked for.
pub(crate) fn cdi_names(devices: &[DeviceFlag], gpus: Option<&Gpus>, registry: &Registry) -> Result<Vec<DeviceName>> {
    let mut names: Vec<DeviceName> = Vec::new();
    for device in devices {
        if let DeviceFlag::Cdi(name) = device {
            names.push(name.clone());
        }
    }
    if let Some(gpus) = gpus {
        let kind = GPU_KINDS.iter().find(|kind| registry.has_kind(kind)).unwrap_or(&GPU_KINDS[0]);
        let wanted: Vec<String> = match gpus {
            Gpus::All => vec!["all".to_owned()],
            Gpus::Count(count) => (0..*count).map(|index| index.to_string()).collect(),
            Gpus::Devices(list) => list.clone(),
        };
        for name in wanted {
            names.push(DeviceName::new(kind, &name).context("--gpus")?);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

/// Looks the device up; a directory stands for all devices in it.
pub(crate) fn read(flag: &PathFlag) -> Result<Vec<DeviceRequest>> {
    let host = Path::new(&flag.host);
    let request = |node: DeviceNode, path: String| DeviceRequest {
        node: DeviceNode { path, ..node },
        access: flag.access.clone(),
    };
    let context = || format!("--device {}", flag.host);
    if std::fs::metadata(host).with_context(context)?.is_dir() {
        let nodes = cri::spec::host_nodes(host).with_context(context)?;
        if nodes.is_empty() {
            bail!("--device {}: there is no device in this directory", flag.host);
        }
        let moved = |node: DeviceNode| {
            let path = format!("{}{}", flag.container, node.path.strip_prefix(&flag.host).unwrap_or(&node.path));
            request(node, path)
        };
        return Ok(nodes.into_iter().map(moved).collect());
    }
    match DeviceNode::read(host).with_context(context)? {
        Some(node) => Ok(vec![request(node, flag.container.clone())]),
        None => bail!("--device {}: not a device; mount files with -v", flag.host),
    }
}

/// `--device-cgroup-rule "c 10:* rwm"`
pub(crate) fn rule(text: &str) -> Result<DeviceRule, String> {
    let wrong = || format!("{text:?}: write it as 'c MAJOR:MINOR rwm', with a, b or c and * for any number");
    let parts: Vec<&str> = text.split(' ').collect();
    let [kind @ ("a" | "b" | "c"), numbers, access] = parts.as_slice() else { return Err(wrong()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
    let number = |part: &str| match part {
        "*" => Ok(None),
        part => part.parse::<u32>().map(|number| Some(i64::from(number))).map_err(|_| wrong()),
    };
    if access.is_empty() || access.len() > 3 || !access.bytes().all(|byte| b"rwm".contains(&byte)) {
        return Err(wrong());
    }
    Ok(DeviceRule {
        allow: true,
        kind: Some((*kind).to_owned()),
        major: number(major)?,
        minor: number(minor)?,
        access: Some((*access).to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        let flag = |host: &str, container: &str, access: &str| {
            let (host, container, access) = (host.to_owned(), container.to_owned(), access.to_owned());
            DeviceFlag::Path(PathFlag { host, container, access })
        };
        for (text, expected) in [
            ("/dev/a", Some(flag("/dev/a", "/dev/a", "rwm"))),
            ("/dev/a:r", Some(flag("/dev/a", "/dev/a", "r"))),
            ("/dev/a:/dev/b", Some(flag("/dev/a", "/dev/b", "rwm"))),
            ("/dev/a:/dev/b:rw", Some(flag("/dev/a", "/dev/b", "rw"))),
            ("/dev/a:/dev/b:x", None),
            ("/dev/a:b", None),
            ("vendor.com/class=0", Some(DeviceFlag::Cdi("vendor.com/class=0".parse().unwrap()))),
            ("vendor.com/class=", None),
            ("class=0", None),
            ("", None),
        ] {
            assert_eq!(device(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_host_is_asked() {
        let path = |text: &str| match device(text) {
            Ok(DeviceFlag::Path(flag)) => flag,
            other => panic!("{other:?}"),
        };
        let null = read(&path("/dev/null:/dev/x:r")).unwrap();
        assert_eq!((null[0].node.path.as_str(), null[0].node.major, null[0].node.minor), ("/dev/x", 1, 3));
        assert!(read(&path("/etc/passwd")).unwrap_err().to_string().contains("not a device"));
        assert!(read(&path("/dev/there-is-no-such")).is_err());
    }

    #[test]
    fn gpus_are_cdi_devices() {
        let devices = |list: &[&str]| Some(Gpus::Devices(list.iter().map(|name| (*name).to_owned()).collect()));
        for (text, expected) in [
            ("all", Some(Gpus::All)),
            ("2", Some(Gpus::Count(2))),
            ("count=all", Some(Gpus::All)),
            ("device=0", devices(&["0"])),
            ("\"device=0,GPU-3faa\"", devices(&["0", "GPU-3faa"])),
            ("0", None),
            ("", None),
            ("device=", None),
            ("some", None),
            ("all,capabilities=utility", None),
        ] {
            assert_eq!(gpus(text).ok(), expected, "{text}");
        }
        let names = |text: &str| {
            let names = cdi_names(&[], Some(&gpus(text).unwrap()), &Registry::default()).unwrap();
            names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("all"), "nvidia.com/gpu=all");
        assert_eq!(names("2"), "nvidia.com/gpu=0 nvidia.com/gpu=1");
        assert_eq!(names("device=1,1"), "nvidia.com/gpu=1");
    }

    #[test]
    fn rules() {
        let good = rule("c 10:* rw").unwrap();
        assert_eq!((good.kind.as_deref(), good.major, good.minor), (Some("c"), Some(10), None));
        for text in ["", "c 1:2", "d 1:2 r", "c 1 r", "c -1:2 r", "c 1:2 rwx", "c 1:2 ", "c 1:2 r x"] {
            assert!(rule(text).is_err(), "{text:?}");
        }
    }
}

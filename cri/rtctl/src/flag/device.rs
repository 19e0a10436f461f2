//! `--device` and `--device-cgroup-rule`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use cri::spec::{DeviceNode, DeviceRequest};
use runtime::spec::DeviceRule;

/// `HOST[:CONTAINER][:rwm]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceFlag {
    host: String,
    container: String,
    access: String,
}

/// Parses `--device`.
pub(crate) fn device(text: &str) -> Result<DeviceFlag, String> {
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
        return Err(format!("{text:?}: CDI names are not built yet; give the path of a device"));
    }
    let container = super::volume::destination(container)?;
    Ok(DeviceFlag { host: host.to_owned(), container, access: access.to_owned() })
}

/// Looks the device up; a directory stands for all devices in it.
pub(crate) fn read(flag: &DeviceFlag) -> Result<Vec<DeviceRequest>> {
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
        let flag = |host: &str, container: &str, access: &str| DeviceFlag {
            host: host.to_owned(),
            container: container.to_owned(),
            access: access.to_owned(),
        };
        for (text, expected) in [
            ("/dev/a", Some(flag("/dev/a", "/dev/a", "rwm"))),
            ("/dev/a:r", Some(flag("/dev/a", "/dev/a", "r"))),
            ("/dev/a:/dev/b", Some(flag("/dev/a", "/dev/b", "rwm"))),
            ("/dev/a:/dev/b:rw", Some(flag("/dev/a", "/dev/b", "rw"))),
            ("/dev/a:/dev/b:x", None),
            ("/dev/a:b", None),
            ("vendor.com/class=0", None),
            ("", None),
        ] {
            assert_eq!(device(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_host_is_asked() {
        let null = read(&device("/dev/null:/dev/x:r").unwrap()).unwrap();
        assert_eq!((null[0].node.path.as_str(), null[0].node.major, null[0].node.minor), ("/dev/x", 1, 3));
        assert!(read(&device("/etc/passwd").unwrap()).unwrap_err().to_string().contains("not a device"));
        assert!(read(&device("/dev/there-is-no-such").unwrap()).is_err());
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

//! What is behind a volume: its own directory, or a file system that is mounted there. The options of docker's local driver:
//!
//! | option | is |
//! |---|---|
//! | `type` | `tmpfs`, `nfs`, `none` with `o=bind`, or any file system that the kernel knows |
//! | `device` | what is mounted: `tmpfs`, `:/export`, a directory, a block device |
//! | `o` | options of mount(8), separated by commas |

use std::collections::BTreeMap;

use nix::mount::MsFlags;

/// What is behind a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Its own directory.
    Directory,
    /// A file system mounted on it.
    Mount(Mount),
}

/// A call of mount(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// File system; unused for a bind mount.
    pub(crate) kind: String,
    /// What is mounted.
    pub(crate) device: String,
    /// Flags; `MS_BIND` among them for a bind mount.
    pub(crate) flags: MsFlags,
    /// Options for the file system itself.
    pub(crate) data: String,
}

/// Understands `--opt`.
pub(crate) fn backing(options: &BTreeMap<String, String>) -> Result<Backing, String> {
    for name in options.keys() {
        match name.as_str() {
            "type" | "device" | "o" => {}
            "size" => {
                return Err(
                    "option size needs project quotas, which are not built; a tmpfs takes o=size=BYTES".to_owned()
                );
            }
            _ => return Err(format!("unknown option {name:?}: must be type, device or o")),
        }
    }
    if options.is_empty() {
        return Ok(Backing::Directory);
    }
    let needed = |name: &str| {
        let value = options.get(name).filter(|value| !value.is_empty() && !value.contains('\0'));
        value
            .cloned()
            .ok_or_else(|| format!("option {name} is missing; type and device go together (type=tmpfs,device=tmpfs)"))
    };
    let (kind, device) = (needed("type")?, needed("device")?);
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    let words = options.get("o").map(String::as_str).unwrap_or_default();
    if words.contains('\0') {
        return Err("option o: has a NUL byte".to_owned());
    }
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match flag(word) {
            Some((flag, true)) => flags |= flag,
            Some((flag, false)) => flags &= !flag,
            None if propagation(word) => {
                return Err(format!(
                    "option o={word}: propagation belongs to the container's mount: bind-propagation={word}"
                ));
            }
            None => data.push(word),
        }
    }
    if flags.contains(MsFlags::MS_BIND) {
        if !device.starts_with('/') {
            return Err(format!("option device={device}: a bind mount needs an absolute path of the host"));
        }
        if let Some(word) = data.first() {
            return Err(format!("option o={word}: means nothing for a bind mount"));
        }
    } else if kind == "none" || kind == "bind" {
        return Err(format!("option type={kind} needs o=bind"));
    }
    Ok(Backing::Mount(Mount { kind, device, flags, data: data.join(",") }))
}

/// A word of mount(8) that is a flag of mount(2), and whether it is set or cleared.
fn flag(word: &str) -> Option<(MsFlags, bool)> {
    Some(match word {
        "bind" => (MsFlags::MS_BIND, true),
        "rbind" => (MsFlags::MS_BIND | MsFlags::MS_REC, true),
        "ro" => (MsFlags::MS_RDONLY, true),
        "rw" => (MsFlags::MS_RDONLY, false),
        "nosuid" => (MsFlags::MS_NOSUID, true),
        "suid" => (MsFlags::MS_NOSUID, false),
        "nodev" => (MsFlags::MS_NODEV, true),
        "dev" => (MsFlags::MS_NODEV, false),
        "noexec" => (MsFlags::MS_NOEXEC, true),
        "exec" => (MsFlags::MS_NOEXEC, false),
        "sync" => (MsFlags::MS_SYNCHRONOUS, true),
        "async" => (MsFlags::MS_SYNCHRONOUS, false),
        "dirsync" => (MsFlags::MS_DIRSYNC, true),
        "noatime" => (MsFlags::MS_NOATIME, true),
        "atime" => (MsFlags::MS_NOATIME, false),
        "nodiratime" => (MsFlags::MS_NODIRATIME, true),
        "diratime" => (MsFlags::MS_NODIRATIME, false),
        "relatime" => (MsFlags::MS_RELATIME, true),
        "norelatime" => (MsFlags::MS_RELATIME, false),
        "strictatime" => (MsFlags::MS_STRICTATIME, true),
        "nostrictatime" => (MsFlags::MS_STRICTATIME, false),
        "defaults" | "auto" | "noauto" | "_netdev" | "nofail" => (MsFlags::empty(), true),
        _ => return None,
    })
}

fn propagation(word: &str) -> bool {
    ["private", "shared", "slave", "unbindable"].contains(&word.strip_prefix('r').unwrap_or(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn mount(kind: &str, device: &str, flags: MsFlags, data: &str) -> Result<Backing, String> {
        Ok(Backing::Mount(Mount { kind: kind.to_owned(), device: device.to_owned(), flags, data: data.to_owned() }))
    }

    #[test]
    fn table() {
        assert_eq!(backing(&options(&[])), Ok(Backing::Directory));
        let tmpfs = options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,,noexec,uid=5")]);
        assert_eq!(backing(&tmpfs), mount("tmpfs", "tmpfs", MsFlags::MS_NOEXEC, "size=1m,uid=5"));
        let bind = options(&[("type", "none"), ("device", "/srv"), ("o", "bind,ro,rw")]);
        assert_eq!(backing(&bind), mount("none", "/srv", MsFlags::MS_BIND, ""));
        let nfs = options(&[("type", "nfs"), ("device", ":/x"), ("o", "addr=10.0.0.1,vers=4,nolock")]);
        assert_eq!(backing(&nfs), mount("nfs", ":/x", MsFlags::empty(), "addr=10.0.0.1,vers=4,nolock"));
    }

    #[test]
    fn refusals() {
        for (pairs, expected) in [
            (&[("type", "tmpfs")][..], "option device is missing"),
            (&[("device", "tmpfs")], "option type is missing"),
            (&[("o", "bind")], "option type is missing"),
            (&[("type", "none"), ("device", "/a")], "needs o=bind"),
            (&[("type", "none"), ("device", "a"), ("o", "bind")], "absolute path"),
            (&[("type", "none"), ("device", "/a"), ("o", "bind,size=1")], "means nothing for a bind mount"),
            (&[("type", "none"), ("device", "/a"), ("o", "bind,rshared")], "bind-propagation=rshared"),
            (&[("size", "1g")], "project quotas"),
            (&[("colour", "red")], "must be type, device or o"),
        ] {
            let error = backing(&options(pairs)).unwrap_err();
            assert!(error.contains(expected), "{pairs:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(kind in ".{0,8}", device in ".{0,8}", o in "[a-z,=\\PC]{0,40}") {
            let _ = backing(&options(&[("type", &kind), ("device", &device), ("o", &o)]));
        }
    }
}

//! The mounts of a container.

use std::path::{Component, Path, PathBuf};

use runtime::spec::Mount;

use super::super::config::{self, ContainerConfig, Propagation};
use super::super::error::Error;
use super::refusal::refuse;

/// What one of the configured mounts turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pod) enum ResolvedMount {
    /// A path of the node without links.
    Host(PathBuf),
    /// An image, unpacked.
    Image {
        /// Its layers, topmost first.
        layers: Vec<PathBuf>,
        /// What of it; empty means all.
        sub_path: String,
    },
}

/// Files of the pod that every container sees, by their names in the pod's directory.
const FILES: [(&str, &str); 3] =
    [("/etc/hostname", "hostname"), ("/etc/hosts", "hosts"), ("/etc/resolv.conf", "resolv.conf")];

/// All mounts in the order in which they are made: those that every container has and nothing of the container's own replaces, the
/// pod's files, and what was asked for.
///
/// # Errors
/// Two mounts in one place, and paths that cannot be written down.
pub(super) fn mounts(
    defaults: Vec<Mount>,
    config: &ContainerConfig,
    resolved: &[ResolvedMount],
    files: &Path,
) -> Result<Vec<Mount>, Error> {
    let wanted: Vec<PathBuf> = config.mounts.iter().map(|mount| clean(&mount.container_path)).collect();
    if let Some((index, path)) = wanted.iter().enumerate().find(|(index, path)| wanted[..*index].contains(path)) {
        let problem = format!("{} is also the place of another mount", path.display());
        return Err(refuse(&format!("mounts[{index}].container_path"), problem));
    }
    let taken = |destination: &str| wanted.contains(&clean(destination));
    let mut list: Vec<Mount> = defaults.into_iter().filter(|mount| !taken(&mount.destination)).collect();
    for (destination, name) in FILES {
        if !taken(destination) {
            let access = config.readonly_rootfs.then_some("ro");
            let options = ["rbind", "rprivate"].into_iter().chain(access);
            list.push(bind(destination, utf8("", &files.join(name))?, options));
        }
    }
    for (index, (mount, source)) in config.mounts.iter().zip(resolved).enumerate() {
        list.push(requested(index, mount, source)?);
    }
    // A mount must come after those it lies in. The sort is stable: the order above holds within one depth.
    list.sort_by_key(|mount| clean(&mount.destination).components().count());
    Ok(list)
}

fn requested(index: usize, mount: &config::Mount, source: &ResolvedMount) -> Result<Mount, Error> {
    let field = format!("mounts[{index}]");
    let source = match source {
        ResolvedMount::Host(path) => utf8(&format!("{field}.host_path"), path)?,
        ResolvedMount::Image { .. } => {
            return Err(refuse(&format!("{field}.image"), "ImageVolumeMountFailed: images cannot be mounted yet"));
        }
    };
    let access = match (mount.readonly, mount.recursive_read_only) {
        (true, true) => Some("rro"),
        (true, false) => Some("ro"),
        // Not "rw": what is read-only on the node stays so.
        (false, _) => None,
    };
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    let options = ["rbind", propagation].into_iter().chain(access).chain(mount.options.iter().map(String::as_str));
    Ok(Mount {
        uid_mappings: mount.uid_mappings.clone(),
        gid_mappings: mount.gid_mappings.clone(),
        ..bind(&mount.container_path, source, options)
    })
}

/// `linux.rootfsPropagation`: a mount can only pass on what the root passes on.
pub(super) fn rootfs_propagation(config: &ContainerConfig) -> Option<&'static str> {
    let has = |propagation| config.mounts.iter().any(|mount| mount.propagation == propagation);
    if has(Propagation::Bidirectional) {
        Some("rshared")
    } else if has(Propagation::HostToContainer) {
        Some("rslave")
    } else {
        None
    }
}

/// A path in the container as its parts say, without following links.
fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn utf8(field: &str, path: &Path) -> Result<String, Error> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(refuse(field, format!("{} is not UTF-8, which config.json cannot say", path.display()))),
    }
}

fn bind<'a>(destination: &str, source: String, options: impl Iterator<Item = &'a str>) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(source),
        options: options.map(str::to_owned).collect(),
        ..Mount::default()
    }
}

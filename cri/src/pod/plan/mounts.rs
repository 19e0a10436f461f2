//! The mounts of a container.

use std::path::{Component, Path, PathBuf};

use runtime::spec::Mount;
use shim::layout::ImageMount;

use super::super::config::{self, ContainerConfig, Propagation};
use super::super::error::Error;
use super::ContainerInput;
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

/// The directories that the image wants as volumes, where nothing that was asked for lies, with their directories on the node.
pub(in crate::pod) fn volumes(config: &ContainerConfig, declared: &[String], base: &Path) -> Vec<(String, PathBuf)> {
    let wanted: Vec<PathBuf> = config.mounts.iter().map(|mount| clean(&mount.container_path)).collect();
    let mut volumes: Vec<PathBuf> = declared.iter().map(|path| clean(path)).collect();
    volumes.sort();
    volumes.dedup();
    // The whole root file system is the container's own anyhow.
    volumes.retain(|path| path != Path::new("/") && !wanted.contains(path));
    let numbered = volumes.into_iter().enumerate();
    numbered.map(|(number, path)| (path.to_string_lossy().into_owned(), base.join(number.to_string()))).collect()
}

/// Files of the pod that every container sees, by their names in the pod's directory.
const FILES: [(&str, &str); 3] =
    [("/etc/hostname", "hostname"), ("/etc/hosts", "hosts"), ("/etc/resolv.conf", "resolv.conf")];

/// All mounts in the order in which they are made: those that every container has and nothing of the container's own replaces, the
/// pod's files, and what was asked for.
///
/// # Errors
/// Two mounts in one place, and paths that cannot be written down.
pub(super) fn mounts(input: &ContainerInput<'_>, defaults: Vec<Mount>) -> Result<Vec<Mount>, Error> {
    let ContainerInput { config, pod, host, files, .. } = *input;
    let mapped = pod.namespaces.user.is_some();
    let wanted: Vec<PathBuf> = config.mounts.iter().map(|mount| clean(&mount.container_path)).collect();
    if let Some((index, path)) = wanted.iter().enumerate().find(|(index, path)| wanted[..*index].contains(path)) {
        let problem = format!("{} is also the place of another mount", path.display());
        return Err(refuse(&format!("mounts[{index}].container_path"), problem));
    }
    let taken = |destination: &str| wanted.contains(&clean(destination));
    let mut list: Vec<Mount> = defaults.into_iter().filter(|mount| !taken(&mount.destination)).collect();
    if config.privileged {
        for mount in list.iter_mut().filter(|mount| matches!(mount.kind.as_deref(), Some("sysfs" | "cgroup"))) {
            mount.options.iter_mut().filter(|option| *option == "ro").for_each(|option| *option = "rw".to_owned());
        }
    }
    for (destination, name) in FILES {
        if !taken(destination) {
            let access = config.readonly_rootfs.then_some("ro");
            // KERNEL(6.3): tmpfs, where they are, takes id-mapped mounts. Before, the container's root can only read them.
            let id_map = (mapped && host.kernel >= (6, 3)).then_some("idmap");
            let options = ["rbind", "rprivate"].into_iter().chain(access).chain(id_map);
            list.push(bind(destination, utf8("", &files.join(name))?, options));
        }
    }
    for (destination, source) in input.volumes {
        // What every container has is not the image's to replace.
        if list.iter().any(|mount| clean(&mount.destination) == Path::new(destination)) {
            continue;
        }
        let id_map = mapped.then_some("idmap");
        list.push(bind(destination, utf8("", source)?, ["rbind", "rprivate"].into_iter().chain(id_map)));
    }
    for (index, (mount, source)) in config.mounts.iter().zip(input.mounts).enumerate() {
        let field = format!("mounts[{index}]");
        // KERNEL(5.12): mount_setattr(2)
        if mount.recursive_read_only && host.kernel < (5, 12) {
            let problem = "RROUnsupported: a kernel of 5.12 or later is needed";
            return Err(refuse(&format!("{field}.recursive_read_only"), problem));
        }
        list.push(match source {
            ResolvedMount::Host(path) => of_path(&field, mount, path)?,
            ResolvedMount::Image { .. } => of_image(mount, mapped),
        });
    }
    // A mount must come after those it lies in. The sort is stable: the order above holds within one depth.
    list.sort_by_key(|mount| clean(&mount.destination).components().count());
    Ok(list)
}

fn of_path(field: &str, mount: &config::Mount, path: &Path) -> Result<Mount, Error> {
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
    let id_map = (!mount.uid_mappings.is_empty()).then_some("ridmap");
    let options = ["rbind", propagation].into_iter().chain(access).chain(id_map);
    let source = utf8(&format!("{field}.host_path"), path)?;
    Ok(Mount {
        uid_mappings: mount.uid_mappings.clone(),
        gid_mappings: mount.gid_mappings.clone(),
        ..bind(&mount.container_path, source, options.chain(mount.options.iter().map(String::as_str)))
    })
}

/// The shim mounts the image; the place and the manner are of this one. What is in it may be run.
fn of_image(mount: &config::Mount, mapped: bool) -> Mount {
    let options = ["bind", "ro", "nodev", "rprivate"].into_iter().chain(mapped.then_some("idmap"));
    let options = options.chain(mount.options.iter().map(String::as_str));
    bind(&mount.container_path, "image".to_owned(), options)
}

/// `image_mounts` of `shim.json`.
pub(super) fn images(input: &ContainerInput<'_>) -> Vec<ImageMount> {
    let mounts = input.config.mounts.iter().zip(input.mounts);
    let image = |(mount, source): (&config::Mount, &ResolvedMount)| match source {
        ResolvedMount::Host(_) => None,
        ResolvedMount::Image { layers, sub_path } => Some(ImageMount {
            destination: PathBuf::from(&mount.container_path),
            lower: layers.clone(),
            sub_path: Some(PathBuf::from(sub_path)).filter(|path| !path.as_os_str().is_empty()),
        }),
    };
    mounts.filter_map(image).collect()
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

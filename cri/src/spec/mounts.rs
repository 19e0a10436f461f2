//! The mounts of a container: docker's own, then the user's by depth.

use std::path::PathBuf;

use runtime::spec::{IdMapping, Mount};
use serde::{Deserialize, Serialize};

use super::namespaces::is_private;
use super::options::{Options, UserNamespace};

/// Bytes of `/dev/shm` when nothing is said.
pub const SHM_SIZE: u64 = 64 << 20;

/// A mount that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    /// Absolute path in the container.
    pub destination: String,
    /// What is mounted there.
    pub target: MountTarget,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountTarget {
    /// A file or directory of the host, a volume among them.
    Bind {
        /// Where it is on the host.
        source: BindSource,
        /// How mounts pass between host and container.
        propagation: Propagation,
        /// What happens to mounts below the source.
        recursion: BindRecursion,
        /// Only what is there below the source, which no link there can lead out of.
        subpath: Option<String>,
        /// More options of the mount, of config.md "Linux mount options", such as `noexec`; they count for more than all else here.
        options: Vec<String>,
        /// How its ids are mapped; absent: what belongs to a user of the host belongs to that user.
        id_map: Option<MountIdMap>,
    },
    /// The files of an image, read-only; what lies outside of them is out of reach of its links. In a user namespace its ids are
    /// mapped as those of the root file system. [`image_mounts`] tells the shim of it.
    Image {
        /// Its unpacked layers, topmost first.
        lower: Vec<PathBuf>,
        /// Only the file or directory there.
        subpath: Option<String>,
        /// As those of a bind mount. It is read-only and has no device nodes without them.
        options: Vec<String>,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Options of tmpfs(5) and mount(8), such as `size=1m` and `exec`.
        options: Vec<String>,
    },
}

/// How the ids of a bind mount are mapped, mount_setattr(2) "ID-mapped mounts".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountIdMap {
    /// As the container's user namespace maps its own: what belongs to id 0 belongs to its root.
    Container,
    /// As a user namespace with these maps would.
    Maps {
        /// Lines of uid_map.
        uids: Vec<IdMapping>,
        /// Lines of gid_map.
        gids: Vec<IdMapping>,
    },
}

/// Source of a bind mount: an absolute path.
pub type BindSource = String;

/// Mount propagation, mount_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing passes; also for mounts below.
    #[default]
    RPrivate,
    /// Nothing passes.
    Private,
    /// From the host into the container.
    RSlave,
    /// From the host into the container.
    Slave,
    /// Both ways.
    RShared,
    /// Both ways.
    Shared,
}

impl Propagation {
    /// Its mount option.
    pub fn name(self) -> &'static str {
        match self {
            Propagation::RPrivate => "rprivate",
            Propagation::Private => "private",
            Propagation::RSlave => "rslave",
            Propagation::Slave => "slave",
            Propagation::RShared => "rshared",
            Propagation::Shared => "shared",
        }
    }

    /// The opposite of [`Propagation::name`].
    pub fn parse(name: &str) -> Option<Propagation> {
        [
            Propagation::RPrivate,
            Propagation::Private,
            Propagation::RSlave,
            Propagation::Slave,
            Propagation::RShared,
            Propagation::Shared,
        ]
        .into_iter()
        .find(|propagation| propagation.name() == name)
    }
}

/// What happens to mounts below the source of a bind mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindRecursion {
    /// They come along, read-only if the mount is.
    #[default]
    Enabled,
    /// They do not come along.
    Disabled,
    /// They come along and stay writable.
    Writable,
}

/// `mounts`.
pub(super) fn mounts(options: &Options) -> Vec<Mount> {
    let mut list = default_mounts(options);
    let taken = |destination: &str| options.mounts.iter().any(|mount| mount.destination == destination);
    list.retain(|mount| !taken(&mount.destination));
    for (destination, source) in &options.etc_files {
        if !taken(destination) {
            list.push(bind(destination, source, &["rbind", "rprivate"]));
        }
    }
    list.extend(options.mounts.iter().map(|request| user_mount(request, options)));
    // A mount must come after those it lies in. The sort is stable: the order above holds within one depth.
    list.sort_by_key(|mount| depth(&mount.destination));
    list
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").count()
}

fn default_mounts(options: &Options) -> Vec<Mount> {
    let access = if options.privileged { "rw" } else { "ro" };
    let mapped = matches!(options.userns, UserNamespace::Mapped { .. });
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
    ];
    // sysfs shows the network namespace of who mounts it, so only the owner of that namespace may: user_namespaces(7).
    if mapped && !is_private(&options.network) {
        list.push(bind("/sys", "/sys", &["rbind", "rro", "rnosuid", "rnoexec", "rnodev", "rslave"]));
    } else {
        list.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]));
    }
    list.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]));
    // It shows the ipc namespace of who mounts it, the host's with --ipc host, and only the owner of that namespace may. The queues
    // can be used without it.
    if !mapped || is_private(&options.ipc) {
        list.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    }
    if let Some(source) = &options.shm_source {
        list.push(bind("/dev/shm", source, &["bind", "nosuid", "noexec", "nodev"]));
    } else if !options.no_shm {
        let size = format!("size={}", options.shm_size.unwrap_or(SHM_SIZE));
        list.push(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
    }
    list
}

fn user_mount(request: &MountRequest, all: &Options) -> Mount {
    match &request.target {
        MountTarget::Bind { source, propagation, recursion, subpath, options: more, id_map } => {
            let (kind, read_only, mapped) = match recursion {
                BindRecursion::Enabled => ("rbind", "rro", "ridmap"),
                BindRecursion::Disabled => ("bind", "ro", "idmap"),
                BindRecursion::Writable => ("rbind", "ro", "ridmap"),
            };
            let mut options = vec![kind];
            // Without "rw": what is mounted read-only on the host stays so.
            options.extend(request.read_only.then_some(read_only));
            options.push(propagation.name());
            let below = subpath.as_ref().map(|subpath| format!("{}{subpath}", runtime::plan::SUBPATH));
            options.extend(below.as_deref());
            options.extend(id_map.as_ref().map(|_| mapped));
            options.extend(more.iter().map(String::as_str));
            let mut mount = bind(&request.destination, source, &options);
            if let Some(MountIdMap::Maps { uids, gids }) = id_map {
                (mount.uid_mappings, mount.gid_mappings) = (uids.clone(), gids.clone());
            }
            mount
        }
        MountTarget::Image { options: more, .. } => {
            let mut options = vec!["bind", "ro", "nodev", "rprivate"];
            options.extend(matches!(all.userns, UserNamespace::Mapped { .. }).then_some("idmap"));
            options.extend(more.iter().map(String::as_str));
            bind(&request.destination, "image", &options)
        }
        MountTarget::Tmpfs { options } => {
            // tmpfs mounts are closed unless asked otherwise; a later option wins.
            let mut all = vec!["nosuid", "nodev", "noexec"];
            all.extend(options.iter().map(String::as_str));
            if request.read_only {
                all.push("ro");
            }
            mount(&request.destination, "tmpfs", "tmpfs", &all)
        }
    }
}

/// The images among the mounts, for the shim: `image_mounts` of `shim.json`.
pub fn image_mounts(options: &Options) -> Vec<shim::layout::ImageMount> {
    let images = options.mounts.iter().filter_map(|request| match &request.target {
        MountTarget::Image { lower, subpath, .. } => Some(shim::layout::ImageMount {
            destination: PathBuf::from(&request.destination),
            lower: lower.clone(),
            sub_path: subpath.as_ref().map(PathBuf::from),
        }),
        MountTarget::Bind { .. } | MountTarget::Tmpfs { .. } => None,
    });
    images.collect()
}

/// `linux.rootfsPropagation`: a mount can only pass on what the root passes on.
pub(super) fn rootfs_propagation(options: &Options) -> Option<&'static str> {
    let mut strongest = None;
    for request in &options.mounts {
        let MountTarget::Bind { propagation, .. } = &request.target else { continue };
        match propagation {
            Propagation::Shared | Propagation::RShared => return Some("shared"),
            Propagation::Slave | Propagation::RSlave => strongest = Some("rslave"),
            Propagation::Private | Propagation::RPrivate => {}
        }
    }
    strongest
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: super::strings(options),
        ..Mount::default()
    }
}

fn bind(destination: &str, source: &str, options: &[&str]) -> Mount {
    mount(destination, "bind", source, options)
}

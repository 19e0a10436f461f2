//! Bundles for other OCI runtimes: all that a container is made of is mounted where such a program finds it by a path.
//!
//! ```text
//!  host's mount namespace ──unshare──▶ this process's own: the same mounts, and what is mounted later on either side is seen on both
//!                                        └─ <place>/              a file system in memory that no bind mount copies
//!                                             └─ <id>/config.json   sources and namespaces by paths that the program can open
//!                                                     rootfs/       the layers, ids mapped
//!                                                     <n>           source of the n-th mount, with its options and mapping
//! ```
//!
//! The host's mount table never shows any of it, and the kernel lets it go along with the process.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::error::{During, Error};
use super::id_map::UserNamespaces;
use super::{ImageMount, Rootfs, open};
use crate::plan::Plan;
use crate::root::magic_link;
use crate::spec::{Linux, Process, Spec};
use crate::sys::mount::{
    Attributes, Depth, fsconfig_create, fsconfig_string, fsmount, fsopen, mount_setattr, move_mount, set_group,
};
use crate::sys::{Call, CallError};

/// Where bundles are made: a mount namespace of this process's own.
#[derive(Debug)]
pub struct Bundles {
    place: PathBuf,
}

/// What a bundle is made of.
pub struct Bundle<'a> {
    /// Id of the container.
    pub id: &'a str,
    /// Its configuration. Paths of its namespaces may be of this process (`/proc/self/fd/N`).
    pub spec: &'a Spec,
    /// Directory that relative paths of the configuration start from.
    pub dir: &'a Path,
    /// Where its root file system comes from.
    pub rootfs: Rootfs,
    /// What is mounted instead of the sources of bind mounts.
    pub images: Vec<ImageMount>,
    /// As in [`super::Create`].
    pub shm: Option<OwnedFd>,
}

impl Bundles {
    /// Takes the calling process, which must have one thread, to a mount namespace of its own. `place` is an empty directory;
    /// programs in user namespaces must be able to get there.
    ///
    /// # Errors
    /// The call that failed.
    pub fn new(place: &Path) -> Result<Self, CallError> {
        let (root, before, shared) = mount_of(place)?;
        unshare(CloneFlags::CLONE_NEWNS).call(|| "unshare(CLONE_NEWNS)".to_owned())?;
        let around = open::directory(&root)?;
        let set = |mount: &OwnedFd, propagation| {
            let attributes = Attributes { propagation, ..Attributes::default() };
            mount_setattr(mount, Depth::Single, attributes).call(|| format!("mount_setattr({root:?}, propagation)"))
        };
        // What is attached to a shared mount shows up on the host.
        if shared {
            set(&around, libc::MS_PRIVATE)?;
        }
        let memory = memory()?;
        set(&memory, libc::MS_UNBINDABLE)?;
        move_mount(memory, open::directory(place)?).call(|| format!("move_mount(<tmpfs>, {place:?})"))?;
        if shared {
            // Volumes that are mounted later have to be seen here, and those of Bidirectional mounts there.
            set_group(before, around).call(|| format!("move_mount({root:?}, MOVE_MOUNT_SET_GROUP)"))?;
        }
        Ok(Self { place: place.to_owned() })
    }

    /// Directory of the bundle of a container.
    #[must_use]
    pub fn path(&self, id: &str) -> PathBuf {
        self.place.join(id)
    }

    /// Makes a bundle; one that is there is replaced.
    ///
    /// # Errors
    /// What cannot be mounted.
    pub fn make(&self, bundle: Bundle<'_>) -> Result<(), Error> {
        let Bundle { id, spec, dir, rootfs, images, shm } = bundle;
        let path = self.path(id);
        self.remove(id).during(|| "bundle".to_owned())?;
        directory(&path).during(|| "bundle".to_owned())?;
        // What is run is the program's business, but a plan has a process.
        let process = Process { args: vec!["/".to_owned()], cwd: "/".to_owned(), ..Process::default() };
        let mut plain = Spec { process: Some(process), hooks: None, ..spec.clone() };
        let linux = plain.linux.get_or_insert_default();
        // So is the rest.
        *linux = Linux {
            namespaces: std::mem::take(&mut linux.namespaces),
            uid_mappings: std::mem::take(&mut linux.uid_mappings),
            gid_mappings: std::mem::take(&mut linux.gid_mappings),
            rootfs_propagation: linux.rootfs_propagation.take(),
            ..Linux::default()
        };
        let plan = Plan::new(&plain)?;
        let base = open::directory(dir).during(|| "bundle".to_owned())?;
        let joined = open::namespaces(&plan)?;
        let mut users = UserNamespaces::new(&plan, joined.user.as_ref());
        let root = open::rootfs(&rootfs, &plan, &base, &mut users)?;
        let sources = open::sources(&plan, &base, shm, &images, &mut users)?;
        // crun before 1.9 takes no later one; nothing that is written below depends on it.
        let mut spec = Spec { oci_version: "1.0.2".to_owned(), ..spec.clone() };
        let at = path.join("rootfs");
        // There is none where a mount namespace is joined: it is looked up there.
        if let Some(root) = root {
            attach(root, &at).during(|| "rootfs".to_owned())?;
            spec.root.get_or_insert_default().path = text(&at);
        }
        for (index, (mount, source)) in spec.mounts.iter_mut().zip(sources).enumerate() {
            let Some(source) = source else { continue };
            let at = path.join(index.to_string());
            attach(source, &at).during(|| format!("mounts[{index}].source"))?;
            mount.source = Some(text(&at));
            // Done already, and not known to every program.
            mount.options.retain(|option| !is_done(option));
            mount.options.iter_mut().filter(|option| *option == "rro").for_each(|option| *option = "ro".to_owned());
            mount.uid_mappings.clear();
            mount.gid_mappings.clear();
        }
        let this = format!("/proc/{}/", std::process::id());
        for namespace in spec.linux.iter_mut().flat_map(|linux| &mut linux.namespaces) {
            if let Some(rest) = namespace.path.as_deref().and_then(|path| path.strip_prefix("/proc/self/")) {
                namespace.path = Some(format!("{this}{rest}"));
            }
        }
        let document = serde_json::to_vec(&spec).expect("a configuration is plain data");
        self.write(id, "config.json", &document).during(|| "bundle".to_owned()).map(|_| ())
    }

    /// Writes a file of a bundle that only root may read: there are secrets in environments. Its path.
    ///
    /// # Errors
    /// The call that failed.
    pub fn write(&self, id: &str, name: &str, content: &[u8]) -> Result<PathBuf, CallError> {
        let path = self.path(id).join(name);
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut file = file.call(|| format!("open({path:?}, O_WRONLY|O_CREAT|O_TRUNC)"))?;
        file.write_all(content).call(|| format!("write({path:?})"))?;
        Ok(path)
    }

    /// Removes a bundle; gone already is done.
    ///
    /// # Errors
    /// The call that failed.
    pub fn remove(&self, id: &str) -> Result<(), CallError> {
        let path = self.path(id);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.call(|| format!("open({path:?}, O_DIRECTORY)"))?,
        };
        for entry in entries {
            let path = entry.call(|| format!("getdents64({path:?})"))?.path();
            detach(&path)?;
            match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                // Not a mount.
                Ok(()) | Err(Errno::EINVAL) => {}
                Err(errno) => return Err(errno).call(|| format!("umount2({path:?}, MNT_DETACH)")),
            }
        }
        fs::remove_dir_all(&path).call(|| format!("remove({path:?})"))
    }
}

/// Makes what is mounted at a path nobody else's business: what goes below a shared mount goes on the host as well.
fn detach(path: &Path) -> Result<(), CallError> {
    let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = openat(AT_FDCWD, path, flags, Mode::empty()).call(|| format!("open({path:?}, O_PATH)"))?;
    match mount_setattr(opened, Depth::Recursive, private) {
        // Not a mount.
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno).call(|| format!("mount_setattr({path:?}, MS_PRIVATE)")),
    }
}

/// Options of a bind mount that its source has by now.
fn is_done(option: &str) -> bool {
    matches!(option, "idmap" | "ridmap") || (option.starts_with('r') && RECURSIVE.contains(&&option[1..]))
}

/// Options that have a recursive form, config.md "Linux mount options"; `rro` is apart, as programs look for `ro`.
const RECURSIVE: [&str; 17] = [
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "relatime",
    "norelatime",
    "atime",
    "noatime",
    "strictatime",
    "nostrictatime",
    "diratime",
    "nodiratime",
    "symfollow",
    "nosymfollow",
];

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The mount that a directory lies in: its root, that root in the mount namespace of now, and whether others see what is mounted there.
fn mount_of(place: &Path) -> Result<(PathBuf, OwnedFd, bool), CallError> {
    let mut opened = open::directory(place)?;
    let link = magic_link(&opened);
    let place = fs::read_link(&link).call(|| format!("readlink({link:?})"))?;
    let mut root = place.as_path();
    let mount = mount_id(&opened)?;
    while let Some(parent) = root.parent() {
        let above = open::directory(parent)?;
        if mount_id(&above)? != mount {
            break;
        }
        (root, opened) = (parent, above);
    }
    let table = fs::read_to_string("/proc/self/mountinfo").call(|| "read(\"/proc/self/mountinfo\")".to_owned())?;
    let line = table.lines().find(|line| line.split(' ').next() == Some(&mount)).unwrap_or_default();
    let optional = line.split(" - ").next().unwrap_or_default().split(' ').skip(6);
    Ok((root.to_owned(), opened, { optional }.any(|field| field.starts_with("shared:"))))
}

/// proc_pid_fdinfo(5), mnt_id.
fn mount_id(fd: &OwnedFd) -> Result<String, CallError> {
    let path = magic_link(fd).replace("/fd/", "/fdinfo/");
    let text = fs::read_to_string(&path).call(|| format!("read({path:?})"))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.map(|id| id.trim().to_owned()).ok_or(Errno::EBADMSG).call(|| format!("read({path:?}): no mnt_id"))
}

/// A file system in memory: who has no business there can get through it and read nothing.
fn memory() -> Result<OwnedFd, CallError> {
    let fs = fsopen(c"tmpfs").call(|| "fsopen(\"tmpfs\")".to_owned())?;
    for (key, value) in [(c"source", c"bundles"), (c"mode", c"0711"), (c"size", c"64m")] {
        fsconfig_string(&fs, key, value).call(|| format!("fsconfig(<tmpfs>, {key:?}, {value:?})"))?;
    }
    fsconfig_create(&fs).call(|| "fsconfig(<tmpfs>, FSCONFIG_CMD_CREATE)".to_owned())?;
    fsmount(&fs, 0).call(|| "fsmount(<tmpfs>)".to_owned())
}

fn directory(path: &Path) -> Result<(), CallError> {
    fs::DirBuilder::new().mode(0o711).create(path).call(|| format!("mkdir({path:?}, 0711)"))
}

/// Attaches a mount at a new file or directory.
fn attach(mount: OwnedFd, at: &Path) -> Result<(), CallError> {
    let found = fstat(&mount).call(|| format!("fstat(<mount for {at:?}>)"))?;
    let target = if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
        directory(at)?;
        open::directory(at)?
    } else {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        openat(AT_FDCWD, at, flags, Mode::empty()).call(|| format!("open({at:?}, O_CREAT|O_EXCL)"))?
    };
    move_mount(mount.as_fd(), target).call(|| format!("move_mount(<mount>, {at:?})"))
}

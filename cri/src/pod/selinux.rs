//! SELinux on the node: what its policy says of containers, and giving files the label of a pod.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use runtime::sys::{Call, CallError, xattr};

use super::config::{ContainerConfig, PodConfig};
use super::engine::Engine;
use super::error::{Error, Io};
use super::files;
use super::plan::{Labels, selinux};
use super::record::PodRecord;

/// What the policy is called, and where policies are.
const CONFIG: &str = "/etc/selinux/config";

/// Trees that are never labelled as a container's: the node would not start again.
const KEPT: [&str; 11] = ["/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/proc", "/run", "/sys", "/usr"];

/// Deepest directory that is labelled.
const DEPTH: usize = 128;

/// The labels of the node's policy for containers; `None`: it has none.
pub(super) fn policy() -> Result<Option<Labels>, Error> {
    let config = fs::read_to_string(CONFIG).io(|| format!("read({CONFIG:?})"))?;
    let name = config.lines().find_map(|line| line.trim().strip_prefix("SELINUXTYPE=")).unwrap_or("targeted").trim();
    let path = Path::new("/etc/selinux").join(name).join("contexts/lxc_contexts");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => Ok(selinux::defaults(&text.io(|| format!("read({path:?})"))?)),
    }
}

impl Engine {
    /// The labels of a new pod; `None` where SELinux is off, or has no policy for containers. CRI: LinuxSandboxSecurityContext
    pub(super) fn new_labels(&self, config: &PodConfig) -> Result<Option<Labels>, Error> {
        if !self.0.host.selinux {
            return Ok(None);
        }
        let Some(base) = policy()? else { return Ok(None) };
        let pods = self.pod_list();
        let taken = pods.iter().filter_map(|pod| pod.record.labels.as_ref());
        let level = selinux::new_level(taken, random).io(|| "read(\"/dev/urandom\")".to_owned())?;
        Ok(Some(selinux::labels(&base, config.selinux.as_ref(), &level)))
    }
}

/// The labels of a container. The processes of a privileged one are confined by none; the policy may have one for who executes files of
/// containers (`spc_t`), so its files have theirs.
pub(super) fn of_container(pod: &PodRecord, config: &ContainerConfig) -> Option<Labels> {
    let labels = selinux::of_container(pod.labels.as_ref()?, config.selinux.as_ref());
    let process = if config.privileged { String::new() } else { labels.process };
    Some(Labels { process, ..labels })
}

fn random() -> std::io::Result<u32> {
    let mut bytes = [0; 4];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// Labels a file or directory of the node, and all below it, for a pod's containers alone. CRI: Mount.selinux_relabel
///
/// # Errors
/// A tree that the node itself needs; what the kernel refused. A file system without labels is left as it is.
pub(super) fn relabel(path: &Path, label: &str) -> Result<(), Error> {
    if KEPT.iter().any(|kept| Path::new(kept) == path) {
        let problem = format!("{} is the node's own and cannot be labelled for a pod", path.display());
        return Err(Error::Invalid { field: "config.mounts: selinux_relabel".to_owned(), problem });
    }
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let dir =
        open(parent, flags | OFlag::O_DIRECTORY, Mode::empty()).call(|| format!("open({parent:?}, O_DIRECTORY)"))?;
    Ok(label_entry(&dir, path.file_name().unwrap_or_default(), label, 0)?)
}

/// Labels the files of a pod for its containers. CRI: LinuxSandboxSecurityContext
pub(super) fn relabel_shared(dir: &Path, labels: &Labels) -> Result<(), Error> {
    let label = selinux::shared(labels);
    files::NAMES.iter().try_for_each(|name| relabel(&dir.join(name), &label))
}

/// Directories are opened one below the other and no link is followed: what is in the tree may change meanwhile.
fn label_entry(dir: &OwnedFd, name: &OsStr, label: &str, depth: usize) -> Result<(), CallError> {
    match xattr::set_at(dir, name.as_bytes(), c"security.selinux", label.as_bytes()) {
        // Gone meanwhile; a file system that has no labels.
        Err(Errno::ENOENT | Errno::EOPNOTSUPP) => return Ok(()),
        set => set.call(|| format!("lsetxattr({name:?}, \"security.selinux\", {label:?})"))?,
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let below = match openat(dir.as_fd(), name, flags, Mode::empty()) {
        Err(Errno::ENOTDIR | Errno::ELOOP | Errno::ENOENT) => return Ok(()),
        opened => opened.call(|| format!("openat({name:?}, O_DIRECTORY)"))?,
    };
    if depth == DEPTH {
        return Err(CallError { call: format!("openat({name:?}): too deep"), errno: Errno::ELOOP });
    }
    let list = openat(&below, ".", flags, Mode::empty()).call(|| "openat(\".\")".to_owned())?;
    let mut list = Dir::from_fd(list).call(|| "fdopendir()".to_owned())?;
    for entry in list.iter() {
        let entry = entry.call(|| "getdents64()".to_owned())?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            label_entry(&below, OsStr::from_bytes(name), label, depth + 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_needs_is_not_labelled() {
        for path in KEPT {
            let error = relabel(Path::new(path), "u:r:t:s0").unwrap_err().to_string();
            assert!(error.contains("is the node's own"), "{error}");
        }
    }

    /// Without the right to set labels the kernel's answer names the file.
    #[test]
    fn a_tree_is_labelled_from_the_top() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/c"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("a/out")).unwrap();
        match relabel(dir.path(), "u:r:t:s0") {
            Ok(()) => {
                for path in ["", "a", "a/b", "a/b/c"] {
                    let file = fs::File::open(dir.path().join(path)).unwrap();
                    if let Some(found) = xattr::fget(&file, c"security.selinux").unwrap() {
                        assert_eq!(found, b"u:r:t:s0", "{path}");
                    }
                }
                let outside = fs::File::open("/etc").unwrap();
                assert_ne!(xattr::fget(&outside, c"security.selinux").unwrap().as_deref(), Some(&b"u:r:t:s0"[..]));
            }
            Err(Error::Call(error)) => {
                assert_eq!(error.errno, Errno::EPERM);
                assert!(error.call.starts_with("lsetxattr("), "{error}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

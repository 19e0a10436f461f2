//! Giving files of the host the label of containers.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};
use runtime::sys::{Call, CallError, xattr};

/// Files and trees that are never labelled as a container's: the host would not start again, or nobody could log in.
const KEPT: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// Deepest directory that is labelled.
const DEPTH: usize = 128;

const NAME: &std::ffi::CStr = c"security.selinux";

/// Why files have not been labelled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host itself needs them.
    #[error("{} is the node's own and cannot be labelled for containers", .0.display())]
    Kept(PathBuf),
    /// The kernel's answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Labels a file or directory of the host, and all below it, for containers; the top last, so that what was not finished can be told
/// by it. `home` is one more tree that is kept. A file system without labels is left as it is.
///
/// # Errors
/// A tree that the host itself needs, by whatever path; what the kernel refused.
pub fn relabel(path: &Path, label: &str, home: Option<&Path>) -> Result<(), Error> {
    // A link leads where the mount will lead.
    let top = open_path(path)?;
    let identity = |fd: &OwnedFd| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let own = identity(&top).call(|| format!("fstat({path:?})"))?;
    for kept in KEPT.iter().map(Path::new).chain(home) {
        let Ok(kept) = open_path(kept) else { continue };
        if identity(&kept).is_ok_and(|kept| kept == own) {
            return Err(Error::Kept(path.to_owned()));
        }
    }
    label_below(&top, label, 0)?;
    match xattr::set(&top, NAME, label.as_bytes()) {
        Err(Errno::EOPNOTSUPP) => Ok(()),
        set => Ok(set.call(|| format!("setxattr({path:?}, {NAME:?}, {label:?})"))?),
    }
}

/// The label of a directory; absent where the file system has none.
///
/// # Errors
/// The kernel's answer.
pub fn label_of(path: &Path) -> Result<Option<String>, CallError> {
    let dir = open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| format!("open({path:?}, O_DIRECTORY)"))?;
    match xattr::fget(&dir, NAME) {
        Err(Errno::EOPNOTSUPP) | Ok(None) => Ok(None),
        Ok(Some(label)) => {
            let label = String::from_utf8_lossy(&label);
            // The kernel ends it with a NUL.
            Ok(Some(label.trim_end_matches('\0').to_owned()))
        }
        Err(errno) => Err(errno).call(|| format!("fgetxattr({path:?}, {NAME:?})")),
    }
}

fn open_path(path: &Path) -> Result<OwnedFd, CallError> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).call(|| format!("open({path:?}, O_PATH)"))
}

/// Labels what is in a directory. They are opened one below the other and no link is followed: what is in the tree may change meanwhile.
fn label_below(dir: &OwnedFd, label: &str, depth: usize) -> Result<(), CallError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let list = match openat(dir, ".", flags, Mode::empty()) {
        // A file.
        Err(Errno::ENOTDIR) => return Ok(()),
        list => list.call(|| "openat(\".\")".to_owned())?,
    };
    if depth == DEPTH {
        return Err(CallError { call: "openat(\".\"): too deep".to_owned(), errno: Errno::ELOOP });
    }
    let mut list = Dir::from_fd(list).call(|| "fdopendir()".to_owned())?;
    for entry in list.iter() {
        let entry = entry.call(|| "getdents64()".to_owned())?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            label_entry(dir, OsStr::from_bytes(name), label, depth)?;
        }
    }
    Ok(())
}

fn label_entry(dir: &OwnedFd, name: &OsStr, label: &str, depth: usize) -> Result<(), CallError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(dir.as_fd(), name, flags, Mode::empty()) {
        Err(Errno::ENOTDIR | Errno::ELOOP | Errno::ENOENT) => {}
        below => label_below(&below.call(|| format!("openat({name:?}, O_DIRECTORY)"))?, label, depth + 1)?,
    }
    match xattr::set_at(dir, name.as_bytes(), NAME, label.as_bytes()) {
        // Gone meanwhile; a file system that has no labels.
        Err(Errno::ENOENT | Errno::EOPNOTSUPP) => Ok(()),
        set => set.call(|| format!("lsetxattr({name:?}, {NAME:?}, {label:?})")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Whatever path leads there.
    #[test]
    fn what_the_node_needs_is_not_labelled() {
        let dir = tempfile::tempdir().unwrap();
        let (link, home) = (dir.path().join("link"), dir.path().join("home"));
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        fs::create_dir(&home).unwrap();
        let detours = ["/etc/", "/usr/../etc/.", "/proc/self/root"].map(PathBuf::from);
        let there = KEPT.iter().map(PathBuf::from).filter(|path| path.symlink_metadata().is_ok());
        for path in there.chain(detours).chain([link, home.clone()]) {
            match relabel(&path, "u:r:t:s0", Some(&home)) {
                Err(Error::Kept(kept)) => assert_eq!(kept, path),
                other => panic!("{path:?}: {other:?}"),
            }
        }
    }

    /// Without the right to set labels the kernel's answer names the file.
    #[test]
    fn a_tree_is_labelled_but_not_what_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/c"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("a/out")).unwrap();
        match relabel(dir.path(), "u:r:t:s0", None) {
            Ok(()) => {
                for path in ["", "a", "a/b", "a/b/c"] {
                    let file = fs::File::open(dir.path().join(path)).unwrap();
                    if let Some(found) = xattr::fget(&file, NAME).unwrap() {
                        assert_eq!(found, b"u:r:t:s0", "{path}");
                    }
                }
                let outside = fs::File::open("/etc").unwrap();
                assert_ne!(xattr::fget(&outside, NAME).unwrap().as_deref(), Some(&b"u:r:t:s0"[..]));
            }
            Err(Error::Call(error)) => {
                assert_eq!(error.errno, Errno::EPERM);
                assert!(error.call.starts_with("lsetxattr("), "{error}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

//! Whether mounts can pass between the node and a container: only a mount that the node shares passes anything.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use runtime::sys::Call;

use super::config::Propagation;
use super::error::{Error, Io};

/// Refuses a mount through which nothing would pass. `field` names it.
///
/// # Errors
/// [`Error::Invalid`]; the path or the mount table cannot be read.
pub(super) fn require(field: &str, path: &Path, propagation: Propagation) -> Result<(), Error> {
    let (wanted, word): (&[&str], _) = match propagation {
        Propagation::Private => return Ok(()),
        Propagation::HostToContainer => (&["shared:", "master:"], "shared or slave"),
        Propagation::Bidirectional => (&["shared:"], "shared"),
    };
    let fd = openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    let fd = fd.call(|| format!("open({path:?}, O_PATH)"))?;
    let read = |path: &str| fs::read_to_string(path).io(|| format!("read({path:?})"));
    let info = read(&format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default().trim();
    let table = read("/proc/self/mountinfo")?;
    match find(&table, id) {
        Some((_, fields)) if fields.iter().any(|field| wanted.iter().any(|word| field.starts_with(word))) => Ok(()),
        Some((place, _)) => {
            let problem = format!("{path:?} is on the mount {place}, which is not {word}: mount(8) --make-shared");
            Err(Error::Invalid { field: format!("{field}.propagation"), problem })
        }
        None => {
            let problem = format!("{path:?} is on no mount of the daemon's mount namespace");
            Err(Error::Invalid { field: format!("{field}.host_path"), problem })
        }
    }
}

/// Mount point and optional fields of a mount; proc_pid_mountinfo(5).
fn find<'a>(table: &'a str, id: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let line = table.lines().find(|line| line.split(' ').next() == Some(id))?;
    let fields: Vec<&str> = line.split(" - ").next()?.split(' ').collect();
    Some((fields.get(4)?, fields.get(6..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = "26 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                     27 26 0:5 / /dev rw - devtmpfs udev rw\n\
                     28 26 0:6 / /a rw shared:2 master:1 - tmpfs none rw\n";
        assert_eq!(find(table, "26"), Some(("/", vec!["shared:1"])));
        assert_eq!(find(table, "27"), Some(("/dev", vec![])));
        assert_eq!(find(table, "28"), Some(("/a", vec!["shared:2", "master:1"])));
        assert_eq!(find(table, "2"), None);
    }

    #[test]
    fn procfs_is_found() {
        assert!(require("mounts[0]", Path::new("/proc"), Propagation::Private).is_ok());
        match require("mounts[0]", Path::new("/proc/self"), Propagation::Bidirectional) {
            Ok(()) => {}
            Err(error) => assert!(error.to_string().starts_with("mounts[0].propagation: "), "{error}"),
        }
    }
}

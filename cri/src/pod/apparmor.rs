//! Which AppArmor profiles are loaded.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use super::config::{ContainerConfig, Profile};
use super::error::{Error, Io};
use crate::spec::Host;

/// The kernel's list: a line each, `NAME (MODE)`. apparmor(7)
pub const APPARMOR_PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// The profiles that are loaded; absent where there is no AppArmor.
///
/// # Errors
/// AppArmor is there, and its list cannot be read.
pub(super) fn loaded(host: &Host) -> Result<Option<BTreeSet<String>>, Error> {
    if !host.apparmor {
        return Ok(None);
    }
    read(Path::new(APPARMOR_PROFILES)).map(Some)
}

fn read(list: &Path) -> Result<BTreeSet<String>, Error> {
    let text = std::fs::read_to_string(list);
    // Where AppArmor is, its list is, but for a file system that shows neither.
    let missing = text.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let why = if missing { ": securityfs is not mounted (mount -t securityfs none /sys/kernel/security)" } else { "" };
    Ok(parse(&text.io(|| format!("read({list:?}){why}"))?))
}

/// Whether the kernel knows a profile; it knows none without AppArmor.
#[must_use]
pub fn is_apparmor_profile_loaded(profile: &str) -> bool {
    std::fs::read_to_string(APPARMOR_PROFILES).is_ok_and(|text| parse(&text).contains(profile))
}

/// Names may have spaces; the mode is the last word.
fn parse(text: &str) -> BTreeSet<String> {
    let name = |line: &str| line.rsplit_once(" (").map_or(line, |(name, _)| name).to_owned();
    text.lines().map(name).collect()
}

/// Refuses a container whose profile is not loaded: its program could not be started.
///
/// # Errors
/// [`Error::Invalid`].
pub(super) fn require(config: &ContainerConfig, loaded: Option<&BTreeSet<String>>) -> Result<(), Error> {
    match (&config.apparmor, loaded) {
        (Some(Profile::Localhost(name)), Some(loaded)) if !config.privileged && !loaded.contains(name) => {
            let field = "config.linux.security_context.apparmor".to_owned();
            Err(Error::Invalid { field, problem: format!("profile {name:?} is not loaded on this node") })
        }
        (Some(_) | None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_securityfs_the_missing_mount_is_named() {
        let root = tempfile::tempdir().unwrap();
        let list = root.path().join("profiles");
        let error = read(&list).unwrap_err().to_string();
        let mount = "securityfs is not mounted (mount -t securityfs none /sys/kernel/security)";
        assert_eq!(error, format!("read({list:?}): {mount}: No such file or directory (os error 2)"));
        std::fs::write(&list, "a (enforce)\n").unwrap();
        assert_eq!(read(&list).unwrap(), BTreeSet::from(["a".to_owned()]));
    }

    #[test]
    fn lists() {
        let list = parse("rt-default (enforce)\n/usr/bin/man (complain)\na b (unconfined)\nlsb_release//x (enforce)\n");
        let names = ["/usr/bin/man", "a b", "lsb_release//x", "rt-default"].map(str::to_owned);
        assert_eq!(list, BTreeSet::from(names));
    }
}

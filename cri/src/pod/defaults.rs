//! What containers and pods get that do not say otherwise: from the daemon's settings, as they are now.

use std::fs;
use std::path::Path;

use runtime::spec::Rlimit;

use super::error::{Error, Io};
use super::plan::Defaults;
use crate::config::{self, Config};
use crate::daemon::inherited_nofile;

/// Where they are looked up.
#[derive(Debug, Clone)]
pub enum DefaultsFrom {
    /// They never change.
    Fixed(Box<Defaults>),
    /// The daemon's settings, which may be changed while it runs.
    Settings(config::Settings),
}

impl DefaultsFrom {
    /// As they are now.
    ///
    /// # Errors
    /// A file that the settings name cannot be read.
    pub(super) fn now(&self) -> Result<Defaults, Error> {
        match self {
            DefaultsFrom::Fixed(defaults) => Ok((**defaults).clone()),
            DefaultsFrom::Settings(settings) => of(&settings.now()),
        }
    }
}

fn of(config: &Config) -> Result<Defaults, Error> {
    let seccomp = config.seccomp_default_profile.as_deref().map(profile).transpose()?;
    Ok(Defaults {
        rlimits: rlimits(config.default_ulimits.iter().map(config::Ulimit::rlimit).collect())?,
        pids_limit: Some(i64::from(config.pids_limit.get())).filter(|limit| *limit > 0),
        seccomp,
        apparmor: Some(config.apparmor_default.clone()).filter(|name| !name.is_empty()),
        unprivileged_ports: config.unprivileged_ports,
        tolerate_missing_hugetlb: config.tolerate_missing_hugetlb,
        unprivileged_icmp: config.unprivileged_icmp,
    })
}

fn profile(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).io(|| format!("read({path:?}): seccomp_default_profile"))
}

/// The daemon's own limit of descriptors is higher than what it was started with, which is the containers'.
fn rlimits(mut list: Vec<Rlimit>) -> Result<Vec<Rlimit>, Error> {
    const NOFILE: &str = "RLIMIT_NOFILE";
    if !list.iter().any(|limit| limit.kind == NOFILE) {
        let own = inherited_nofile().map_err(std::io::Error::from).io(|| "getrlimit(RLIMIT_NOFILE)".to_owned())?;
        list.push(Rlimit { kind: NOFILE.to_owned(), soft: own.soft, hard: own.hard });
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loaded;

    #[test]
    fn of_the_settings() {
        let defaults = of(&Loaded::defaults().config).unwrap();
        assert_eq!((defaults.pids_limit, defaults.seccomp.as_deref()), (None, None));
        assert_eq!(defaults.apparmor.as_deref(), Some("rt-default"));
        assert!(defaults.unprivileged_ports && defaults.unprivileged_icmp && defaults.tolerate_missing_hugetlb);
        assert_eq!(defaults.rlimits.len(), 1);
        let given = vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 1, hard: 2 }];
        assert_eq!(rlimits(given.clone()).unwrap(), given);
    }
}

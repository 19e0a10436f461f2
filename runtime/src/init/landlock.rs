//! Rules of Landlock: the paths are those of the container, looked up as its user.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use crate::plan::{LANDLOCK, Landlock};
use crate::sys::landlock::{allow_path, allow_port, restrict, ruleset};
use crate::sys::{Call, CallError};

/// Puts this process and what it starts under the rules.
pub(super) fn apply(landlock: &Landlock) -> Result<(), CallError> {
    let rules = ruleset(&landlock.handled).map_err(|errno| {
        let why = match errno {
            Errno::ENOSYS | Errno::EOPNOTSUPP => "this kernel has no Landlock",
            Errno::EINVAL | Errno::E2BIG => "an access that this kernel does not know",
            _ => "refused",
        };
        CallError {
            call: format!("landlock_create_ruleset({:?}): annotation {LANDLOCK}: {why}", landlock.handled),
            errno,
        }
    })?;
    for (accesses, path) in &landlock.paths {
        let object = openat(AT_FDCWD, Path::new(path), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .call(|| format!("open({path:?}, O_PATH): annotation {LANDLOCK}"))?;
        allow_path(&rules, *accesses, object).call(|| format!("landlock_add_rule({path:?}, {accesses:#x})"))?;
    }
    for (accesses, port) in &landlock.ports {
        allow_port(&rules, *accesses, *port).call(|| format!("landlock_add_rule(port {port}, {accesses:#x})"))?;
    }
    restrict(&rules).call(|| "landlock_restrict_self()".to_owned())
}

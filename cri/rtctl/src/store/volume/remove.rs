//! Removing volumes that no container uses.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};

use super::hold::{is_still, open_dir};
use super::users::Users;
use super::{attach, dir, missing};
use crate::store::id;
use crate::store::roots::Roots;

/// A volume is in use.
#[derive(Debug)]
pub(crate) struct InUse {
    name: String,
    /// Containers; empty: one that is being made.
    users: Vec<String>,
}

impl std::fmt::Display for InUse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.users.as_slice() {
            [] => write!(formatter, "volume {} is in use: a container is being made with it", self.name),
            users => {
                let users = users.join(", ");
                write!(formatter, "volume {} is in use by {users}; rtctl rm removes containers", self.name)
            }
        }
    }
}

impl std::error::Error for InUse {}

/// Removes a volume.
///
/// # Errors
/// [`InUse`]; [`super::Missing`]; what could not be removed.
pub(crate) fn remove(roots: &Roots, name: &str) -> Result<()> {
    let path = dir(roots, name);
    let in_use = |users: Vec<String>| InUse { name: name.to_owned(), users };
    let Some(fd) = open_dir(&path)? else { return Err(missing(roots, name).into()) };
    let _lock = match Flock::lock(fd, FlockArg::LockExclusiveNonblock) {
        Ok(lock) if is_still(&lock, &path)? => lock,
        Ok(_) => return Err(missing(roots, name).into()),
        Err((_, Errno::EWOULDBLOCK)) => return Err(in_use(Vec::new()).into()),
        Err((_, errno)) => return Err(errno).with_context(|| format!("flock({}, LOCK_EX)", path.display())),
    };
    // Asked with the lock: from now on no new container can name it.
    let users = Users::read(roots)?;
    let users: Vec<String> = users.of(name).into_iter().map(str::to_owned).collect();
    if !users.is_empty() {
        return Err(in_use(users).into());
    }
    attach::detach(&path, name)?;
    let gone = roots.volumes().join(format!(".gone-{}", id::new()?));
    renameat2(AT_FDCWD, &path, AT_FDCWD, &gone, RenameFlags::RENAME_NOREPLACE)
        .with_context(|| format!("renameat2({})", path.display()))?;
    tree(&gone).with_context(|| format!("volume {name}"))
}

fn tree(path: &Path) -> Result<()> {
    match shim::remove::tree(path) {
        Ok(()) => Ok(()),
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            bail!("{}: {}", path.display(), problems.join("; "))
        }
    }
}

/// Removes what programs that ended in the middle of making or removing a volume left.
pub(crate) fn sweep(roots: &Roots) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(roots.volumes()) else { return Ok(()) };
    for entry in entries {
        let name = entry.with_context(|| format!("{}", roots.volumes().display()))?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(".new-") || name.starts_with(".gone-")) else {
            continue;
        };
        let path = roots.volumes().join(name);
        let Some(fd) = open_dir(&path)? else { continue };
        // Somebody is at work on it.
        let Ok(_lock) = Flock::lock(fd, FlockArg::LockExclusiveNonblock) else { continue };
        if let Err(error) = tree(&path) {
            eprintln!("rtctl: remains of a volume: {error:#}");
        }
    }
    Ok(())
}

//! Groups that a container has made below its own, as places for one more process.

use std::path::PathBuf;

use nix::unistd::Pid;

use super::dir::Dir;
use super::{Cgroup, Error};

impl Cgroup {
    /// This group with some of its hierarchies at a group below it, which must be there: `PATH`, or `CONTROLLER,...:PATH` for the v1
    /// hierarchies of those controllers.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::System`] ENOENT.
    pub fn inside(&self, places: &[&str]) -> Result<Cgroup, Error> {
        let mut group = self.again()?;
        for place in places {
            let (controllers, path) = place.split_once(':').map_or(("", *place), |(names, path)| (names, path));
            let wrong = |problem| Error::Path { path: (*place).to_owned(), problem };
            if path.split('/').any(|part| part == "..") || path.contains(['\0', '\n']) {
                return Err(wrong("it must stay below the container's group"));
            }
            let path = path.trim_matches('/');
            let named: Vec<&str> = controllers.split(',').filter(|name| !name.is_empty()).collect();
            let mut found = false;
            for v1 in &mut group.v1 {
                let is_named = |name: &&str| v1.controllers.iter().any(|controller| controller.name() == *name);
                if named.is_empty() || named.iter().any(is_named) {
                    v1.dir = below(&v1.dir, path)?;
                    found = true;
                }
            }
            if let Some(v2) = group.v2.as_mut().filter(|_| named.is_empty()) {
                // On a hybrid host nobody speaks of this one, and it follows where it can.
                let optional = !group.v1.is_empty();
                match below(&v2.dir, path) {
                    Err(error) if optional && error.errno() == Some(nix::errno::Errno::ENOENT) => {}
                    dir => v2.dir = dir?,
                }
                found = true;
            }
            if !found {
                return Err(wrong("the container has no hierarchy of these controllers"));
            }
        }
        Ok(group)
    }

    /// On v2, the group below this one in which init is, where this one can hold no process as it passes controllers on: a system of
    /// services in a container does so. `None`: this one will do.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn of_init(&self, init: Pid) -> Result<Option<Cgroup>, Error> {
        let Some(v2) = self.v2.as_ref().filter(|_| self.v1.is_empty()) else { return Ok(None) };
        if v2.dir.read_if_there("cgroup.subtree_control")?.is_none_or(|enabled| enabled.trim().is_empty()) {
            return Ok(None);
        }
        let table = std::fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap_or_default();
        let place = table.lines().find_map(|line| line.strip_prefix("0::"));
        let own = v2.dir.path().to_string_lossy();
        let below = place.and_then(|place| {
            // Both end alike from the mount point on.
            let mount = v2.mount_point().to_string_lossy();
            place.strip_prefix(own.strip_prefix(&*mount)?).filter(|below| !below.is_empty())
        });
        below.map(|below| self.inside(&[below])).transpose()
    }
}

fn below(dir: &Dir, path: &str) -> Result<Dir, Error> {
    let place: PathBuf = dir.path().join(path);
    Dir::open(place.clone())?.ok_or_else(|| Error::on("open", &place, nix::errno::Errno::ENOENT))
}

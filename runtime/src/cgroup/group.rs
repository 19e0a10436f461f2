//! Making, finding and removing groups.

use std::cell::Cell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path as FsPath, PathBuf};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkdir};

use super::controller::{Controller, Controllers};
use super::dir::Dir;
use super::{Error, Host, Path, dir, kill, wait};

/// One group in every hierarchy, as open directories.
#[derive(Debug)]
pub struct Cgroup {
    pub(super) v1: Vec<V1>,
    pub(super) v2: Option<V2>,
    /// Made by this very object and not changed yet: it has the kernel's defaults.
    pub(super) fresh: Cell<bool>,
}

/// A group in one hierarchy.
#[derive(Debug, Clone, Copy)]
pub struct Hierarchy<'a> {
    /// Where the hierarchy is mounted.
    pub mount_point: &'a FsPath,
    /// The group's directory.
    pub group: BorrowedFd<'a>,
    /// Whether it is the cgroup2 mount.
    pub unified: bool,
}

/// The group in a v1 hierarchy.
#[derive(Debug)]
pub(super) struct V1 {
    pub(super) dir: Dir,
    mount_point: PathBuf,
    pub(super) controllers: Controllers,
}

/// The group in the cgroup2 mount.
#[derive(Debug)]
pub(super) struct V2 {
    pub(super) dir: Dir,
    /// The mount point and the groups between it and this one, from the top.
    above: Vec<PathBuf>,
    /// `cgroup.controllers`, as far as it was read.
    available: Cell<Controllers>,
}

impl Cgroup {
    /// Makes a group, and the groups above it where they are missing. A group that exists and is empty is taken over with
    /// the limits it has, and thawed.
    ///
    /// On v2 the controllers that `linux.resources` can use are enabled in the groups above, as far as the host has them; a
    /// controller that cannot be enabled is an error only when a limit needs it. On a hybrid host those of the cgroup2 mount
    /// are enabled by the first limit that needs them.
    ///
    /// # Errors
    /// [`Error::Busy`] when it exists and has processes; [`Error::System`] of mkdir(2). What was made until then is
    /// removed.
    pub fn create(host: &Host, path: &Path) -> Result<Cgroup, Error> {
        Cgroup::make(host, path, Occupied::Refused)
    }

    /// Takes a group that systemd has made, with the placeholder in it, and makes it in the hierarchies that systemd does not know.
    ///
    /// # Errors
    /// [`Error::System`] of mkdir(2).
    pub fn adopt(host: &Host, path: &Path) -> Result<Cgroup, Error> {
        Cgroup::make(host, path, Occupied::Taken)
    }

    fn make(host: &Host, path: &Path, occupied: Occupied) -> Result<Cgroup, Error> {
        let mut made = Made::default();
        let mut group = Cgroup { v1: Vec::with_capacity(host.mounts().v1.len()), v2: None, fresh: Cell::new(true) };
        let mut fresh = true;
        for mount in &host.mounts().v1 {
            let dir = make(&mount.point, path, occupied, &mut made, &mut fresh)?;
            if mount.controllers.contains(Controller::Cpuset) {
                made.pass_on_cpusets(&mount.point, path)?;
                fill_cpuset(&dir, &mount.point)?;
            }
            group.v1.push(V1 { dir, mount_point: mount.point.clone(), controllers: mount.controllers });
        }
        if let Some(mount) = &host.mounts().v2 {
            let dir = make(mount, path, occupied, &mut made, &mut fresh)?;
            let v2 = V2::new(dir, mount, path);
            if group.v1.is_empty() {
                v2.enable(Controllers::WANTED)?;
            }
            group.v2 = Some(v2);
        }
        if !fresh {
            group.fresh.set(false);
            match group.thaw() {
                // Without a freezer nothing is frozen.
                Ok(()) | Err(Error::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        made.keep();
        Ok(group)
    }

    /// Opens a group; `None` if no hierarchy has it.
    ///
    /// # Errors
    /// [`Error::System`] of open(2).
    pub fn open(host: &Host, path: &Path) -> Result<Option<Cgroup>, Error> {
        let mut group = Cgroup { v1: Vec::new(), v2: None, fresh: Cell::new(false) };
        for mount in &host.mounts().v1 {
            let dir = Dir::open(path.below(&mount.point))?;
            group.v1.extend(dir.map(|dir| V1 {
                dir,
                mount_point: mount.point.clone(),
                controllers: mount.controllers,
            }));
        }
        if let Some(mount) = &host.mounts().v2 {
            group.v2 = Dir::open(path.below(mount))?.map(|dir| V2::new(dir, mount, path));
        }
        Ok(Some(group).filter(|group| !group.v1.is_empty() || group.v2.is_some()))
    }

    /// The group's directory in the cgroup2 mount, for `CLONE_INTO_CGROUP` of clone3(2) (Linux 5.7) and for a bind mount
    /// into the container. `None` on a host with v1 only.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(|v2| v2.dir.as_fd())
    }

    /// Where the directory of [`Cgroup::clone_into`] is.
    pub fn unified_path(&self) -> Option<&FsPath> {
        self.v2.as_ref().map(|v2| v2.dir.path())
    }

    /// Whether it is on a unified hierarchy alone.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.v1.is_empty()
    }

    /// The group in each hierarchy, for what a container sees of it.
    #[must_use]
    pub fn hierarchies(&self) -> Vec<Hierarchy<'_>> {
        let v1 =
            self.v1.iter().map(|v1| Hierarchy { mount_point: &v1.mount_point, group: v1.dir.as_fd(), unified: false });
        let v2 = self.v2.iter().map(|v2| Hierarchy { mount_point: &v2.above[0], group: v2.dir.as_fd(), unified: true });
        v1.chain(v2).collect()
    }

    /// For each v1 hierarchy a file to which a process with a single thread writes `0` to move there; empty on v2.
    ///
    /// These are the `tasks` files. They move only the writing thread, and a process that has just been cloned is its only
    /// one. A write to `cgroup.procs` would stop all forks and exits of the host meanwhile (`cgroup_threadgroup_rwsem`), and
    /// begin with an RCU grace period when nobody has done so lately: about 10 ms against 0.1 ms for nine hierarchies.
    ///
    /// # Errors
    /// [`Error::System`] of open(2).
    pub fn procs_files(&self) -> Result<Vec<OwnedFd>, Error> {
        self.v1.iter().map(|v1| v1.dir.open_file("tasks", OFlag::O_WRONLY)).collect()
    }

    /// Moves a whole process, with all its threads, into the group. Slow: see [`Cgroup::procs_files`].
    ///
    /// # Errors
    /// [`Error::System`]: ESRCH when there is no such process.
    pub fn add(&self, pid: Pid) -> Result<(), Error> {
        self.dirs().try_for_each(|dir| dir.write("cgroup.procs", &pid.to_string()))
    }

    /// The processes in the group and in all below it. One that this process's pid namespace does not show is 0.
    ///
    /// # Errors
    /// [`Error::System`]. A group that is gone has none.
    pub fn processes(&self) -> Result<Vec<Pid>, Error> {
        Ok(self.main().processes()?.into_iter().map(Pid::from_raw).collect())
    }

    /// The same group, opened once more.
    pub(super) fn again(&self) -> Result<Cgroup, Error> {
        let reopen = |dir: &Dir| {
            let path = dir.path();
            Dir::open(path.to_owned())?.ok_or_else(|| Error::on("open", path, Errno::ENOENT))
        };
        let v1 = |v1: &V1| {
            Ok(V1 { dir: reopen(&v1.dir)?, mount_point: v1.mount_point.clone(), controllers: v1.controllers })
        };
        let v2 = |v2: &V2| {
            Ok::<_, Error>(V2 {
                dir: reopen(&v2.dir)?,
                above: v2.above.clone(),
                available: Cell::new(v2.available.get()),
            })
        };
        Ok(Cgroup {
            v1: self.v1.iter().map(v1).collect::<Result<_, Error>>()?,
            v2: self.v2.as_ref().map(v2).transpose()?,
            fresh: Cell::new(false),
        })
    }

    /// Removes the group with all groups below it. Processes left inside are killed. What is already gone is done; after
    /// an error the rest is still removed.
    ///
    /// # Errors
    /// [`Error::Remaining`] when processes do not end in time; [`Error::System`] of rmdir(2); [`Error::Several`].
    pub fn remove(&self) -> Result<(), Error> {
        let mut met = Vec::new();
        for dir in self.dirs() {
            match nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, dir.path(), nix::unistd::UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EBUSY) => met.extend(self.remove_busy(dir).err()),
                Err(errno) => met.push(Error::on("rmdir", dir.path(), errno)),
            }
        }
        Error::all(met)
    }

    /// Removes the group if nothing is in it: one that has processes or groups below it is left as it is. What is already gone is
    /// done.
    ///
    /// # Errors
    /// [`Error::System`] of rmdir(2); [`Error::Several`].
    pub fn remove_empty(&self) -> Result<(), Error> {
        let mut met = Vec::new();
        for dir in self.dirs() {
            match nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, dir.path(), nix::unistd::UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT | Errno::EBUSY | Errno::ENOTEMPTY) => {}
                Err(errno) => met.push(Error::on("rmdir", dir.path(), errno)),
            }
        }
        Error::all(met)
    }

    /// Removes a directory that has groups below it or processes inside.
    fn remove_busy(&self, dir: &Dir) -> Result<(), Error> {
        let deadline = Instant::now() + kill::PATIENCE;
        self.kill_in(dir, deadline)?;
        let mut pause = wait::Pause::default();
        loop {
            let mut met = Vec::new();
            dir.remove_below(&mut met);
            match nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, dir.path(), nix::unistd::UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                // A process that has just ended still counts for a moment.
                Err(Errno::EBUSY) if Instant::now() < deadline => pause.rest(),
                Err(errno) => {
                    met.push(Error::on("rmdir", dir.path(), errno));
                    return Error::all(met);
                }
            }
        }
    }

    /// All directories, v1 first.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &Dir> {
        self.v1.iter().map(|v1| &v1.dir).chain(self.v2.iter().map(|v2| &v2.dir))
    }

    /// The v1 directory of a controller.
    pub(super) fn v1_of(&self, controller: Controller) -> Option<&Dir> {
        self.v1.iter().find(|v1| v1.controllers.contains(controller)).map(|v1| &v1.dir)
    }

    /// The directory in which processes are counted: cgroup2 where there is one, else one that can also freeze them.
    pub(super) fn main(&self) -> &Dir {
        let v2 = self.v2.as_ref().map(|v2| &v2.dir);
        let v1 = || self.v1_of(Controller::Freezer).or_else(|| self.v1_of(Controller::Pids));
        v2.or_else(v1).or_else(|| self.dirs().next()).expect("a group has at least one directory")
    }
}

impl V2 {
    fn new(dir: Dir, mount: &FsPath, path: &Path) -> V2 {
        let mut above = vec![mount.to_owned()];
        for component in &path.components()[..path.components().len() - 1] {
            above.push(above[above.len() - 1].join(component));
        }
        V2 { dir, above, available: Cell::new(Controllers::NONE) }
    }

    pub(super) fn mount_point(&self) -> &FsPath {
        &self.above[0]
    }

    /// Controllers of the group, as of the last [`V2::enable`].
    pub(super) fn available(&self) -> Controllers {
        self.available.get()
    }

    /// Makes controllers available in the group as far as the mount has them. Gives back those that a group above refused
    /// to pass on, with its answer.
    ///
    /// In the usual case (all is enabled already) this reads one file.
    pub(super) fn enable(&self, wanted: Controllers) -> Result<Vec<(Controller, Error)>, Error> {
        let here = Controllers::parse_v2(&self.dir.read("cgroup.controllers")?);
        self.available.set(here);
        if wanted.without(here).is_empty() {
            return Ok(Vec::new());
        }
        // What the topmost group does not have, nobody can enable.
        let offered = Controllers::parse_v2(&dir::read_path(&self.above[0].join("cgroup.controllers"))?);
        let mut missing = wanted.without(here).and(offered);
        let mut refusals = Vec::new();
        for path in &self.above {
            if missing.is_empty() {
                break;
            }
            let level = Dir::open(path.clone())?.ok_or_else(|| Error::on("open", path, Errno::ENOENT))?;
            let enabled = Controllers::parse_v2(&level.read("cgroup.subtree_control")?);
            let absent = missing.without(enabled);
            let request = |set: Controllers| set.iter().map(|one| format!("+{one}")).collect::<Vec<_>>().join(" ");
            if absent.is_empty() {
                continue;
            }
            let busy = match level.write("cgroup.subtree_control", &request(absent)) {
                Ok(()) => continue,
                Err(error) => error.errno() == Some(Errno::EBUSY),
            };
            // All or nothing: find out which of them. But not where processes sit: that group would take those controllers
            // that can be threaded, and then no group below it could hold a process.
            for controller in absent.iter() {
                let one: Controllers = [controller].into_iter().collect();
                let request = request(one);
                let written = if busy {
                    Err(Error::write(&path.join("cgroup.subtree_control"), &request, Errno::EBUSY))
                } else {
                    level.write("cgroup.subtree_control", &request)
                };
                if let Err(error) = written {
                    missing = missing.without(one);
                    refusals.push((controller, error));
                }
            }
        }
        if !wanted.without(here).and(offered).is_empty() {
            self.available.set(Controllers::parse_v2(&self.dir.read("cgroup.controllers")?));
        }
        Ok(refusals)
    }
}

/// Whether a group may have processes that is to be a container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occupied {
    Refused,
    Taken,
}

/// Directories made so far; removed when dropped, unless kept.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn keep(mut self) {
        self.0.clear();
    }

    /// Groups that are ours alone hand their cpuset on to new children by themselves, which saves copying it each time.
    fn pass_on_cpusets(&self, mount: &FsPath, path: &Path) -> Result<(), Error> {
        let mut level = mount.to_owned();
        for component in &path.components()[..path.own()] {
            level.push(component);
            if self.0.contains(&level)
                && let Some(dir) = Dir::open(level.clone())?
            {
                dir.write("cgroup.clone_children", "1")?;
            }
        }
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // Somebody else may have begun to use a group above: it stays then.
            let _ = nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, path, nix::unistd::UnlinkatFlags::RemoveDir);
        }
    }
}

/// Makes the group below one mount point; clears `fresh` if it exists.
fn make(mount: &FsPath, path: &Path, occupied: Occupied, made: &mut Made, fresh: &mut bool) -> Result<Dir, Error> {
    /// Somebody may remove a group above between two calls, but not for ever.
    const TRIES: usize = 8;
    let leaf = path.below(mount);
    for _ in 0..TRIES {
        match mkdir(&leaf, Mode::from_bits_truncate(0o755)) {
            Ok(()) => made.0.push(leaf.clone()),
            Err(Errno::EEXIST) => *fresh = false,
            Err(Errno::ENOENT) => {
                make_above(mount, path, made)?;
                continue;
            }
            Err(errno) => return Err(Error::on("mkdir", &leaf, errno)),
        }
        let Some(dir) = Dir::open(leaf.clone())? else { continue };
        if !*fresh && occupied == Occupied::Refused {
            let pids = dir.processes()?;
            if !pids.is_empty() {
                return Err(Error::Busy { path: leaf, pids });
            }
        }
        return Ok(dir);
    }
    Err(Error::on("mkdir", &leaf, Errno::ENOENT))
}

fn make_above(mount: &FsPath, path: &Path, made: &mut Made) -> Result<(), Error> {
    let mut level = mount.to_owned();
    for component in &path.components()[..path.components().len() - 1] {
        level.push(component);
        match mkdir(&level, Mode::from_bits_truncate(0o755)) {
            Ok(()) => made.0.push(level.clone()),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Error::on("mkdir", &level, errno)),
        }
    }
    Ok(())
}

/// A v1 cpuset group begins without CPUs and memory nodes and then takes no process: gives it those of the group above,
/// after seeing that that one has them.
fn fill_cpuset(group: &Dir, mount: &FsPath) -> Result<(), Error> {
    // Nodes are written last, so where they are the CPUs are, too.
    let is_full = |dir: &Dir| Ok::<_, Error>(dir.path() == mount || !dir.read("cpuset.mems")?.trim().is_empty());
    if is_full(group)? {
        return Ok(());
    }
    let mut empty = Vec::new();
    let mut level = group.path().to_owned();
    let full = loop {
        level.pop();
        let dir = Dir::open(level.clone())?.ok_or_else(|| Error::on("open", &level, Errno::ENOENT))?;
        if is_full(&dir)? {
            break dir;
        }
        empty.push(dir);
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value = full.read(file)?;
        for dir in empty.iter().rev().chain([group]) {
            dir.write(file, value.trim())?;
        }
    }
    Ok(())
}

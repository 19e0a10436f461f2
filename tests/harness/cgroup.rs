//! Where the cgroups of a process are, on v1, hybrid and v2 hosts.

use std::fs;
use std::path::{Path, PathBuf};

/// The cgroup mounts of this mount namespace.
#[derive(Debug)]
pub struct Cgroups {
    /// (controllers or `name=…`, mount point) for v1; the unified hierarchy has an empty name.
    mounts: Vec<(Vec<String>, PathBuf)>,
}

impl Cgroups {
    /// Reads `/proc/thread-self/mountinfo`.
    pub fn detect() -> Self {
        let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let mut mounts: Vec<(Vec<String>, PathBuf)> = Vec::new();
        for line in text.lines() {
            let (left, right) = line.split_once(" - ").unwrap();
            let at = PathBuf::from(left.split(' ').nth(4).unwrap());
            let right: Vec<&str> = right.split(' ').collect();
            let names = match right[0] {
                "cgroup2" => Vec::new(),
                "cgroup" => {
                    let known = |option: &&str| {
                        !matches!(*option, "rw" | "ro" | "xattr" | "clone_children") && !option.starts_with("release")
                    };
                    right[2].split(',').filter(known).map(str::to_owned).collect()
                }
                _ => continue,
            };
            if !mounts.iter().any(|(have, _)| *have == names) {
                mounts.push((names, at));
            }
        }
        Self { mounts }
    }

    /// Whether `/sys/fs/cgroup` is the unified hierarchy.
    pub fn is_v2(&self) -> bool {
        self.unified().is_some_and(|at| at == Path::new("/sys/fs/cgroup"))
    }

    /// The mount point of the unified hierarchy.
    pub fn unified(&self) -> Option<&Path> {
        self.mounts.iter().find(|(names, _)| names.is_empty()).map(|(_, at)| at.as_path())
    }

    /// Whether a controller can be used here, in v1 or in v2.
    pub fn has(&self, controller: &str) -> bool {
        self.v1(controller).is_some() || self.v2_has(controller)
    }

    fn v1(&self, controller: &str) -> Option<&Path> {
        self.mounts.iter().find(|(names, _)| names.iter().any(|name| name == controller)).map(|(_, at)| at.as_path())
    }

    fn v2_has(&self, controller: &str) -> bool {
        let controllers =
            self.unified().and_then(|at| fs::read_to_string(at.join("cgroup.controllers")).ok()).unwrap_or_default();
        controllers.split_whitespace().any(|name| name == controller)
    }

    /// The folder of process `pid` in the hierarchy of `controller`; an empty name is the unified one.
    pub fn folder(&self, pid: i32, controller: &str) -> Option<PathBuf> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let (mount, unified) = match self.v1(controller) {
            Some(mount) => (mount, false),
            None => (self.unified()?, true),
        };
        let path = text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
            let found = if unified { names.is_empty() } else { names.split(',').any(|name| name == controller) };
            found.then_some(path)
        })?;
        Some(mount.join(path.trim_start_matches('/')))
    }

    /// The content of a limit's file for process `pid`: `v1` or `v2`, whichever hierarchy the controller is in.
    #[track_caller]
    pub fn read(&self, pid: i32, controller: &str, v1: &str, v2: &str) -> String {
        let folder = self.folder(pid, controller).unwrap_or_else(|| panic!("no cgroup of {controller} for {pid}"));
        let path = folder.join(if self.v1(controller).is_some() { v1 } else { v2 });
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim_end().to_owned()
    }

    /// Every group of every hierarchy with `name` in its path, deepest first.
    pub fn find(&self, name: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for (_, mount) in &self.mounts {
            walk(mount, name, &mut found);
        }
        found
    }
}

fn walk(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    // A group may be removed while it is read.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), name, found);
            if entry.path().to_string_lossy().contains(name) {
                found.push(entry.path());
            }
        }
    }
}

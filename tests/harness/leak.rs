//! The leak oracle: what exists before a test and may not be there more of after it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::process::Pid;

use crate::{Cgroups, network};

/// What is there, counted: mounts (namespaces that are kept by one, too), processes, cgroups, links, nft tables, descriptors and files
/// that a test could leave behind.
#[derive(Debug)]
pub(crate) struct Snapshot(BTreeMap<String, usize>);

/// Folders in which programs under test could leave files with the name of a test.
const FOLDERS: &[&str] = &[
    "/run",
    "/run/runc",
    "/run/crun",
    "/run/rt-runtime",
    "/run/rt",
    "/tmp",
    "/run/netns",
    "/dev/shm",
    "/var/run",
    "/var/lib",
];

impl Snapshot {
    /// Looks around. `marker` is in the names of all that the test makes, `own` is the test's folder.
    pub(crate) fn take(marker: &str, own: &Path) -> Self {
        let mut found = BTreeMap::new();
        let mut see = |what: String| *found.entry(what).or_insert(0) += 1;
        for line in fs::read_to_string("/proc/thread-self/mountinfo").unwrap().lines() {
            let (left, right) = line.split_once(" - ").unwrap();
            // Ids and peer groups differ in each mount namespace; the rest is what the test could change.
            let left: Vec<&str> = left.split(' ').collect();
            see(format!("mount {} {} {} {right}", left[3], left[4], left[5]));
        }
        for process in describe_descendants() {
            see(format!("process {process}"));
        }
        for group in Cgroups::detect().find(marker) {
            see(format!("cgroup {}", group.display()));
        }
        for link in network::links() {
            see(format!("link {link}"));
        }
        for table in network::tables() {
            see(format!("nft table {table}"));
        }
        for (number, target) in own_descriptors() {
            see(format!("descriptor {number} {target}"));
        }
        for folder in FOLDERS {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                if path != own && path.to_string_lossy().contains(marker) {
                    see(format!("file {}", path.display()));
                }
            }
        }
        Self(found)
    }

    /// What `after` has more of, and which of the mounts it has fewer of.
    pub(crate) fn compare(&self, after: &Snapshot) -> Vec<String> {
        let more = after
            .0
            .iter()
            .filter(|(what, count)| self.0.get(*what).unwrap_or(&0) < *count)
            .map(|(what, _)| format!("left behind: {what}"));
        let gone =
            |(what, count): &(&String, &usize)| what.starts_with("mount ") && after.0.get(*what).unwrap_or(&0) < *count;
        more.chain(self.0.iter().filter(gone).map(|(what, _)| format!("gone: {what}"))).collect()
    }
}

/// Processes below this one.
pub(crate) fn descendants() -> Vec<Pid> {
    family().into_iter().filter_map(|(pid, _)| Pid::from_raw(pid)).collect()
}

/// Processes below this one as text: pid, start time, name and state.
pub(crate) fn describe_descendants() -> Vec<String> {
    family().into_iter().map(|(_, text)| text).collect()
}

fn family() -> Vec<(i32, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let parent: i32 = fields[1].parse().unwrap();
        all.push((pid, parent, format!("{name}) state {} started at {}", fields[0], fields[19])));
    }
    let mut parents = vec![i32::try_from(std::process::id()).unwrap()];
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        for (pid, _, text) in all.iter().filter(|(_, of, _)| *of == parent) {
            parents.push(*pid);
            found.push((*pid, text.clone()));
        }
    }
    found
}

fn own_descriptors() -> Vec<(String, String)> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let link = |entry: fs::DirEntry| {
        Some((entry.file_name().into_string().ok()?, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
    };
    entries.filter_map(link).filter(|(_, target)| !target.ends_with("/fd")).collect()
}

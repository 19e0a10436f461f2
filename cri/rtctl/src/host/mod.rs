//! What the machine can do, and what follows from it.
//!
//! ```text
//!  Facts::read: /proc, /sys, and trying things in a process of their own ─▶ Facts ─▶ findings (pure) ─▶ info, check
//! ```

pub(crate) mod finding;
pub(crate) mod probe;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::statvfs::statvfs;
use runtime::cgroup::{self, Mode};
use serde::Serialize;

use crate::store::roots::Roots;
use crate::store::start;
use probe::Probed;

/// Facts about the machine.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) root_user: bool,
    pub(crate) kernel: String,
    pub(crate) operating_system: String,
    pub(crate) cpus: usize,
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) cgroups: Cgroups,
    pub(crate) seccomp: Probed,
    pub(crate) overlay: Probed,
    pub(crate) user_namespaces: Probed,
    pub(crate) network_namespaces: Probed,
    pub(crate) apparmor: bool,
    pub(crate) selinux: bool,
    /// Whether its policy has labels for containers.
    pub(crate) selinux_labels: bool,
    /// Capabilities that this process cannot give.
    pub(crate) missing_capabilities: Vec<String>,
    /// `net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`; `None`: not in the kernel.
    pub(crate) forwarding: (Option<bool>, Option<bool>),
    pub(crate) storage: Storage,
    /// Path of rt-shim, or why there is none.
    pub(crate) shim: Result<PathBuf, String>,
    /// CNI configurations.
    pub(crate) cni: Vec<PathBuf>,
}

/// Control groups.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Cgroups {
    /// `1`, `2`, `hybrid`; empty: none are mounted.
    pub(crate) version: String,
    /// Controllers and the hierarchy that each is in.
    pub(crate) controllers: std::collections::BTreeMap<String, PathBuf>,
    /// Whether swap can be limited; `None` where that cannot be told.
    pub(crate) swap: Option<bool>,
}

/// The file system of the images.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Storage {
    pub(crate) path: PathBuf,
    /// `ext4`, `xfs`, …; empty where that is not known.
    pub(crate) file_system: String,
    /// Bytes.
    pub(crate) free: u64,
    /// Bytes.
    pub(crate) total: u64,
}

impl Facts {
    /// Looks, and tries.
    pub(crate) fn read(roots: &Roots) -> Result<Facts> {
        let kernel = nix::sys::utsname::uname().context("uname")?;
        let host = cri::spec::Host::read().unwrap_or_default();
        let bounding: Vec<String> = host.bounding.iter().map(ToString::to_string).collect();
        Ok(Facts {
            root_user: nix::unistd::geteuid().is_root(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            operating_system: operating_system(&text("/etc/os-release")),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory: memory(&text("/proc/meminfo")),
            cgroups: cgroups(),
            seccomp: probe::run("seccomp"),
            overlay: probe::run("overlay"),
            user_namespaces: probe::run("user"),
            network_namespaces: probe::run("network"),
            apparmor: host.apparmor,
            selinux_labels: matches!(cri::selinux::policy(), Ok(Some(_))),
            selinux: Path::new("/sys/fs/selinux/enforce").try_exists().unwrap_or(false),
            missing_capabilities: cri::spec::all_capabilities().filter(|name| !bounding.contains(name)).collect(),
            forwarding: (switch("/proc/sys/net/ipv4/ip_forward"), switch("/proc/sys/net/ipv6/conf/all/forwarding")),
            storage: storage(&roots.root),
            shim: start::program().map_err(|error| format!("{error:#}")).and_then(existing),
            cni: files("/etc/cni/net.d"),
        })
    }
}

fn existing(path: PathBuf) -> Result<PathBuf, String> {
    match std::fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A file with 0 or 1.
fn switch(path: &str) -> Option<bool> {
    match std::fs::read_to_string(path).ok()?.trim() {
        "0" => Some(false),
        _ => Some(true),
    }
}

/// `PRETTY_NAME` of os-release(5).
fn operating_system(text: &str) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
}

/// `MemTotal` of proc_meminfo(5) in bytes.
fn memory(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn cgroups() -> Cgroups {
    let mut found = Cgroups::default();
    let Ok(host) = cgroup::Host::detect() else { return found };
    found.version = match host.mode() {
        Mode::V1 => "1",
        Mode::Hybrid => "hybrid",
        Mode::V2 => "2",
    }
    .to_owned();
    if let Some(unified) = host.cgroup2() {
        let list = std::fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
        for name in list.split_whitespace() {
            found.controllers.insert(name.to_owned(), unified.to_owned());
        }
    }
    for point in host.hierarchies() {
        let names = point.file_name().unwrap_or_default().to_string_lossy();
        for name in names.split(',') {
            found.controllers.insert(name.to_owned(), point.clone());
        }
    }
    // v1 has the file in the top group, v2 in every other one.
    found.swap = found.controllers.get("memory").and_then(|memory| match host.mode() {
        Mode::V1 | Mode::Hybrid => memory.join("memory.memsw.limit_in_bytes").try_exists().ok(),
        Mode::V2 => {
            let groups = std::fs::read_dir(memory).ok()?;
            let group = groups
                .flatten()
                .map(|group| group.path())
                .find(|path| path.join("memory.max").try_exists().unwrap_or(false))?;
            group.join("memory.swap.max").try_exists().ok()
        }
    });
    found
}

/// The nearest directory that is there tells the file system.
fn storage(root: &Path) -> Storage {
    let there = root.ancestors().find(|path| path.try_exists().unwrap_or(false)).unwrap_or(Path::new("/"));
    let mut storage = Storage { path: root.to_owned(), ..Storage::default() };
    if let Ok(found) = statvfs(there) {
        let size: u64 = found.fragment_size();
        storage.free = found.blocks_available() * size;
        storage.total = found.blocks() * size;
    }
    if let Ok(found) = nix::sys::statfs::statfs(there) {
        use nix::sys::statfs::{
            BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC,
        };
        let known = [
            (EXT4_SUPER_MAGIC, "ext4"),
            (XFS_SUPER_MAGIC, "xfs"),
            (BTRFS_SUPER_MAGIC, "btrfs"),
            (TMPFS_MAGIC, "tmpfs"),
            (OVERLAYFS_SUPER_MAGIC, "overlay"),
            (NFS_SUPER_MAGIC, "nfs"),
        ];
        let name = known.iter().find(|(magic, _)| found.filesystem_type() == *magic);
        storage.file_system = name.map(|(_, name)| (*name).to_owned()).unwrap_or_default();
    }
    storage
}

fn files(dir: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let known = |path: &PathBuf| {
        path.extension().is_some_and(|kind| ["conf", "conflist", "json"].iter().any(|known| kind == *known))
    };
    paths.retain(known);
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_host() {
        assert_eq!(operating_system("ID=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
        assert_eq!(operating_system(""), "");
        assert_eq!(memory("MemTotal:       2048 kB\nMemFree: 1 kB\n"), 2 << 20);
        assert_eq!(memory("x"), 0);
    }
}

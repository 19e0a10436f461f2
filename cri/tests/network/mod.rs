//! Hosts and containers of the network tests: network namespaces that exist as long as somebody holds them. A test's thread is
//! its host, so tests run beside each other.
#![allow(dead_code, reason = "not every test file uses everything")]

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::thread;

use cri::network::{Attach, Networks, Publish};
use nix::sched::{CloneFlags, setns, unshare};

/// A host: the thread's own network namespace, and folders.
pub struct Host {
    pub folder: tempfile::TempDir,
    pub networks: Networks,
}

impl Host {
    /// Makes the calling thread a host of its own. `None`, with the reason told: not root.
    pub fn new() -> Option<Host> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        run("ip link set lo up");
        let folder = tempfile::tempdir().unwrap();
        let networks = open(folder.path());
        Some(Host { folder, networks })
    }
}

pub fn open(folder: &Path) -> Networks {
    Networks::open(&folder.join("root"), &folder.join("state")).unwrap()
}

/// A new, empty network namespace.
pub fn netns() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    thread::spawn(make).join().unwrap()
}

/// Runs something inside of a network namespace.
pub fn inside<T: Send>(netns: &File, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let enter = || {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        scope.spawn(enter).join().unwrap()
    })
}

/// Runs a program, whose words have no blanks; returns what it printed.
#[track_caller]
pub fn run(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What to attach, with nothing special about it.
pub fn plain<'a>(container: &'a str, netns: &'a File, network: &'a str) -> Attach<'a> {
    Attach {
        container,
        netns: netns.as_fd(),
        network,
        interface: None,
        ip: None,
        ip6: None,
        mac: None,
        gw_priority: 0,
        names: &[],
        ports: &[],
    }
}

pub fn ports(texts: &[&str]) -> Vec<Publish> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

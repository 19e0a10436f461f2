//! A folder with configurations, plugins and records, and network namespaces that end with the test.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cri::network::cni::{Add, Args, Capabilities, Client, ContainerId, InterfaceName, Settings, bring_loopback_up};
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use tempfile::TempDir;

/// Where Debian puts the plugins.
pub const PLUGINS: &str = "/usr/lib/cni";

/// Whether these tests can run; says why not, and counts as skipped.
pub fn ready(plugins: &[&str]) -> bool {
    let missing = plugins.iter().find(|plugin| !Path::new(PLUGINS).join(plugin).try_exists().unwrap());
    let reason = match missing {
        _ if !nix::unistd::geteuid().is_root() => "needs root".to_owned(),
        Some(plugin) => format!("no {PLUGINS}/{plugin} (hack/setup installs containernetworking-plugins)"),
        None => return true,
    };
    println!("skipped: {reason}");
    if let Some(path) = std::env::var_os("RT_TEST_SKIPS") {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{}: {reason}", std::thread::current().name().unwrap_or("main")).unwrap();
    }
    false
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// A network namespace, open and reachable by path.
pub struct Netns(OwnedFd);

impl Netns {
    pub fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            current()
        });
        Self(made.join().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// Runs a program in it; what it printed.
    pub fn run(&self, command: &str) -> String {
        let path = self.path();
        text(Command::new("nsenter").arg(format!("--net={}", path.display())).args(["sh", "-c", command]))
    }
}

impl Netns {
    /// Does something in it, on a thread of its own.
    pub fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                body()
            });
            thread.join().unwrap()
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn current() -> OwnedFd {
    nix::fcntl::open("/proc/thread-self/ns/net", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
}

/// Runs a program in the namespaces of this thread; what it printed.
pub fn sh(command: &str) -> String {
    text(Command::new("sh").args(["-c", command]))
}

fn text(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A host of its own: this thread is moved to network and mount namespaces that nobody else has.
pub struct Lab {
    pub dir: TempDir,
    pub settings: Settings,
}

impl Lab {
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        nix::mount::mount(
            None::<&str>,
            "/",
            None::<&str>,
            nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        bring_loopback_up(current().as_fd()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for name in ["net.d", "bin", "ipam"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut settings = Settings::new(dir.path().join("net"));
        settings.config_dir = dir.path().join("net.d");
        settings.bin_dirs = vec![dir.path().join("bin"), PLUGINS.into()];
        settings.undo_timeout = Duration::from_secs(30);
        Self { dir, settings }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self, file: &str, text: &str) -> &Self {
        fs::write(self.path("net.d").join(file), text.replace("IPAM", self.path("ipam").to_str().unwrap())).unwrap();
        self
    }

    /// A plugin that is a shell script. `$D` is the folder of the test.
    pub fn plugin(&self, name: &str, script: &str) -> &Self {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\nD={}\n{script}\n", self.dir.path().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub fn client(&self) -> Client {
        Client::open(self.settings.clone()).unwrap()
    }

    /// Addresses that host-local has given out, in this network.
    pub fn leases(&self, network: &str) -> Vec<String> {
        let mut names = names(&self.path("ipam").join(network));
        names.retain(|name| name != "lock" && !name.starts_with("last_reserved_ip"));
        names
    }

    /// Files of records.
    pub fn records(&self) -> Vec<String> {
        let mut names = names(&self.path("net"));
        names.retain(|name| name != "lock");
        names
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn id(text: &str) -> ContainerId {
    text.parse().unwrap()
}

pub fn add(container: &str, netns: &Netns) -> Add {
    Add {
        container: id(container),
        netns: netns.path(),
        interface: "eth0".parse::<InterfaceName>().unwrap(),
        network: None,
        args: Args::of_pod("default", "web", "uid", container).unwrap(),
        capabilities: Capabilities::default(),
    }
}

pub const BRIDGE: &str = r#"{
  "cniVersion": "1.0.0", "name": "lab",
  "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": true,
     "ipam": {"type": "host-local", "dataDir": "IPAM", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}
  ]
}"#;

//! OCI bundles: a configuration as JSON that tests change at will, and a root file system of busybox and the payloads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::programs::{self, Kind};

/// A bundle folder; the spec is written when a container is made of it.
#[derive(Debug)]
pub struct Bundle {
    /// The folder.
    pub dir: PathBuf,
    /// `config.json`.
    pub spec: Value,
}

const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "ls", "id", "true", "false", "sleep", "mkdir", "touch", "rm", "stat", "mount", "umount",
    "grep", "env", "hostname", "ln", "mknod", "dd", "readlink", "test", "kill", "ps", "head", "tail", "wc", "tr",
    "chmod", "chown", "stty", "sed", "tty", "seq", "find", "ip", "nproc", "printf", "pwd", "setsid", "sync", "unshare",
    "chroot",
];

/// Docker's default set, without the two that this machine's root may lack.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

impl Bundle {
    /// Makes a bundle in the new folder `dir`; its containers join `cgroup`.
    pub(crate) fn new(dir: PathBuf, template: &Path, cgroup: &str, marker: &str) -> Self {
        fs::create_dir(&dir).unwrap();
        let rootfs = dir.join("rootfs");
        for folder in ["", "bin", "etc", "tmp", "root", "proc", "sys", "dev"] {
            fs::create_dir(rootfs.join(folder)).unwrap();
        }
        for name in ["busybox", "payload", "calls"] {
            fs::hard_link(template.join(name), rootfs.join("bin").join(name)).unwrap();
        }
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
            .unwrap();
        fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:1001:user\n").unwrap();
        let env = ["PATH=/bin:/usr/bin".to_owned(), "HOME=/root".to_owned(), format!("RT_TEST={marker}")];
        let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
        let spec = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/true"],
                "env": env,
                "cwd": "/",
                "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
            },
            "root": {"path": "rootfs", "readonly": false},
            "hostname": "test",
            "mounts": [
                mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
                mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
                mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
                mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
                mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
                mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            ],
            "linux": {
                "cgroupsPath": cgroup,
                "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
                "resources": {"devices": [{"allow": false, "access": "rwm"}]},
                "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            },
        });
        let bundle = Self { dir, spec };
        // crun 1.8 raises RLIMIT_MEMLOCK before it loads the device program, which only CAP_SYS_RESOURCE allows.
        if programs::kind() == Kind::Crun && !has_capability(24) { bundle.unset("/linux/resources") } else { bundle }
    }

    /// The root file system's folder on the host.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Sets the program.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.spec["process"]["args"] = json!(args);
        self
    }

    /// Sets the program: a shell script.
    pub fn sh(self, script: &str) -> Self {
        self.args(&["sh", "-c", script])
    }

    /// Sets a member by its JSON pointer (`/process/user/uid`, `/linux/resources/pids`), making the objects on the way.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let mut at = &mut self.spec;
        for name in pointer.split('/').skip(1) {
            at = match name.parse::<usize>() {
                Ok(index) if at.is_array() => &mut at[index],
                _ => &mut at[name],
            };
        }
        *at = value;
        self
    }

    /// Removes a member by its JSON pointer; it must be there.
    pub fn unset(mut self, pointer: &str) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = self.spec.pointer_mut(parent).unwrap();
        parent.as_object_mut().unwrap().remove(name).unwrap_or_else(|| panic!("no {pointer}"));
        self
    }

    /// Adds an element to the list at a JSON pointer.
    pub fn push(mut self, pointer: &str, value: Value) -> Self {
        match self.spec.pointer_mut(pointer) {
            Some(list) => list.as_array_mut().unwrap().push(value),
            None => return self.set(pointer, json!([value])),
        }
        self
    }

    /// Adds a mount.
    pub fn mount(self, destination: &str, kind: &str, source: impl AsRef<Path>, options: &[&str]) -> Self {
        let source = source.as_ref().to_str().unwrap();
        self.push("/mounts", json!({"destination": destination, "type": kind, "source": source, "options": options}))
    }

    /// Adds a namespace: a new one, or an existing one by path. Another of that kind is replaced.
    pub fn namespace(self, kind: &str, path: Option<&str>) -> Self {
        let entry = path.map_or_else(|| json!({"type": kind}), |path| json!({"type": kind, "path": path}));
        self.share(kind).push("/linux/namespaces", entry)
    }

    /// Leaves a namespace to be that of the runtime.
    pub fn share(mut self, kind: &str) -> Self {
        let list = self.spec["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != kind);
        self
    }

    /// Sets all five capability sets that are named; the others become empty.
    pub fn capabilities(self, sets: &[&str], names: &[&str]) -> Self {
        let value: serde_json::Map<String, Value> = sets.iter().map(|set| ((*set).to_owned(), json!(names))).collect();
        self.set("/process/capabilities", Value::Object(value))
    }

    /// Writes `config.json`.
    pub fn write(&self) {
        fs::write(self.dir.join("config.json"), serde_json::to_vec_pretty(&self.spec).unwrap()).unwrap();
    }
}

/// Whether this process has the capability of that number (capabilities(7)).
pub fn has_capability(number: u8) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(set.trim(), 16).unwrap() >> number & 1 == 1
}

/// Makes the folder of programs that every root file system links to.
pub(crate) fn template(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for (name, source) in
        [("busybox", "/bin/busybox".into()), ("payload", programs::payload()), ("calls", programs::calls())]
    {
        fs::copy(&source, dir.join(name)).unwrap_or_else(|error| panic!("copy {source:?}: {error}"));
    }
}

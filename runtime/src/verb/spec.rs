//! `spec`: writes a configuration to start from.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use runtime::sys::Call;
use serde_json::json;

use super::create::BUNDLE;
use super::{Context, Failure, SPEC_VERSION, Verb};
use crate::args::{Flag, Parsed};

pub(super) const VERB: Verb = Verb {
    name: "spec",
    usage: "spec [options]",
    summary: "write a config.json to start from",
    flags: &[BUNDLE, Flag { name: "rootless", short: None, value: None, help: "for an ordinary user" }],
    least: 0,
    most: 0,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

fn run(_: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let path = Path::new(parsed.value("bundle").unwrap_or(".")).join("config.json");
    let example = if parsed.is_set("rootless") { rootless() } else { example() };
    let text = format!("{example:#}\n");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o666)
        .open(&path)
        .call(|| format!("open({path:?}, O_CREAT|O_EXCL)"))?;
    file.write_all(text.as_bytes()).call(|| format!("write({path:?})"))?;
    Ok(0)
}

/// A shell with the usual mounts, namespaces and masks, and three capabilities.
fn example() -> serde_json::Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "rt-runtime",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] },
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "cgroup" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
                "/sys/devices/virtual/powercap",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// The same for an ordinary user: a user namespace with his own ids alone, the host's network, and no control group.
fn rootless() -> serde_json::Value {
    let mut spec = example();
    let own = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
    let linux = &mut spec["linux"];
    linux["uidMappings"] = own(nix::unistd::geteuid().as_raw());
    linux["gidMappings"] = own(nix::unistd::getegid().as_raw());
    linux["namespaces"] = json!([
        { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" }, { "type": "user" },
    ]);
    linux.as_object_mut().expect("it is an object").remove("resources");
    let mounts = spec["mounts"].as_array_mut().expect("it is an array");
    mounts.retain(|mount| mount["type"] != "cgroup");
    for mount in mounts {
        match mount["destination"].as_str() {
            // There is no other group.
            Some("/dev/pts") => {
                mount["options"] = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"])
            }
            // sysfs belongs to the network namespace. Recursively read-only, for the control groups in it (CVE-2023-25809).
            Some("/sys") => {
                let options = ["rbind", "nosuid", "noexec", "nodev", "rro"];
                *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys", "options": options });
            }
            _ => {}
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use runtime::plan::Plan;
    use runtime::spec::Spec;

    #[test]
    fn the_example_is_taken_by_our_own_plan() {
        let spec: Spec = serde_json::from_value(super::example()).unwrap();
        Plan::new(&spec).map(|_| ()).unwrap();
        let spec: Spec = serde_json::from_value(super::rootless()).unwrap();
        Plan::new(&spec).map(|_| ()).unwrap();
    }
}

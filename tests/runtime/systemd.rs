//! `--systemd-cgroup`: scopes made by the systemd that runs the host, such as that of `hack/uml-systemd`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::{Bundle, Kind, Output, Test, kind, needs, test};

use crate::user::booted;

/// Options in front of every verb.
const DRIVER: &str = "--systemd-cgroup";

macro_rules! needs_systemd {
    ($t:expr) => {
        needs!($t, booted(), "systemd does not run this host (hack/uml-systemd has one that it does)")
    };
}

fn show(unit: &str, property: &str) -> String {
    let output = Command::new("systemctl").args(["show", "--value", "-p", property, unit]).output().unwrap();
    Output::from(output).ok()
}

/// A bundle in a scope of a slice, and the scope.
fn in_scope(t: &Test, slice: &str) -> (Bundle, String) {
    let name = t.id();
    let bundle = t.bundle().set("/linux/cgroupsPath", json!(format!("{slice}:rtt:{name}")));
    (bundle, format!("rtt-{name}.scope"))
}

fn run_detached(t: &Test, bundle: &Bundle) -> String {
    bundle.write();
    let id = t.id();
    let file = bundle.dir.join("pid");
    t.detached(&[DRIVER, "run", "-d", "--pid-file", file.to_str().unwrap(), "-b", bundle.dir.to_str().unwrap(), &id])
        .ok();
    id
}

fn group(pid: &str) -> PathBuf {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = table.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    Path::new("/sys/fs/cgroup").join(path)
}

fn delete(t: &Test, id: &str, pid: &str) {
    t.runtime(&["kill", id, "KILL"]).ok();
    t.wait_pid(pid.parse().unwrap());
    t.runtime(&["delete", id]).ok();
}

#[test]
fn a_container_has_a_scope_with_its_limits() {
    test(|t| {
        needs_systemd!(t);
        let (bundle, scope) = in_scope(t, "rtt-deep.slice");
        let bundle = bundle
            .set("/linux/resources/memory", json!({"limit": 64 << 20, "swap": 64 << 20, "reservation": 32 << 20}))
            .set("/linux/resources/cpu", json!({"shares": 512, "quota": 50_000, "period": 100_000}))
            .set("/linux/resources/pids", json!({"limit": 20}))
            .set("/annotations/org.systemd.property.TimeoutStopUSec", json!("uint64 7000000"))
            .args(&["/bin/payload", "hold"]);
        let id = run_detached(t, &bundle);
        let pid = fs::read_to_string(bundle.dir.join("pid")).unwrap();
        let place = format!("/rtt.slice/rtt-deep.slice/{scope}");
        for (property, value) in [
            ("ActiveState", "active"),
            ("Slice", "rtt-deep.slice"),
            ("Delegate", "yes"),
            ("ControlGroup", place.as_str()),
            ("MemoryMax", "67108864"),
            ("MemorySwapMax", "0"),
            ("MemoryLow", "33554432"),
            ("CPUWeight", "59"),
            ("CPUQuotaPerSecUSec", "500ms"),
            ("TasksMax", "20"),
            ("TimeoutStopUSec", "7s"),
        ] {
            assert_eq!(show(&scope, property), value, "{property}");
        }
        let group = group(&pid);
        assert_eq!(group, Path::new("/sys/fs/cgroup").join(&place[1..]));
        let read = |file: &str| fs::read_to_string(group.join(file)).unwrap().trim().to_owned();
        let limits = || ["memory.max", "cpu.weight", "cpu.max", "pids.max"].map(read);
        assert_eq!(limits(), ["67108864", "59", "50000 100000", "20"]);
        assert_eq!(read("cgroup.procs"), pid, "the placeholder has gone");
        // What systemd was told it writes again.
        t.runtime(&["update", "--memory", "96m", "--memory-swap", "96m", "--pids-limit", "30", &id]).ok();
        Output::from(Command::new("systemctl").arg("daemon-reload").output().unwrap()).ok();
        assert_eq!(limits(), ["100663296", "59", "50000 100000", "30"]);
        assert_eq!(show(&scope, "MemoryMax"), "100663296");
        // One more process is in the scope, too.
        let inside = t.runtime(&["exec", &id, "/bin/cat", "/proc/self/cgroup"]).ok();
        assert!(inside.ends_with(&scope), "{inside}");
        t.runtime(&["pause", &id]).ok();
        assert_eq!(t.runtime(&["state", &id]).json()["status"], "paused");
        t.runtime(&["resume", &id]).ok();
        delete(t, &id, &pid);
        assert_eq!(show(&scope, "LoadState"), "not-found");
        assert!(!group.try_exists().unwrap());
    });
}

#[test]
fn few_tasks_leave_room_for_the_birth() {
    test(|t| {
        needs_systemd!(t);
        let (bundle, scope) = in_scope(t, "");
        let bundle = bundle.set("/linux/resources/pids", json!({"limit": 1})).args(&["/bin/payload", "hold"]);
        let id = run_detached(t, &bundle);
        let pid = fs::read_to_string(bundle.dir.join("pid")).unwrap();
        assert_eq!(show(&scope, "TasksMax"), "1");
        assert_eq!(show(&scope, "Slice"), "system.slice");
        assert_eq!(fs::read_to_string(group(&pid).join("pids.max")).unwrap().trim(), "1");
        delete(t, &id, &pid);
        assert_eq!(show(&scope, "LoadState"), "not-found");
    });
}

#[test]
fn create_start_and_delete_by_force() {
    test(|t| {
        needs_systemd!(t);
        let (bundle, scope) = in_scope(t, "system.slice");
        let bundle = bundle.sh("sleep 1000 & payload hold");
        bundle.write();
        let id = t.id();
        t.detached(&[DRIVER, "create", "-b", bundle.dir.to_str().unwrap(), &id]).ok();
        assert_eq!(show(&scope, "ActiveState"), "active");
        t.runtime(&["start", &id]).ok();
        t.runtime(&["delete", "--force", &id]).ok();
        assert_eq!(show(&scope, "LoadState"), "not-found");
    });
}

#[test]
fn what_fails_leaves_no_scope() {
    test(|t| {
        needs_systemd!(t);
        let run = |bundle: &Bundle| {
            bundle.write();
            t.runtime(&[DRIVER, "run", "-b", bundle.dir.to_str().unwrap(), &t.id()])
        };
        let (bundle, scope) = in_scope(t, "system.slice");
        run(&bundle.args(&["/no/such/program"])).fails(&["/no/such/program"]);
        assert_eq!(show(&scope, "LoadState"), "not-found");
        for (path, word) in [("/a/path", "slice:prefix:name"), ("x:y:z", "slice"), ("a.slice:b:c.slice", "scope")] {
            run(&t.bundle().set("/linux/cgroupsPath", json!(path))).fails(&["linux.cgroupsPath", word]);
        }
        let (bundle, scope) = in_scope(t, "system.slice");
        let bundle = bundle.set("/annotations/org.systemd.property.Nonsense", json!("true"));
        run(&bundle).fails(&["StartTransientUnit"]);
        assert_eq!(show(&scope, "LoadState"), "not-found");
        // A scope that is there belongs to somebody.
        let (bundle, scope) = in_scope(t, "system.slice");
        let bundle = bundle.args(&["/bin/payload", "hold"]);
        let id = run_detached(t, &bundle);
        let pid = fs::read_to_string(bundle.dir.join("pid")).unwrap();
        run(&bundle).fails(&["StartTransientUnit", "UnitExists"]);
        assert_eq!(show(&scope, "ActiveState"), "active");
        delete(t, &id, &pid);
    });
}

#[test]
fn without_a_bus_it_says_so() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "words of ours");
        let bundle = t.bundle().set("/linux/cgroupsPath", json!("system.slice:rtt:x"));
        bundle.write();
        let mut command = t.command(&[DRIVER, "run", "-b", bundle.dir.to_str().unwrap(), &t.id()]);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}/no-bus", t.dir.display()));
        Output::from(command.output().unwrap()).fails(&["systemd", "no-bus", "ENOENT"]);
        let list: Value = t.runtime(&["list", "-f", "json"]).json();
        assert_eq!(list, json!([]));
    });
}

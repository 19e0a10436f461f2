//! `--systemd-cgroup`: scopes made by the systemd that runs the host, such as that of `hack/uml-systemd`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::{Bundle, Kind, Output, Test, differs, kind, needs, test};

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
        differs!(t, Kind::Runc, "1.1 takes no swap for no limit of it");
        differs!(t, Kind::Crun, "1.8 tells systemd no limits");
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

/// systemd writes the device rules of its units again then, on v1 in place of those of the container.
#[test]
fn a_reload_leaves_the_device_rules() {
    test(|t| {
        needs_systemd!(t);
        differs!(t, Kind::Crun, "1.8 tells systemd no devices");
        let rule = |allow: bool, major: i64, minor: i64| json!({"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"});
        let rules = json!([{"allow": false, "access": "rwm"}, rule(true, 10, 229), rule(true, 4, -1)]);
        let (bundle, scope) = in_scope(t, "system.slice");
        let bundle = bundle.set("/linux/resources", json!({"devices": rules})).args(&["/bin/payload", "hold"]);
        let id = run_detached(t, &bundle);
        let pid = fs::read_to_string(bundle.dir.join("pid")).unwrap();
        // Allowed, by a pattern too, by default, and not.
        let made = "mknod /dev/fuse c 10 229; mknod /dev/tty c 4 70; mknod /dev/kmsg c 1 11; mknod /dev/port c 1 4";
        t.runtime(&["exec", &id, "/bin/sh", "-c", made]).ok();
        let open = "for it in dev/fuse dev/tty dev/null dev/kmsg dev/port; do { : </$it; } 2>&1 | sed 's/.*: //'; echo $it; done";
        let seen = || t.runtime(&["exec", &id, "/bin/sh", "-c", open]).ok();
        let before = seen();
        assert!(
            before.ends_with("dev/null\nOperation not permitted\ndev/kmsg\nOperation not permitted\ndev/port"),
            "{before}"
        );
        assert_eq!(before.matches("Operation not permitted").count(), 2, "{before}");
        Output::from(Command::new("systemctl").arg("daemon-reload").output().unwrap()).ok();
        assert_eq!(seen(), before);
        assert_eq!(show(&scope, "DevicePolicy"), "strict");
        let allowed = show(&scope, "DeviceAllow");
        // runc looks the name of a major number up.
        let pattern = ["char-4 rwm", "char-tty rwm"].iter().any(|pattern| allowed.contains(pattern));
        assert!(pattern && allowed.contains("/dev/char/10:229 rwm"), "{allowed}");
        delete(t, &id, &pid);
    });
}

/// Each update is told to systemd as it is in the files, also one of a part.
#[test]
fn a_reload_leaves_what_was_updated() {
    test(|t| {
        needs_systemd!(t);
        needs!(t, kind() == Kind::Rt, "others tell systemd less");
        let (bundle, scope) = in_scope(t, "system.slice");
        let bundle = bundle
            .set("/linux/resources/unified", json!({"memory.high": "80000000", "memory.min": "4096"}))
            .set("/annotations/org.systemd.property.Documentation", json!("['man:rt(1)']"))
            .args(&["/bin/payload", "hold"]);
        let id = run_detached(t, &bundle);
        let pid = fs::read_to_string(bundle.dir.join("pid")).unwrap();
        let group = group(&pid);
        let files = [
            "cpu.idle",
            "cpu.max",
            "cpu.weight",
            "io.max",
            "memory.high",
            "memory.low",
            "memory.max",
            "memory.min",
            "memory.swap.max",
            "pids.max",
        ];
        let read = |file: &str| fs::read_to_string(group.join(file)).unwrap_or_default();
        let same = |options: &[&str]| {
            let before = files.map(read);
            Output::from(Command::new("systemctl").arg("daemon-reload").output().unwrap()).ok();
            assert_eq!(files.map(read), before, "{options:?}");
        };
        for (options, properties) in [
            (vec!["--cpu-quota", "40000"], vec![("CPUQuotaPerSecUSec", "400ms")]),
            (vec!["--cpu-period", "50000"], vec![("CPUQuotaPerSecUSec", "800ms"), ("CPUQuotaPeriodUSec", "50ms")]),
            (vec!["--cpu-quota", "20000"], vec![("CPUQuotaPerSecUSec", "400ms"), ("CPUQuotaPeriodUSec", "50ms")]),
            (vec!["--cpu-quota", "-1"], vec![("CPUQuotaPerSecUSec", "infinity")]),
            (vec!["--cpu-share", "2048"], vec![("CPUWeight", "174")]),
            (vec!["--cpu-idle", "1"], vec![("CPUWeight", "idle")]),
            (vec!["--cpu-idle", "0"], vec![("CPUWeight", "100")]),
            (
                vec!["--memory", "90m", "--memory-swap", "100m"],
                vec![("MemoryMax", "94371840"), ("MemorySwapMax", "10485760")],
            ),
            (vec!["--memory-reservation", "30m"], vec![("MemoryLow", "31457280")]),
            (vec!["--memory", "-1"], vec![("MemoryMax", "infinity"), ("MemorySwapMax", "infinity")]),
            (vec!["--pids-limit", "33"], vec![("TasksMax", "33")]),
        ] {
            t.runtime(&[&["update"], &options[..], &[&id]].concat()).ok();
            for (property, value) in properties {
                assert_eq!(show(&scope, property), value, "{property} after {options:?}");
            }
            // A reload takes its time.
            if ["--cpu-period", "--cpu-idle", "--pids-limit"].contains(&options[0]) {
                same(&options);
            }
        }
        for (property, value) in [("MemoryHigh", "80000000"), ("MemoryMin", "4096"), ("Documentation", "\"man:rt(1)\"")]
        {
            assert_eq!(show(&scope, property), value);
        }
        delete(t, &id, &pid);
    });
}

#[test]
fn few_tasks_leave_room_for_the_birth() {
    test(|t| {
        needs_systemd!(t);
        differs!(t, Kind::Crun, "1.8 wants a slice");
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
        needs!(t, kind() == Kind::Rt, "words of ours");
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

//! `--systemd-cgroup` of an ordinary user: scopes made by her own systemd, such as that of `hack/uml-systemd`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Bundle, Kind, Output, differs, kind, needs};

use crate::user::{USER, User, managed_test};

/// Options in front of every verb.
const DRIVER: &str = "--systemd-cgroup";

/// A bundle that holds in a scope of her `user.slice`, the scope, and its group.
fn in_scope(user: &User<'_>) -> (Bundle, String, PathBuf) {
    let name = user.test.id();
    let bundle = user.bundle().set("/linux/cgroupsPath", json!(format!("user.slice:rtt:{name}")));
    let scope = format!("rtt-{name}.scope");
    let top = format!("/sys/fs/cgroup/user.slice/user-{USER}.slice/user@{USER}.service/user.slice");
    let group = Path::new(&top).join(&scope);
    (bundle.args(&["/bin/payload", "hold"]), scope, group)
}

/// `run --detach`; the id and the process.
fn run_detached(user: &User<'_>, bundle: &Bundle) -> (String, i32) {
    bundle.write();
    let (id, file) = (user.test.id(), bundle.dir.join("pid"));
    let args = [DRIVER, "run", "-d", "--pid-file", file.to_str().unwrap(), "-b", bundle.dir.to_str().unwrap(), &id];
    user.detached(&args).ok();
    (id, fs::read_to_string(file).unwrap().parse().unwrap())
}

#[test]
fn life_of_a_container() {
    managed_test(|user| {
        differs!(user.test, Kind::Runc, "1.1 leaves processes of exec in the caller's group");
        differs!(user.test, Kind::Crun, "1.8 sets no limits");
        let (bundle, scope, group) = in_scope(user);
        let bundle = bundle
            .set("/linux/resources/memory", json!({"limit": 64 << 20, "swap": 64 << 20, "reservation": 32 << 20}))
            .set("/linux/resources/cpu", json!({"shares": 512, "quota": 50_000, "period": 100_000}))
            .set("/linux/resources/pids", json!({"limit": 20}));
        let (id, pid) = run_detached(user, &bundle);
        let read = |file: &str| fs::read_to_string(group.join(file)).unwrap().trim().to_owned();
        let limits = || ["memory.max", "memory.swap.max", "memory.low", "cpu.weight", "cpu.max", "pids.max"].map(read);
        assert_eq!(limits(), ["67108864", "0", "33554432", "59", "50000 100000", "20"]);
        assert_eq!(read("cgroup.procs"), pid.to_string(), "the placeholder has gone");
        for (property, value) in [
            ("ActiveState", "active"),
            ("Slice", "user.slice"),
            ("Delegate", "yes"),
            ("MemoryMax", "67108864"),
            ("CPUWeight", "59"),
            ("TasksMax", "20"),
        ] {
            assert_eq!(user.show(&scope, property), value, "{property}");
        }
        // Another process is in the scope, too.
        assert_eq!(user.runtime(&["exec", &id, "/bin/cat", "/proc/self/cgroup"]).ok(), "0::/");
        assert_eq!(user.runtime(&["exec", &id, "/bin/sh", "-c", "exit 7"]).code, 7);
        // What her systemd was told it writes again.
        user.runtime(&["update", "--memory", "96m", "--memory-swap", "96m", "--pids-limit", "30", &id]).ok();
        let updated = ["100663296", "0", "33554432", "59", "50000 100000", "30"];
        assert_eq!(limits(), updated);
        Output::from(user.program("systemctl", &["--user", "daemon-reload"]).output().unwrap()).ok();
        assert_eq!(limits(), updated);
        assert_eq!(user.show(&scope, "MemoryMax"), "100663296");
        user.runtime(&["pause", &id]).ok();
        assert_eq!(user.runtime(&["state", &id]).json()["status"], "paused");
        assert!(read("cgroup.events").contains("frozen 1"));
        user.runtime(&["resume", &id]).ok();
        assert_eq!(user.runtime(&["state", &id]).json()["status"], "running");
        let figures = user.runtime(&["events", "--stats", &id]).json();
        assert_eq!(figures["data"]["pids"]["limit"], 30);
        assert_eq!(figures["data"]["memory"]["usage"]["limit"], 96 << 20);
        assert_eq!(user.runtime(&["ps", "-f", "json", &id]).json(), json!([pid]));
        user.runtime(&["kill", &id, "KILL"]).ok();
        user.test.wait_pid(pid);
        user.runtime(&["delete", &id]).ok();
        assert_eq!(user.show(&scope, "LoadState"), "not-found");
        assert!(!group.try_exists().unwrap());
    });
}

#[test]
fn delete_by_force() {
    managed_test(|user| {
        let (bundle, scope, group) = in_scope(user);
        let bundle = bundle.sh("sleep 1000 & payload hold");
        bundle.write();
        let id = user.test.id();
        user.detached(&[DRIVER, "create", "-b", bundle.dir.to_str().unwrap(), &id]).ok();
        assert_eq!(user.show(&scope, "ActiveState"), "active");
        user.runtime(&["start", &id]).ok();
        user.runtime(&["delete", "--force", &id]).ok();
        assert_eq!(user.show(&scope, "LoadState"), "not-found");
        assert!(!group.try_exists().unwrap());
    });
}

#[test]
fn without_a_bus_it_says_so() {
    managed_test(|user| {
        needs!(user.test, kind() == Kind::Rt, "words of ours");
        let (bundle, _, _) = in_scope(user);
        bundle.write();
        let alone = User { runtime_directory: user.test.dir.join("xdg"), program: user.program.clone(), ..*user };
        alone
            .runtime(&[DRIVER, "run", "-b", bundle.dir.to_str().unwrap(), "x"])
            .fails(&["systemd", "/xdg/bus", "ENOENT"]);
        assert_eq!(alone.runtime(&["list", "-q"]).ok(), "");
        let mut told = user.command(&[DRIVER, "run", "-b", bundle.dir.to_str().unwrap(), "x"]);
        told.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/no/bus");
        Output::from(told.output().unwrap()).fails(&["systemd", "/no/bus", "ENOENT"]);
    });
}

#[test]
fn without_a_bus_systemd_itself_is_asked() {
    managed_test(|user| {
        needs!(user.test, kind() == Kind::Rt, "others need a bus");
        let (bundle, scope, group) = in_scope(user);
        // Her systemd, and no bus.
        let alone = User { runtime_directory: user.test.dir.join("xdg"), program: user.program.clone(), ..*user };
        symlink(user.runtime_directory.join("systemd"), alone.runtime_directory.join("systemd")).unwrap();
        let (id, pid) = run_detached(&alone, &bundle);
        assert_eq!(user.show(&scope, "ActiveState"), "active");
        assert_eq!(fs::read_to_string(group.join("cgroup.procs")).unwrap().trim(), pid.to_string());
        alone.runtime(&["delete", "--force", &id]).ok();
        assert_eq!(user.show(&scope, "LoadState"), "not-found");
        assert!(!group.try_exists().unwrap());
    });
}

/// cgroupfs, and no path.
#[test]
fn a_group_beside_the_callers() {
    managed_test(|user| {
        differs!(user.test, Kind::Crun, "1.8 leaves the limits away");
        let bundle = user.bundle().set("/linux/resources/pids", json!({"limit": 7}));
        let namespaces: Vec<Value> = bundle.spec["linux"]["namespaces"].as_array().unwrap().clone();
        let namespaces = namespaces.into_iter().filter(|namespace| namespace["type"] != "cgroup").collect();
        let bundle = bundle.set("/linux/namespaces", namespaces).sh("cat /proc/self/cgroup");
        bundle.write();
        let id = user.test.id();
        let own = format!("rtt-{id}-caller.scope");
        let name = format!("--unit={own}");
        let run = [
            "--user",
            "--scope",
            "--quiet",
            &name,
            user.program.to_str().unwrap(),
            "run",
            "-b",
            bundle.dir.to_str().unwrap(),
            &id,
        ];
        let seen = Output::from(user.program("systemd-run", &run).output().unwrap()).ok();
        assert_eq!(seen, format!("0::/user.slice/user-{USER}.slice/user@{USER}.service/app.slice/{id}"));
        // From a group that is another's there is none.
        user.run(&bundle).fails(&["cgroup"]);
    });
}

//! `update`: other limits for a running container; and `events --stats`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};
use tests::{Kind, differs, needs, test};

#[test]
fn limits_by_flags() {
    test(|t| {
        needs!(
            t,
            t.cgroups.has("memory") && t.cgroups.has("pids") && t.cgroups.has("cpu"),
            "no memory, pids and cpu controllers"
        );
        let container = t.hold(t.bundle().set("/linux/resources/memory", json!({"limit": 64 << 20})));
        t.runtime(&[
            "update",
            "--memory",
            "134217728",
            "--pids-limit",
            "50",
            "--cpu-quota",
            "20000",
            "--cpu-period",
            "100000",
            &container.id,
        ])
        .ok();
        assert_eq!(t.cgroups.read(container.pid, "memory", "memory.limit_in_bytes", "memory.max"), "134217728");
        assert_eq!(t.cgroups.read(container.pid, "pids", "pids.max", "pids.max"), "50");
        let quota = t.cgroups.read(container.pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
        assert!(quota == "20000" || quota == "20000 100000", "{quota}");
        container.end();
    });
}

#[test]
fn limits_by_a_document() {
    test(|t| {
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let container = t.hold(t.bundle());
        let file = t.dir.join("resources.json");
        fs::write(&file, json!({"memory": {"limit": 96 << 20}}).to_string()).unwrap();
        t.runtime(&["update", "--resources", file.to_str().unwrap(), &container.id]).ok();
        assert_eq!(
            t.cgroups.read(container.pid, "memory", "memory.limit_in_bytes", "memory.max"),
            (96 << 20).to_string()
        );
        container.end();
    });
}

#[test]
fn wrong_values_change_nothing() {
    test(|t| {
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let container = t.hold(t.bundle().set("/linux/resources/memory", json!({"limit": 64 << 20})));
        t.runtime(&["update", "--memory", "many", &container.id]).fails(&[]);
        t.runtime(&["update", "--cpuset-cpus", "4000-5000", &container.id]).fails(&[]);
        assert_eq!(
            t.cgroups.read(container.pid, "memory", "memory.limit_in_bytes", "memory.max"),
            (64 << 20).to_string()
        );
        assert_eq!(container.status(), "running");
        container.end();
    });
}

#[test]
fn empty_values_change_nothing() {
    test(|t| {
        needs!(t, t.cgroups.has("pids"), "no pids controller");
        differs!(t, Kind::Crun, "takes numbers alone");
        let container = t.hold(t.bundle());
        let empty = ["--memory=", "--cpu-quota=", "--cpu-share=", "--cpuset-cpus=", "--pids-limit=33"];
        t.runtime(&[&["update"], &empty[..], &[&container.id]].concat()).ok();
        assert_eq!(t.cgroups.read(container.pid, "pids", "pids.max", "pids.max"), "33");
        container.end();
    });
}

#[test]
fn sizes_as_docker_writes_them() {
    test(|t| {
        differs!(t, Kind::Crun, "takes numbers alone");
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let container = t.hold(t.bundle());
        t.runtime(&["update", "--memory", "128m", &container.id]).ok();
        let limit = t.cgroups.read(container.pid, "memory", "memory.limit_in_bytes", "memory.max");
        assert_eq!(limit, (128 << 20).to_string());
        t.runtime(&["update", "--memory", "lots", &container.id]).fails(&["memory"]);
        container.end();
    });
}

#[test]
fn events_until_the_end() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 has no events verb");
        differs!(t, Kind::Runc, "1.1 goes on until the container is deleted");
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let bundle = t.bundle().set("/linux/resources/memory", json!({"limit": 32 << 20, "swap": 32 << 20}));
        let bundle = if t.cgroups.is_v2() { bundle.unset("/linux/resources/memory/swap") } else { bundle };
        let container = t.hold(bundle);
        let mut command = t.command(&["events", "--interval", "50ms", &container.id]);
        let mut events = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
        let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
        let stats = next();
        assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!(container.id)));
        assert_eq!(stats["data"]["memory"]["usage"]["limit"], 32 << 20);
        assert_eq!(container.exec(&["/bin/payload", "eat", "200"]).code, 137);
        let oom = loop {
            let event = next();
            if event["type"] != "stats" {
                break event;
            }
        };
        assert_eq!(oom["type"], "oom");
        assert_eq!(oom["id"], container.id);
        // Another process's end is none of the container; its own is the end of the stream.
        next();
        container.kill("KILL").ok();
        for line in lines {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            assert!(event["type"].is_string());
        }
        assert!(events.wait().unwrap().success());
        assert_eq!(container.wait(), 137);
        container.delete();
        t.runtime(&["events", "--interval", "0s", "x"]).fails(&["interval"]);
    });
}

#[test]
fn stats_of_a_container() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 has no events verb");
        needs!(t, t.cgroups.has("memory") && t.cgroups.has("pids"), "no memory and pids controllers");
        let container = t.hold(t.bundle());
        let event = t.runtime(&["events", "--stats", &container.id]).json();
        assert_eq!(event["type"], "stats");
        assert_eq!(event["id"], container.id);
        assert_eq!(event["data"]["pids"]["current"], 1);
        assert!(event["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{event}");
        assert!(event["data"]["cpu"]["usage"]["total"].as_u64().is_some(), "{event}");
        container.end();
    });
}

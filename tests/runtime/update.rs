//! `update`: other limits for a running container; and `events --stats`.

use std::fs;

use serde_json::json;
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

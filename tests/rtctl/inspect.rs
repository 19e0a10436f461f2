//! `ps`, `inspect`, `stats` and their formats.

use serde_json::Value;
use tests::rtctl_test;

#[test]
fn ps_lists() {
    rtctl_test(|r| {
        let running = r.detached(&["--name", "runs", "busybox", "sleep", "1000"]);
        let created = r.ok(&["create", "--name", "waits", "busybox", "true"]);
        let table = r.ok(&["ps"]);
        assert!(table.lines().next().unwrap().starts_with("CONTAINER ID"), "{table}");
        assert!(table.contains(&running[..12]) && table.contains("runs") && !table.contains("waits"), "{table}");
        let table = r.ok(&["ps", "-a"]);
        assert!(table.contains(&created[..12]) && table.contains("waits") && table.contains("Created"), "{table}");
        assert_eq!(r.ok(&["ps", "-q"]), running[..12]);
        assert_eq!(r.ok(&["ps", "-q", "--no-trunc"]), running);
        assert_eq!(r.ok(&["ps", "-a", "--filter", "name=waits", "--format", "{{.Names}} {{.Image}}"]), "waits busybox");
        assert_eq!(r.ok(&["ps", "-a", "-q", "--filter", "status=created"]), created[..12]);
        for line in r.ok(&["ps", "-a", "--format", "json"]).lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            assert!(row["Names"].is_string() && row["ID"].is_string(), "{row}");
        }
        r.ok(&["rm", "-f", "runs", "waits"]);
    });
}

#[test]
fn inspect_has_dockers_members() {
    rtctl_test(|r| {
        let id = r.detached(&["--name", "box", "-e", "A=b", "-v", "/etc:/host:ro", "busybox", "sleep", "1000"]);
        let info = r.inspect("box");
        assert_eq!(info["Id"], id);
        assert_eq!(info["Name"], "/box");
        assert_eq!(info["Path"], "sleep");
        assert_eq!(info["Args"][0], "1000");
        assert_eq!(info["State"]["Status"], "running");
        assert!(info["State"]["Pid"].as_i64().unwrap() > 1);
        assert_eq!(info["Mounts"][0]["Destination"], "/host");
        assert_eq!(info["Mounts"][0]["RW"], false);
        assert!(info["Config"]["Env"].as_array().unwrap().contains(&"A=b".into()), "{info}");
        assert_eq!(r.field("box", "{{.State.Status}}/{{.Config.Image}}"), "running/busybox");
        assert_eq!(r.field("box", "{{json .Args}}"), "[\"1000\"]");
        r.call(&["inspect", "-f", "{{.No.Such.Thing", "box"]).fails(&[]);
        r.ok(&["rm", "-f", "box"]);
    });
}

#[test]
fn stats_once() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let text = r.ok(&["stats", "--no-stream", &id]);
        assert!(text.contains(&id[..12]), "{text}");
        let text = r.ok(&["stats", "--no-stream", "--format", "json", &id]);
        let row: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert!(row.is_object(), "{row}");
        r.ok(&["rm", "-f", &id]);
    });
}

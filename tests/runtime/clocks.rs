//! Time namespaces (runtime-spec config-linux.md, "Offset for Time Namespace").

use std::fs;

use serde_json::{Value, json};
use tests::{Bundle, Kind, Test, differs, test};

const DAY: f64 = 86_400.0;

fn own() -> Option<String> {
    Some(fs::read_link("/proc/thread-self/ns/time").ok()?.to_str().unwrap().to_owned())
}

/// Whether the kernel has them; where it has not, the error says so.
fn supported(t: &Test) -> bool {
    if own().is_none() {
        t.run(&t.bundle().namespace("time", None)).fails(&["time namespace"]);
        t.skip("the kernel has no time namespaces");
    }
    own().is_some()
}

fn shifted(t: &Test) -> Bundle {
    let offsets = json!({"boottime": {"secs": 86400, "nanosecs": 5}, "monotonic": {"secs": 1000}});
    t.bundle().namespace("time", None).set("/linux/timeOffsets", offsets)
}

fn uptime(text: &str) -> f64 {
    text.split(' ').next().unwrap().trim().parse().unwrap()
}

#[test]
fn offsets_are_seen_inside_only() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know time namespaces");
        differs!(t, Kind::Crun, "1.8 does not know time namespaces");
        if !supported(t) {
            return;
        }
        let before = uptime(&fs::read_to_string("/proc/uptime").unwrap());
        let container = t.hold(shifted(t));
        let inside = uptime(&container.exec(&["cat", "/proc/uptime"]).ok());
        let after = uptime(&fs::read_to_string("/proc/uptime").unwrap());
        // Read between the two; the file has hundredths.
        assert!(before + DAY - 0.1 < inside && inside < after + DAY + 0.1, "{before} {inside} {after}");
        let facts = container.exec(&["/bin/payload", "facts"]).json();
        let path = format!("/proc/{}/ns/time", container.pid);
        let namespace = fs::read_link(&path).unwrap();
        assert_eq!(facts["ns"]["time"], namespace.to_str().unwrap());
        assert_ne!(facts["ns"]["time"], json!(own()));
        assert_eq!(
            fs::read_to_string(format!("/proc/{}/timens_offsets", container.pid))
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>(),
            ["monotonic", "1000", "0", "boottime", "86400", "5"]
        );
        // Another one joins it by path.
        let joined = t.facts(t.bundle().namespace("time", Some(&path)));
        assert_eq!(joined["ns"]["time"], namespace.to_str().unwrap());
        container.end();
    });
}

#[test]
fn with_a_user_namespace() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know time namespaces");
        differs!(t, Kind::Crun, "1.8 does not know time namespaces");
        if !supported(t) {
            return;
        }
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let bundle = shifted(t).namespace("user", None).set("/linux/uidMappings", map.clone());
        let bundle = bundle.set("/linux/gidMappings", map).sh("cat /proc/uptime");
        let here = uptime(&fs::read_to_string("/proc/uptime").unwrap());
        assert!(uptime(&t.run(&bundle).ok()) >= here + DAY - 0.1);
    });
}

#[test]
fn wrong_offsets_are_refused() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know time namespaces");
        differs!(t, Kind::Crun, "1.8 does not know time namespaces");
        let own = |offsets: Value| t.bundle().namespace("time", None).set("/linux/timeOffsets", offsets);
        for (bundle, path) in [
            (t.bundle().set("/linux/timeOffsets", json!({"boottime": {"secs": 1}})), "linux.timeOffsets"),
            (own(json!({"realtime": {"secs": 1}})), "realtime"),
            (own(json!({"boottime": {"secs": "1"}})), "linux.timeOffsets[\"boottime\"].secs"),
            (own(json!({"boottime": {"nanosecs": 1_000_000_000}})), "linux.timeOffsets[\"boottime\"].nanosecs"),
            (own(json!(7)), "linux.timeOffsets"),
        ] {
            t.run(&bundle).fails(&[path]);
        }
    });
}

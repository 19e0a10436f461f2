//! system df and the prune commands: sizes are those of du.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::{Rtctl, rtctl_test};

/// Bytes on the disk, by du(1).
fn du(paths: &[&Path]) -> u64 {
    let output = Command::new("du").args(["-s", "-c", "--block-size=1"]).args(paths).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().last().unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

fn summary(r: &Rtctl<'_>, kind: &str) -> Value {
    let text = r.ok(&["system", "df", "--format", "json"]);
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.into_iter().find(|row| row["Type"] == kind).unwrap()
}

/// Within a hundredth.
#[track_caller]
fn close(found: &Value, expected: u64) {
    let found = found.as_u64().unwrap();
    assert!(found.abs_diff(expected) * 100 <= expected, "{found} is not {expected}");
}

#[test]
fn sizes_are_those_of_du() {
    rtctl_test(|r| {
        let folders = ["images", "layers", "ingest"].map(|name| r.root().join(name));
        let folders = folders.each_ref().map(std::path::PathBuf::as_path);
        close(&summary(r, "Images")["SizeBytes"], du(&folders));
        assert_eq!(summary(r, "Images")["Active"], "0");

        // Two images with the same layers, and one name more.
        let sum = |r: &Rtctl<'_>| {
            let all: Value = serde_json::from_str(&r.ok(&["system", "df", "-v", "--format", "json"])).unwrap();
            all["Images"].as_array().unwrap().clone()
        };
        let alone = sum(r);
        assert_eq!(alone[0]["SharedSizeBytes"], 0);
        close(&alone[0]["SizeBytes"], du(&folders[..2]));

        // Writes 5 MB under two names, and a hole.
        let script =
            "dd if=/dev/zero of=/a bs=1M count=5; ln /a /b; dd if=/dev/zero of=/hole bs=1 count=1 seek=100M; echo done";
        let id = r.detached(&[
            "-v",
            "data:/data",
            "busybox",
            "sh",
            "-c",
            &format!("{script}; echo x >/data/file; sleep 1000"),
        ]);
        let mut logs = r.start(&["logs", "-f", &id]);
        logs.wait_for("done");
        // /data/file is written before the sleep; its name is there when the shell has gone on.
        while r.call(&["exec", &id, "test", "-s", "/data/file"]).code != 0 {}
        logs.signal("INT");
        logs.end();
        let containers = summary(r, "Containers");
        close(&containers["SizeBytes"], du(&[&r.root().join("upper").join(&id)]));
        assert!(containers["SizeBytes"].as_u64().unwrap() < 6 << 20, "{containers}");
        assert_eq!((&containers["Active"], &containers["ReclaimableBytes"]), (&"1".into(), &0.into()));
        let volumes = summary(r, "Local Volumes");
        close(&volumes["SizeBytes"], du(&[&r.root().join("volumes/data")]));
        assert_eq!(volumes["Active"], "1");
        let images = summary(r, "Images");
        assert_eq!((&images["Active"], &images["ReclaimableBytes"]), (&"1".into(), &0.into()));
        let table = r.ok(&["system", "df", "-v"]);
        for text in ["Images space usage:", "SHARED SIZE", "busybox", "Containers space usage:", "data"] {
            assert!(table.contains(text), "{table}");
        }
        r.ok(&["rm", "-f", &id]);
        r.ok(&["volume", "rm", "data"]);
    });
}

#[test]
fn pruned_images() {
    rtctl_test(|r| {
        let taken = || du(&[&r.root().join("images"), &r.root().join("layers")]);
        // A dangling image with one layer of its own: the name goes to another image.
        let other = r.test.dir.join("other");
        let script = format!("umoci init --layout {0}; umoci new --image {0}:app", other.display());
        assert!(Command::new("sh").args(["-ec", &script]).status().unwrap().success());
        r.ok(&["load", "-i", other.to_str().unwrap(), "--name", "app:1"]);
        r.ok(&["tag", "busybox", "app:1"]);
        let images = r.ok(&["images"]);
        assert!(images.contains("<none>"), "{images}");
        r.call(&["image", "prune"]).fails(&["--force"]);
        let output = r.ok(&["image", "prune", "-f", "--filter", "label=none"]);
        assert_eq!(output, "Total reclaimed space: 0B");
        let before = taken();
        let output = r.ok(&["image", "prune", "-f"]);
        assert!(output.contains("deleted: sha256:"), "{output}");
        assert!(taken() < before, "{output}");
        assert!(!r.ok(&["images"]).contains("<none>"));

        let id = r.ok(&["create", "busybox", "true"]);
        assert_eq!(r.ok(&["image", "prune", "-af"]), "Total reclaimed space: 0B", "a container uses it");
        r.ok(&["rm", &id]);
        assert_eq!(r.ok(&["image", "prune", "-af", "--filter", "until=0"]), "Total reclaimed space: 0B");
        let (before, output) = (taken(), r.ok(&["image", "prune", "-af", "--filter", "until=24h"]));
        assert!(output.contains("untagged: app:1\nuntagged: busybox:latest\n"), "{output}");
        let freed = output.lines().last().unwrap();
        let shown = freed.strip_prefix("Total reclaimed space: ").unwrap().strip_suffix("MB").unwrap();
        let gone = before - taken();
        let shown: f64 = shown.parse().unwrap();
        assert!((shown * 1e6 - gone as f64).abs() < gone as f64 / 100.0, "{freed}, du says {gone}");
        assert_eq!(r.ok(&["images", "-q"]), "");
    });
}

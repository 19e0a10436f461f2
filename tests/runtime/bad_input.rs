//! Configurations that are wrong: the error names the JSON path, and nothing is left behind (the oracle looks).

use std::fs;

use serde_json::{Value, json};
use tests::{Kind, Test, differs, kind, test};

/// Every document is refused; ours names the path.
fn refused(t: &Test, pointer: &str, value: Value, path: &str) {
    let output = t.run(&t.bundle().set(pointer, value.clone()));
    assert_ne!(output.code, 0, "{pointer} = {value}: {output}");
    if kind() == Kind::Rt {
        assert!(output.stderr.contains(path), "{pointer} = {value}: no {path} in {output}");
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output}");
    }
    assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
}

#[test]
fn wrong_types_are_named() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes text for numbers");
        refused(t, "/process/user/uid", json!("root"), "process.user.uid");
        refused(t, "/process/user/uid", json!(-1), "process.user.uid");
        refused(t, "/process/user/uid", json!(1u64 << 32), "process.user.uid");
        refused(t, "/process/args", json!("sh"), "process.args");
        refused(t, "/process/args", json!(["sh", 1]), "process.args[1]");
        refused(t, "/process/terminal", json!("no"), "process.terminal");
        refused(t, "/root", json!([]), "root");
        refused(t, "/mounts/2/options", json!("ro"), "mounts[2].options");
        refused(t, "/linux/namespaces/0/type", json!(4), "linux.namespaces[0].type");
        refused(t, "/linux/resources/memory", json!({"limit": "64M"}), "linux.resources.memory.limit");
        refused(t, "/hooks", json!({"prestart": [{"args": []}]}), "hooks.prestart[0]");
    });
}

#[test]
fn contradictions_are_named() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("runc 1.1 and crun 1.8 take some of these");
        }
        refused(t, "/process/cwd", json!(""), "process.cwd");
        refused(t, "/process/env", json!(["NO_VALUE\u{0}"]), "process.env[0]");
        refused(t, "/process/oomScoreAdj", json!(5000), "process.oomScoreAdj");
        refused(t, "/mounts/0/destination", json!(""), "mounts[0].destination");
        refused(t, "/linux/maskedPaths", json!(["relative"]), "linux.maskedPaths[0]");
        refused(t, "/linux/readonlyPaths", json!(["relative"]), "linux.readonlyPaths[0]");
        refused(t, "/linux/cgroupsPath", json!("/a/../../b"), "linux.cgroupsPath");
        refused(
            t,
            "/linux/devices",
            json!([{"path": "relative", "type": "c", "major": 1, "minor": 3}]),
            "linux.devices[0].path",
        );
        refused(t, "/process/rlimits", json!([{"type": "NOFILE", "soft": 1, "hard": 1}]), "process.rlimits[0].type");
        refused(t, "/process/capabilities", json!({"ambient": ["CAP_KILL"]}), "process.capabilities.ambient");
    });
}

#[test]
fn versions() {
    test(|t| {
        for version in ["1.0.0", "1.0.2", "1.0.2-dev", "1.1.0"] {
            t.run(&t.bundle().set("/ociVersion", json!(version))).ok();
        }
        if kind() == Kind::Rt {
            t.run(&t.bundle().set("/ociVersion", json!("1.3.0"))).ok();
        }
        for version in ["2.0.0", "banana", ""] {
            if kind() == Kind::Rt {
                refused(t, "/ociVersion", json!(version), "ociVersion");
            }
        }
    });
}

#[test]
fn documents_that_are_none() {
    test(|t| {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "{\"ociVersion\": \"1.0.0\"} trailing",
            "{\"ociVersion\": \"1.0.2\"}",
            "\u{0}",
            "{}",
        ] {
            let bundle = t.bundle();
            fs::write(bundle.dir.join("config.json"), text).unwrap();
            let output = t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
            output.fails(&[]);
        }
        let bundle = t.bundle();
        t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]).fails(&["config.json"]);
        t.runtime(&["run", "--bundle", "/nonexistent", &t.id()]).fails(&["nonexistent"]);
    });
}

#[test]
fn deep_nesting_and_size_are_bounded() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("memory of a test machine is not for runc and crun to eat");
        }
        let bundle = t.bundle();
        let id = t.id();
        let args = ["run", "--bundle", bundle.dir.to_str().unwrap(), &id];
        fs::write(bundle.dir.join("config.json"), "[".repeat(200_000)).unwrap();
        t.runtime(&args).fails(&["config.json"]);
        let file = fs::File::options().write(true).open(bundle.dir.join("config.json")).unwrap();
        file.set_len(64 << 20).unwrap();
        t.runtime(&args).fails(&["config.json"]);
    });
}

#[test]
fn failure_after_the_clone_leaves_nothing() {
    test(|t| {
        // Each fails at another step of the child.
        t.run(&t.bundle().mount("/x", "tmpfs", "tmpfs", &["size=banana"])).fails(&[]);
        t.run(&t.bundle().set("/process/args", json!(["/missing"]))).fails(&[]);
        t.run(&t.bundle().set("/linux/sysctl", json!({"net.core.none": "1"}))).fails(&[]);
        t.run(&t.bundle().mount("/x", "bind", "/proc/self/nothing", &["bind"])).fails(&[]);
        assert_eq!(t.runtime(&["list", "-q"]).ok(), "");
    });
}

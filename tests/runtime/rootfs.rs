//! `root`, `linux.rootfsPropagation` and what the container sees of its root file system.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use tests::{Kind, differs, kind, test};

#[test]
fn read_only_root() {
    test(|t| {
        let bundle = t.bundle().set("/root/readonly", json!(true)).sh("touch /file; echo x >/dev/shm/x && echo shm");
        let output = t.run(&bundle);
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        assert_eq!(output.stdout, "shm\n");
        let facts = t.facts(t.bundle().set("/root/readonly", json!(true)));
        assert!(facts["mounts"][0]["options"].as_array().unwrap().contains(&json!("ro")));
    });
}

#[test]
fn writable_root() {
    test(|t| {
        let bundle = t.bundle().sh("echo text >/file");
        t.run(&bundle).ok();
        assert_eq!(fs::read_to_string(bundle.rootfs().join("file")).unwrap(), "text\n");
    });
}

#[test]
fn absolute_path() {
    test(|t| {
        let elsewhere = t.bundle();
        fs::write(elsewhere.rootfs().join("mark"), "elsewhere").unwrap();
        let bundle = t.bundle().set("/root/path", json!(elsewhere.rootfs())).args(&["/bin/cat", "/mark"]);
        assert_eq!(t.run(&bundle).ok(), "elsewhere");
    });
}

#[test]
fn missing_root_is_refused() {
    test(|t| {
        t.run(&t.bundle().set("/root/path", json!("nowhere"))).fails(&["nowhere"]);
        t.run(&t.bundle().set("/root/path", json!("config.json"))).fails(&[]);
        t.run(&t.bundle().unset("/root")).fails(&["root"]);
    });
}

#[test]
fn nothing_above_the_root() {
    test(|t| {
        // The old root is gone: neither `..` nor the mount table leads to it.
        let output = t.run(&t.bundle().sh("cd /; ls ../../..; ls /proc/1/root; wc -l </proc/self/mountinfo")).ok();
        assert!(!output.contains("rtt"), "{output}");
    });
}

fn propagation(t: &tests::Test, mode: &str) -> String {
    let facts = t.facts(t.bundle().set("/linux/rootfsPropagation", json!(mode)));
    let fields = facts["mounts"][0]["propagation"].as_array().unwrap().iter();
    fields.map(|field| field.as_str().unwrap().split(':').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn root_propagation() {
    test(|t| {
        assert_eq!(propagation(t, "private"), "");
        assert_eq!(propagation(t, "rprivate"), "");
        // runc 1.1 makes it private again when the parent was shared.
        assert!(kind() == Kind::Runc || propagation(t, "shared").starts_with("shared"));
        if kind() == Kind::Rt {
            assert_eq!(propagation(t, "slave"), "master");
            assert_eq!(propagation(t, "unbindable"), "unbindable");
            assert_eq!(propagation(t, "rslave"), "master");
        }
    });
}

#[test]
fn wrong_root_propagation_is_refused() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 ignores it");
        t.run(&t.bundle().set("/linux/rootfsPropagation", json!("sideways"))).fails(&["rootfsPropagation"]);
    });
}

#[test]
fn symlink_as_root() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 follows it");
        differs!(t, Kind::Runc, "1.1 resolves it first");
        let bundle = t.bundle();
        symlink("rootfs", bundle.dir.join("link")).unwrap();
        let output = t.run(&bundle.set("/root/path", json!("link")).args(&["/bin/echo", "in"]));
        // Either is fine, but it must be told, not guessed.
        assert!(output.stdout == "in\n" || output.stderr.contains("link"), "{output}");
    });
}

//! Namespaces by path in every mix (runtime-spec config-linux.md, "Namespaces"), and containers without a mount namespace of their own.

use std::fs;

use serde_json::{Value, json};
use tests::{Bundle, Container, Kind, Test, differs, kind, test};

const KINDS: [(&str, &str); 7] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("user", "user"),
    ("mount", "mnt"),
];

fn link(kind: &str) -> &'static str {
    KINDS.iter().find(|(name, _)| *name == kind).unwrap().1
}

fn of(container: &Container<'_>, kind: &str) -> (String, String) {
    let path = format!("/proc/{}/ns/{}", container.pid, link(kind));
    let namespace = fs::read_link(&path).unwrap().to_str().unwrap().to_owned();
    (path, namespace)
}

fn mapped(bundle: Bundle) -> Bundle {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

/// A bundle that joins namespaces of a container; the others are new.
fn joining(bundle: Bundle, holder: &Container<'_>, kinds: &[&str]) -> Bundle {
    let bundle = kinds.iter().fold(bundle, |bundle, kind| bundle.namespace(kind, Some(&of(holder, kind).0)));
    // A host name is set in a namespace of one's own; message queues and terminals are mounted by the owner of the namespaces.
    if kinds.contains(&"uts") { bundle.unset("/hostname") } else { bundle }
}

#[track_caller]
fn check(t: &Test, bundle: Bundle, holder: &Container<'_>, kinds: &[&str]) {
    let container = t.hold(bundle);
    let facts: Value = container.exec(&["/bin/payload", "facts"]).json();
    for (kind, link) in KINDS {
        let (_, theirs) = of(holder, kind);
        let own = fs::read_link(format!("/proc/{}/ns/{link}", container.pid)).unwrap();
        assert_eq!(
            own.to_str() == Some(theirs.as_str()),
            kinds.contains(&kind),
            "{kind} of {kinds:?}: {own:?} {theirs}"
        );
        assert_eq!(facts["ns"][link], own.to_str().unwrap(), "exec is in the same {kind}");
    }
    container.end();
}

#[test]
fn some_of_a_container() {
    test(|t| {
        let holder = t.hold(t.bundle().namespace("cgroup", None));
        for kinds in
            [&["pid", "ipc"] as &[&str], &["network", "uts", "ipc"], &["pid", "network", "uts", "ipc", "cgroup"]]
        {
            let bundle = joining(t.bundle().namespace("cgroup", None), &holder, kinds);
            // The user namespace is everybody's.
            check(t, bundle, &holder, &[kinds, &["user"]].concat());
        }
        holder.end();
    });
}

#[test]
fn new_user_namespace_in_namespaces_of_the_host() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 enters the user namespace first");
        differs!(t, Kind::Crun, "1.8 enters the user namespace first");
        let holder = t.hold(t.bundle().namespace("cgroup", None));
        for kinds in [&["network"] as &[&str], &["pid"], &["network", "uts"], &["pid", "network", "uts", "cgroup"]] {
            let mut bundle = joining(mapped(t.bundle().namespace("cgroup", None)), &holder, kinds);
            // The kernel mounts those file systems only for who owns the namespace that they show.
            let list = bundle.spec["mounts"].as_array_mut().unwrap();
            list.retain(|mount| {
                let kind = mount["type"].as_str().unwrap();
                !(kinds.contains(&"network") && kind == "sysfs" || kinds.contains(&"pid") && kind == "proc")
            });
            let container = t.hold(bundle.set("/linux/readonlyPaths", json!([])).set("/linux/maskedPaths", json!([])));
            for (kind, link) in KINDS {
                let own = fs::read_link(format!("/proc/{}/ns/{link}", container.pid)).unwrap();
                assert_eq!(
                    own.to_str() == Some(of(&holder, kind).1.as_str()),
                    kinds.contains(&kind),
                    "{kind} of {kinds:?}"
                );
            }
            container.end();
        }
        holder.end();
    });
}

#[test]
fn joined_user_namespace() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 refuses some of these");
        differs!(t, Kind::Crun, "1.8 refuses some of these");
        let holder = t.hold(mapped(t.bundle().namespace("cgroup", None)));
        for kinds in [
            &["user"] as &[&str],
            &["user", "pid"],
            &["user", "network", "ipc"],
            &["user", "pid", "network", "ipc", "uts"],
            &["user", "pid", "network", "ipc", "uts", "cgroup"],
        ] {
            check(t, joining(t.bundle().namespace("cgroup", None), &holder, kinds), &holder, kinds);
        }
        // Along with a namespace that the user namespace does not own.
        let other = t.hold(t.bundle());
        let bundle =
            joining(t.bundle(), &holder, &["user"]).namespace("uts", Some(&of(&other, "uts").0)).unset("/hostname");
        let facts = t.facts(bundle);
        assert_eq!(facts["ns"]["uts"], of(&other, "uts").1);
        assert_eq!(facts["ns"]["user"], of(&holder, "user").1);
        other.end();
        holder.end();
    });
}

/// A document in which nothing is mounted.
fn bare(bundle: Bundle) -> Bundle {
    let bundle = bundle.set("/mounts", json!([])).set("/linux/maskedPaths", json!([]));
    bundle.set("/linux/readonlyPaths", json!([]))
}

#[test]
fn shared_mount_namespace() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 mounts in the host's namespace");
        differs!(t, Kind::Crun, "1.8 mounts in the host's namespace");
        let before = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let bundle = bare(t.bundle()).share("mount");
        fs::write(bundle.rootfs().join("here"), "inside").unwrap();
        let container = t.hold(bundle.set("/process/cwd", json!("/etc")));
        assert_eq!(of(&container, "mount").1, fs::read_link("/proc/thread-self/ns/mnt").unwrap().to_str().unwrap());
        for command in [&["cat", "/here"] as &[&str], &["sh", "-c", "cd /; cd ..; cat here"]] {
            assert_eq!(container.exec(command).ok(), "inside");
        }
        assert_eq!(container.exec(&["/bin/pwd"]).ok(), "/etc");
        assert_eq!(fs::read_to_string("/proc/thread-self/mountinfo").unwrap(), before);
        container.end();
        let file = "x".to_owned();
        for (bundle, path) in [
            (t.bundle().share("mount"), "mounts"),
            (bare(t.bundle()).share("mount").set("/linux/maskedPaths", json!(["/proc/kcore"])), "linux.maskedPaths"),
            (bare(t.bundle()).share("mount").set("/root/readonly", json!(true)), "root.readonly"),
            (
                bare(t.bundle()).share("mount").set("/linux/rootfsPropagation", json!("shared")),
                "linux.rootfsPropagation",
            ),
            (bare(t.bundle()).share("mount").set("/root/path", json!(file)), "root.path"),
        ] {
            t.run(&bundle).fails(&[path]);
        }
    });
}

#[test]
fn joined_mount_namespace() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("runc 1.1 and crun 1.8 change the root directory of the container that is joined");
        }
        let holder = t.hold(t.bundle().mount("/mnt", "tmpfs", "tmpfs", &["mode=755"]));
        holder.exec(&["sh", "-c", "mkdir /mnt/sub /mnt/sub/bin; cp /bin/busybox /mnt/sub/bin/; echo there >/mnt/sub/file; ln -s / /mnt/sub/out"]);
        holder
            .exec(&[
                "sh",
                "-c",
                "mkdir -p /mnt/sub/bin; cat /bin/busybox >/mnt/sub/bin/busybox; chmod 755 /mnt/sub/bin/busybox",
            ])
            .ok();
        let path = of(&holder, "mount").0;
        let bundle = |root: &str| bare(t.bundle()).namespace("mount", Some(&path)).set("/root/path", json!(root));
        assert_eq!(t.run(&bundle("/").args(&["/bin/cat", "/mnt/sub/file"])).ok(), "there");
        let output = t.run(&bundle("/mnt/sub").args(&["/bin/busybox", "cat", "/file", "/out/file"]));
        assert_eq!(output.ok(), "there\nthere");
        t.run(&bundle("/none").args(&["/bin/true"])).fails(&["rootfs", "none"]);
        t.run(&bundle("rootfs").args(&["/bin/true"])).fails(&["root.path"]);
        let container = t.hold(bundle("/"));
        assert_eq!(container.exec(&["cat", "/mnt/sub/file"]).ok(), "there");
        container.end();
        // The container that is joined is as it was.
        assert_eq!(holder.exec(&["cat", "/mnt/sub/file"]).ok(), "there");
        holder.end();
    });
}

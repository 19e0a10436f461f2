//! `linux.namespaces`: own, shared and joined by path (runtime-spec config-linux.md, "Namespaces").

use std::fs;

use tests::{Kind, differs, test};

const KINDS: [(&str, &str); 6] =
    [("pid", "pid"), ("network", "net"), ("mount", "mnt"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")];

fn own(link: &str) -> String {
    fs::read_link(format!("/proc/thread-self/ns/{link}")).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn new_ones_are_new() {
    test(|t| {
        let facts = t.facts(t.bundle().namespace("cgroup", None));
        for (_, link) in KINDS {
            let inside = facts["ns"][link].as_str().unwrap();
            assert!(inside.starts_with(link), "{inside}");
            assert_ne!(inside, own(link), "{link}");
        }
        assert_eq!(facts["ns"]["user"], own("user"));
        assert_eq!(facts["status"]["Pid"], "1");
        assert_eq!(facts["hostname"], "test");
    });
}

#[test]
fn those_not_listed_are_shared() {
    test(|t| {
        let bundle = t.bundle().share("pid").share("network").share("ipc").share("uts").unset("/hostname");
        // A mount of the message queues needs an ipc namespace of its own user namespace; it is not part of this test.
        let facts = t.facts(bundle);
        for (kind, link) in KINDS {
            let same = facts["ns"][link] == own(link);
            assert_eq!(same, kind != "mount", "{kind}: {} here {}", facts["ns"][link], own(link));
        }
        assert_ne!(facts["status"]["Pid"], "1");
    });
}

#[test]
fn by_path_they_are_joined() {
    test(|t| {
        let holder = t.hold(t.bundle());
        for (kind, link) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
            let path = format!("/proc/{}/ns/{link}", holder.pid);
            let expected = fs::read_link(&path).unwrap();
            let bundle = t.bundle().namespace(kind, Some(&path));
            let bundle = if kind == "uts" { bundle.unset("/hostname") } else { bundle };
            let facts = t.facts(bundle);
            assert_eq!(facts["ns"][link], expected.to_str().unwrap(), "{kind}");
        }
        holder.end();
    });
}

#[test]
fn path_that_is_no_namespace_is_refused() {
    test(|t| {
        if t.cgroups.is_v2() {
            differs!(t, Kind::Runc, "1.1 may leave the cgroup behind on v2 when create fails late");
        }
        differs!(t, Kind::Crun, "1.8 leaves the cgroup behind when create fails late");
        for path in ["/etc/passwd", "/nonexistent", "/proc/self/ns/uts"] {
            let output = t.run(&t.bundle().namespace("network", Some(path)));
            output.fails(&[]);
        }
    });
}

#[test]
fn hostname_and_domainname() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know domainname");
        differs!(t, Kind::Crun, "1.8 sets domainname, but from annotations only in some builds");
        let facts = t.facts(t.bundle().set("/hostname", "one".into()).set("/domainname", "two.example".into()));
        assert_eq!(facts["hostname"], "one");
        assert_eq!(facts["domainname"], "two.example");
    });
}

#[test]
fn hostname_needs_its_own_namespace() {
    test(|t| {
        let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        t.run(&t.bundle().share("uts")).fails(&["hostname"]);
        assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
    });
}

#[test]
fn duplicate_kind_is_refused() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes the last");
        let bundle = t.bundle().push("/linux/namespaces", serde_json::json!({"type": "uts"}));
        t.run(&bundle).fails(&["uts"]);
    });
}

#[test]
fn unknown_kind_is_refused() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 leaves the cgroup behind when create fails late");
        t.run(&t.bundle().namespace("galaxy", None)).fails(&["galaxy"]);
    });
}

#[test]
fn loopback_is_up_in_a_new_network_namespace() {
    test(|t| {
        let output = t.run(&t.bundle().sh("cat /sys/class/net/lo/flags; ls /sys/class/net")).ok();
        let mut lines = output.lines();
        let flags = u32::from_str_radix(lines.next().unwrap().trim_start_matches("0x"), 16).unwrap();
        assert_eq!(flags & 1, 1, "IFF_UP in {flags:#x}");
        assert!(lines.any(|name| name == "lo"), "{output}");
    });
}

#[test]
fn own_mount_namespace_leaves_the_hosts_alone() {
    test(|t| {
        // The oracle compares the mounts; here the container also makes some that would spread if they could.
        let script = "mkdir /tmp/m; mount -t tmpfs t /tmp/m && mount --make-rshared / ; mount -t tmpfs t /mnt; true";
        let bundle = t.bundle().sh(script).capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN"]);
        t.run(&bundle).ok();
    });
}

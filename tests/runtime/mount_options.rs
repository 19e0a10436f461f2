//! Options of mounts one by one: attributes and their recursive forms, and the extensions of runc and crun.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use serde_json::{Value, json};
use tests::{Kind, differs, kind, needs, test};

fn options(facts: &Value, at: &str) -> Vec<String> {
    let mounts = facts["mounts"].as_array().unwrap();
    let mount = mounts.iter().rfind(|mount| mount["at"] == at).unwrap_or_else(|| panic!("no {at}"));
    serde_json::from_value(mount["options"].clone()).unwrap()
}

#[test]
fn attributes_and_their_recursive_forms() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 has wrong recursive access times");
        differs!(t, Kind::Crun, "1.8 has wrong recursive access times");
        let source = t.dir.join("source");
        fs::create_dir_all(source.join("sub")).unwrap();
        let mount = |options: &str, at: &std::path::Path| {
            assert!(
                Command::new("mount").args(["-t", "tmpfs", "-o", options, "t"]).arg(at).status().unwrap().success()
            );
        };
        mount("noatime", &source);
        fs::create_dir(source.join("sub")).unwrap();
        mount("ro,nosuid,nodev,noexec,noatime,nodiratime", &source.join("sub"));
        // Option, whether it reaches the mount below, what has to be there and what must not.
        for (option, below, set, clear) in [
            ("ro", false, "ro", "rw"),
            ("rro", true, "ro", "rw"),
            ("rrw", true, "rw", "ro"),
            ("rnosuid", true, "nosuid", ""),
            ("rsuid", true, "", "nosuid"),
            ("rnodev", true, "nodev", ""),
            ("rdev", true, "", "nodev"),
            ("rnoexec", true, "noexec", ""),
            ("rexec", true, "", "noexec"),
            ("rnodiratime", true, "nodiratime", ""),
            ("rdiratime", true, "", "nodiratime"),
            ("rrelatime", true, "relatime", "noatime"),
            ("rnorelatime", true, "relatime", "noatime"),
            ("rnoatime", true, "noatime", "relatime"),
            ("ratime", true, "relatime", "noatime"),
            ("rstrictatime", true, "", "noatime"),
            ("rnostrictatime", true, "relatime", "noatime"),
            ("rnosymfollow", true, "nosymfollow", ""),
            ("rsymfollow", true, "", "nosymfollow"),
        ] {
            let facts = t.facts(t.bundle().mount("/mnt", "bind", &source, &["rbind", option]));
            for at in ["/mnt", "/mnt/sub"] {
                let found = options(&facts, at);
                let applies = at == "/mnt" || below;
                if applies {
                    assert!(set.is_empty() || found.iter().any(|word| word == set), "{option} at {at}: {found:?}");
                    assert!(!found.iter().any(|word| word == clear), "{option} at {at}: {found:?}");
                }
            }
        }
        for at in ["sub", ""] {
            assert!(Command::new("umount").arg(source.join(at)).status().unwrap().success());
        }
    });
}

#[test]
fn tmpfs_begins_with_what_it_covers() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 keeps no owners and no times");
        differs!(t, Kind::Crun, "1.8 copies less");
        let bundle = t.bundle().mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "size=16m"]);
        let data = bundle.rootfs().join("data");
        fs::create_dir_all(data.join("deep/er")).unwrap();
        fs::write(data.join("deep/er/file"), "x".repeat(200_000)).unwrap();
        fs::set_permissions(data.join("deep/er/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        chown(data.join("deep/er"), Some(1000), Some(1001)).unwrap();
        symlink("../../../../../../etc/passwd", data.join("link")).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o1751)).unwrap();
        assert!(Command::new("mkfifo").arg(data.join("pipe")).status().unwrap().success());
        let modified = data.join("deep/er/file").metadata().unwrap().mtime();
        let script = "stat -c '%a %u %g %F %n' /data /data/deep/er /data/link /data/pipe; stat -c '%a %s %Y' /data/deep/er/file; \
                      readlink /data/link; echo more >/data/new; rm /data/pipe";
        let output = t.run(&bundle.sh(script)).ok();
        let expected = [
            "1751 0 0 directory /data".to_owned(),
            "755 1000 1001 directory /data/deep/er".to_owned(),
            "777 0 0 symbolic link /data/link".to_owned(),
            "644 0 0 fifo /data/pipe".to_owned(),
            format!("4751 200000 {modified}"),
            "../../../../../../etc/passwd".to_owned(),
        ];
        assert_eq!(output.lines().collect::<Vec<_>>(), expected);
        // The root file system has not changed.
        assert!(!data.join("new").try_exists().unwrap() && data.join("pipe").try_exists().unwrap());
        let bundle = t.bundle().mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
        let output = t.run(&bundle.sh("wc -l </etc/passwd; touch /etc/x || echo no"));
        assert_eq!(output.stdout, "2\nno\n", "{output}");
        t.run(&t.bundle().mount("/mnt", "bind", &t.dir, &["rbind", "tmpcopyup"])).fails(&["mounts[6].options"]);
        t.run(&t.bundle().mount("/bin", "tmpfs", "tmpfs", &["tmpcopyup", "size=64k"])).fails(&["mounts[6]", "ENOSPC"]);
    });
}

#[test]
fn tmpfs_has_the_mode_of_what_it_covers() {
    test(|t| {
        let mount = |options: &[&str]| t.bundle().mount("/data", "tmpfs", "tmpfs", options).sh("stat -c %a /data");
        let made = mount(&[]);
        fs::create_dir(made.rootfs().join("data")).unwrap();
        fs::set_permissions(made.rootfs().join("data"), fs::Permissions::from_mode(0o750)).unwrap();
        differs!(t, Kind::Crun, "1.8 has the kernel's own, 1777");
        assert_eq!(t.run(&made).ok(), "750");
        differs!(t, Kind::Runc, "1.1 has that mode whatever the options say");
        let told = mount(&["mode=700"]);
        fs::create_dir(told.rootfs().join("data")).unwrap();
        assert_eq!(t.run(&told).ok(), "700");
        assert_eq!(t.run(&mount(&[])).ok(), "1777");
    });
}

#[test]
fn links_as_source_and_destination() {
    test(|t| {
        differs!(t, Kind::Runc, "it has no such options");
        differs!(t, Kind::Crun, "1.8 does not have all of these options");
        let source = t.dir.join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "text\n").unwrap();
        symlink("file", source.join("link")).unwrap();
        let link = source.join("link");
        // The link itself is copied,
        let bundle = t.bundle().mount("/made/copy", "bind", &link, &["bind", "copy-symlink"]);
        assert_eq!(t.run(&bundle.args(&["readlink", "/made/copy"])).ok(), "file");
        let bundle = t.bundle().mount("/etc/there", "bind", &link, &["bind", "copy-symlink"]);
        symlink("other", bundle.rootfs().join("etc/there")).unwrap();
        t.run(&bundle).fails(&["mounts[6]", "EEXIST"]);
        // what is no link is mounted as usual,
        let bundle = t.bundle().mount("/made/copy", "bind", source.join("file"), &["bind", "copy-symlink"]);
        assert_eq!(t.run(&bundle.args(&["cat", "/made/copy"])).ok(), "text");
        // or mounted,
        let bundle = t.bundle().mount("/made/link", "bind", &link, &["bind", "src-nofollow"]);
        assert_eq!(t.run(&bundle.args(&["readlink", "/made/link"])).ok(), "file");
        // and a link at the destination is covered instead of followed.
        let bundle = t.bundle().mount("/etc/link", "bind", source.join("file"), &["bind", "dest-nofollow"]);
        symlink("passwd", bundle.rootfs().join("etc/link")).unwrap();
        let output =
            t.run(&bundle.sh("cat /etc/link; head -n 1 /etc/passwd; grep -c ' /etc/link ' /proc/self/mountinfo")).ok();
        assert_eq!(output, "text\nroot:x:0:0:root:/root:/bin/sh\n1");
    });
}

#[test]
fn remount_changes_what_is_there() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 takes it for bind mounts alone");
        differs!(t, Kind::Crun, "1.8 takes it for bind mounts alone");
        let bundle = t.bundle().mount("/sys", "none", "none", &["remount", "rw", "nosuid"]);
        let facts = t.facts(bundle.mount("/dev/shm", "tmpfs", "shm", &["remount", "ro"]));
        assert_eq!(options(&facts, "/sys")[0], "rw");
        assert_eq!(options(&facts, "/dev/shm")[0], "ro");
        t.run(&t.bundle().mount("/etc", "none", "none", &["remount", "ro"])).fails(&["mounts[6]", "remount"]);
        t.run(&t.bundle().mount("/dev", "tmpfs", "t", &["remount", "size=1m"])).fails(&["mounts[6].options"]);
    });
}

#[test]
fn mount_labels_need_selinux() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 leaves the cgroup behind when create fails late");
        differs!(t, Kind::Runc, "1.1 may leave the cgroup behind when create fails late");
        let label = "system_u:object_r:container_file_t:s0:c1,c2";
        if fs::metadata("/sys/fs/selinux").is_ok() {
            let output = t.run(&t.bundle().set("/linux/mountLabel", json!(label)).args(&["/bin/payload", "facts"]));
            if output.code != 0 {
                // A kernel without a policy knows no labels.
                output.fails(&["mounts[1]", "\"context\"", label]);
                return t.skip("SELinux has no policy with that label: only the error was seen");
            }
            let facts = output.json();
            let shm =
                facts["mounts"].as_array().unwrap().iter().find(|mount| mount["at"] == "/dev/shm").unwrap().clone();
            assert!(shm["super"].to_string().contains("container_file_t"), "{shm}");
            return;
        }
        t.run(&t.bundle().set("/linux/mountLabel", json!(label))).fails(&["linux.mountLabel", "SELinux is not active"]);
        t.run(&t.bundle().set("/process/selinuxLabel", json!(label))).fails(&["SELinux is not active"]);
        t.skip("SELinux is not active: only the errors were seen");
    });
}

#[test]
fn options_that_are_told_are_taken() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "about our own features");
        let features = t.runtime(&["features"]).json();
        let source = t.dir.join("source");
        fs::create_dir(&source).unwrap();
        for option in features["mountOptions"].as_array().unwrap() {
            let option = option.as_str().unwrap();
            let bundle = match option {
                "tmpcopyup" | "newinstance" => t.bundle().mount("/mnt", "tmpfs", "tmpfs", &[option]),
                "remount" => t.bundle().mount("/sys", "none", "none", &[option, "nosuid"]),
                "idmap" | "ridmap" => {
                    if !tests::maps_ids(&source) {
                        continue;
                    }
                    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
                    let mount = json!({"destination": "/mnt", "source": source, "options": ["bind", option],
                        "uidMappings": map, "gidMappings": map});
                    t.bundle().push("/mounts", mount)
                }
                option => t.bundle().mount("/mnt", "bind", &source, &["bind", option]),
            };
            t.run(&bundle).ok();
        }
    });
}

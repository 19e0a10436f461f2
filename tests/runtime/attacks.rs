//! Attacks from images, configurations and containers, as published: each test names the CVE whose class it tries.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::json;
use tests::{Bundle, Kind, Test, differs, kind, needs, program, test};

/// A folder on the host that nothing may touch, and its listing.
fn outside(t: &Test) -> PathBuf {
    let folder = t.dir.join(t.id());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "untouched").unwrap();
    folder
}

#[track_caller]
fn untouched(folder: &std::path::Path) {
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "{folder:?}");
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "untouched");
}

/// Replaces a folder of the root file system by a symlink.
fn link(bundle: &Bundle, name: &str, target: impl AsRef<std::path::Path>) {
    let path = bundle.rootfs().join(name);
    if path.symlink_metadata().is_ok() {
        fs::remove_dir_all(&path).unwrap();
    }
    symlink(target, path).unwrap();
}

/// CVE-2019-5736: a container whose program is the link to the runtime's own executable must not get it writable.
#[test]
fn runtime_cannot_be_overwritten_from_inside() {
    test(|t| {
        let binary = program("rt-runtime");
        let before = fs::read(&binary).unwrap();
        // As the entry point, as its interpreter, and from a process that watches an exec come in.
        for args in [&["/proc/self/exe"] as &[&str], &["/script"]] {
            let bundle = t.bundle().args(args);
            fs::write(bundle.rootfs().join("script"), "#!/proc/self/exe\n").unwrap();
            fs::set_permissions(bundle.rootfs().join("script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            t.run(&bundle);
        }
        let script = "payload hold & read line; while :; do for p in /proc/[0-9]*; do (: >>$p/exe) 2>/dev/null && echo opened $p $(readlink $p/exe); done; [ -e /tmp/stop ] && break; done; exit 0";
        let mut container = t.create(&t.bundle().sh(&script.replace("payload hold & read line; ", "echo ready; ")));
        container.start().ok();
        assert_eq!(container.line(), "ready");
        for _ in 0..20 {
            container.exec(&["/bin/true"]).ok();
            container.exec(&["/proc/self/exe"]);
        }
        // May be killed itself, as the container ends by it.
        container.exec(&["/bin/touch", "/tmp/stop"]);
        let opened = container.rest();
        let name = binary.file_name().unwrap().to_str().unwrap();
        // The shell and the exec'd programs are busybox, which the container owns; the runtime is not to be among them.
        assert!(!opened.contains(name), "{} was opened", binary.display());
        assert_eq!(container.wait(), 0);
        container.delete();
        assert!(before == fs::read(&binary).unwrap(), "the runtime's executable was changed");
    });
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: proc and sys of the image are symlinks.
#[test]
fn kernel_file_systems_are_not_mounted_through_symlinks() {
    test(|t| {
        for name in ["proc", "sys"] {
            let host = outside(t);
            let bundle = t.bundle();
            fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
            link(&bundle, name, "elsewhere");
            let output = t.run(&bundle);
            assert_ne!(output.code, 0, "{name} -> elsewhere was accepted: {output}");
            let bundle = t.bundle();
            link(&bundle, name, &host);
            assert_ne!(t.run(&bundle).code, 0, "{name} -> host folder");
            untouched(&host);
        }
    });
}

/// CVE-2026-41579, CVE-2026-47766: /dev of the image is a symlink; default devices and links were made behind it.
#[test]
fn devices_are_not_made_through_a_symlink() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        differs!(t, Kind::Runc, "1.1 is older than the fix");
        let host = outside(t);
        let bundle = t.bundle();
        link(&bundle, "dev", &host);
        t.run(&bundle);
        untouched(&host);
        // Without a mount on /dev the devices are made in the image's own folder.
        let mut bundle = t.bundle();
        bundle.spec["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        link(&bundle, "dev", &host);
        t.run(&bundle);
        untouched(&host);
    });
}

#[test]
fn folders_below_dev_are_not_mounted_through_symlinks() {
    test(|t| {
        for name in ["pts", "shm", "mqueue"] {
            let host = outside(t);
            let mut bundle = t.bundle();
            bundle.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
            symlink(&host, bundle.rootfs().join("dev").join(name)).unwrap();
            t.run(&bundle);
            untouched(&host);
        }
    });
}

/// CVE-2026-88264: /dev/console of the image is a symlink to a file of the host that does not exist.
#[test]
fn console_is_not_made_through_a_symlink() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        let host = outside(t);
        let mut bundle = t.bundle().set("/process/terminal", json!(true));
        bundle.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
        symlink(host.join("made"), bundle.rootfs().join("dev/console")).unwrap();
        let socket = tests::ConsoleSocket::listen(&t.dir);
        let path = socket.path.clone();
        match t.try_create(&bundle, &["--console-socket", path.to_str().unwrap()]) {
            Err(_) => fs::remove_file(&path).unwrap(),
            Ok(container) => {
                drop(socket.accept());
                container.verb("delete", &["-f"]).ok();
                t.wait_pid(container.pid);
            }
        }
        untouched(&host);
    });
}

/// CVE-2019-18837, CVE-2024-45310: no component of a target is followed out of the root, and nothing is made outside.
#[test]
fn targets_stay_below_the_root() {
    test(|t| {
        let source = outside(t);
        for (link_at, target) in [("a", "a/b/c"), ("a", "a"), ("a", "a/file"), ("x", "x/../x/y")] {
            for absolute in [true, false] {
                let host = outside(t);
                let bundle = t.bundle().mount(&format!("/{target}"), "bind", &source, &["bind"]);
                let to = if absolute {
                    host.clone()
                } else {
                    PathBuf::from("../../../../../../../../..").join(host.strip_prefix("/").unwrap())
                };
                symlink(to, bundle.rootfs().join(link_at)).unwrap();
                t.run(&bundle);
                untouched(&host);
                let file = t.bundle().mount(&format!("/{target}"), "bind", source.join("file"), &["bind"]);
                symlink(host.join("made"), file.rootfs().join(link_at)).unwrap();
                t.run(&file);
                untouched(&host);
            }
        }
        let bundle = t
            .bundle()
            .mount("/../../../../../../../../../../../../tmp/up", "bind", &source, &["bind"])
            .sh("cat /tmp/up/file");
        let output = t.run(&bundle);
        assert!(output.code != 0 || output.stdout == "untouched", "{output}");
        assert!(!PathBuf::from("/tmp/up").try_exists().unwrap());
        // A magic link is no way either.
        let bundle = t.bundle().mount("/link/x", "bind", &source, &["bind"]);
        symlink("/proc/self/root", bundle.rootfs().join("link")).unwrap();
        t.run(&bundle);
        untouched(&source);
    });
}

/// CVE-2024-21626: a descriptor of the host's root that the caller leaked, used as the working directory.
#[test]
fn leaked_descriptor_is_no_working_directory() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        let ours = || {
            let names = fs::read_dir("/tmp").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.contains(t.marker())).count()
        };
        let before = ours();
        for number in 0..=12 {
            let cwd = format!("/proc/self/fd/{number}");
            let bundle = t
                .bundle()
                .set("/process/cwd", json!(cwd))
                .sh("ls ../../../../../.. 2>/dev/null; readlink /proc/self/cwd");
            bundle.write();
            let inner = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
            let mut shell = std::process::Command::new("bash");
            // 3 to 12 are the host's root.
            shell.args(["-c", "for n in 3 4 5 6 7 8 9 10 11 12; do eval \"exec $n</\"; done; exec \"$0\" \"$@\""]);
            shell.arg(inner.get_program()).args(inner.get_args()).stdin(std::process::Stdio::null());
            let output: tests::Output = shell.output().unwrap().into();
            assert!(
                !output.stdout.contains("vmlinuz")
                    && !output.stdout.contains("lost+found")
                    && !output.stdout.contains("boot\n"),
                "{cwd}: {output}"
            );
        }
        assert_eq!(ours(), before);
    });
}

#[test]
fn leaked_descriptor_is_no_working_directory_of_exec() {
    test(|t| {
        let bundle = t.bundle();
        for number in 3..=12 {
            symlink(format!("/proc/self/fd/{number}"), bundle.rootfs().join(format!("cwd{number}"))).unwrap();
        }
        let container = t.hold(bundle);
        for number in 3..=12 {
            let output = container
                .exec_with(&["--cwd", &format!("/cwd{number}")], &["sh", "-c", "ls ../../../../../../.. 2>/dev/null"]);
            assert!(!output.stdout.contains("boot\n"), "{number}: {output}");
        }
        container.end();
    });
}

/// CVE-2025-31133, CVE-2025-62161: the null device with which files are masked is a symlink to a file of procfs.
#[test]
fn masks_hold_with_a_planted_null_device() {
    test(|t| {
        let mut bundle = t
            .bundle()
            .set("/linux/maskedPaths", json!(["/proc/version", "/secret"]))
            .sh("cat /proc/version /secret; echo over >/secret");
        // /dev comes from the image: no tmpfs, so that its null is what the image put there.
        bundle.spec["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        fs::write(bundle.rootfs().join("secret"), "secret").unwrap();
        symlink("/proc/sys/kernel/hostname", bundle.rootfs().join("dev/null")).unwrap();
        let output = t.run(&bundle);
        // Refused, or masked as asked; neither the mask's file nor the link's target is open.
        assert!(output.code != 0 || output.stdout.is_empty(), "{output}");
        assert!(!output.stdout.contains("Linux version") && !output.stdout.contains("secret"), "{output}");
        assert_eq!(fs::read_to_string(bundle.rootfs().join("secret")).unwrap(), "secret");
    });
}

/// CVE-2026-30892: `-u 1` became root by a parser that took the rest of a string for nothing.
#[test]
fn user_strings_are_parsed_strictly() {
    test(|t| {
        let container = t.hold(t.bundle());
        for (given, uid, gid) in [("1", "1", "0"), ("1:2", "1", "2"), ("1000:1000", "1000", "1000"), ("0:5", "0", "5")]
        {
            let facts = container.exec_with(&["--user", given], &["/bin/payload", "facts"]).json();
            assert_eq!(facts["status"]["Uid"].as_str().unwrap().split('\t').next(), Some(uid), "{given}");
            assert_eq!(facts["status"]["Gid"].as_str().unwrap().split('\t').next(), Some(gid), "{given}");
        }
        let wrong = [
            "",
            ":",
            "1:",
            ":1",
            "1x",
            "x",
            "-1",
            "1:-1",
            "1:2:3",
            " 1",
            "4294967296",
            "1:4294967296",
            "0x1",
            "1:x",
            "+1",
        ];
        let known = |given: &str| {
            kind() != Kind::Rt
                && [
                    "",
                    ":",
                    "1:",
                    ":1",
                    "-1",
                    "1:-1",
                    " 1",
                    "4294967296",
                    "1:4294967296",
                    "0x1",
                    "+1",
                    "x",
                    "1x",
                    "1:x",
                    "1:2:3",
                ]
                .contains(&given)
        };
        for given in wrong {
            let output = container.exec_with(&["--user", given], &["/bin/id", "-u"]);
            assert!(output.code != 0 || known(given), "{given:?} was taken: {output}");
        }
        container.end();
    });
}

/// crun 1.28 notes: ids are names of folders.
#[test]
fn ids_cannot_leave_the_state_folder() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes .. for an id and deletes the folder");
        let bundle = t.bundle();
        bundle.write();
        let long = "a".repeat(1025);
        for id in
            ["..", ".", "../escape", "a/b", "/abs", "", "a b", "a\nb", "ä", "\u{7f}", &long, "a\\b", ".hidden/..", "*"]
        {
            let code = t.detached(&["create", "--bundle", bundle.dir.to_str().unwrap(), "--", id]).code;
            if code == 0 {
                // What is allowed beyond our rule stays below the folder.
                assert_ne!(kind(), Kind::Rt, "{id:?} was taken");
                let state = t.runtime(&["state", id]).json();
                t.runtime(&["delete", "-f", id]).ok();
                t.wait_pid(state["pid"].as_i64().unwrap().try_into().unwrap());
            }
            for verb in ["state", "start", "kill", "delete"] {
                t.runtime(&[verb, "--", id]).fails(&[]);
            }
        }
        for id in ["a", "A-1_2.3+x", "0"] {
            let name = format!("{id}{}", t.marker());
            let output = t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &name]);
            output.ok();
        }
        assert!(!t.dir.join("escape").try_exists().unwrap());
    });
}

/// CVE-2016-9962: a process that enters is not to be traced by those inside before it has let go of what is the host's.
#[test]
fn entering_process_shows_no_descriptors_of_the_host() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 shows the descriptor of the cgroup");
        let script = "echo ready; while [ ! -e /tmp/stop ]; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || [ $p = /proc/$$ ] || ls -l $p/fd 2>/dev/null; done; done; exit 0";
        let bundle = t.bundle().capabilities(
            &["bounding", "effective", "permitted"],
            &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"],
        );
        let mut container = t.create(&bundle.sh(script));
        container.start().ok();
        assert_eq!(container.line(), "ready");
        for _ in 0..30 {
            container.exec(&["/bin/true"]).ok();
        }
        // May be killed itself, as the container ends by it.
        container.exec(&["/bin/touch", "/tmp/stop"]);
        let seen = container.rest();
        let state = t.dir.join("root");
        for bad in [state.to_str().unwrap(), "/sys/fs/cgroup", "config.json", "state.json"] {
            assert!(!seen.contains(bad), "{bad} was seen");
        }
        assert_eq!(container.wait(), 0);
        container.delete();
    });
}

/// runc 1.5.3 notes: without a mount namespace of its own the host's tree is not to be changed.
#[test]
fn hosts_mounts_are_never_changed() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 changes the propagation of the host's root");
        differs!(t, Kind::Crun, "1.8 mounts into the host's tree");
        // The oracle compares every mount before and after; whether it runs is not the question.
        t.run(&t.bundle().share("mount"));
    });
}

/// CVE-2026-88265: a bind mount of a host file on the null device.
#[test]
fn planted_null_device_of_the_host_is_not_opened() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc 1.1 and crun 1.8 are older than the fix");
        let host = outside(t);
        let bundle = t
            .bundle()
            .mount("/dev/null", "bind", host.join("file"), &["bind"])
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        t.run(&bundle.args(&["/bin/true"]));
        untouched(&host);
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&host.join("file").metadata().unwrap()), 0);
    });
}

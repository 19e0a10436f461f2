//! Attacks by a container, its image or its root user on the host; docs/security.md says which is which.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Rtctl, needs, rtctl_test};

/// What no container may ever show.
const SECRET: &str = "the-secret-of-the-host";

/// A folder of the host with a secret in it.
fn secret(r: &Rtctl<'_>) -> PathBuf {
    let folder = r.test.dir.join("host");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("secret"), SECRET).unwrap();
    folder
}

/// What one container put on a path is not followed from the host's root for another.
#[test]
fn files_of_another_container_are_no_door_to_the_host() {
    rtctl_test(|r| {
        let host = secret(r);
        let link = format!(
            "mkdir /plain; echo shared >/plain/file; ln -s {0} /link; ln -s /plain /dir; sleep 1000",
            host.display()
        );
        let id = r.detached(&["busybox", "sh", "-c", &link]);
        r.ok(&["exec", &id, "sh", "-c", "until [ -e /dir ]; do :; done"]);
        let pid = r.field(&id, "{{.State.Pid}}");
        let mount = |path: &str| {
            let volume = format!("/proc/{pid}/root/{path}:/got");
            r.call(&["run", "--rm", "-v", &volume, "busybox", "sh", "-c", "cat /got/*; echo evil >/got/planted"])
        };
        let output = mount("link");
        assert!(!output.stdout.contains(SECRET) && output.stderr.contains("ELOOP"), "{output}");
        assert!(!host.join("planted").try_exists().unwrap());
        assert_eq!(mount("plain").ok(), "shared");
        r.ok(&["rm", "-f", &id]);
    });
}

/// CVE-2016-9962: what enters a container has left the host before anybody inside can see it.
#[test]
fn entering_process_shows_no_root_of_the_host() {
    rtctl_test(|r| {
        let host = secret(r);
        let hunter = format!("{}:/hunter:ro", tests::payload().display());
        let path = host.join("secret");
        let hunt = ["--cap-add", "SYS_PTRACE", "-v", &hunter, "busybox", "/hunter", "hunt", path.to_str().unwrap()];
        let id = r.detached(&hunt);
        for _ in 0..100 {
            r.ok(&["exec", &id, "true"]);
        }
        let seen = r.ok(&["logs", &id]);
        assert!(seen.starts_with("ready") && !seen.contains(SECRET), "{seen}");
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn nobody_is_born_among_tracers() {
    rtctl_test(|r| {
        let tracer = r.detached(&["--cap-add", "SYS_PTRACE", "busybox", "sleep", "1000"]);
        let beside = |id: &str| r.call(&["run", "--rm", "--pid", &format!("container:{id}"), "busybox", "true"]);
        beside(&tracer).fails(&["may trace"]);
        let plain = r.detached(&["busybox", "sleep", "1000"]);
        beside(&plain).ok();
        // A debugger beside it is what the capability is for; nobody comes after it.
        let pid = format!("container:{plain}");
        let debugger = r.detached(&["--pid", &pid, "--cap-add", "SYS_PTRACE", "busybox", "sleep", "1000"]);
        beside(&plain).fails(&["may trace"]);
        r.ok(&["rm", "-f", &debugger]);
        beside(&plain).ok();
        r.ok(&["rm", "-f", &tracer, &plain]);
    });
}

/// The number of a process may have gone to one of the host when a restart policy starts a container again.
#[test]
fn restarted_container_joins_no_other_namespace() {
    rtctl_test(|r| {
        let first = r.detached(&["--network", "none", "busybox", "sleep", "1000"]);
        let script = "readlink /proc/self/ns/net; until [ -e /go ]; do sleep 0.01; done; rm /go; exit 1";
        let network = format!("container:{first}");
        let flags = ["--network", &network, "--restart", "on-failure:1", "busybox", "sh", "-c", script];
        let second = r.detached(&flags);
        let mut logs = r.start(&["logs", "-f", &second]);
        let before = logs.line();
        assert!(before.starts_with("net:["), "{before}");
        r.ok(&["rm", "-f", &first]);
        r.ok(&["exec", &second, "touch", "/go"]);
        assert_eq!(logs.line(), before);
        r.ok(&["rm", "-f", &second]);
        logs.end();
    });
}

#[test]
fn keys_of_the_caller_stay_outside() {
    rtctl_test(|r| {
        let calls = format!("{}:/calls:ro", tests::calls().display());
        // keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)
        let ask = ["x86-64", "250", "0", "-3", "0"];
        let own = Command::new(tests::calls()).args(ask).output().unwrap();
        let own = String::from_utf8(own.stdout).unwrap().trim().to_owned();
        needs!(r.test, own.parse::<i64>().is_ok_and(|key| key > 0), "the kernel has no keyrings");
        let unconfined = ["--security-opt", "seccomp=unconfined", "-v", &calls];
        let id = r.detached(&[&unconfined[..], &["busybox", "sleep", "1000"]].concat());
        let run = r.ok(&[&["run", "--rm"], &unconfined[..], &["busybox", "/calls"], &ask].concat());
        let exec = r.ok(&[&["exec", &id, "/calls"], &ask[..]].concat());
        for (what, key) in [("run", &run), ("exec", &exec)] {
            assert!(key.parse::<i64>().is_ok_and(|key| key > 0) && *key != own, "{what}: {key}, ours {own}");
        }
        r.ok(&["rm", "-f", &id]);
    });
}

/// CVE-2024-21626: the program of a container is looked up when nothing of the host is open any more.
#[test]
fn program_is_not_reached_through_descriptors_of_the_host() {
    rtctl_test(|r| {
        let evil = r.test.dir.join("evil");
        fs::copy("/proc/self/exe", &evil).unwrap();
        let path = |fd: u32| format!("/proc/self/fd/{fd}/../../../../../../../../../../../../{}", evil.display());
        let id = r.detached(&["busybox", "sleep", "1000"]);
        for fd in 0..64 {
            // The test program itself would list this test.
            for output in [
                r.call(&["exec", &id, &path(fd), "--list"]),
                r.call(&["run", "--rm", "--network", "none", "busybox", &path(fd), "--list"]),
            ] {
                assert!([126, 127].contains(&output.code), "descriptor {fd}: {output}");
            }
        }
        r.ok(&["rm", "-f", &id]);
    });
}

/// CVE-2019-5736: what runs a container cannot be overwritten by it.
#[test]
fn shim_cannot_be_overwritten_from_inside() {
    rtctl_test(|r| {
        let shim = tests::program("rt-shim");
        let before = fs::read(&shim).unwrap();
        // The program of the container is the shim's own file.
        let output =
            r.call(&["run", "--rm", "--network", "none", "--entrypoint", "/proc/self/exe", "busybox", "--version"]);
        assert!(output.stdout.starts_with("rt-shim ") || output.code == 126 || output.code == 127, "{output}");
        // A root that sees all processes holds the file open until nothing runs it any more.
        let script = "for e in /proc/[0-9]*/exe; do n=$(readlink $e); case $n in *rt-shim*|/) exec 9<$e; \
                      (echo evil >/proc/self/fd/9) 2>&1; (echo evil >$e) 2>&1;; esac; done; echo end";
        let flags = ["run", "--rm", "--pid", "host", "--cap-add", "SYS_PTRACE", "busybox", "sh", "-c", script];
        assert!(r.ok(&flags).ends_with("end"));
        assert!(fs::read(&shim).unwrap() == before, "rt-shim was written to");
    });
}

#[test]
fn copies_carry_no_rights_to_the_host() {
    rtctl_test(|r| {
        needs!(r.test, Path::new("/usr/sbin/setcap").is_file(), "setcap(8) is not installed");
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let make = "mkdir /x; cp /bin/busybox /x/caps; cp /bin/busybox /x/suid; chmod 6755 /x/suid; \
                    mknod -m 666 /x/disk b 8 0; mknod -m 666 /x/memory c 1 1; chown 1000 /x/disk";
        r.ok(&["exec", &id, "sh", "-c", make]);
        let pid = r.field(&id, "{{.State.Pid}}");
        let file = format!("/proc/{pid}/root/x/caps");
        assert!(Command::new("/usr/sbin/setcap").args(["cap_setuid+ep", &file]).status().unwrap().success());
        let to = r.test.dir.join("copy");
        r.ok(&["cp", &format!("{id}:/x"), to.to_str().unwrap()]);
        let caps = Command::new("/usr/sbin/getcap").arg(to.join("caps")).output().unwrap();
        assert_eq!(String::from_utf8(caps.stdout).unwrap(), "");
        for (name, mode) in [("suid", 0o755), ("disk", 0o600), ("memory", 0o600)] {
            let found = to.join(name).symlink_metadata().unwrap();
            assert_eq!((found.mode() & 0o7777, found.uid()), (mode, 0), "{name}");
        }
        r.ok(&["rm", "-f", &id]);
    });
}

/// CVE-2018-15664: a component of the path is swapped for a link while it is copied.
#[test]
fn copies_never_leave_a_container_that_swaps_links() {
    rtctl_test(|r| {
        let host = secret(r);
        let before: Vec<_> = fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let swap = format!(
            "mkdir -p /a/d /b; cd /a; echo inside >d/secret; echo ready; \
             while :; do mv d keep; ln -s {} d; rm d; mv keep d; done",
            host.display()
        );
        let id = r.detached(&["busybox", "sh", "-c", &swap]);
        r.ok(&["exec", &id, "sh", "-c", "until [ -d /a ]; do :; done"]);
        let (out, source) = (r.test.dir.join("out"), r.test.dir.join("planted"));
        fs::write(&source, "planted").unwrap();
        for _ in 0..200 {
            // Both fail now and then: the path comes and goes.
            r.call(&["cp", &format!("{id}:/a/d/secret"), out.to_str().unwrap()]);
            r.call(&["cp", source.to_str().unwrap(), &format!("{id}:/a/d/planted")]);
            assert!(!fs::read_to_string(&out).unwrap_or_default().contains(SECRET));
        }
        let after: Vec<_> = fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(before, after);
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn a_tree_of_any_depth_is_removed() {
    rtctl_test(|r| {
        let host = secret(r);
        let deep = format!(
            "ln -s {} /v/link; cd /v; i=0; while [ $i -lt 1200 ]; do mkdir d; cd -P d; i=$((i+1)); done; \
             ln -s {} link; touch file",
            host.display(),
            host.display()
        );
        let id = r.ok(&["create", "-v", "/v", "busybox", "sh", "-c", &format!("({deep}); cp -a /v/link /tmp/link")]);
        r.ok(&["start", &id]);
        assert_eq!(r.ok(&["wait", &id]), "0");
        let mut rm = Command::new("prlimit");
        let own = r.command(&["rm", "-f", "-v", &id]);
        rm.arg("--nofile=256:256").arg(own.get_program()).args(own.get_args());
        rm.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = rm.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let left = fs::read_dir(r.root().join("volumes")).unwrap().count();
        assert_eq!(left, 0, "volumes are left");
        assert_eq!(fs::read_to_string(host.join("secret")).unwrap(), SECRET);
    });
}

#[test]
fn identity_files_of_a_container_are_not_used_as_devices() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        // 5:2 is ptmx: to open it makes a terminal.
        r.ok(&["exec", &id, "sh", "-c", "rm /etc/passwd; mknod /etc/passwd c 5 2"]);
        r.call(&["exec", &id, "true"]).fails(&["/etc/passwd of the container: is not a regular file"]);
        r.call(&["exec", "-u", "nobody", &id, "true"]).fails(&["is not a regular file"]);
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn names_do_not_speak_to_the_terminal() {
    rtctl_test(|r| {
        let label = "evil=\u{1b}]0;title\u{7}\rx";
        let id = r.detached(&["-l", label, "busybox", "sh", "-c", "sleep 1000; : \u{1b}[2J\r\u{9b}x"]);
        for args in [&["ps", "--no-trunc"][..], &["ps", "--format", "table {{.Labels}}\t{{.Command}}"], &["top", &id]] {
            let text = r.ok(args);
            assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{args:?}: {text:?}");
        }
        assert!(r.ok(&["ps", "--format", "table {{.Labels}}"]).contains("\\u{1b}]0;title\\u{7}\\rx"));
        r.ok(&["rm", "-f", &id]);
    });
}

/// CVE-2022-23648 and the links that an image can have where the runtime puts something.
#[test]
fn links_of_a_root_file_system_stay_inside() {
    rtctl_test(|r| {
        let host = secret(r);
        let outside = || {
            let names = fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.collect();
            names.sort();
            (names, fs::read_to_string(host.join("secret")).unwrap())
        };
        let before = outside();
        let layer = fs::read_dir(r.root().join("layers")).unwrap().next().unwrap().unwrap().path();
        let busybox = layer.join("fs/bin/busybox");
        for name in ["etc", "v", "dev", "proc", "sys", "start"] {
            let root = r.test.dir.join(format!("root-{name}"));
            fs::create_dir_all(root.join("bin")).unwrap();
            fs::copy(&busybox, root.join("bin/busybox")).unwrap();
            symlink(&host, root.join(name)).unwrap();
            let output = r.call(&[
                "run",
                "--rm",
                "--network",
                "none",
                "-v",
                "/v/secret",
                "-w",
                "/start/dir",
                "--rootfs",
                root.to_str().unwrap(),
                "/bin/busybox",
                "sh",
                "-c",
                &format!("cat /{name}/secret; echo evil >/{name}/planted"),
            ]);
            assert!(!output.stdout.contains(SECRET), "{name}: {output}");
            assert_eq!(outside(), before, "{name}");
        }
    });
}

/// CVE-2021-30465: the target of a mount is swapped for a link between look-up and mount.
#[test]
fn mount_targets_that_are_swapped_stay_inside() {
    rtctl_test(|r| {
        let host = secret(r);
        let names = || fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let (before, shared) = (names(), r.test.dir.join("shared"));
        fs::create_dir(&shared).unwrap();
        let volume = format!("{}:/v", shared.display());
        let swap =
            format!("cd /v; while :; do mkdir -p d; mv d keep; ln -s {} d; rm d; mv keep d; done", host.display());
        let id = r.detached(&["-v", &volume, "busybox", "sh", "-c", &swap]);
        r.ok(&["exec", &id, "sh", "-c", "until [ -e /v/d ] || [ -e /v/keep ]; do :; done"]);
        for _ in 0..60 {
            // Fails now and then: the target comes and goes.
            let output = r.call(&[
                "run",
                "--rm",
                "--network",
                "none",
                "-v",
                &volume,
                "--tmpfs",
                "/v/d/deep/er",
                "busybox",
                "sh",
                "-c",
                &format!("cat {}/secret", host.display()),
            ]);
            assert!(!output.stdout.contains(SECRET), "{output}");
        }
        assert_eq!(names(), before);
        r.ok(&["rm", "-f", &id]);
    });
}

/// Whoever attaches and never reads, or nobody at all: the shim stays small.
#[test]
fn output_that_nobody_reads_is_not_kept() {
    rtctl_test(|r| {
        let id = r.detached(&[
            "busybox",
            "sh",
            "-c",
            "until [ -e /go ]; do sleep 0.01; done; yes | head -c 40000000; echo >/done; sleep 1000",
        ]);
        let mut clients: Vec<_> = (0..4).map(|_| r.start(&["attach", "--no-stdin", &id])).collect();
        r.ok(&["exec", &id, "touch", "/go"]);
        // They hold the container up, as a terminal does; without them it goes on.
        for client in &mut clients {
            client.child.kill().unwrap();
            client.child.wait().unwrap();
        }
        r.ok(&["exec", &id, "sh", "-c", "until [ -e /done ]; do sleep 0.01; done"]);
        let pid = r.field(&id, "{{.State.Pid}}");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
        let status = fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
        assert!(status.starts_with("Name:\trt-shim"), "{status}");
        let peak = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 4096, "{kib} KiB of the shim's own memory");
        r.ok(&["rm", "-f", &id]);
    });
}

//! What an image puts where devices, masks and the console go.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use tests::{Kind, differs, kind, needs, test, untouched};

use super::link;

/// CVE-2026-41579, CVE-2026-47766: /dev of the image is a symlink; default devices and links were made behind it.
#[test]
fn devices_are_not_made_through_a_symlink() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        differs!(t, Kind::Runc, "1.1 is older than the fix");
        let host = t.outside();
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

/// CVE-2026-88264: /dev/console of the image is a symlink to a file of the host that does not exist.
#[test]
fn console_is_not_made_through_a_symlink() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        let host = t.outside();
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

/// CVE-2026-88265: a bind mount of a host file on the null device.
#[test]
fn planted_null_device_of_the_host_is_not_opened() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc 1.1 and crun 1.8 are older than the fix");
        let host = t.outside();
        let bundle = t
            .bundle()
            .mount("/dev/null", "bind", host.join("file"), &["bind"])
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        t.run(&bundle.args(&["/bin/true"]));
        untouched(&host);
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&host.join("file").metadata().unwrap()), 0);
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
        differs!(t, Kind::Runc, "1.1 is older than the fix");
        // A /dev that the caller brings, in which nothing is made.
        let dev = t.dir.join(t.id());
        fs::create_dir(&dev).unwrap();
        symlink("/proc/sys/kernel/hostname", dev.join("null")).unwrap();
        let bundle = t.bundle().set("/linux/maskedPaths", json!(["/proc/version", "/secret"]));
        fs::write(bundle.rootfs().join("secret"), "secret").unwrap();
        let output = t.run(&bundle.mount("/dev", "bind", &dev, &["bind"]).sh("cat /proc/version /secret"));
        assert!(output.code != 0 || output.stdout.is_empty(), "{output}");
        assert!(kind() != Kind::Rt || output.code == 0, "{output}");
    });
}

/// CVE-2025-52565: the name of the terminal's other end is a link to a file of the host when /dev/console is made of it.
#[test]
fn console_is_not_a_file_by_the_name_of_the_terminal() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 is older than the fix");
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        let (host, names) = (t.outside(), t.dir.join(t.id()));
        fs::create_dir(&names).unwrap();
        for number in 0..64 {
            symlink(host.join("file"), names.join(number.to_string())).unwrap();
        }
        let socket = tests::ConsoleSocket::listen(&t.dir);
        let path = socket.path.clone();
        // The volume covers the terminals when the console is made.
        let bundle = t
            .bundle()
            .set("/process/terminal", json!(true))
            .mount("/dev/pts", "bind", &names, &["bind"])
            .sh("stat -c '%F %t' /dev/console; cat /proc/self/mountinfo >/dev/console; echo end >/dev/console");
        let mut container = t.try_create(&bundle, &["--console-socket", path.to_str().unwrap()]).unwrap();
        let mut console = socket.accept();
        container.start().ok();
        assert_eq!(console.line(), "character special file 88");
        let rest = console.rest();
        assert!(rest.ends_with("end\r\n") && !rest.contains("/file "), "{rest}");
        assert_eq!(container.wait(), 0);
        container.delete();
        untouched(&host);
        // A process that enters gets no terminal from what is no devpts.
        let container = t.hold(t.bundle().mount("/dev/pts", "bind", &names, &["bind"]));
        let socket = tests::ConsoleSocket::listen(&t.dir);
        let path = socket.path.clone();
        container
            .exec_with(&["--tty", "--console-socket", path.to_str().unwrap()], &["/bin/true"])
            .fails(&["is no devpts"]);
        fs::remove_file(path).unwrap();
        container.end();
        untouched(&host);
    });
}

/// Kernels 6.17 to 7.1 write past an argument of bpf(2) that is shorter than theirs: BPF_PROG_QUERY gets a whole one.
#[test]
fn arguments_of_bpf_are_whole() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc 1.1 and crun 1.8 are older than the fix");
        needs!(t, t.cgroups.is_v2(), "devices are by a program on cgroup v2 only");
        let strace = std::process::Command::new("strace").arg("-V").output();
        needs!(t, strace.is_ok(), "strace is not installed");
        // In a group that is there already, programs are looked for.
        let bundle = t.bundle();
        bundle.write();
        let group = bundle.spec["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/').to_owned();
        fs::create_dir_all(Path::new("/sys/fs/cgroup").join(group)).unwrap();
        let log = t.dir.join("calls");
        let run = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-e", "trace=bpf", "-e", "raw=bpf", "-o"]).arg(&log);
        strace.arg(run.get_program()).args(run.get_args());
        assert!(strace.status().unwrap().success());
        let calls = fs::read_to_string(&log).unwrap();
        // BPF_PROG_QUERY is 0x10; the kernel's own argument has less than 0x100 bytes.
        assert!(calls.contains("bpf(0x10, "), "{calls}");
        for call in calls.lines().filter(|line| line.contains("bpf(")) {
            assert!(call.contains(", 0x100) "), "{call}");
        }
    });
}

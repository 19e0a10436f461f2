//! What enters a container, looked at and held on to from inside.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::json;
use tests::{Kind, Output, differs, program, test};

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

/// CVE-2016-9962, CVE-2019-5736: a process that enters shows nothing of the host to those inside who may trace it, and its program
/// cannot be written to. A thousand of them enter with `RT_TEST_ROUNDS=1000`.
#[test]
fn entering_process_shows_nothing_of_the_host() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 shows the descriptor of the cgroup");
        differs!(t, Kind::Runc, "1.1 shows its program, a copy in memory");
        let binary = program("rt-runtime");
        let before = fs::read(&binary).unwrap();
        let host = t.outside();
        let secret = host.join("file");
        let all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"];
        let bundle = t.bundle().capabilities(&["bounding", "effective", "permitted"], &all);
        let mut container = t.create(&bundle.args(&["/bin/payload", "pry", secret.to_str().unwrap()]));
        container.start().ok();
        assert_eq!(container.line(), "ready");
        let rounds: usize = std::env::var("RT_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
        for _ in 0..rounds {
            container.exec(&["/bin/true"]).ok();
            // The program is what enters, executed from inside: all may look at it.
            container.exec(&["/proc/self/exe"]);
        }
        // May be killed itself, as the container ends by it.
        container.exec(&["/bin/touch", "/tmp/stop"]);
        let seen = container.rest();
        println!("{seen}");
        assert!(!seen.contains("programs 0\n"), "{seen}");
        let looks = seen.lines().find_map(|line| line.strip_prefix("looks ")).unwrap();
        // Where there is one processor for both, few are seen.
        assert!(looks.parse::<usize>().unwrap() > rounds / 20, "{looks} looks");
        // The container's own streams, its own busybox, and what of the runtime stays until execve.
        let harmless = |line: &str| {
            ["looks ", "programs ", "descriptor pipe:[", "descriptor socket:[", "descriptor anon_inode:"]
                .iter()
                .any(|start| line.starts_with(start))
                || [
                    "ready",
                    "descriptor /dev/null",
                    "descriptor /tmp/stop",
                    "writable /bin/busybox",
                    "writable /bin/payload",
                ]
                .contains(&line)
        };
        let harm: Vec<_> = seen.lines().filter(|line| !harmless(line)).collect();
        assert!(harm.is_empty(), "{harm:#?}");
        assert_eq!(container.wait(), 0);
        container.delete();
        assert!(before == fs::read(&binary).unwrap(), "the runtime's executable was changed");
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
            let output = leaking(&inner);
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

/// Runs a command with 3 to 12 open: the host's root.
fn leaking(inner: &Command) -> Output {
    let mut shell = Command::new("bash");
    shell.args(["-c", "for n in 3 4 5 6 7 8 9 10 11 12; do eval \"exec $n</\"; done; exec \"$0\" \"$@\""]);
    shell.arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
    shell.output().unwrap().into()
}

/// The same of a process that enters: by name, and by a link of the image.
#[test]
fn leaked_descriptor_is_no_working_directory_of_exec() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 is older than the fix");
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        let bundle = t.bundle();
        for number in 0..=12 {
            symlink(format!("/proc/self/fd/{number}"), bundle.rootfs().join(format!("cwd{number}"))).unwrap();
        }
        let container = t.hold(bundle);
        for number in 0..=12 {
            for cwd in [format!("/cwd{number}"), format!("/proc/self/fd/{number}")] {
                let list = ["sh", "-c", "ls ../../../../../../.. 2>/dev/null"];
                let output = leaking(&t.command(&[&["exec", "--cwd", &cwd, &container.id][..], &list].concat()));
                assert!(!output.stdout.contains("boot\n"), "{cwd}: {output}");
            }
        }
        container.end();
    });
}

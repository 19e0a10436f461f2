//! `run` in the foreground: output, input, process settings.

use std::fs;

use tests::{needs, rtctl_test};

#[test]
fn hello() {
    rtctl_test(|r| {
        let output = r.call(&["run", "--rm", "busybox", "echo", "hello"]);
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "hello\n", ""));
    });
}

#[test]
fn output_streams_are_apart() {
    rtctl_test(|r| {
        let output = r.sh(&[], "echo out; echo err >&2");
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    });
}

#[test]
fn large_output_is_whole() {
    rtctl_test(|r| {
        let output = r.sh(&[], "seq 1 200000");
        assert_eq!(output.stdout.lines().count(), 200_000);
        assert!(output.stdout.ends_with("\n200000\n"));
    });
}

#[test]
fn input_is_passed_with_i() {
    rtctl_test(|r| {
        let mut session = r.start(&["run", "--rm", "-i", "busybox", "cat"]);
        session.write("through\n");
        assert_eq!(session.line(), "through");
        session.write("more");
        assert_eq!(session.end(), (0, "more".to_owned()));
    });
}

#[test]
fn input_is_empty_without_i() {
    rtctl_test(|r| {
        let mut session = r.start(&["run", "--rm", "busybox", "cat"]);
        session.close();
        assert_eq!(session.end(), (0, String::new()));
    });
}

#[test]
fn environment() {
    rtctl_test(|r| {
        let file = r.test.dir.join("env");
        fs::write(&file, "# comment\nFROM_FILE=a b\n\nTAKEN\nEMPTY=\n").unwrap();
        let mut command = r.command(&[
            "run",
            "--rm",
            "-e",
            "A=1",
            "--env",
            "B=x=y",
            "-e",
            "OUTER",
            "-e",
            "UNSET",
            "--env-file",
            file.to_str().unwrap(),
            "busybox",
            "env",
        ]);
        let output: tests::Output =
            command.env("OUTER", "outer").env("TAKEN", "taken").env_remove("UNSET").output().unwrap().into();
        let text = output.ok();
        let has = |line: &str| text.lines().any(|have| have == line);
        for line in [
            "A=1",
            "B=x=y",
            "OUTER=outer",
            "FROM_FILE=a b",
            "TAKEN=taken",
            "EMPTY=",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
        ] {
            assert!(has(line), "no {line:?} in {text}");
        }
        assert!(!text.contains("UNSET") && !text.contains("RT_"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("HOSTNAME=")), "{text}");
    });
}

#[test]
fn user_by_number_and_name() {
    rtctl_test(|r| {
        for (user, expected) in [
            ("1000", "1000:0"),
            ("1000:1001", "1000:1001"),
            ("daemon", "1:1"),
            ("nobody", "65534:65534"),
            ("daemon:users", "1:100"),
            ("0:5", "0:5"),
        ] {
            assert_eq!(r.sh(&["-u", user], "echo $(id -u):$(id -g)").ok(), expected, "{user}");
        }
        // Groups of which the user is a member come along, and those that are added.
        assert_eq!(r.sh(&["-u", "nobody", "--group-add", "777"], "id -G").ok(), "65534 100 777");
    });
}

#[test]
fn working_directory_is_made() {
    rtctl_test(|r| {
        assert_eq!(r.sh(&["-w", "/some/new/place"], "pwd").ok(), "/some/new/place");
    });
}

#[test]
fn entry_point() {
    rtctl_test(|r| {
        assert_eq!(r.ok(&["run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"]), "a b");
        assert_eq!(r.ok(&["run", "--rm", "--entrypoint", "/bin/hostname", "--hostname", "named", "busybox"]), "named");
    });
}

#[test]
fn hostname_is_the_short_id() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "hostname"]);
        r.ok(&["wait", &id]);
        assert_eq!(r.ok(&["logs", &id]), id[..12]);
        r.ok(&["rm", &id]);
        assert_eq!(r.sh(&["--hostname", "mine"], "hostname; grep -c mine /etc/hosts").ok(), "mine\n1");
    });
}

#[test]
fn id_and_pid_files() {
    rtctl_test(|r| {
        let (id_file, pid_file) = (r.test.dir.join("cid"), r.test.dir.join("pid"));
        let id = r.detached(&[
            "--cidfile",
            id_file.to_str().unwrap(),
            "--pidfile",
            pid_file.to_str().unwrap(),
            "busybox",
            "sleep",
            "1000",
        ]);
        assert_eq!(fs::read_to_string(&id_file).unwrap().trim(), id);
        assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), r.field(&id, "{{.State.Pid}}"));
        // An id file that is there is not overwritten.
        assert_eq!(r.call(&["run", "--cidfile", id_file.to_str().unwrap(), "busybox", "true"]).code, 125);
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn read_only_root_and_tmpfs() {
    rtctl_test(|r| {
        let output = r.sh(
            &["--read-only", "--tmpfs", "/scratch:size=1m,mode=1700"],
            "touch /x; touch /scratch/x && stat -c %a /scratch",
        );
        assert_eq!(output.stdout, "1700\n");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
    });
}

#[test]
fn writes_go_to_a_layer_of_its_own() {
    rtctl_test(|r| {
        assert_eq!(r.sh(&[], "echo mine >/etc/passwd; rm /bin/vi; cat /etc/passwd").ok(), "mine");
        assert!(r.sh(&[], "cat /etc/passwd; test -e /bin/vi").ok().starts_with("root:"));
    });
}

#[test]
fn init_reaps_and_passes_signals() {
    rtctl_test(|r| {
        let output = r.sh(&["--init"], "exit 7");
        needs!(r.test, !output.stderr.contains("--init is not built yet"), "refused by its name: not built yet");
        assert_eq!(output.code, 7);
        let comm = r.sh(&["--init"], "cat /proc/1/comm; echo $$").ok();
        let mut lines = comm.lines();
        assert_ne!(lines.next(), Some("sh"), "{comm}");
        assert_ne!(lines.next(), Some("1"), "{comm}");
        let mut session = r.start(&[
            "run",
            "--rm",
            "--init",
            "busybox",
            "sh",
            "-c",
            "trap 'echo got; exit 4' TERM; echo ready; while :; do read x </dev/null; done",
        ]);
        assert_eq!(session.line(), "ready");
        session.signal("TERM");
        assert_eq!(session.end(), (4, "got\n".to_owned()));
    });
}

#[test]
fn signals_are_passed_on() {
    rtctl_test(|r| {
        let script =
            "trap 'echo one' USR1; trap 'echo end; exit 3' TERM; echo ready; while :; do read x </dev/null; done";
        let mut session = r.start(&["run", "--rm", "busybox", "sh", "-c", script]);
        assert_eq!(session.line(), "ready");
        session.signal("USR1");
        assert_eq!(session.line(), "one");
        session.signal("TERM");
        assert_eq!(session.end(), (3, "end\n".to_owned()));
    });
}

#[test]
fn root_from_a_folder() {
    rtctl_test(|r| {
        let bundle = r.test.bundle();
        let rootfs = bundle.rootfs();
        let rootfs = rootfs.to_str().unwrap();
        assert_eq!(r.ok(&["run", "--rm", "--rootfs", rootfs, "sh", "-c", "echo written >/file; cat /file"]), "written");
        assert_eq!(fs::read_to_string(bundle.rootfs().join("file")).unwrap(), "written\n");
        // With an overlay that is thrown away the folder stays as it is.
        let overlay = format!("{rootfs}:O");
        assert_eq!(
            r.ok(&["run", "--rm", "--rootfs", &overlay, "sh", "-c", "echo new >/other; cat /file /other"]),
            "written\nnew"
        );
        assert!(!bundle.rootfs().join("other").try_exists().unwrap());
    });
}

#[test]
fn host_as_the_root_below_an_overlay() {
    rtctl_test(|r| {
        assert_eq!(r.ok(&["run", "--rm", "--rootfs", "/:O", "sh", "-c", "touch /bin/rtt-new && echo fine"]), "fine");
        assert!(!std::path::Path::new("/bin/rtt-new").try_exists().unwrap());
    });
}

#[test]
fn labels_and_annotations() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "--label", "a=1", "--label", "b", "--annotation", "org.example=x", "busybox"]);
        let info = r.inspect(&id);
        assert_eq!(info["Config"]["Labels"]["a"], "1");
        assert_eq!(info["Config"]["Labels"]["b"], "");
        r.ok(&["rm", &id]);
    });
}

/// The shim has told the exit and gone while the client could not listen; the first thing that it finds is a signal to pass on.
#[test]
fn a_client_that_was_stopped_learns_the_exit_code() {
    rtctl_test(|r| {
        for flags in [&["--rm"][..], &[]] {
            let mut session = r.start(&[&["run", "--name", "loud"], flags, &["busybox", "yes"]].concat());
            assert_eq!(session.line(), "y");
            session.signal("STOP");
            r.ok(&["rm", "-f", "loud"]);
            session.signal("CONT");
            assert_eq!(session.end().0, 137, "{flags:?}");
        }
    });
}

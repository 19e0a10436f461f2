//! `exec` and `top`.

use tests::rtctl_test;

#[test]
fn output_code_and_settings() {
    rtctl_test(|r| {
        let id = r.detached(&["--name", "box", "busybox", "sleep", "1000"]);
        let output = r.call(&["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 5"]);
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (5, "out\n", "err\n"));
        assert_eq!(
            r.ok(&["exec", "-w", "/etc", "-u", "daemon", "-e", "A=b", "box", "sh", "-c", "echo $(pwd) $(id -u) $A"]),
            "/etc 1 b"
        );
        assert_eq!(r.call(&["exec", "box", "no-such"]).code, 127);
        assert_eq!(r.call(&["exec", "box", "/etc/passwd"]).code, 126);
        assert_eq!(r.field(&id, "{{.State.Running}}"), "true");
        r.ok(&["rm", "-f", "box"]);
        r.call(&["exec", "box", "true"]).fails(&[]);
    });
}

#[test]
fn input() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let mut session = r.start(&["exec", "-i", &id, "cat"]);
        session.write("words\n");
        assert_eq!(session.line(), "words");
        assert_eq!(session.end(), (0, String::new()));
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn in_the_background() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sh", "-c", "mkfifo /fifo; cat /fifo; exec sleep 1000"]);
        while r.call(&["exec", &id, "test", "-p", "/fifo"]).code != 0 {}
        r.ok(&["exec", "-d", &id, "sh", "-c", "echo through >/fifo"]);
        let mut session = r.start(&["logs", "-f", &id]);
        assert_eq!(session.line(), "through");
        r.ok(&["rm", "-f", &id]);
        session.end();
    });
}

#[test]
fn it_has_no_more_rights() {
    rtctl_test(|r| {
        let id = r.detached(&["--cap-drop", "all", "--security-opt", "no-new-privileges", "busybox", "sleep", "1000"]);
        let text = r.ok(&["exec", &id, "grep", "-E", "CapEff|CapBnd|NoNewPrivs|Seccomp:", "/proc/self/status"]);
        for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(text.contains(line), "{text}");
        }
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn top_shows_processes() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let text = r.ok(&["top", &id]);
        assert!(text.lines().next().unwrap().contains("PID"), "{text}");
        assert!(text.lines().nth(1).unwrap().contains("sleep 1000"), "{text}");
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn shim_keeps_no_descriptors_of_it() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let pid: i32 = r.field(&id, "{{.State.Pid}}").parse().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let shim = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().to_owned();
        let count = || std::fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
        r.ok(&["exec", &id, "true"]);
        let before = count();
        for _ in 0..20 {
            r.ok(&["exec", &id, "echo", "x"]);
        }
        // The connection of the last command may be closed a moment later.
        while count() > before {}
        r.ok(&["rm", "-f", &id]);
    });
}

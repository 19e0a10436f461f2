//! Exit codes as docker's: the program's, 128 + signal, 125 (ours), 126 and 127.

use tests::rtctl_test;

#[test]
fn programs_code() {
    rtctl_test(|r| {
        for code in [0, 1, 42, 125, 255] {
            assert_eq!(r.sh(&[], &format!("exit {code}")).code, code);
        }
    });
}

#[test]
fn killed_by_a_signal() {
    rtctl_test(|r| {
        let mut session = r.start(&["run", "--name", "victim", "busybox", "sh", "-c", "echo ready; exec sleep 1000"]);
        assert_eq!(session.line(), "ready");
        r.ok(&["kill", "victim"]);
        assert_eq!(session.end().0, 137);
        assert_eq!(r.field("victim", "{{.State.ExitCode}} {{.State.OOMKilled}}"), "137 false");
        r.ok(&["rm", "victim"]);
    });
}

#[test]
fn missing_command_is_127() {
    rtctl_test(|r| {
        for command in ["no-such-command", "/no/such/command"] {
            let output = r.call(&["run", "--rm", "busybox", command]);
            assert_eq!(output.code, 127, "{output}");
            output.fails(&[command]);
        }
    });
}

#[test]
fn command_that_cannot_be_run_is_126() {
    rtctl_test(|r| {
        for command in ["/etc/passwd", "/etc"] {
            let output = r.call(&["run", "--rm", "busybox", command]);
            assert_eq!(output.code, 126, "{output}");
            output.fails(&[command]);
        }
    });
}

#[test]
fn own_errors_are_125() {
    rtctl_test(|r| {
        for args in [
            &["run", "--rm", "--no-such-flag", "busybox"] as &[&str],
            &["run", "--rm", "no-such-image"],
            &["run", "--rm", "-v", "/no/such/source:/mnt:nonsense", "busybox"],
            &["run", "--rm", "Bad Reference"],
            &["run", "--rm", "-m", "many", "busybox"],
            &["run", "--rm", "--mount", "type=bind,source=/no/such/source,target=/mnt", "busybox"],
            &["run", "--rm", "-u", "nosuchuser", "busybox"],
        ] {
            let output = r.call(args);
            assert_eq!(output.code, 125, "{args:?}: {output}");
            assert!(!output.stderr.is_empty());
        }
    });
}

#[test]
fn other_verbs_fail_with_1() {
    rtctl_test(|r| {
        for args in [
            &["stop", "nobody"] as &[&str],
            &["rm", "nobody"],
            &["inspect", "nobody"],
            &["logs", "nobody"],
            &["start", "nobody"],
            &["rmi", "nobody"],
        ] {
            let output = r.call(args);
            assert_eq!(output.code, 1, "{args:?}: {output}");
            output.fails(&["nobody"]);
        }
    });
}

#[test]
fn a_run_that_cannot_start_is_kept_unless_rm_is_given() {
    rtctl_test(|r| {
        // As docker: it can be looked at, its command can be put there, and it can be started again.
        for detach in [&[] as &[&str], &["-d"]] {
            let args = [&["run"], detach, &["--name", "failed", "busybox", "no-such-command"]].concat();
            assert_eq!(r.call(&args).code, 127);
            assert_eq!(r.field("failed", "{{.State.Status}}"), "created");
            assert!(r.field("failed", "{{.State.Error}}").contains("no-such-command"));
            assert_eq!(r.call(&["start", "-a", "failed"]).code, 127);
            r.ok(&["rm", "failed"]);
        }
        assert_eq!(r.call(&["run", "--rm", "--name", "failed", "busybox", "no-such-command"]).code, 127);
        r.call(&["inspect", "failed"]).fails(&["failed"]);
    });
}

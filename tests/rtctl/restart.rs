//! `--restart`, carried out by the shim.

use std::fs;

use tests::rtctl_test;

#[test]
fn on_failure_ends_after_its_number() {
    rtctl_test(|r| {
        let marks = r.test.dir.join("marks");
        fs::create_dir(&marks).unwrap();
        let volume = format!("{}:/marks", marks.display());
        let id = r.detached(&[
            "--restart",
            "on-failure:2",
            "-v",
            &volume,
            "busybox",
            "sh",
            "-c",
            "echo x >>/marks/runs; exit 3",
        ]);
        while r.field(&id, "{{.State.Status}}") != "exited" {}
        assert_eq!(r.field(&id, "{{.State.ExitCode}} {{.RestartCount}}"), "3 2");
        assert_eq!(fs::read_to_string(marks.join("runs")).unwrap(), "x\nx\nx\n");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn on_failure_ends_with_success() {
    rtctl_test(|r| {
        let id = r.detached(&["--restart", "on-failure", "busybox", "true"]);
        assert_eq!(r.ok(&["wait", &id]), "0");
        assert_eq!(r.field(&id, "{{.RestartCount}}"), "0");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn always_until_it_is_stopped() {
    rtctl_test(|r| {
        let id = r.detached(&["--restart", "always", "busybox", "sh", "-c", "echo up; exec sleep 1000"]);
        let mut session = r.start(&["logs", "-f", &id]);
        assert_eq!(session.line(), "up");
        let first = r.field(&id, "{{.State.Pid}}");
        // Not by us: its process just dies.
        assert!(std::process::Command::new("kill").args(["-9", &first]).status().unwrap().success());
        while r.field(&id, "{{.State.Status}} {{.RestartCount}}") != "running 1" {}
        assert_ne!(r.field(&id, "{{.State.Pid}}"), first);
        r.ok(&["stop", "-t", "0", &id]);
        assert_eq!(r.field(&id, "{{.State.Status}}"), "exited");
        session.end();
        r.ok(&["rm", &id]);
    });
}

#[test]
fn with_rm_it_is_refused() {
    rtctl_test(|r| {
        assert_eq!(r.call(&["run", "--rm", "--restart", "always", "busybox", "true"]).code, 125);
        assert_eq!(r.call(&["run", "--restart", "sometimes", "busybox", "true"]).code, 125);
    });
}

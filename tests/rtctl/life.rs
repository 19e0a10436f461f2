//! create, start, stop, kill, wait, rm, pause, rename.

use std::time::Instant;

use tests::{Rtctl, rtctl_test};

/// A detached container that says `ready` and obeys SIGTERM.
fn obedient(r: &Rtctl<'_>, flags: &[&str]) -> String {
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 1000 & wait; done";
    let id = r.detached(&[flags, &["busybox", "sh", "-c", script]].concat());
    let mut session = r.start(&["logs", "-f", &id]);
    assert_eq!(session.line(), "ready");
    session.child.kill().unwrap();
    session.end();
    id
}

#[test]
fn created_started_exited() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "--name", "one", "busybox", "sh", "-c", "exit 3"]);
        assert_eq!(id.len(), 64);
        assert_eq!(r.field("one", "{{.State.Status}}"), "created");
        assert_eq!(r.ok(&["start", "one"]), "one");
        assert_eq!(r.ok(&["wait", "one"]), "3");
        assert_eq!(r.field("one", "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}"), "exited 3 false");
        // Once more.
        r.ok(&["start", &id]);
        assert_eq!(r.ok(&["wait", &id[..12]]), "3");
        r.ok(&["rm", "one"]);
    });
}

#[test]
fn stop_asks_first() {
    rtctl_test(|r| {
        let id = obedient(r, &[]);
        assert_eq!(r.ok(&["stop", &id]), id);
        assert_eq!(r.field(&id, "{{.State.ExitCode}}"), "9");
        // Stopping what has ended is fine.
        r.ok(&["stop", &id]);
        r.ok(&["rm", &id]);
    });
}

#[test]
fn stop_kills_after_its_time() {
    rtctl_test(|r| {
        // The first process of a pid namespace ignores SIGTERM without a handler.
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let from = Instant::now();
        r.ok(&["stop", "-t", "1", &id]);
        assert!(from.elapsed().as_secs() < 8, "{:?}", from.elapsed());
        assert_eq!(r.field(&id, "{{.State.ExitCode}}"), "137");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn stop_signal_and_timeout_of_the_container() {
    rtctl_test(|r| {
        let script = "trap 'exit 11' USR2; echo ready; while :; do sleep 1000 & wait; done";
        let id = r.detached(&["--stop-signal", "USR2", "--stop-timeout", "20", "busybox", "sh", "-c", script]);
        let mut session = r.start(&["logs", "-f", &id]);
        assert_eq!(session.line(), "ready");
        r.ok(&["stop", &id]);
        assert_eq!(session.end().0, 0);
        assert_eq!(r.field(&id, "{{.State.ExitCode}}"), "11");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn kill_sends_any_signal() {
    rtctl_test(|r| {
        let id = obedient(r, &[]);
        for wrong in ["NOSUCH", "-1", "x"] {
            r.call(&["kill", "-s", wrong, &id]).fails(&[]);
        }
        r.ok(&["kill", "--signal", "TERM", &id]);
        assert_eq!(r.ok(&["wait", &id]), "9");
        r.call(&["kill", &id]).fails(&["not running"]);
        r.ok(&["rm", &id]);
    });
}

#[test]
fn rm_refuses_what_runs() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        r.call(&["rm", &id]).fails(&["running"]);
        assert_eq!(r.field(&id, "{{.State.Running}}"), "true");
        assert_eq!(r.ok(&["rm", "-f", &id]), id);
        r.call(&["inspect", &id]).fails(&[]);
    });
}

#[test]
fn rm_when_it_ends() {
    rtctl_test(|r| {
        let id = r.detached(&["--rm", "busybox", "true"]);
        // It may be gone before the question.
        let output = r.call(&["wait", &id]);
        assert!(output.code == 0 && output.stdout == "0\n" || output.code == 1, "{output}");
        while r.state().join("local").join(&id).try_exists().unwrap() {}
        while r.root().join("upper").join(&id).try_exists().unwrap() {}
    });
}

#[test]
fn pause_and_unpause() {
    rtctl_test(|r| {
        let id = obedient(r, &[]);
        r.ok(&["pause", &id]);
        assert_eq!(r.field(&id, "{{.State.Status}} {{.State.Paused}}"), "paused true");
        r.call(&["exec", &id, "true"]).fails(&["paused"]);
        r.call(&["pause", &id]).fails(&["paused"]);
        r.ok(&["unpause", &id]);
        assert_eq!(r.field(&id, "{{.State.Status}}"), "running");
        assert_eq!(r.ok(&["exec", &id, "echo", "on"]), "on");
        r.ok(&["pause", &id]);
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn names() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "--name", "first", "busybox"]);
        let output = r.call(&["create", "--name", "first", "busybox"]);
        assert_eq!(output.code, 125, "{output}");
        output.fails(&["first"]);
        for wrong in ["", "a/b", "-x", "a b", ".."] {
            assert_ne!(r.call(&["create", &format!("--name={wrong}"), "busybox"]).code, 0, "{wrong:?}");
        }
        r.ok(&["rename", "first", "second"]);
        assert_eq!(r.field("second", "{{.Id}}"), id);
        r.call(&["inspect", "first"]).fails(&[]);
        // The name is free again.
        r.ok(&["create", "--name", "first", "busybox"]);
        r.call(&["rename", "first", "second"]).fails(&["second"]);
        r.ok(&["rm", "first", "second"]);
    });
}

#[test]
fn prefixes_of_ids() {
    rtctl_test(|r| {
        let ids: Vec<String> = (0..17).map(|_| r.ok(&["create", "busybox"])).collect();
        assert_eq!(r.field(&ids[0][..12], "{{.Id}}"), ids[0]);
        // Of 17 ids two begin with the same digit.
        let shared = "0123456789abcdef"
            .chars()
            .find(|digit| ids.iter().filter(|id| id.starts_with(*digit)).count() > 1)
            .unwrap();
        r.call(&["inspect", &shared.to_string()]).fails(&[]);
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        r.ok(&[&["rm"], &all[..]].concat());
    });
}

#[test]
fn everything_dies_with_the_first_process() {
    rtctl_test(|r| {
        for flags in [&["--network", "none"] as &[&str], &["--network", "none", "--pid", "host"]] {
            let args =
                [&["run", "--rm"], flags, &["busybox", "sh", "-c", "setsid sleep 1000 & sleep 1000 & exit 0"]].concat();
            // The oracle looks for processes.
            r.ok(&args);
        }
    });
}

#[test]
fn times_are_kept() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "true"]);
        r.ok(&["wait", &id]);
        let info = r.inspect(&id);
        let (from, to) = (info["State"]["StartedAt"].as_str().unwrap(), info["State"]["FinishedAt"].as_str().unwrap());
        assert!(from.starts_with("20") && from < to && to.ends_with('Z'), "{from} {to}");
        assert!(from.len() > "2026-01-01T00:00:00.000Z".len(), "nanoseconds: {from}");
        r.ok(&["rm", &id]);
    });
}

/// What cannot be removed does not keep `run --rm` waiting: it ends with an error that names it, and the next command removes the rest.
#[test]
fn run_rm_tells_what_it_could_not_remove() {
    rtctl_test(|r| {
        let keep = |dir: &std::path::Path, flag: &str| {
            std::process::Command::new("chattr").arg(flag).arg(dir).output().is_ok_and(|output| output.status.success())
        };
        let probe = r.root().join("probe");
        std::fs::create_dir(&probe).unwrap();
        let can = keep(&probe, "+i") && keep(&probe, "-i");
        std::fs::remove_dir(&probe).unwrap();
        tests::needs!(r.test, can, "no immutable files here");
        for pod in [None, Some("shared")] {
            let flags: Vec<&str> = match pod {
                Some(name) => {
                    r.ok(&["pod", "create", "--name", name, "--network", "none"]);
                    vec!["--pod", name]
                }
                None => vec!["--network", "none"],
            };
            let script = &["busybox", "sh", "-c", "mkdir /d && echo ready && read line; exit 5"][..];
            let mut session = r.start(&[&["run", "--rm", "-i", "--name", "kept"][..], &flags, script].concat());
            assert_eq!(session.line(), "ready");
            let id = r.field("kept", "{{.Id}}");
            let immutable = r.root().join("upper").join(&id).join("fs/d");
            assert!(keep(&immutable, "+i"));
            session.write("go\n");
            let (code, told) = session.end();
            assert_eq!(code, 125, "{told}");
            for part in ["ended with code 5", "EPERM"] {
                assert!(told.contains(part), "{part}: {told}");
            }
            assert!(keep(&immutable, "-i"));
            r.ok(&["rm", "-f", &id]);
            assert!(!std::fs::exists(r.root().join("upper").join(&id)).unwrap());
            if let Some(name) = pod {
                r.ok(&["pod", "rm", "-f", name]);
            }
        }
    });
}

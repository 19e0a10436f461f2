//! Many: 50 containers at once, and rounds of run and rm. `RT_TEST_ROUNDS` is the number of rounds (100; the full number is 1000).

use std::process::{Command, Stdio};

use tests::rtctl_test;

#[test]
fn fifty_at_once() {
    rtctl_test(|r| {
        let sessions: Vec<_> = (0..50)
            .map(|number| {
                r.start(&[
                    "run",
                    "--rm",
                    "--network",
                    "none",
                    "busybox",
                    "sh",
                    "-c",
                    &format!("echo {number}; exit {number}"),
                ])
            })
            .collect();
        for (number, session) in (0..).zip(sessions) {
            assert_eq!(session.end(), (number, format!("{number}\n")));
        }
    });
}

#[test]
fn fifty_that_stay() {
    rtctl_test(|r| {
        let sessions: Vec<_> = (0..50)
            .map(|number| {
                r.start(&[
                    "run",
                    "-d",
                    "--name",
                    &format!("n{number}"),
                    "--network",
                    "none",
                    "busybox",
                    "sleep",
                    "1000",
                ])
            })
            .collect();
        for session in sessions {
            let (code, text) = session.end();
            assert_eq!(code, 0, "{text}");
        }
        assert_eq!(r.ok(&["ps", "-q"]).lines().count(), 50);
        let ids = r.ok(&["ps", "-q"]);
        let ids: Vec<&str> = ids.lines().collect();
        r.ok(&[&["rm", "-f"], &ids[..]].concat());
    });
}

#[test]
fn rounds_of_run_and_rm() {
    rtctl_test(|r| {
        let rounds = std::env::var("RT_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
        for round in 0..rounds {
            assert_eq!(r.ok(&["run", "--rm", "--network", "none", "busybox", "echo", "x"]), "x", "round {round}");
        }
    });
}

/// Sessions are limited by the shim's descriptors, and leave some of them: whoever stops or removes the container gets through.
#[test]
fn more_sessions_than_there_can_be() {
    rtctl_test(|r| {
        let run = r.command(&["run", "-d", "--name", "many", "busybox", "sleep", "1000"]);
        let mut limited = Command::new("prlimit");
        limited.arg("--nofile=100:128").arg(run.get_program()).args(run.get_args());
        for (name, value) in run.get_envs() {
            limited.env(name, value.unwrap());
        }
        assert!(limited.stdout(Stdio::null()).status().unwrap().success());
        // What the shim raised for itself, its container does not get.
        assert_eq!(r.ok(&["exec", "many", "sh", "-c", "ulimit -Sn; ulimit -Hn"]), "100\n128");
        let script = "echo begun; exec sleep 1000";
        let mut sessions: Vec<_> = (0..9).map(|_| r.start(&["exec", "many", "sh", "-c", script])).collect();
        for session in &mut sessions {
            assert_eq!(session.line(), "begun");
        }
        r.call(&["exec", "many", "true"]).fails(&["9 sessions"]);
        r.ok(&["stop", "-t", "0", "many"]);
        for session in sessions {
            assert_eq!(session.end().0, 137);
        }
        r.ok(&["rm", "many"]);
    });
}

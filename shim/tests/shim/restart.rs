//! Restart policies.

use std::time::{Duration, Instant};

use serde_json::json;
use shim::layout::State;
use shim::protocol::{Reply, Request};

use crate::place::Place;

#[test]
fn on_failure_so_many_times() {
    let mut place = Place::new("echo run >> /tmp/runs; echo run; exit 3");
    place.task["restart"] = json!({"on_failure": 2});
    let begun = Instant::now();
    let (connection, _, _) = place.run();
    assert_eq!(place.wait(&connection).code, 3);
    assert!(begun.elapsed() >= Duration::from_millis(300), "pauses of 100 and 200 ms: {:?}", begun.elapsed());
    let status = place.status();
    assert_eq!((status.state, status.restart_count), (State::Exited, 2));
    assert_eq!(place.logged("stdout"), "run\nrun\nrun\n");
    let runs = std::fs::read_to_string(place.path("rootfs/tmp/runs")).unwrap();
    assert_eq!(runs.lines().count(), 3, "a restart has the files of the run before");
}

#[test]
fn success_is_no_failure() {
    let mut place = Place::new("exit 0");
    place.task["restart"] = json!({"on_failure": null});
    let (connection, _, _) = place.run();
    assert_eq!(place.wait(&connection).code, 0);
    assert_eq!(place.status().restart_count, 0);
}

#[test]
fn always_until_stopped() {
    let mut place =
        Place::new("if test -e /tmp/again; then echo second; exec sleep 1000; fi; touch /tmp/again; echo first");
    place.task["restart"] = json!("always");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let first = place.attach(place.connect(), false);
    place.start(&connection);
    assert_eq!(first.finish().0, "first\n", "an attached client sees one run");
    let waiter = place.connect();
    waiter.send(&place.wait_request(), &[]).unwrap();
    // Starts at once what would start by itself; whoever is first, it runs then.
    let _ = place.connect().request(&place.start_request(), &[]);
    let status = place.state(&connection);
    assert!(matches!(status.state, State::Running { .. }), "{status:?}");
    assert_eq!(status.last_exit.unwrap().code, 0);
    let Reply::Exited { exit } = place.stop(&connection, Some(0)) else { panic!() };
    assert_eq!(exit.code, 137);
    assert_eq!(waiter.receive().unwrap(), Reply::Exited { exit });
    assert_eq!(place.status().state, State::Exited);
}

#[test]
fn stop_between_two_runs() {
    let mut place = Place::new("exit 1");
    place.task["restart"] = json!("unless_stopped");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let client = place.attach(place.connect(), false);
    place.start(&connection);
    client.finish();
    // The pause grows with each run, so sooner or later this meets one.
    let Reply::Exited { exit } = place.stop(&connection, Some(60)) else { panic!() };
    assert!(exit.code == 1 || exit.code == 137, "{exit:?}");
    assert_eq!(place.status().state, State::Exited);
    assert!(!place.has_cgroup());
}

#[test]
fn a_kill_by_hand_is_not_undone() {
    let mut place = Place::new("echo ready; while :; do sleep 1; done");
    place.task["restart"] = json!("always");
    place.task["stop_signal"] = json!(2);
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), false);
    place.start(&connection);
    client.read_until("ready\n");
    let kill = |signal| Request::Kill { container: place.id.clone(), signal, all: false };
    connection.request(&kill(9), &[]).unwrap();
    assert_eq!(place.wait(&connection).code, 137);
    assert_eq!(place.status().restart_count, 0);
}

#[test]
fn a_signal_that_only_happens_to_kill_restarts() {
    let mut place = Place::new("trap 'exit 1' HUP; echo ready; while :; do sleep 0.01; done");
    place.task["restart"] = json!({"on_failure": 1});
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), false);
    place.start(&connection);
    client.read_until("ready\n");
    connection.request(&Request::Kill { container: place.id.clone(), signal: 1, all: false }, &[]).unwrap();
    client.session.wait().unwrap();
    let waiter = place.connect();
    waiter.send(&place.wait_request(), &[]).unwrap();
    let mut second = loop {
        let request = Request::Attach { container: place.id.clone(), streams: Default::default() };
        if let Ok((session, _)) = place.connect().session(&request, &[]) {
            break session;
        }
    };
    assert_eq!(place.state(&connection).restart_count, 1);
    connection.request(&Request::Kill { container: place.id.clone(), signal: 9, all: false }, &[]).unwrap();
    second.wait().unwrap();
    assert!(matches!(waiter.receive().unwrap(), Reply::Exited { exit } if exit.code == 137));
}

#[test]
fn a_policy_given_later_counts() {
    // The second run finds the file, and its input at its end.
    let mut place = Place::new("if test -e /tmp/again; then exit 4; fi; touch /tmp/again; read x; exit 1");
    place.task["stdin"] = json!("once");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let client = place.attach(place.connect(), true);
    let waiter = place.connect();
    waiter.send(&place.wait_request(), &[]).unwrap();
    place.start(&connection);
    let restart = Some(shim::layout::RestartPolicy::OnFailure(Some(1)));
    connection
        .request(&Request::Update { container: place.id.clone(), resources: None, restart, oom_score_adj: None }, &[])
        .unwrap();
    assert_eq!(client.finish().2.code, 1);
    assert!(matches!(waiter.receive().unwrap(), Reply::Exited { exit } if exit.code == 4));
    assert_eq!(place.status().restart_count, 1);
}

/// What is missing at a restart counts as a run that failed; those who wait learn of the end.
#[test]
fn a_restart_that_fails() {
    let mut place = Place::new("exit 1");
    place.task["restart"] = json!({"on_failure": 2});
    place.task["auto_remove"] = json!(false);
    let (connection, _) = place.spawn();
    place.create(&connection);
    let waiter = place.connect();
    waiter.send(&place.wait_request(), &[]).unwrap();
    std::fs::rename(place.path("rootfs/bin/sh"), place.path("rootfs/bin/gone")).unwrap();
    std::os::unix::fs::symlink("busybox", place.path("rootfs/bin/sh")).unwrap();
    let client = place.attach(place.connect(), false);
    place.start(&connection);
    std::fs::remove_file(place.path("rootfs/bin/sh")).unwrap();
    assert_eq!(client.finish().2.code, 1);
    let Reply::Exited { exit } = waiter.receive().unwrap() else { panic!() };
    assert_eq!(exit.code, 1, "the last exit of a program");
    let status = place.status();
    assert_eq!((status.state, status.restart_count), (State::Exited, 2));
    assert_eq!(status.error.as_deref(), Some("exec: \"/bin/sh\": no such file or directory"));
    assert!(!place.has_cgroup());
}

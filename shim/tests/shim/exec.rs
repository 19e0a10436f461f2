//! More processes in a container.

use std::io::Write;

use serde_json::json;
use shim::client::Error;
use shim::layout::State;
use shim::protocol::{FailureKind, Reply, Request, Streams};

use crate::place::Place;

fn sleeper() -> Place {
    Place::new("while :; do sleep 1000; done")
}

#[test]
fn output_input_and_code() {
    let place = sleeper();
    let (connection, _, _) = place.run();
    let mut client = place.exec("one", "cat; echo err >&2; seq 1 50000; exit 12", true);
    client.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let (out, err, exit) = client.finish();
    assert!(out.starts_with("hello\n1\n") && out.ends_with("\n50000\n"), "{} bytes", out.len());
    assert_eq!((err.as_str(), exit.code, exit.signal), ("err\n", 12, None));
    let (out, _, exit) = place.exec("one", "ps -o args | grep -c '^sleep 1000$'; kill -9 $$", false).finish();
    assert_eq!(
        (out.as_str(), exit.code, exit.signal),
        ("1\n", 137, Some(9)),
        "it sees the container, and its name is free again"
    );
    assert!(place.log().is_empty(), "what an exec process writes is not the container's output");
    place.stop(&connection, Some(0));
}

#[test]
fn many_at_once() {
    let place = sleeper();
    let (connection, _, _) = place.run();
    let clients: Vec<_> =
        (0..20).map(|n| place.exec(&format!("e{n}"), &format!("read x; echo {n}; exit {n}"), true)).collect();
    let duplicate = place.exec_request("e3", json!({"args": ["/bin/true"], "cwd": "/"}), Streams::default());
    let answer = place.connect().request(&duplicate, &[]);
    assert!(matches!(answer, Err(Error::Failed { kind: FailureKind::Invalid, .. })), "{answer:?}");
    for (n, client) in clients.into_iter().enumerate().rev() {
        let (out, _, exit) = client.finish();
        assert_eq!((out, exit.code), (format!("{n}\n"), i32::try_from(n).unwrap()));
    }
    place.stop(&connection, Some(0));
}

#[test]
fn a_terminal_of_its_own() {
    let place = sleeper();
    let (connection, _, _) = place.run();
    let process = json!({"args": ["/bin/sh", "-c", "stty size; read x; echo $x; stty size"], "cwd": "/", "env": ["PATH=/bin"],
        "terminal": true, "consoleSize": {"height": 5, "width": 6}});
    let mut client = place.exec_process("tty", process, true);
    client.read_until("5 6\r\n");
    let size = runtime::spec::ConsoleSize { height: 7, width: 8 };
    client.session.resize(&place.id, Some("tty"), size).unwrap();
    client.stdin.as_mut().unwrap().write_all(b"in\n").unwrap();
    let (out, _, exit) = client.finish();
    assert_eq!((out.as_str(), exit.code), ("in\r\nin\r\n7 8\r\n", 0));
    place.stop(&connection, Some(0));
}

#[test]
fn what_cannot_run_is_told_apart() {
    let place = sleeper();
    let (connection, _, _) = place.run();
    for (args, kind) in [
        (json!(["nothing"]), FailureKind::CommandNotFound),
        (json!(["/proc"]), FailureKind::CommandNotExecutable),
        (json!([]), FailureKind::Invalid),
    ] {
        let request =
            place.exec_request("x", json!({"args": args, "cwd": "/", "env": ["PATH=/bin"]}), Streams::default());
        match connection.request(&request, &[]) {
            Err(Error::Failed { kind: found, message }) => assert_eq!(found, kind, "{message}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(place.state(&connection).state, State::Running { .. }));
    place.stop(&connection, Some(0));
}

#[test]
fn it_ends_with_the_container() {
    let place = sleeper();
    let (connection, _, _) = place.run();
    let client = place.exec("e", "echo up; sleep 1000", false);
    place.stop(&connection, Some(0));
    let (_, _, exit) = client.finish();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

#[test]
fn it_outlives_its_client() {
    let place = sleeper();
    let (connection, _, _) = place.run();
    let mut client = place.exec("e", "echo up; read x; seq 1 100000; touch /tmp/done; exec sleep 1000", true);
    client.read_until("up\n");
    drop(client);
    // It still has its name; its output goes nowhere, and does not stop it.
    let (_, _, exit) = place.exec("watch", "until test -e /tmp/done; do sleep 0.01; done", false).finish();
    assert_eq!(exit.code, 0);
    let kill = |exec_id: &str| Request::KillExec {
        container: place.id.clone(),
        exec_id: exec_id.into(),
        signal: 15,
        all: false,
    };
    assert_eq!(connection.request(&kill("e"), &[]).unwrap(), Reply::Done);
    let answer = connection.request(&kill("other"), &[]);
    assert!(matches!(answer, Err(Error::Failed { kind: FailureKind::NotFound, .. })), "{answer:?}");
    place.stop(&connection, Some(0));
}

#[test]
fn a_signal_for_one() {
    let place = sleeper();
    let (connection, _, _) = place.run();
    let mut client = place.exec("e", "trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done", false);
    client.read_until("up\n");
    connection
        .request(&Request::KillExec { container: place.id.clone(), exec_id: "e".into(), signal: 15, all: false }, &[])
        .unwrap();
    assert_eq!(client.finish().2.code, 3);
    place.stop(&connection, Some(0));
}

/// A process left behind in the background keeps the pipes open; the exit is told all the same.
#[test]
fn a_background_process_does_not_hold_up_the_exit() {
    let place = sleeper();
    let (connection, _, _) = place.run();
    let begun = std::time::Instant::now();
    let client = place.exec("e", "sleep 1000 & echo left; exit 4", false);
    let (out, _, exit) = client.finish();
    assert_eq!((out.as_str(), exit.code), ("left\n", 4));
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    place.stop(&connection, Some(0));
}

#[test]
fn signals_are_as_a_program_expects_them() {
    let mut place = Place::new("");
    // No shell: it ignores some itself.
    place.spec["process"]["args"] = json!(["/bin/sleep", "1000"]);
    let (connection, _, _) = place.run();
    for process in ["1", "self"] {
        let args = ["/bin/grep", "-E", "SigBlk|SigIgn", &format!("/proc/{process}/status")];
        let (out, _, _) = place.exec_process(process, json!({"args": args, "cwd": "/"}), false).finish();
        assert_eq!(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    }
    place.stop(&connection, Some(0));
}

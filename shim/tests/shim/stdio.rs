//! Output, input, terminals, slow and vanished clients.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use serde_json::json;
use shim::client::Error;
use shim::layout::State;
use shim::protocol::{FailureKind, Reply, Request, Streams};

use crate::place::{Place, readable};

#[test]
fn a_client_before_the_start_sees_every_byte() {
    let place = Place::new("seq 1 200000; echo oops >&2; printf tail");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let client = place.attach(place.connect(), false);
    place.start(&connection);
    let (out, err, exit) = client.finish();
    assert_eq!(exit.code, 0);
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect::<String>() + "tail";
    assert!(out == expected, "{} bytes of {}", out.len(), expected.len());
    assert_eq!(err, "oops\n");
    assert!(place.logged("stdout") == expected, "the log has it all as well");
    assert_eq!(place.log().last().unwrap(), &("stdout".into(), "P".into(), "tail".into()));
    assert_eq!(place.logged("stderr"), "oops\n");
}

#[test]
fn input_reaches_the_program_and_ends_once() {
    let mut place = Place::new("cat; echo end");
    place.task["stdin"] = json!("once");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), true);
    let mut second = place.attach(place.connect(), true);
    place.start(&connection);
    client.stdin.as_mut().unwrap().write_all(b"first\n").unwrap();
    assert_eq!(client.read_until("\n"), "first\n");
    second.stdin.as_mut().unwrap().write_all(b"second\n").unwrap();
    assert_eq!(client.read_until("\n"), "second\n");
    let big = vec![b'x'; 1 << 20];
    let mut stdin = client.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&big));
    let open = second.stdin.take();
    let drained = std::thread::spawn(move || second.finish().0);
    let (out, _, exit) = client.finish();
    writer.join().unwrap().unwrap();
    assert_eq!((out.len(), exit.code), ((1 << 20) + 4, 0));
    assert!(out.ends_with("xend\n"));
    assert!(drained.join().unwrap().ends_with("xend\n"));
    drop(open);
}

#[test]
fn open_input_outlives_its_clients() {
    let mut place = Place::new("while read line; do echo \"got $line\"; done");
    place.task["stdin"] = json!("open");
    let (connection, _, _) = place.run();
    for word in ["one", "two"] {
        let mut client = place.attach(place.connect(), true);
        writeln!(client.stdin.as_mut().unwrap(), "{word}").unwrap();
        assert_eq!(client.read_until("\n"), format!("got {word}\n"));
        drop(client.stdin.take());
    }
    assert!(matches!(place.state(&connection).state, State::Running { .. }));
    place.stop(&connection, Some(0));
}

#[test]
fn once_ends_with_the_client_that_vanishes() {
    let mut place = Place::new("cat; exit 9");
    place.task["stdin"] = json!("once");
    let (connection, _, _) = place.run();
    let client = place.attach(place.connect(), true);
    let kept = client.stdin;
    drop(client.session);
    assert_eq!(place.wait(&connection).code, 9);
    drop(kept);
}

#[test]
fn closed_input_is_empty() {
    let place = Place::new("cat; echo done");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), true);
    place.start(&connection);
    assert_eq!(client.read_until("done\n"), "done\n");
    let mut stdin = client.stdin.take().unwrap();
    client.session.wait().unwrap();
    assert_eq!(stdin.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_stuck_client_holds_up_its_container_and_nobody_else() {
    let place = Place::new("head -c 3000000 /dev/zero; echo; exit 6");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let stuck = place.attach(place.connect(), false);
    place.start(&connection);
    // Its pipe is full and so is what may be under way.
    readable(&stuck.stdout);
    for _ in 0..50 {
        assert!(matches!(place.state(&connection).state, State::Running { .. }));
    }
    let logged = || std::fs::metadata(place.owned().join("log")).unwrap().len();
    assert!(logged() < 1 << 20, "the container waits: {}", logged());
    drop(stuck);
    assert_eq!(place.wait(&connection).code, 6);
    assert_eq!(place.logged("stdout").len(), 3_000_001);
}

#[test]
fn a_slow_client_gets_the_rest_after_the_end() {
    let place = Place::new("head -c 100000 /dev/zero; echo end");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let slow = place.attach(place.connect(), false);
    place.start(&connection);
    assert_eq!(place.wait(&connection).code, 0, "the end is told while the client has not read yet");
    let (out, _, exit) = slow.finish();
    assert_eq!((out.len(), exit.code), (100_004, 0));
}

#[test]
fn a_client_that_closes_its_output_is_dropped() {
    let place = Place::new("read x; seq 1 100000");
    let mut place = place;
    place.task["stdin"] = json!("once");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), true);
    let other = place.attach(place.connect(), false);
    place.start(&connection);
    let (reader, _) = std::io::pipe().unwrap();
    drop(std::mem::replace(&mut client.stdout, reader));
    drop(client.stdin.take());
    let (out, _, _) = other.finish();
    assert_eq!(out.lines().count(), 100_000);
    assert_eq!(client.session.wait().unwrap().code, 0);
}

#[test]
fn a_terminal() {
    let mut place = Place::new("stty size; read line; echo \"<$line>\"; stty size; test -t 0 -a -t 2 && exit 8");
    place.spec["process"]["terminal"] = json!(true);
    place.spec["process"]["consoleSize"] = json!({"height": 11, "width": 22});
    place.task["stdin"] = json!("open");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), true);
    place.start(&connection);
    client.read_until("11 22\r\n");
    let size = runtime::spec::ConsoleSize { height: 33, width: 44 };
    client.session.resize(&place.id, None, size).unwrap();
    client.stdin.as_mut().unwrap().write_all(b"word\n").unwrap();
    client.read_until("<word>\r\n");
    let (rest, _, exit) = client.finish();
    assert_eq!((rest.as_str(), exit.code), ("33 44\r\n", 8));
    assert!(place.log().iter().all(|(stream, ..)| stream == "stdout"));
}

#[test]
fn a_terminal_that_is_closed_for_a_while() {
    let mut place = Place::new("exec </dev/null >/dev/null 2>&1; sleep 0.2; echo back >/dev/console; exit 0");
    place.spec["process"]["terminal"] = json!(true);
    let (connection, _) = place.spawn();
    place.create(&connection);
    let client = place.attach(place.connect(), false);
    place.start(&connection);
    let (out, _, exit) = client.finish();
    assert_eq!((out.as_str(), exit.code), ("back\r\n", 0));
}

#[test]
fn the_user_can_open_its_streams_again() {
    let mut place = Place::new("echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin; id -u");
    place.spec["process"]["user"] = json!({"uid": 1234, "gid": 1234});
    place.task["stdin"] = json!("once");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), true);
    place.start(&connection);
    client.stdin.as_mut().unwrap().write_all(b"in\n").unwrap();
    let (out, err, exit) = client.finish();
    assert_eq!((out.as_str(), err.as_str(), exit.code), ("out\nin\n1234\n", "err\n", 0));
}

#[test]
fn only_pipes_and_sockets_are_relayed() {
    let place = Place::new("sleep 1000");
    let (connection, _, _) = place.run();
    let file = std::fs::File::open("/dev/null").unwrap();
    let streams = Streams { stdin: true, ..Streams::default() };
    let attach = |streams| Request::Attach { container: place.id.clone(), streams };
    for (request, fds) in [
        (attach(streams), vec![file.as_fd()]),
        (attach(Streams { stdout: true, ..streams }), vec![file.as_fd()]),
        (attach(Streams::default()), vec![file.as_fd()]),
        (place.wait_request(), vec![file.as_fd()]),
    ] {
        let answer = connection.request(&request, &fds);
        assert!(matches!(answer, Err(Error::Failed { kind: FailureKind::Invalid, .. })), "{answer:?}");
    }
    let answer = connection.request(&attach(Streams::default()), &[]).unwrap();
    assert_eq!(answer, Reply::Done);
    let answer = connection.request(&place.wait_request(), &[]);
    assert!(matches!(answer, Err(Error::Failed { kind: FailureKind::Invalid, .. })), "one session per connection");
    place.stop(&place.connect(), Some(0));
}

#[test]
fn sockets_as_streams() {
    let mut place = Place::new("cat");
    place.task["stdin"] = json!("once");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let streams = Streams { stdin: true, stdout: true, stderr: false };
    let request = Request::Attach { container: place.id.clone(), streams };
    let (mut session, _) = place.connect().session(&request, &[theirs.as_fd(), theirs.as_fd()]).unwrap();
    drop(theirs);
    place.start(&connection);
    ours.write_all(b"both ways").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), session.wait().unwrap().code), ("both ways", 0));
}

//! Namespaces that the shim keeps: for all runs of a container, and `on_exit` when the last one is over.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use nix::sys::stat::fstat;
use serde_json::{Value, json};
use shim::client::{Connection, Error};
use shim::layout::State;
use shim::protocol::{FailureKind, Reply, Request};

use crate::place::{Place, ended};

/// Prints the inodes of the namespaces that it is in.
const SHOW: &str = "for n in net ipc uts pid user; do ls -l /proc/self/ns/$n | grep -o '[a-z]*:\\[[0-9]*\\]'; done";

/// A standalone container with a network namespace of its sandbox; `change` is put over `sandbox.json`.
fn place(script: &str, change: Value) -> Place {
    let mut place = Place::new(script);
    let mut sandbox = json!({"version": 1, "namespaces": ["network"]});
    for (key, value) in change.as_object().unwrap() {
        sandbox[key] = value.clone();
    }
    place.task["sandbox"] = sandbox["namespaces"].clone();
    place.write();
    fs::write(place.dir().join("sandbox.json"), sandbox.to_string()).unwrap();
    place
}

/// A program that adds a line to a file when it is run.
fn on_exit(place: &Place, script: &str) -> Vec<String> {
    let path = place.path("on_exit");
    fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> {}\n{script}\n", place.path("runs").display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    vec![path.display().to_string(), "release".into(), place.id.clone()]
}

fn set(place: &Place, key: &str, value: Value) {
    let path = place.dir().join("sandbox.json");
    let mut sandbox: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    sandbox[key] = value;
    fs::write(path, sandbox.to_string()).unwrap();
}

fn runs(place: &Place) -> usize {
    fs::read_to_string(place.path("runs")).map_or(0, |text| text.lines().count())
}

fn inode(fd: impl AsFd) -> u64 {
    fstat(fd).unwrap().st_ino
}

fn refused(connection: &Connection, place: &Place) -> String {
    let request = Request::Create { container: place.id.clone(), dir: ".".into() };
    match connection.request(&request, &[]).unwrap_err() {
        Error::Failed { kind: FailureKind::Invalid | FailureKind::WrongState, message } => message,
        other => panic!("{other}"),
    }
}

#[test]
fn a_container_joins_what_the_caller_was_given() {
    let place = place(SHOW, json!({}));
    let (connection, _) = place.spawn();
    let sandbox = connection.sandbox().unwrap();
    assert_eq!(sandbox.init, None);
    let network = sandbox.network.unwrap();
    let again = connection.sandbox().unwrap();
    assert_eq!(inode(again.network.unwrap()), inode(&network), "there is one sandbox");
    place.create(&connection);
    place.start(&connection);
    assert_eq!(place.wait(&connection).code, 0);
    let shown = place.logged("stdout");
    assert!(shown.contains(&format!("net:[{}]", inode(&network))), "{shown}");
    let own = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_ne!(shown.lines().next().unwrap(), own);
}

#[test]
fn restarts_keep_the_namespaces_and_on_exit_comes_once_at_the_end() {
    let mut place = place("ls -l /proc/self/ns/net; exit 1", json!({}));
    place.task["restart"] = json!({"on_failure": 2});
    place.write();
    set(&place, "on_exit", json!(on_exit(&place, "")));
    let (connection, _) = place.spawn();
    connection.sandbox().unwrap();
    place.create(&connection);
    place.start(&connection);
    assert_eq!(place.wait(&connection).code, 1);
    assert_eq!(runs(&place), 1, "it has been run when anyone is told");
    assert_eq!(fs::read_to_string(place.path("runs")).unwrap(), format!("release {}\n", place.id));
    let text = place.logged("stdout");
    let namespaces: Vec<&str> = text.lines().map(|line| line.split("-> ").nth(1).unwrap()).collect();
    assert_eq!(namespaces.len(), 3);
    assert!(namespaces.iter().all(|namespace| *namespace == namespaces[0]), "{namespaces:?}");
}

#[test]
fn exit_is_recorded_before_on_exit_and_told_after_it() {
    let place = place("exit 7", json!({}));
    let seen = place.path("seen");
    let script = format!("cat {}/status.json > {}", place.dir().display(), seen.display());
    set(&place, "on_exit", json!(on_exit(&place, &script)));
    let (connection, _) = place.spawn();
    connection.sandbox().unwrap();
    place.create(&connection);
    let client = place.attach(place.connect(), false);
    place.start(&connection);
    let (_, _, exit) = client.finish();
    assert_eq!((exit.code, runs(&place)), (7, 1), "attached clients, too, are told after it");
    assert_eq!(place.wait(&connection).code, 7);
    let status: Value = serde_json::from_str(&fs::read_to_string(seen).unwrap()).unwrap();
    assert_eq!((&status["state"], &status["last_exit"]["code"]), (&json!("exited"), &json!(7)));
    assert_eq!(place.status().error, None);
}

#[test]
fn on_exit_that_fails_is_named_in_the_record() {
    let place = place("exit 0", json!({}));
    set(&place, "on_exit", json!(on_exit(&place, "exit 3")));
    let (connection, _) = place.spawn();
    connection.sandbox().unwrap();
    place.create(&connection);
    place.start(&connection);
    assert_eq!(place.wait(&connection).code, 0);
    assert_eq!(place.status().error.as_deref(), Some("sandbox.json: on_exit: Code(3)"));

    // One that is not there neither stops anything nor goes unnoticed.
    set(&place, "on_exit", json!(["/not/there"]));
    connection.sandbox().unwrap();
    place.create(&connection);
    place.start(&connection);
    assert_eq!(place.wait(&connection).code, 0);
    assert_eq!(
        place.status().error.as_deref(),
        Some("sandbox.json: on_exit: execve(\"/not/there\"): ENOENT: No such file or directory")
    );
}

#[test]
fn on_exit_that_hangs_is_killed_and_the_shim_answers_meanwhile() {
    let place = place("exit 4", json!({}));
    set(&place, "on_exit", json!(on_exit(&place, "sleep 1000 & wait")));
    let (connection, _) = place.spawn();
    connection.sandbox().unwrap();
    place.create(&connection);
    let before = std::time::Instant::now();
    place.start(&connection);
    let waiting = place.connect();
    waiting.send(&place.wait_request(), &[]).unwrap();
    while !matches!(place.state(&connection).state, State::Exited) {}
    // It cannot be made anew before it is over.
    assert!(refused(&connection, &place).contains("ending"));
    let Reply::Exited { exit } = waiting.receive().unwrap() else { panic!() };
    assert_eq!(exit.code, 4);
    let took = before.elapsed().as_secs();
    assert!((10..20).contains(&took), "{took}");
    assert_eq!(runs(&place), 1);
    assert_eq!(place.status().error.as_deref(), Some("sandbox.json: on_exit: killed after 10 s"));
}

#[test]
fn a_container_that_removes_itself_is_removed_after_on_exit() {
    let mut place = place("exit 0", json!({}));
    place.task["auto_remove"] = json!(true);
    place.write();
    let script =
        format!("test -e {}/status.json && echo there >> {}", place.dir().display(), place.path("runs").display());
    set(&place, "on_exit", json!(on_exit(&place, &script)));
    let (connection, shim) = place.spawn();
    let pidfd = runtime::sys::process::pidfd_open(shim).unwrap();
    connection.sandbox().unwrap();
    place.create(&connection);
    place.start(&connection);
    ended(&pidfd);
    assert_eq!(runs(&place), 2);
    assert!(!place.dir().try_exists().unwrap());
}

#[test]
fn what_never_came_to_a_container_is_released_too() {
    let place = place("exit 0", json!({}));
    set(&place, "on_exit", json!(on_exit(&place, "")));
    let (connection, shim) = place.spawn();
    let pidfd = runtime::sys::process::pidfd_open(shim).unwrap();
    connection.sandbox().unwrap();
    drop(connection);
    ended(&pidfd);
    assert_eq!(runs(&place), 1);

    // And when Create fails.
    let mut place = self::place("exit 0", json!({}));
    place.spec["process"]["args"] = json!(["/not/there"]);
    place.write();
    set(&place, "on_exit", json!(on_exit(&place, "")));
    let (connection, _) = place.spawn();
    connection.sandbox().unwrap();
    let request = Request::Create { container: place.id.clone(), dir: ".".into() };
    connection.request(&request, &[]).unwrap_err();
    // Removal waits for it.
    connection.request(&Request::Remove { container: place.id.clone(), force: false }, &[]).unwrap();
    assert_eq!(runs(&place), 1);
}

#[test]
fn held_sockets_are_free_after_the_end() {
    let place = place("sleep 1000", json!({}));
    let (connection, _) = place.spawn();
    connection.sandbox().unwrap();
    let bound = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = bound.local_addr().unwrap();
    // More than go into one packet.
    let (null, many) = (fs::File::open("/dev/null").unwrap(), shim::protocol::FDS_LIMIT + 5);
    let fds: Vec<_> = std::iter::once(bound.as_fd()).chain(std::iter::repeat_n(null.as_fd(), many)).collect();
    connection.hold(&fds).unwrap();
    drop(bound);
    place.create(&connection);
    place.start(&connection);
    let taken = TcpListener::bind(address);
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    place.stop(&connection, Some(0));
    TcpListener::bind(address).unwrap();
}

#[test]
fn what_is_held_is_bounded() {
    let place = place("exit 0", json!({}));
    let (connection, _) = place.spawn();
    let null = fs::File::open("/dev/null").unwrap();
    let error = connection.hold(&[null.as_fd()]).unwrap_err().to_string();
    assert!(error.contains("no sandbox"), "{error}");
    connection.sandbox().unwrap();
    let error = connection.request(&Request::Hold {}, &[]).unwrap_err().to_string();
    assert!(error.contains("no descriptors"), "{error}");
    let all = vec![null.as_fd(); 5000];
    let error = connection.hold(&all).unwrap_err().to_string();
    assert!(error.contains("at most") && error.contains("are held"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    for (sandbox, expected) in [
        (
            json!({"namespaces": ["mount"]}),
            "sandbox.json: namespaces[0]: mount is not one of user, network, ipc, uts, pid",
        ),
        (json!({"hostname": "x"}), "sandbox.json: hostname: needs a uts namespace"),
        (
            json!({"sysctls": {"kernel.core_pattern": "x"}}),
            "sandbox.json: linux.sysctl[\"kernel.core_pattern\"]: is not separate",
        ),
        (json!({"on_exit": ["sh"]}), "sandbox.json: on_exit[0]: must be an absolute path"),
        (json!({"version": 2}), "sandbox.json: version 2 is newer"),
        (json!({"sysctls": {"net.ipv4.no_such_thing": "1"}}), "sysctl: openat2(<proc>, \"sys/net/ipv4/no_such_thing\""),
    ] {
        let place = place("exit 0", sandbox.clone());
        let (connection, _) = place.spawn();
        let error = connection.sandbox().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{sandbox}: {error}");
    }
    let mut place = place("exit 0", json!({}));
    let (connection, _) = place.spawn();
    assert!(refused(&connection, &place).contains("shim.json: sandbox: there is none"));
    connection.sandbox().unwrap();
    place.task["sandbox"] = json!(["ipc"]);
    place.write();
    assert!(refused(&connection, &place).contains("Ipc: the sandbox has no such namespace"));
    drop(connection);
    place.task["sandbox"] = json!(["network"]);
    place.spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "network", "path": "/proc/1/ns/net"}]);
    let (connection, _) = place.spawn();
    connection.sandbox().unwrap();
    assert!(refused(&connection, &place).contains("config.json names another one"));
}

#[test]
fn parameters_and_names_are_set_and_the_host_keeps_its_own() {
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax /proc/sys/kernel/hostname /proc/sys/kernel/domainname; \
                  ls -l /proc/self/ns/net; cat /proc/net/dev | grep -c lo; cat /sys/class/net/lo/flags";
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let files =
        ["/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/msgmax", "/proc/sys/kernel/hostname"];
    let before = files.map(read);
    let mut place = place(
        script,
        json!({"namespaces": ["network", "ipc", "uts"], "hostname": "ours", "domainname": "example.org",
               "sysctls": {"net.ipv4.ip_unprivileged_port_start": "7", "kernel.msgmax": "4321"}}),
    );
    let mounts = place.spec["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}));
    let (connection, _) = place.spawn();
    connection.sandbox().unwrap();
    place.create(&connection);
    place.start(&connection);
    assert_eq!(place.wait(&connection).code, 0);
    let text = place.logged("stdout");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..4], ["7", "4321", "ours", "example.org"]);
    assert_eq!(*lines.last().unwrap(), "0x9", "lo is up: {text}");
    assert_eq!(files.map(read), before);
}

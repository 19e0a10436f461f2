//! kill -9 of the shim: the container dies with it and the next command sees the truth.

use std::fs;

use nix::unistd::Pid;
use runtime::sys::process::{pidfd_open, pidfd_send_signal};
use serde_json::json;
use shim::client::{self, Error};
use shim::layout::State;
use shim::local::{self, UNKNOWN_EXIT, Wait};
use shim::protocol::Reply;

use crate::place::{Place, copy_program, ended, gone, program};

fn kill_shim(pid: Pid) {
    let pidfd = pidfd_open(pid).unwrap();
    pidfd_send_signal(&pidfd, 9).unwrap();
    ended(&pidfd);
}

#[test]
fn a_running_container_dies_with_its_shim() {
    let place = Place::new("echo up; sleep 1000");
    let (connection, shim) = place.spawn();
    let init = place.create(&connection);
    let mut client = place.attach(place.connect(), false);
    place.start(&connection);
    client.read_until("up\n");
    let init = pidfd_open(init).unwrap();
    kill_shim(shim);
    ended(&init);
    assert_eq!(client.session.wait().unwrap_err(), Error::Gone);
    assert_eq!(connection.request(&place.wait_request(), &[]).unwrap_err(), Error::Gone);
    assert!(place.directory().connect().unwrap().is_none());
    let status = place.status();
    assert_eq!((status.state, status.last_exit.unwrap().code), (State::Exited, UNKNOWN_EXIT));
    assert_eq!(status.error.as_deref(), Some("the shim died"));
    let directory = place.directory();
    let lock = directory.lock(Wait::No).unwrap();
    directory.settle(&lock).unwrap();
    assert!(!place.has_cgroup());
    let settled = place.status();
    assert_eq!(settled, place.status(), "recorded now: it does not change any more");
    assert_eq!(fs::read_to_string(place.owned().join("log")).unwrap().lines().count(), 1);
    // And it can run again.
    let (connection, _, _) = place.run();
    assert!(matches!(place.state(&connection).state, State::Running { .. }));
}

#[test]
fn without_a_pid_namespace_nothing_is_left_either() {
    let mut place = Place::new("sleep 1000 & echo up; sleep 1000");
    place.spec["linux"]["namespaces"] = json!([{"type": "mount"}]);
    let (connection, shim) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), false);
    place.start(&connection);
    client.read_until("up\n");
    let host = runtime::cgroup::Host::detect().unwrap();
    let group = runtime::cgroup::Cgroup::open(&host, &place.id.parse().unwrap()).unwrap().unwrap();
    let all: Vec<_> = group.processes().unwrap().into_iter().map(|pid| pidfd_open(pid).unwrap()).collect();
    assert!(all.len() >= 2, "{}", all.len());
    kill_shim(shim);
    let directory = place.directory();
    let lock = directory.lock(Wait::No).unwrap();
    directory.remove_dead(&lock).unwrap();
    for process in all {
        ended(process);
    }
    assert!(!place.has_cgroup() && !place.dir().try_exists().unwrap() && !place.owned().try_exists().unwrap());
    assert!(fs::symlink_metadata(place.path("state/names/web")).is_err());
}

#[test]
fn at_any_moment_of_a_start() {
    // Where it dies is decided by how many bytes of time it gets: each round gives it a little more.
    for round in 0..25 {
        let place = Place::new("exit 5");
        let (connection, shim) = place.spawn();
        let pidfd = pidfd_open(shim).unwrap();
        let create = shim::protocol::Request::Create { container: place.id.clone(), dir: ".".into() };
        connection.send(&create, &[]).unwrap();
        if round > 12 {
            connection.send(&place.start_request(), &[]).unwrap();
        }
        let until = std::time::Instant::now() + std::time::Duration::from_micros(400 * (round % 13));
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        pidfd_send_signal(&pidfd, 9).unwrap();
        ended(&pidfd);
        let directory = place.directory();
        if let Some(status) = directory.status().unwrap() {
            assert_eq!(status.state, State::Exited, "{round}");
        }
        let lock = directory.lock(Wait::No).unwrap();
        directory.remove_dead(&lock).unwrap();
        assert!(!place.has_cgroup() && !place.dir().try_exists().unwrap(), "{round}");
    }
}

#[test]
fn a_client_that_dies_changes_nothing() {
    let place = Place::new("read x; exit 5");
    let mut place = place;
    place.task["stdin"] = json!("open");
    let (connection, shim, _) = place.run();
    drop(connection);
    let connection = place.connect();
    assert!(matches!(place.state(&connection).state, State::Running { .. }));
    let Reply::Exited { .. } = place.stop(&connection, Some(0)) else { panic!() };
    drop(connection);
    gone(shim);
}

#[test]
fn one_shim_at_a_time() {
    let place = Place::new("sleep 1000");
    let (_connection, first) = place.spawn();
    let error = client::spawn(&program(), &place.dir()).unwrap_err().to_string();
    assert!(error.contains("another shim listens there"), "{error}");
    assert!(place.directory().connect().unwrap().is_some());
    kill_shim(first);
    // A socket that a dead shim left is no obstacle.
    assert!(place.dir().join("shim.sock").try_exists().unwrap());
    let (connection, second) = client::spawn(&program(), &place.dir()).unwrap();
    assert_ne!(first, second);
    drop(connection);
    gone(second);
}

#[test]
fn a_shim_that_cannot_serve_says_why() {
    let place = Place::new("");
    let error = client::spawn(&program(), &place.path("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.ends_with("ENOENT: No such file or directory"), "{error}");
    let error = client::spawn("/bin/true".as_ref(), &place.path("state")).unwrap_err().to_string();
    assert_eq!(error, "\"/bin/true\" ended with exit status: 0 before it was ready");
    let error = client::spawn("/bin/nothing".as_ref(), &place.path("state")).unwrap_err().to_string();
    assert!(error.starts_with("open_tree(\"/bin/nothing\", OPEN_TREE_CLONE): ENOENT"), "{error}");
}

/// The program behind /proc/PID/exe is on a mount that is read-only and attached nowhere (CVE-2019-5736).
#[test]
fn the_program_cannot_be_written_through_a_shim() {
    let place = Place::new("");
    let copy = place.path("rt-shim");
    copy_program(&program(), &copy);
    place.write();
    let (connection, shim) = client::spawn(&copy, &place.dir()).unwrap();
    let exe = nix::fcntl::open(
        format!("/proc/{shim}/exe").as_str(),
        nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )
    .unwrap();
    drop(connection);
    gone(shim);
    let through = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&exe));
    let error = fs::OpenOptions::new().write(true).open(through).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    fs::OpenOptions::new().write(true).open(&copy).unwrap();
}

/// What a shim knows about itself is what others can check.
#[test]
fn a_shim_is_alone() {
    let place = Place::new("sleep 1000");
    let (connection, shim, init) = place.run();
    let read = |file: &str| fs::read_to_string(format!("/proc/{shim}/{file}")).unwrap();
    assert_eq!(read("comm"), "rt-shim\n");
    let stat = read("stat");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
    assert_ne!(fields[1], std::process::id().to_string(), "not our child");
    assert_eq!(fields[3], shim.to_string(), "leader of its session");
    assert_eq!(fields[4], "0", "no controlling terminal");
    assert_eq!(fs::read_link(format!("/proc/{shim}/cwd")).unwrap(), std::path::Path::new("/"));
    assert_eq!(read("environ"), "");
    assert_eq!(read(&format!("task/{shim}/children")).trim(), init.to_string());
    assert_eq!(fs::read_dir(format!("/proc/{shim}/task")).unwrap().count(), 1);
    for fd in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{shim}/fd/{fd}")).unwrap(), std::path::Path::new("/dev/null"));
    }
    assert!(local::alive(&place.status()).unwrap());
    drop(connection);
}

/// Only root may talk to a shim, even where the socket's own permissions were opened.
#[test]
fn another_user_is_turned_away() {
    const CHILD: &str = "SHIM_TEST_DIR";
    if let Some(dir) = std::env::var_os(CHILD) {
        assert!(client::Connection::connect(dir.as_ref()).unwrap().is_none());
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let place = Place::new("");
    let (_connection, _) = place.spawn();
    for path in
        [place.path(""), place.path("state"), place.path("state/local"), place.dir(), place.dir().join("shim.sock")]
    {
        fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let program = place.path("test");
    copy_program(&std::env::current_exe().unwrap(), &program);
    let status = std::process::Command::new(program)
        .args(["--exact", "crash::another_user_is_turned_away"])
        .env(CHILD, place.dir())
        .stdout(std::process::Stdio::null())
        .uid(65534)
        .status()
        .unwrap();
    assert!(status.success());
}

//! Create, start, signals, stop, pause, exits.

use std::fs;

use serde_json::json;
use shim::client::Error;
use shim::layout::State;
use shim::protocol::{FailureKind, Reply, Request};
use shim::record;

use crate::place::{Place, gone, init_of, program};

fn refused(answer: Result<Reply, Error>) -> (FailureKind, String) {
    match answer {
        Err(Error::Failed { kind, message }) => (kind, message),
        other => panic!("{other:?}"),
    }
}

/// Whether this host cannot limit something, as the cgroup2 view of a hybrid host.
fn lacks(controller: &str) -> bool {
    let offered = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let lacks = offered.is_ok_and(|offered| !offered.split_ascii_whitespace().any(|name| name == controller));
    if lacks {
        eprintln!("skipped: this host has no cgroup controller {controller}");
    }
    lacks
}

#[test]
fn a_container_from_birth_to_record() {
    let mut place = Place::new("exit 7");
    let pid_file = place.path("pid");
    place.task["pid_file"] = json!(pid_file);
    let (connection, shim) = place.spawn();
    let before = record::now();
    let init = place.create(&connection);
    let status = place.status();
    assert_eq!(init_of(&status.state), Some(init.as_raw()));
    assert!(matches!(status.state, State::Created { .. }), "{status:?}");
    assert_eq!(status.shim.0, shim.as_raw());
    assert_eq!(fs::read_to_string(pid_file).unwrap(), init.to_string());
    let (kind, message) = refused(connection.request(&Request::Pause { container: place.id.clone() }, &[]));
    assert_eq!(
        (kind, message.as_str()),
        (FailureKind::WrongState, "container is created, but not started; start it first")
    );
    let waiter = place.connect();
    waiter.send(&place.wait_request(), &[]).unwrap();
    place.start(&connection);
    let Reply::Exited { exit } = waiter.receive().unwrap() else { panic!() };
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
    let status = place.status();
    assert_eq!((&status.state, status.last_exit.as_ref()), (&State::Exited, Some(&exit)));
    assert!(before < status.started_at && status.started_at < exit.finished_at && exit.finished_at < record::now());
    assert_eq!(place.state(&connection).last_exit, Some(exit.clone()));
    assert_eq!(place.wait(&connection), exit, "an exit is told again");
    assert!(!place.has_cgroup());
    drop((connection, waiter));
    gone(shim);
    assert!(!place.dir().join("shim.sock").try_exists().unwrap());
    assert_eq!(place.status().last_exit, Some(exit));
}

#[test]
fn a_second_run_in_a_new_shim() {
    let place = Place::new("exit 3");
    let (connection, first, _) = place.run();
    let exit = place.wait(&connection);
    drop(connection);
    gone(first);
    let (connection, second) = place.spawn();
    assert_ne!(first, second);
    place.create(&connection);
    assert_eq!(place.state(&connection).last_exit, Some(exit.clone()), "the last run is remembered");
    place.start(&connection);
    assert!(place.wait(&connection).finished_at > exit.finished_at);
    // The same shim can run it again, too.
    place.create(&connection);
    place.start(&connection);
    assert_eq!(place.wait(&connection).code, 3);
}

#[test]
fn a_command_that_is_not_there_leaves_nothing_running() {
    for (argument, kind) in [
        ("/bin/nothing", FailureKind::CommandNotFound),
        ("nothing", FailureKind::CommandNotFound),
        ("/proc", FailureKind::CommandNotExecutable),
    ] {
        let mut place = Place::new("");
        place.spec["process"]["args"] = json!([argument]);
        let (connection, shim) = place.spawn();
        let request = Request::Create { container: place.id.clone(), dir: ".".into() };
        let (found, message) = refused(connection.request(&request, &[]));
        assert_eq!(found, kind, "{message}");
        let status = place.state(&connection);
        assert_eq!((status.state, status.error), (State::Exited, Some(message)));
        assert!(!place.has_cgroup());
        let (kind, message) = refused(connection.request(&place.start_request(), &[]));
        assert_eq!((kind, message.as_str()), (FailureKind::WrongState, "container is not created; create it first"));
        drop(connection);
        gone(shim);
    }
}

#[test]
fn a_wrong_configuration_names_its_place() {
    let mut place = Place::new("");
    place.spec["process"]["user"]["uid"] = json!("zero");
    let (connection, _) = place.spawn();
    let request = Request::Create { container: place.id.clone(), dir: ".".into() };
    let (kind, message) = refused(connection.request(&request, &[]));
    assert_eq!(kind, FailureKind::Invalid);
    assert!(message.starts_with("config.json: process.user.uid: "), "{message}");
    let outside = Request::Create { container: "x".into(), dir: "../other".into() };
    let (kind, message) = refused(connection.request(&outside, &[]));
    assert_eq!(
        (kind, message.as_str()),
        (FailureKind::Invalid, "dir \"../other\" must be a relative path without \"..\"")
    );
    let (kind, _) = refused(connection.request(&Request::Start { container: "nobody".into() }, &[]));
    assert_eq!(kind, FailureKind::NotFound);
}

#[test]
fn stop_asks_first() {
    let place = Place::new("trap 'exit 5' TERM; echo ready; while :; do sleep 1; done");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), false);
    place.start(&connection);
    client.read_until("ready\n");
    let Reply::Exited { exit } = place.stop(&connection, Some(60)) else { panic!() };
    assert_eq!((exit.code, exit.signal), (5, None));
    let Reply::Exited { exit: again } = place.stop(&connection, Some(0)) else { panic!() };
    assert_eq!(again, exit, "a second stop finds it done");
}

#[test]
fn stop_kills_in_the_end_and_a_second_stop_shortens_the_wait() {
    let place = Place::new("trap '' TERM; echo ready; while :; do sleep 1; done");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), false);
    place.start(&connection);
    client.read_until("ready\n");
    let stop = |timeout| Request::Stop { container: place.id.clone(), signal: 15, timeout };
    let first = place.connect();
    first.send(&stop(None), &[]).unwrap();
    let second = place.connect();
    let Reply::Exited { exit } = second.request(&stop(Some(std::time::Duration::from_millis(50))), &[]).unwrap() else {
        panic!()
    };
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), false));
    let Reply::Exited { exit: joined } = first.receive().unwrap() else { panic!() };
    assert_eq!(joined, exit);
}

#[test]
fn kill_by_number_and_all() {
    let place = Place::new("trap 'echo usr1' USR1; echo ready; while :; do sleep 1; done");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), false);
    place.start(&connection);
    client.read_until("ready\n");
    let kill = |signal, all| connection.request(&Request::Kill { container: place.id.clone(), signal, all }, &[]);
    assert_eq!(refused(kill(0, false)).0, FailureKind::Invalid);
    assert_eq!(refused(kill(65, false)).0, FailureKind::Invalid);
    kill(10, true).unwrap();
    client.read_until("usr1\n");
    kill(9, false).unwrap();
    let exit = client.session.wait().unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert_eq!(refused(kill(9, false)).1, "container is not running");
}

#[test]
fn pause_and_resume() {
    let place = Place::new("echo ready; while :; do sleep 1; done");
    let (connection, _) = place.spawn();
    let init = place.create(&connection);
    let mut client = place.attach(place.connect(), false);
    place.start(&connection);
    client.read_until("ready\n");
    connection.request(&Request::Pause { container: place.id.clone() }, &[]).unwrap();
    assert!(matches!(place.status().state, State::Paused { init: (pid, _) } if pid == init.as_raw()));
    for request in [
        Request::Pause { container: place.id.clone() },
        Request::Kill { container: place.id.clone(), signal: 1, all: false },
        place.exec_request("e", json!({"args": ["/bin/true"], "cwd": "/"}), Default::default()),
        Request::Attach { container: place.id.clone(), streams: Default::default() },
        Request::Remove { container: place.id.clone(), force: false },
    ] {
        let (kind, message) = refused(connection.request(&request, &[]));
        assert!(kind == FailureKind::WrongState && message.starts_with("container is paused"), "{message}");
    }
    connection.request(&Request::Resume { container: place.id.clone() }, &[]).unwrap();
    assert!(matches!(place.status().state, State::Running { .. }));
    connection.request(&Request::Pause { container: place.id.clone() }, &[]).unwrap();
    let Reply::Exited { exit } = place.stop(&connection, Some(0)) else { panic!() };
    assert_eq!(exit.code, 137, "a paused container can be stopped");
}

#[test]
fn an_oom_kill_is_told_from_another() {
    if lacks("memory") {
        return;
    }
    let mut place = Place::new("");
    place.spec["process"]["args"] = json!(["/bin/tail", "/dev/zero"]);
    let limit = 16 << 20;
    place.spec["linux"]["resources"] = json!({"memory": {"limit": limit, "swap": limit}});
    let (connection, _, _) = place.run();
    let exit = place.wait(&connection);
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), true));
    assert!(place.status().last_exit.unwrap().oom_killed);
}

#[test]
fn orphans_are_reaped_and_end_with_the_container() {
    let mut place = Place::new("(sleep 1000 & sleep 0 &); echo ready; read line");
    place.spec["linux"]["namespaces"] = json!([{"type": "mount"}]);
    place.task["stdin"] = json!("once");
    let (connection, shim) = place.spawn();
    let init = place.create(&connection);
    let mut client = place.attach(place.connect(), true);
    place.start(&connection);
    client.read_until("ready\n");
    let children = || {
        let text = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
        text.split_ascii_whitespace().map(|pid| pid.parse::<i32>().unwrap()).collect::<Vec<_>>()
    };
    let orphan = children().into_iter().find(|pid| {
        *pid != init.as_raw()
            && fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("1000"))
    });
    let orphan = nix::unistd::Pid::from_raw(orphan.expect("the orphan is a child of the shim"));
    let orphan = runtime::sys::process::pidfd_open(orphan).unwrap();
    let (_, _, exit) = client.finish();
    assert_eq!(exit.code, 1, "read saw the end of input");
    crate::place::ended(&orphan);
    // Told of the container's end, the shim may have the orphan's still before it.
    while !children().is_empty() {
        place.state(&connection);
    }
    assert!(!place.has_cgroup());
}

#[test]
fn update_changes_limits_and_what_a_restart_reads() {
    if lacks("pids") {
        return;
    }
    let mut place = Place::new("read line");
    place.task["stdin"] = json!("open");
    place.spec["linux"]["resources"] = json!({"pids": {"limit": 50}});
    let (connection, _, _) = place.run();
    let resources = serde_json::from_value(json!({"pids": {"limit": 40}})).unwrap();
    let update =
        |resources, restart| Request::Update { container: place.id.clone(), resources, restart, oom_score_adj: None };
    connection.request(&update(Some(Box::new(resources)), Some(shim::layout::RestartPolicy::Always)), &[]).unwrap();
    let host = runtime::cgroup::Host::detect().unwrap();
    let group = runtime::cgroup::Cgroup::open(&host, &place.id.parse().unwrap()).unwrap().unwrap();
    let stats = serde_json::to_value(group.stats().unwrap()).unwrap();
    assert_eq!(stats["pids"]["limit"], 40, "{stats}");
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(place.dir().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["linux"]["resources"]["pids"]["limit"], 40);
    assert_eq!(config["linux"]["cgroupsPath"], place.id);
    let task = place.directory().task().unwrap().unwrap();
    assert_eq!(task.restart, shim::layout::RestartPolicy::Always);
    let bad = serde_json::from_value(json!({"pids": {"limit": 30}, "unified": {"no.such": "1"}})).unwrap();
    refused(connection.request(&update(Some(Box::new(bad)), None), &[]));
    let stats = serde_json::to_value(group.stats().unwrap()).unwrap();
    assert_eq!(stats["pids"]["limit"], 40, "all or nothing");
    place.stop(&connection, Some(0));
}

#[test]
fn hooks_run_after_start_and_after_the_end() {
    let mut place = Place::new("exit 0");
    let hook = |name: &str, place: &Place| {
        let out = place.path(name);
        json!([{"path": "/bin/busybox", "args": ["sh", "-c", format!("cat > {}", out.display())]}])
    };
    place.spec["hooks"] = json!({"poststart": hook("poststart", &place), "poststop": hook("poststop", &place)});
    let (connection, _, init) = place.run();
    place.wait(&connection);
    let state = |name| -> serde_json::Value { serde_json::from_slice(&fs::read(place.path(name)).unwrap()).unwrap() };
    assert_eq!((&state("poststart")["pid"], &state("poststart")["id"]), (&json!(init.as_raw()), &json!(place.id)));
    assert_eq!(state("poststop")["status"], "stopped");
}

#[test]
fn a_shim_of_several_containers() {
    let place = Place::new("exit 4");
    place.write();
    for name in ["a", "b"] {
        let dir = place.dir().join(name);
        fs::create_dir(&dir).unwrap();
        let (mut spec, mut task) = (place.spec.clone(), place.task.clone());
        spec["linux"]["cgroupsPath"] = json!(format!("{}-{name}", place.id));
        spec["process"]["args"] = json!(["/bin/sh", "-c", format!("echo {name}; read x; exit 4")]);
        task["log"] = json!({"k8s-file": {"path": place.owned().join(format!("log-{name}")), "max_files": 1}});
        task["stdin"] = json!("open");
        fs::write(dir.join("config.json"), spec.to_string()).unwrap();
        fs::write(dir.join("shim.json"), task.to_string()).unwrap();
    }
    let (connection, shim) = place.spawn();
    for name in ["a", "b"] {
        connection.request(&Request::Create { container: name.into(), dir: name.into() }, &[]).unwrap();
        connection.request(&Request::Start { container: name.into() }, &[]).unwrap();
    }
    let stop = |name: &str| {
        let timeout = Some(std::time::Duration::ZERO);
        connection.request(&Request::Stop { container: name.into(), signal: 15, timeout }, &[]).unwrap()
    };
    assert!(matches!(stop("a"), Reply::Exited { exit } if exit.code == 137));
    let Reply::Status { status } = connection.request(&Request::State { container: "b".into() }, &[]).unwrap() else {
        panic!()
    };
    assert!(matches!(status.state, State::Running { .. }), "one ends, the other goes on");
    assert_eq!(connection.request(&Request::Remove { container: "a".into(), force: false }, &[]).unwrap(), Reply::Done);
    assert!(matches!(stop("b"), Reply::Exited { .. }));
    drop(connection);
    gone(shim);
    // Their cgroups went with them; the directory is the test's.
    assert!(fs::read_to_string(place.owned().join("log-b")).unwrap().contains(" stdout F b\n"));
}

/// The next start may meet the shim of the last run in its last moments.
#[test]
fn again_and_again() {
    let place = Place::new("exit 0");
    place.write();
    for _ in 0..30 {
        let connection = shim::client::connect_or_spawn(&program(), &place.dir()).unwrap();
        place.create(&connection);
        place.start(&connection);
        assert_eq!(place.wait(&connection).code, 0);
    }
    let directory = place.directory();
    let lock = directory.lock(shim::local::Wait::No).unwrap();
    directory.remove(&lock, false).unwrap();
    assert!(!place.dir().try_exists().unwrap());
}

/// An overlay of the container's own; a restart finds what the run before wrote.
#[test]
fn layers() {
    let mut place = Place::new("if test -e /written; then ls /; exit 0; fi; touch /written; echo first; exit 1");
    place.task["restart"] = json!({"on_failure": 1});
    let upper = |name: &str| place.owned().join(name);
    place.task["layers"] = json!({"lower": [place.path("rootfs")], "upper": [upper("fs"), upper("work")]});
    for name in ["fs", "work"] {
        fs::create_dir(place.owned().join(name)).unwrap();
    }
    let (connection, shim, _) = place.run();
    assert_eq!(place.wait(&connection).code, 0);
    assert_eq!(place.logged("stdout"), "first\nbin\ndev\nproc\nsys\ntmp\nwritten\n");
    assert!(!place.path("rootfs/written").try_exists().unwrap());
    let remove = Request::Remove { container: place.id.clone(), force: false };
    assert_eq!(connection.request(&remove, &[]).unwrap(), Reply::Done);
    assert!(!place.owned().try_exists().unwrap());
    gone(shim);
}

#[test]
fn a_user_namespace() {
    let mut place = Place::new("echo out > /dev/stdout; id -u; cat /proc/self/uid_map; exit 3");
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let namespaces = place.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
    place.spec["linux"]["uidMappings"] = mapping.clone();
    place.spec["linux"]["gidMappings"] = mapping;
    place.spec["process"]["user"] = json!({"uid": 7, "gid": 7});
    for path in [place.path(""), place.path("rootfs")] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (connection, _) = place.spawn();
    place.create(&connection);
    let client = place.attach(place.connect(), false);
    place.start(&connection);
    let (out, err, exit) = client.finish();
    assert_eq!((exit.code, err.as_str()), (3, ""));
    assert!(out.starts_with("out\n7\n") && out.contains(" 100000 "), "{out}");
}

//! One shim, several containers, shared namespaces.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Pid;
use runtime::sys::process::{pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use shim::client::{self, Connection, Error};
use shim::layout::{Exit, SandboxState, SandboxStatus, State, Status};
use shim::local;
use shim::protocol::{FailureKind, Reply, Request};
use shim::record;

use crate::budgets::{MEMORY_LIMIT, anonymous};
use crate::place::{Place, ended, gone, program};

/// Prints the namespaces that it is in.
const SHOW: &str = "for n in net ipc uts pid user; do ls -l /proc/self/ns/$n; done";

/// A pod with containers `a`, `b`, ...
struct Pod {
    place: Place,
    dir: PathBuf,
    sandbox: Value,
}

impl Pod {
    fn new(namespaces: &[&str]) -> Self {
        let place = Place::new("true");
        let dir = place.path("state/pods-local/pod");
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir).unwrap();
        fs::write(dir.join("pod.json"), "{}").unwrap();
        let sandbox = json!({"version": 1, "namespaces": namespaces, "ends": "on_request"});
        Self { place, dir, sandbox }
    }

    fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.place.id)
    }

    /// The directory of a container that lives below the shim's.
    fn below(&self, name: &str) -> PathBuf {
        self.dir.join("containers").join(self.id(name))
    }

    /// Writes the files of a container at `dir`.
    fn write(&self, name: &str, dir: &std::path::Path, script: &str, change: impl FnOnce(&mut Value, &mut Value)) {
        fs::DirBuilder::new().mode(0o700).recursive(true).create(dir).unwrap();
        let (mut spec, mut task) = (self.place.spec.clone(), self.place.task.clone());
        spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
        spec["linux"]["cgroupsPath"] = json!(self.id(name));
        spec["linux"]["namespaces"] = json!([{"type": "mount"}]);
        spec["mounts"].as_array_mut().unwrap().push(
            json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "size=64k"]}),
        );
        task["sandbox"] = self.sandbox["namespaces"].clone();
        task["log"]["k8s-file"]["path"] = json!(self.log(name));
        task["owned"] = json!([]);
        change(&mut spec, &mut task);
        fs::write(dir.join("config.json"), spec.to_string()).unwrap();
        fs::write(dir.join("shim.json"), task.to_string()).unwrap();
    }

    fn log(&self, name: &str) -> PathBuf {
        self.place.path("upper").join(format!("{name}.log"))
    }

    fn spawn(&self) -> (Connection, Pid) {
        fs::write(self.dir.join("sandbox.json"), self.sandbox.to_string()).unwrap();
        client::spawn(&program(), &self.dir).unwrap()
    }

    fn connect(&self) -> Connection {
        Connection::connect(&self.dir).unwrap().unwrap()
    }

    /// Makes a container below the pod and starts it.
    fn run(&self, connection: &Connection, name: &str, script: &str) -> Pid {
        self.write(name, &self.below(name), script, |_, _| {});
        self.create(connection, name);
        self.start(connection, name)
    }

    fn create(&self, connection: &Connection, name: &str) -> Pid {
        let dir = format!("containers/{}", self.id(name));
        let Reply::Created { pid } =
            connection.request(&Request::Create { container: self.id(name), dir }, &[]).unwrap()
        else {
            panic!()
        };
        Pid::from_raw(pid)
    }

    fn start(&self, connection: &Connection, name: &str) -> Pid {
        let Reply::Started { pid } = connection.request(&Request::Start { container: self.id(name) }, &[]).unwrap()
        else {
            panic!()
        };
        Pid::from_raw(pid)
    }

    fn wait(&self, name: &str) -> Exit {
        let request = Request::Wait { container: self.id(name) };
        let Reply::Exited { exit } = self.connect().request(&request, &[]).unwrap() else { panic!() };
        exit
    }

    fn state(&self, connection: &Connection, name: &str) -> Status {
        let Reply::Status { status } = connection.request(&Request::State { container: self.id(name) }, &[]).unwrap()
        else {
            panic!()
        };
        *status
    }

    fn logged(&self, name: &str) -> String {
        let text = fs::read_to_string(self.log(name)).unwrap();
        text.lines().map(|line| format!("{}\n", line.splitn(4, ' ').nth(3).unwrap())).collect()
    }

    /// Waits until a line is in the log of a container.
    fn logs(&self, connection: &Connection, name: &str, wanted: &str) {
        let until = std::time::Instant::now() + Duration::from_secs(30);
        while !self.logged(name).contains(wanted) {
            assert!(std::time::Instant::now() < until, "{}", self.logged(name));
            self.state(connection, name);
        }
    }

    fn status(&self) -> SandboxStatus {
        local::sandbox_status(fs::File::open(&self.dir).unwrap()).unwrap().unwrap()
    }

    fn stop(&self, connection: &Connection, seconds: u64) {
        let timeout = Some(Duration::from_secs(seconds));
        assert_eq!(connection.request(&Request::StopSandbox { timeout }, &[]).unwrap(), Reply::Done);
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let Ok(dir) = fs::File::open(&self.dir) else { return };
        if let Ok(Some(status)) = record::read::<SandboxStatus>(&dir)
            && record::start_time(status.shim.0) == Ok(Some(status.shim.1))
            && let Ok(pidfd) = pidfd_open(Pid::from_raw(status.shim.0))
        {
            let _ = pidfd_send_signal(&pidfd, 9);
            ended(&pidfd);
        }
        let host = runtime::cgroup::Host::detect().unwrap();
        for name in ["a", "b", "c"] {
            let path = self.id(name).parse().unwrap();
            if let Ok(Some(group)) = runtime::cgroup::Cgroup::open(&host, &path) {
                let _ = group.kill().and_then(|()| group.remove());
            }
        }
    }
}

fn children(pid: Pid) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// The number that the answer has is that of the descriptor which stays, not of one that is closed after the answer: a path by it is good
/// for as long as the pod is.
#[test]
fn the_network_namespace_has_a_lasting_number() {
    let pod = Pod::new(&["network"]);
    let (connection, shim) = pod.spawn();
    let first = connection.sandbox().unwrap();
    let inode = |path: String| fs::metadata(&path).unwrap_or_else(|error| panic!("{path}: {error}")).ino();
    let wanted = fs::File::from(first.network.unwrap()).metadata().unwrap().ino();
    let path = format!("/proc/{shim}/fd/{}", first.network_number.unwrap());
    for _ in 0..100 {
        // What it answered by is closed by now.
        let again = pod.connect().sandbox().unwrap();
        assert_eq!(again.network_number, first.network_number);
        assert_eq!(inode(path.clone()), wanted);
    }
    drop(connection);
}

#[test]
fn containers_share_namespaces_and_shm_and_nothing_else_runs() {
    let mut pod = Pod::new(&["network", "ipc", "uts"]);
    pod.sandbox["hostname"] = json!("podhost");
    pod.sandbox["shm_size"] = json!(1 << 20);
    let (connection, shim) = pod.spawn();
    connection.sandbox().unwrap();
    assert!(children(shim).is_empty(), "nobody keeps the namespaces");
    let script = format!("{SHOW}; cat /proc/sys/kernel/hostname; echo done; exec sleep 1000");
    pod.run(&connection, "a", &format!("echo from a > /dev/shm/x; {script}"));
    pod.logs(&connection, "a", "done");
    pod.run(&connection, "b", &format!("cat /dev/shm/x; grep ' /dev/shm ' /proc/mounts; {script}"));
    pod.logs(&connection, "b", "done");
    assert_eq!(children(shim).len(), 2);
    let used = anonymous(shim);
    assert!(used <= MEMORY_LIMIT, "{used} KiB");
    let (a, b) = (pod.logged("a"), pod.logged("b"));
    let find = |text: &str, kind: &str| {
        let line = text.lines().find(|line| line.contains(&format!(" {kind}:["))).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{kind}: {text}")).rsplit(' ').next().unwrap().to_owned()
    };
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(find(&a, kind), find(&b, kind));
        assert_ne!(find(&a, kind), fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string());
    }
    assert!(b.starts_with("from a\n") && b.contains("podhost\n"), "{b}");
    assert!(b.contains("rw,nosuid,nodev,noexec") && b.contains("size=1024k"), "{b}");
    let status = pod.status();
    assert_eq!((status.state, status.init, status.error), (SandboxState::Ready, None, None));
    // The end of one is not the end of the other, nor of the pod.
    let request = Request::Stop { container: pod.id("a"), signal: 9, timeout: None };
    assert!(matches!(pod.connect().request(&request, &[]).unwrap(), Reply::Exited { .. }));
    assert!(matches!(pod.state(&connection, "b").state, State::Running { .. }));
    pod.stop(&connection, 0);
    assert_eq!(pod.status().state, SandboxState::Ended);
    assert_eq!(pod.state(&connection, "b").state, State::Exited);
    drop(connection);
    gone(shim);
    assert!(Connection::connect(&pod.dir).unwrap().is_none());
}

#[test]
fn a_pod_lives_without_containers_and_its_clients() {
    let pod = Pod::new(&["network"]);
    let (connection, shim) = pod.spawn();
    let first = connection.sandbox().unwrap().network.unwrap();
    drop(connection);
    let connection = pod.connect();
    pod.run(&connection, "a", SHOW);
    assert_eq!(pod.wait("a").code, 0);
    drop(connection);
    let connection = pod.connect();
    let Reply::Created { .. } = connection
        .request(&Request::Create { container: pod.id("a"), dir: format!("containers/{}", pod.id("a")) }, &[])
        .unwrap()
    else {
        panic!()
    };
    pod.start(&connection, "a");
    assert_eq!(pod.wait("a").code, 0);
    let inode = nix::sys::stat::fstat(first.as_fd()).unwrap().st_ino;
    let shown = pod.logged("a");
    assert_eq!(shown.matches(&format!("net:[{inode}]")).count(), 2, "both runs had it: {shown}");
    assert!(matches!(record::start_time(shim.as_raw()), Ok(Some(_))));
    pod.stop(&connection, 1);
}

#[test]
fn a_shared_pid_namespace_has_a_process_one_that_reaps_and_shows_nothing() {
    let pod = Pod::new(&["pid", "ipc"]);
    let (connection, shim) = pod.spawn();
    let init = connection.sandbox().unwrap().init.unwrap();
    assert_eq!(children(shim), vec![init.as_raw()]);
    // An orphan that ends: process 1 of the namespace gets it.
    let script = "cat /proc/1/comm; ls /proc/1/root; ls /proc/1/fd; grep -E 'Cap(Eff|Prm|Bnd)|Seccomp:|NoNewPrivs' /proc/1/status; \
                  (sleep 0.01 & echo orphan $! ) ; echo self $$; echo done; exec sleep 1000";
    pod.run(&connection, "a", script);
    pod.logs(&connection, "a", "done");
    let shown = pod.logged("a");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "init", "{shown}");
    assert!(shown.contains("CapEff:\t0000000000000000") && shown.contains("CapPrm:\t0000000000000000"), "{shown}");
    assert!(shown.contains("Seccomp:\t2") && shown.contains("NoNewPrivs:\t1"), "{shown}");
    // Its descriptors and root are out of reach, or empty.
    let root = fs::read_dir(format!("/proc/{init}/root/")).unwrap().count();
    assert_eq!((root, fs::read_dir(format!("/proc/{init}/fd")).unwrap().count()), (0, 0));
    assert!(!shown.contains("self 1\n"), "the program is not process 1: {shown}");
    // The orphan becomes no zombie.
    let number = lines.iter().find_map(|line| line.strip_prefix("orphan ")).unwrap();
    pod.run(&connection, "b", &format!("while test -d /proc/{number}; do :; done; echo reaped; exec sleep 1000"));
    pod.logs(&connection, "b", "reaped");
    // The end of a container is not the end of the namespace.
    connection.request(&Request::Kill { container: pod.id("a"), signal: 9, all: false }, &[]).unwrap();
    assert_eq!(pod.wait("a").signal, Some(9));
    assert!(matches!(pod.state(&connection, "b").state, State::Running { .. }));
    assert_eq!(pod.status().init, Some(init.as_raw()));
    let pidfd = pidfd_open(init).unwrap();
    pod.stop(&connection, 0);
    ended(&pidfd);
}

#[test]
fn the_end_of_process_one_is_the_end_of_the_pod() {
    let pod = Pod::new(&["pid"]);
    let (connection, shim) = pod.spawn();
    let init = connection.sandbox().unwrap().init.unwrap();
    pod.write("a", &pod.below("a"), "echo up; exec sleep 1000", |_, task| task["restart"] = json!("always"));
    pod.create(&connection, "a");
    pod.start(&connection, "a");
    pidfd_send_signal(pidfd_open(init).unwrap(), 9).unwrap();
    assert_eq!(pod.wait("a").signal, Some(9));
    drop(connection);
    gone(shim);
    let status = pod.status();
    assert_eq!(status.state, SandboxState::Ended);
    assert_eq!(status.error.as_deref(), Some("process 1 of the shared pid namespace has ended (Signal(9))"));
}

#[test]
fn stop_asks_all_and_kills_what_is_left() {
    let pod = Pod::new(&["uts"]);
    let (connection, _) = pod.spawn();
    connection.sandbox().unwrap();
    pod.run(&connection, "a", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done");
    pod.run(&connection, "b", "trap '' TERM; echo up; while :; do sleep 0.01; done");
    pod.write("c", &pod.below("c"), "exit 1", |_, task| task["restart"] = json!("always"));
    pod.create(&connection, "c");
    pod.start(&connection, "c");
    pod.logs(&connection, "a", "up");
    pod.logs(&connection, "b", "up");
    let before = std::time::Instant::now();
    pod.connect().send(&Request::StopSandbox { timeout: None }, &[]).unwrap();
    let late = Request::Create { container: "late".into(), dir: "containers/late".into() };
    while let Err(Error::Failed { kind: FailureKind::Invalid | FailureKind::Internal, .. }) =
        connection.request(&late, &[])
    {}
    let Err(Error::Failed { kind: FailureKind::WrongState, message }) = connection.request(&late, &[]) else {
        panic!()
    };
    assert!(message.contains("being stopped"), "{message}");
    pod.stop(&pod.connect(), 1);
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert_eq!(pod.state(&connection, "a").last_exit.unwrap().code, 3);
    assert_eq!(pod.state(&connection, "b").last_exit.unwrap().signal, Some(9));
    assert_eq!(pod.state(&connection, "c").state, State::Exited);
    // Once more is no error.
    pod.stop(&connection, 1);
}

#[test]
fn removal_leaves_nothing_wherever_the_containers_are() {
    let pod = Pod::new(&["network", "uts"]);
    let (connection, shim) = pod.spawn();
    connection.sandbox().unwrap();
    pod.run(&connection, "a", "exec sleep 1000");
    // One whose directory is elsewhere.
    let own = pod.place.path("state/local").join(pod.id("b"));
    pod.write("b", &own, "exec sleep 1000", |_, task| task["owned"] = json!([pod.place.path("upper/b")]));
    fs::create_dir_all(pod.place.path("upper/b/fs")).unwrap();
    let dir = fs::File::open(&own).unwrap();
    let create = Request::Create { container: pod.id("b"), dir: ".".into() };
    assert!(matches!(connection.request(&create, &[dir.as_fd()]).unwrap(), Reply::Created { .. }));
    pod.start(&connection, "b");
    let host = runtime::cgroup::Host::detect().unwrap();
    let group = |name: &str| runtime::cgroup::Cgroup::open(&host, &pod.id(name).parse().unwrap()).unwrap();
    assert!(group("a").is_some() && group("b").is_some());
    assert_eq!(connection.request(&Request::RemoveSandbox {}, &[]).unwrap(), Reply::Done);
    gone(shim);
    assert!(group("a").is_none() && group("b").is_none());
    for path in [&pod.dir, &own, &pod.place.path("upper/b")] {
        assert!(!path.try_exists().unwrap(), "{}", path.display());
    }
}

#[test]
fn a_container_of_its_own_directory_is_removed_and_the_pod_stays() {
    let pod = Pod::new(&["uts"]);
    let (connection, _) = pod.spawn();
    connection.sandbox().unwrap();
    let own = pod.place.path("state/local").join(pod.id("b"));
    pod.write("b", &own, "exit 0", |_, task| task["auto_remove"] = json!(true));
    let dir = fs::File::open(&own).unwrap();
    let create = Request::Create { container: pod.id("b"), dir: ".".into() };
    connection.request(&create, &[dir.as_fd()]).unwrap();
    let waiting = pod.connect();
    waiting.send(&Request::Wait { container: pod.id("b") }, &[]).unwrap();
    pod.start(&connection, "b");
    assert!(matches!(waiting.receive().unwrap(), Reply::Exited { .. }));
    while !matches!(
        connection.request(&Request::State { container: pod.id("b") }, &[]),
        Err(Error::Failed { kind: FailureKind::NotFound, .. })
    ) {}
    assert!(!own.try_exists().unwrap());
    connection.sandbox().unwrap();
    pod.stop(&connection, 0);
}

#[test]
fn a_pod_dies_with_its_shim() {
    let pod = Pod::new(&["pid", "network"]);
    let (connection, shim) = pod.spawn();
    let init = pidfd_open(connection.sandbox().unwrap().init.unwrap()).unwrap();
    let a = pidfd_open(pod.run(&connection, "a", "exec sleep 1000")).unwrap();
    pidfd_send_signal(pidfd_open(shim).unwrap(), 9).unwrap();
    ended(&a);
    ended(&init);
    gone(shim);
    let status = pod.status();
    assert_eq!((status.state, status.error.as_deref()), (SandboxState::Ended, Some("the shim died")));
    let container = local::Directory::open(&pod.below("a")).unwrap().unwrap();
    assert_eq!(container.status().unwrap().unwrap().state, State::Exited);
    // And it can run again.
    let (connection, _) = pod.spawn();
    connection.sandbox().unwrap();
    pod.run(&connection, "a", "exit 0");
    pod.stop(&connection, 0);
}

#[test]
fn a_user_namespace_for_all() {
    let mut pod = Pod::new(&["user", "network", "ipc", "uts", "pid"]);
    let map = json!([{"containerID": 0, "hostID": 231_072, "size": 65536}]);
    pod.sandbox["uid_mappings"] = map.clone();
    pod.sandbox["gid_mappings"] = map.clone();
    pod.sandbox["hostname"] = json!("mapped");
    pod.sandbox["shm_size"] = json!(1 << 20);
    pod.sandbox["sysctls"] = json!({"net.ipv4.ip_unprivileged_port_start": "80"});
    let (connection, _) = pod.spawn();
    let sandbox = connection.sandbox().unwrap();
    let own = fs::read_to_string(format!("/proc/{}/uid_map", sandbox.init.unwrap())).unwrap();
    assert_eq!(own.split_ascii_whitespace().collect::<Vec<_>>(), ["0", "231072", "65536"]);
    for name in ["a", "b"] {
        let script = "cat /proc/self/uid_map /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/hostname; \
                      id -u; echo x >> /dev/shm/x && cat /dev/shm/x; ls -ln /dev/shm | tail -n 1; echo done; exec sleep 1000";
        pod.write(name, &pod.below(name), script, |spec, _| {
            spec["linux"]["uidMappings"] = map.clone();
            spec["linux"]["gidMappings"] = map.clone();
        });
        let root = pod.place.path("rootfs");
        std::os::unix::fs::chown(&root, Some(231_072), Some(231_072)).unwrap();
        fs::set_permissions(root.parent().unwrap(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        pod.create(&connection, name);
        pod.start(&connection, name);
        pod.logs(&connection, name, "done");
    }
    let shown = pod.logged("b");
    assert!(shown.contains("\n80\nmapped\n0\nx\nx\n"), "{shown}");
    assert!(shown.contains("231072"), "{shown}");
    pod.stop(&connection, 0);
}

/// In the pod's pid namespace.
#[test]
fn nobody_traces_a_container_that_enters() {
    nobody_traces(&Pod::new(&["pid"]), |_| json!([{"type": "mount"}]), |_| json!([{"type": "mount"}]));
}

/// In the pid namespace of another container, as `kubectl debug --target`.
#[test]
fn nobody_traces_a_container_that_enters_another_ones_pids() {
    let own = |_| json!([{"type": "mount"}, {"type": "pid"}]);
    let other = |pid| json!([{"type": "mount"}, {"type": "pid", "path": format!("/proc/{pid}/ns/pid")}]);
    nobody_traces(&Pod::new(&["uts"]), own, other);
}

fn nobody_traces(pod: &Pod, namespaces_of_a: fn(Pid) -> Value, namespaces_of_b: fn(Pid) -> Value) {
    let (connection, _) = pod.spawn();
    connection.sandbox().unwrap();
    let tracer = |spec: &mut Value, _: &mut Value| {
        let all = json!(["CAP_SYS_PTRACE", "CAP_KILL"]);
        spec["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
        spec["linux"]["namespaces"] = namespaces_of_a(Pid::this());
    };
    // It looks for what it can see of the host in any process's root.
    let script = "echo up; while :; do for p in /proc/[0-9]*; do test -e $p/root/proc/1/mem -a -e $p/root/etc/debian_version && echo FOUND $p; done; done";
    pod.write("a", &pod.below("a"), script, tracer);
    pod.create(&connection, "a");
    let a = pod.start(&connection, "a");
    pod.logs(&connection, "a", "up");
    for _ in 0..20 {
        pod.write("b", &pod.below("b"), "exit 0", |spec, _| spec["linux"]["namespaces"] = namespaces_of_b(a));
        pod.create(&connection, "b");
        // Frozen as long as the other one waits.
        let host = runtime::cgroup::Host::detect().unwrap();
        let group = runtime::cgroup::Cgroup::open(&host, &pod.id("a").parse().unwrap()).unwrap().unwrap();
        assert!(group.frozen().unwrap(), "the tracer runs");
        let exec = Request::Exec {
            container: pod.id("a"),
            exec_id: "x".into(),
            process: serde_json::from_value(json!({"args": ["/bin/true"], "cwd": "/"})).unwrap(),
            streams: shim::protocol::Streams::default(),
            options: shim::protocol::ExecOptions::default(),
        };
        let Err(Error::Failed { kind: FailureKind::WrongState, .. }) = pod.connect().request(&exec, &[]) else {
            panic!()
        };
        pod.start(&connection, "b");
        pod.wait("b");
        assert!(!group.frozen().unwrap(), "it goes on");
    }
    assert!(!pod.logged("a").contains("FOUND"), "{}", pod.logged("a"));
    // One that is never started does not stop the others for ever.
    pod.create(&connection, "b");
    let before = std::time::Instant::now();
    while matches!(pod.state(&connection, "b").state, State::Created { .. } | State::Running { .. }) {}
    assert!((9..20).contains(&before.elapsed().as_secs()));
    assert!(pod.state(&connection, "b").error.unwrap().starts_with("not started within 10 s"));
    pod.stop(&connection, 0);
}

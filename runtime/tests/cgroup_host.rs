//! Control groups on the running kernel. Needs root; uses groups named `/rt-test-PID-NAME` and removes them.
//!
//! On a hybrid host each test runs twice: as it is, and as if cgroup2 were not mounted (v1 only). Run the binary in a mount
//! namespace with cgroup2 on /sys/fs/cgroup, or in a machine that has it there, for v2.
#![allow(clippy::unwrap_used, reason = "a test program")]

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use runtime::cgroup::{Cgroup, Error, Host, Mode, Path};
use runtime::spec::Resources;
use serde_json::json;

/// A view of this host, and a scratch group in it that is removed in the end.
struct Scratch {
    host: Host,
    top: String,
}

/// How many views are in use, and `cgroup.subtree_control` of the cgroup2 root as it was before the first of them.
static IN_USE: Mutex<(usize, String)> = Mutex::new((0, String::new()));

fn subtree_control(host: &Host) -> Option<PathBuf> {
    host.cgroup2().map(|mount| mount.join("cgroup.subtree_control"))
}

impl Scratch {
    fn path(&self, name: &str) -> Path {
        format!("{}/{name}", self.top).parse().unwrap()
    }

    fn create(&self, name: &str) -> Cgroup {
        Cgroup::create(&self.host, &self.path(name)).unwrap()
    }

    /// Directory of the group `name` in the hierarchy of a controller; `cgroup` is the cgroup2 mount. `None`: not mounted.
    fn dir(&self, controller: &str, name: &str) -> Option<PathBuf> {
        let below = |mount: &std::path::Path| mount.join(&self.top[1..]).join(name);
        let is = |point: &&PathBuf| {
            point.file_name().is_some_and(|last| last.to_str().unwrap().split(',').any(|n| n == controller))
        };
        if let Some(point) = self.host.hierarchies().find(is) {
            return Some(below(point));
        }
        let v2 = self.host.cgroup2()?;
        let controllers = std::fs::read_to_string(v2.join("cgroup.controllers")).unwrap();
        let name = if controller == "blkio" { "io" } else { controller };
        (name == "cgroup" || controllers.split_whitespace().any(|one| one == name)).then(|| below(v2))
    }

    fn read(&self, controller: &str, name: &str, file: &str) -> String {
        let path = self.dir(controller, name).unwrap().join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        text.trim().to_owned()
    }

    fn is_v1(&self, controller: &str) -> bool {
        self.host.mode() != Mode::V2 && Some(self.dir(controller, "")) != Some(self.dir("cgroup", ""))
    }

    /// Whether a test that needs these controllers can run; says why not.
    fn lacks(&self, test: &str, controllers: &[&str]) -> bool {
        let missing: Vec<_> = controllers.iter().filter(|one| self.dir(one, "").is_none()).collect();
        if !missing.is_empty() {
            println!("{test}: skipped on {:?}: this host has no {missing:?}", self.host.mode());
        }
        !missing.is_empty()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(group) = Cgroup::open(&self.host, &self.top.parse().unwrap()).unwrap() {
            let removed = group.remove();
            if !std::thread::panicking() {
                removed.unwrap();
                assert!(Cgroup::open(&self.host, &self.top.parse().unwrap()).unwrap().is_none());
            }
        }
        let Ok(mut in_use) = IN_USE.lock() else { return };
        in_use.0 -= 1;
        if let Some(file) = subtree_control(&self.host).filter(|_| in_use.0 == 0) {
            let now = std::fs::read_to_string(&file).unwrap();
            for added in now.split_whitespace().filter(|one| !in_use.1.split_whitespace().any(|old| old == *one)) {
                // Groups of other programs may use it by now: then it stays.
                let _ = std::fs::write(&file, format!("-{added}"));
            }
        }
    }
}

/// The views of this host; none, with a message, if this is not root.
fn views(test: &str) -> Vec<Scratch> {
    if !nix::unistd::geteuid().is_root() {
        println!("{test}: skipped: needs root");
        return Vec::new();
    }
    let mut hosts = vec![Host::detect().unwrap()];
    if hosts[0].mode() == Mode::Hybrid {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let v1: String =
            table.lines().filter(|line| !line.contains(" - cgroup2 ")).map(|line| format!("{line}\n")).collect();
        hosts.push(Host::from_mountinfo(v1.as_bytes()).unwrap());
        assert_eq!(hosts[1].mode(), Mode::V1);
    }
    let scratch = |host: Host| {
        let mut in_use = IN_USE.lock().unwrap();
        if let Some(file) = subtree_control(&host).filter(|_| in_use.0 == 0) {
            in_use.1 = std::fs::read_to_string(file).unwrap();
        }
        in_use.0 += 1;
        let top = format!("/rt-test-{}-{test}-{:?}", std::process::id(), host.mode());
        Scratch { host, top }
    };
    hosts.into_iter().map(scratch).collect()
}

fn resources(json: serde_json::Value) -> Resources {
    serde_json::from_value(json).unwrap()
}

/// A shell that runs `script` inside the group from its first command on; killed and reaped when dropped.
struct Inside(Child);

impl Inside {
    fn start(group: &Cgroup, script: &str) -> Inside {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        group.add(Pid::from_raw(child.id().try_into().unwrap())).unwrap();
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        Inside(child)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap())
    }

    /// Reads from its output until the line `word` has come.
    fn says(&mut self, word: &str) {
        use std::io::BufRead;
        let output = std::io::BufReader::new(self.0.stdout.as_mut().unwrap());
        assert!(output.lines().any(|line| line.unwrap() == word), "{word}");
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SLEEP: &str = "echo ready; exec sleep 1000";
const SPIN: &str = "echo ready; while :; do :; done";

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn root_limits_reach_the_files() {
    for at in views("limits") {
        if at.lacks("limits", &["memory", "cpu", "pids"]) {
            continue;
        }
        const M: i64 = 1 << 20;
        let group = at.create("c");
        let memory = |limit: i64, both: i64| json!({"limit": limit * M, "swap": both * M, "reservation": 16 * M});
        group
            .apply(&resources(json!({
                "memory": memory(64, 96),
                "cpu": {"shares": 512, "quota": 50000, "period": 100_000, "burst": 1000},
                "pids": {"limit": 77},
            })))
            .unwrap();
        assert_eq!(at.read("pids", "c", "pids.max"), "77");
        let v1 = at.is_v1("memory");
        let check_memory = |limit: i64, both: i64| {
            if v1 {
                assert_eq!(at.read("memory", "c", "memory.limit_in_bytes"), (limit * M).to_string());
                assert_eq!(at.read("memory", "c", "memory.memsw.limit_in_bytes"), (both * M).to_string());
                assert_eq!(at.read("memory", "c", "memory.soft_limit_in_bytes"), (16 * M).to_string());
            } else {
                assert_eq!(at.read("memory", "c", "memory.max"), (limit * M).to_string());
                assert_eq!(at.read("memory", "c", "memory.low"), (16 * M).to_string());
                if at.dir("memory", "c").unwrap().join("memory.swap.max").try_exists().unwrap() {
                    assert_eq!(at.read("memory", "c", "memory.swap.max"), ((both - limit) * M).to_string());
                }
            }
        };
        check_memory(64, 96);
        if v1 {
            assert_eq!(at.read("cpu", "c", "cpu.shares"), "512");
            assert_eq!(at.read("cpu", "c", "cpu.cfs_quota_us"), "50000");
            assert_eq!(at.read("cpu", "c", "cpu.cfs_period_us"), "100000");
            assert_eq!(at.read("cpu", "c", "cpu.cfs_burst_us"), "1000");
        } else {
            assert_eq!(at.read("cpu", "c", "cpu.weight"), "59");
            assert_eq!(at.read("cpu", "c", "cpu.max"), "50000 100000");
            assert_eq!(at.read("cpu", "c", "cpu.max.burst"), "1000");
        }

        // Updates through another handle: up, over the old sum, down, and a part.
        let group = Cgroup::open(&at.host, &at.path("c")).unwrap().unwrap();
        for (limit, both) in [(128, 256), (256, 256), (32, 40), (48, 48)] {
            group.apply(&resources(json!({"memory": memory(limit, both)}))).unwrap();
            check_memory(limit, both);
        }
        group.apply(&resources(json!({"cpu": {"period": 200_000}}))).unwrap();
        group.apply(&resources(json!({"cpu": {"quota": 500, "burst": 0}}))).unwrap_err();
        group.apply(&resources(json!({"cpu": {"quota": 30000, "burst": 20000}}))).unwrap();
        if v1 {
            assert_eq!(at.read("cpu", "c", "cpu.cfs_quota_us"), "30000");
            assert_eq!(at.read("cpu", "c", "cpu.cfs_period_us"), "200000");
            assert_eq!(at.read("cpu", "c", "cpu.cfs_burst_us"), "20000");
        } else {
            assert_eq!(at.read("cpu", "c", "cpu.max"), "30000 200000");
            assert_eq!(at.read("cpu", "c", "cpu.max.burst"), "20000");
        }
        group.apply(&resources(json!({"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}}))).unwrap();
        assert_eq!(at.read("pids", "c", "pids.max"), "max");
        let stats = group.stats().unwrap();
        let memory = stats.memory.unwrap();
        assert_eq!((memory.limit_bytes, memory.swap_limit_bytes, stats.pids.unwrap().limit), (None, None, None));
        group.remove().unwrap();
    }
}

#[test]
fn root_cpuset_is_inherited_level_by_level() {
    for at in views("cpuset") {
        if at.lacks("cpuset", &["cpuset"]) {
            continue;
        }
        let group = at.create("a/b/c");
        let mut child = Inside::start(&group, SLEEP);
        child.says("ready");
        group.apply(&resources(json!({"cpu": {"cpus": "0", "mems": "0"}}))).unwrap();
        assert_eq!(at.read("cpuset", "a/b/c", "cpuset.cpus"), "0");
        assert_eq!(at.read("cpuset", "a/b/c", "cpuset.mems"), "0");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        let error = group.apply(&resources(json!({"cpu": {"cpus": "4095"}})));
        if at.is_v1("cpuset") {
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with("linux.resources.cpu.cpus: write("), "{error}");
            assert!(error.contains("not all of these exist"), "{error}");
        }
        group.kill().unwrap();
        group.remove().unwrap();
    }
}

#[test]
fn root_block_io() {
    for at in views("blkio") {
        if at.lacks("blkio", &["blkio"]) {
            continue;
        }
        // Any real disk will do: the group has no processes.
        let disks = std::fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
        let Some(disk) = disks.filter(|disk| disk.join("device").try_exists().unwrap()).min() else {
            println!("blkio: skipped: this host has no block device");
            continue;
        };
        let device = std::fs::read_to_string(disk.join("dev")).unwrap().trim().to_owned();
        let (major, minor) =
            device.split_once(':').map(|(a, b)| (a.parse::<i64>().unwrap(), b.parse::<i64>().unwrap())).unwrap();
        let group = at.create("c");
        let throttle = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
        let limits =
            json!({"blockIO": {"throttleReadBpsDevice": throttle(1 << 20), "throttleWriteIOPSDevice": throttle(50)}});
        match group.apply(&resources(limits)) {
            Ok(()) if at.is_v1("blkio") => {
                assert_eq!(at.read("blkio", "c", "blkio.throttle.read_bps_device"), format!("{device} 1048576"));
                assert_eq!(at.read("blkio", "c", "blkio.throttle.write_iops_device"), format!("{device} 50"));
                group.apply(&resources(json!({"blockIO": {"throttleReadBpsDevice": throttle(0)}}))).unwrap();
                assert_eq!(at.read("blkio", "c", "blkio.throttle.read_bps_device"), "");
            }
            Ok(()) => {
                assert_eq!(
                    at.read("blkio", "c", "io.max"),
                    format!("{device} rbps=1048576 wbps=max riops=max wiops=50")
                );
                group.apply(&resources(json!({"blockIO": {"throttleReadBpsDevice": throttle(0)}}))).unwrap();
                assert_eq!(at.read("blkio", "c", "io.max"), format!("{device} rbps=max wbps=max riops=max wiops=50"));
            }
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.contains("linux.resources.blockIO.throttleReadBpsDevice[0]") && text.contains("ENOENT"),
                    "{text}"
                );
                println!("blkio: throttles skipped: this kernel has none: {text}");
            }
        }
        match group.apply(&resources(json!({"blockIO": {"weight": 500}}))) {
            Ok(()) => {
                let weights = ["blkio.bfq.weight", "blkio.weight", "io.bfq.weight", "io.weight"];
                let dir = at.dir("blkio", "c").unwrap();
                let file = weights.into_iter().find(|file| dir.join(file).try_exists().unwrap()).unwrap();
                let expected = if file == "io.weight" { "default 4950" } else { "500" };
                assert_eq!(
                    at.read("blkio", "c", file).trim_start_matches("default ").trim(),
                    expected.trim_start_matches("default ")
                );
            }
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.starts_with("linux.resources.blockIO.weight: write(") && text.contains("ENOENT"),
                    "{text}"
                );
                println!("blkio: weight skipped: this kernel has no weights: {text}");
            }
        }
        let missing = group
            .apply(&resources(json!({"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 1, "rate": 5}]}})));
        let missing = missing.unwrap_err().to_string();
        assert!(missing.starts_with("linux.resources.blockIO.throttleReadBpsDevice[0]: write("), "{missing}");
        group.remove().unwrap();
    }
}

#[test]
fn root_freeze_stops_and_thaw_goes_on() {
    for at in views("freeze") {
        let group = at.create("c");
        let mut child = Inside::start(&group, SPIN);
        child.says("ready");
        let ticks = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
            let fields: Vec<u64> =
                stat.split_whitespace().skip(13).take(2).map(|field| field.parse().unwrap()).collect();
            fields[0] + fields[1]
        };
        let start = ticks();
        until("it runs", || ticks() > start);
        assert!(!group.frozen().unwrap());
        group.freeze().unwrap();
        assert!(group.frozen().unwrap());
        group.freeze().unwrap();
        let stopped = ticks();
        let other = Command::new("/bin/sh").args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]).status();
        assert!(other.unwrap().success());
        assert_eq!(ticks(), stopped, "it runs although it is frozen");
        group.thaw().unwrap();
        assert!(!group.frozen().unwrap());
        until("it runs again", || ticks() > stopped);
        group.kill().unwrap();
        assert!(!group.frozen().unwrap());
        group.remove().unwrap();
    }
}

#[test]
fn root_kill_takes_the_whole_tree_even_frozen() {
    for at in views("kill") {
        let group = at.create("c");
        let mut child = Inside::start(
            &group,
            "trap '' TERM HUP INT; for i in 1 2 3 4 5 6 7 8; do (sleep 1000 & wait) & done; echo ready; wait",
        );
        child.says("ready");
        until("the tree is there", || group.processes().unwrap().len() >= 17);
        let members = group.processes().unwrap();
        assert!(members.contains(&child.pid()));
        // A group that the container made, with a process in it, in each hierarchy.
        let nested = Cgroup::create(&at.host, &at.path("c/own/deep")).unwrap();
        let mut deep = Inside::start(&nested, SLEEP);
        deep.says("ready");
        assert_eq!(group.processes().unwrap().len(), members.len() + 1);
        group.freeze().unwrap();
        group.kill().unwrap();
        assert_eq!(group.processes().unwrap(), []);
        assert_eq!(child.0.wait().unwrap().signal(), Some(9));
        assert_eq!(deep.0.wait().unwrap().signal(), Some(9));
        for pid in members {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(state.is_empty() || state.contains(") Z ") || state.contains(") X "), "{state}");
        }
        group.kill().unwrap();
        group.remove().unwrap();
        group.remove().unwrap();
        group.kill().unwrap();
        assert_eq!(group.processes().unwrap(), []);
        assert!(Cgroup::open(&at.host, &at.path("c")).unwrap().is_none());
    }
}

#[test]
fn root_kill_ends_a_fork_bomb() {
    for at in views("bomb") {
        if at.lacks("bomb", &["pids"]) {
            continue;
        }
        let group = at.create("c");
        group.apply(&resources(json!({"pids": {"limit": 60}}))).unwrap();
        let mut child = Inside::start(&group, "echo ready; bomb() { bomb & bomb & sleep 0; bomb; }; bomb");
        child.says("ready");
        until("it has gone off", || group.stats().unwrap().pids.unwrap().current > 30);
        group.kill().unwrap();
        // pids.current still counts the dead until their parent, pid 1 by now, has waited for them.
        assert_eq!(group.processes().unwrap(), []);
        group.remove().unwrap();
    }
}

#[test]
fn root_kill_names_what_remains() {
    for at in views("remain") {
        if at.host.mode() != Mode::V1 {
            println!("remain: skipped on {:?}: frozen processes can be killed there", at.host.mode());
            continue;
        }
        let group = at.create("c");
        let mut child = Inside::start(&group, SLEEP);
        child.says("ready");
        // Frozen from above, where the group itself cannot let go.
        let above = Cgroup::open(&at.host, &at.top.parse().unwrap()).unwrap().unwrap();
        above.freeze().unwrap();
        match group.kill_within(Duration::from_millis(300)) {
            Err(Error::Remaining { pids, .. }) => assert_eq!(pids, [child.pid().as_raw()]),
            other => panic!("{other:?}"),
        }
        above.thaw().unwrap();
        assert_eq!(child.0.wait().unwrap().signal(), Some(9));
        group.remove().unwrap();
    }
}

#[test]
fn root_signal_reaches_all() {
    for at in views("signal") {
        let group = at.create("c");
        let mut children: Vec<Inside> = (0..3).map(|_| Inside::start(&group, SLEEP)).collect();
        children.iter_mut().for_each(|child| child.says("ready"));
        group.signal(Signal::SIGTERM).unwrap();
        for child in &mut children {
            assert_eq!(child.0.wait().unwrap().signal(), Some(15));
        }
        let mut last = Inside::start(&group, SLEEP);
        last.says("ready");
        group.signal(Signal::SIGKILL).unwrap();
        assert_eq!(last.0.wait().unwrap().signal(), Some(9));
        group.remove().unwrap();
    }
}

#[test]
fn root_processes_join_by_files_and_descriptor() {
    for at in views("join") {
        let group = at.create("c");
        let files = group.procs_files().unwrap();
        assert_eq!(files.len(), at.host.hierarchies().count());
        let us = std::process::id();
        let links: String = files.iter().map(|file| format!("echo 0 > /proc/{us}/fd/{}; ", file.as_raw_fd())).collect();
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("{links} echo ready; exec sleep 1000")])
            .stdout(Stdio::piped())
            .spawn()
            .map(Inside)
            .unwrap();
        child.says("ready");
        let membership = std::fs::read_to_string(format!("/proc/{}/cgroup", child.pid())).unwrap();
        for line in membership.lines().filter(|line| !line.starts_with("0::")) {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, place) = (fields.next().unwrap(), fields.next().unwrap());
            if at.dir(controllers.trim_start_matches("name="), "").is_some() {
                assert!(place.ends_with(&format!("{}/c", at.top)), "{line}");
            }
        }
        match group.clone_into() {
            Some(dir) => {
                let named = std::fs::metadata(at.dir("cgroup", "c").unwrap()).unwrap();
                assert_eq!(nix::sys::stat::fstat(dir).unwrap().st_ino, named.ino());
            }
            None => assert_eq!(at.host.mode(), Mode::V1),
        }
        if at.host.mode() != Mode::V2 {
            // On a hybrid host it is in the v1 hierarchies alone: kill finds it all the same.
            group.kill().unwrap();
            assert_eq!(child.0.wait().unwrap().signal(), Some(9));
        }
        group.remove().unwrap();
    }
}

#[test]
fn root_existing_groups() {
    for at in views("existing") {
        let group = at.create("c");
        group.freeze().unwrap();
        // Empty: taken over, and thawed, or its first process would never run.
        let again = at.create("c");
        assert!(!again.frozen().unwrap());
        let mut child = Inside::start(&again, SLEEP);
        child.says("ready");
        match Cgroup::create(&at.host, &at.path("c")) {
            Err(Error::Busy { pids, .. }) => assert_eq!(pids, [child.pid().as_raw()]),
            other => panic!("{other:?}"),
        }
        assert_eq!(again.processes().unwrap(), [child.pid()]);
        // Removing kills what is left.
        again.remove().unwrap();
        assert_eq!(child.0.wait().unwrap().signal(), Some(9));
        assert!(Cgroup::open(&at.host, &at.path("c")).unwrap().is_none());
    }
}

#[test]
fn root_failed_create_leaves_nothing() {
    for at in views("rollback") {
        if at.host.mode() != Mode::V1 {
            continue;
        }
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let v1: String =
            table.lines().filter(|line| !line.contains(" - cgroup2 ")).map(|line| format!("{line}\n")).collect();
        let broken =
            Host::from_mountinfo(format!("{v1}1 1 9:999 / /nonexistent rw - cgroup2 none rw\n").as_bytes()).unwrap();
        let error = Cgroup::create(&broken, &at.path("c")).unwrap_err();
        assert_eq!(error.to_string(), format!("mkdir(\"/nonexistent{}\"): ENOENT", at.top));
        assert!(Cgroup::open(&at.host, &at.top.parse().unwrap()).unwrap().is_none());
    }
}

#[test]
fn root_pids_limit_bites() {
    for at in views("pids") {
        if at.lacks("pids", &["pids"]) {
            continue;
        }
        let group = at.create("c");
        group.apply(&resources(json!({"pids": {"limit": 3}}))).unwrap();
        let mut child = Inside::start(&group, "sleep 1000 & sleep 1000 & echo ready; sleep 1000 & echo unreachable");
        child.says("ready");
        assert_eq!(child.0.wait().unwrap().code(), Some(2), "the shell cannot fork");
        let pids = group.stats().unwrap().pids.unwrap();
        assert_eq!((pids.current, pids.limit), (2, Some(3)));
        group.kill().unwrap();
        group.remove().unwrap();
    }
}

#[test]
fn root_oom_is_counted_and_announced() {
    for at in views("oom") {
        if at.lacks("oom", &["memory"]) {
            continue;
        }
        let group = at.create("c");
        group.apply(&resources(json!({"memory": {"limit": 32 << 20, "swap": 32 << 20}}))).unwrap();
        let oom = group.oom_fd().unwrap().unwrap();
        let ready = |timeout: PollTimeout| {
            let wanted = if oom.interest().contains(nix::sys::epoll::EpollFlags::EPOLLPRI) {
                PollFlags::POLLPRI
            } else {
                PollFlags::POLLIN
            };
            let mut fds = [PollFd::new(oom.as_fd(), wanted)];
            poll(&mut fds, timeout).unwrap() == 1
        };
        assert!(!ready(PollTimeout::ZERO));
        assert_eq!(group.oom_kills().unwrap(), 0);
        let mut hog = Inside::start(&group, "exec dd if=/dev/zero of=/dev/null bs=256M count=1");
        assert!(ready(PollTimeout::try_from(20_000).unwrap()));
        assert_eq!(hog.0.wait().unwrap().signal(), Some(9));
        until("it is counted", || group.oom_kills().unwrap() == 1);
        oom.acknowledge().unwrap();
        assert!(!ready(PollTimeout::ZERO), "acknowledged");

        // In a group that the container made, by the same limit.
        let nested = Cgroup::create(&at.host, &at.path("c/own")).unwrap();
        let mut hog = Inside::start(&nested, "exec dd if=/dev/zero of=/dev/null bs=256M count=1");
        assert!(ready(PollTimeout::try_from(20_000).unwrap()));
        assert_eq!(hog.0.wait().unwrap().signal(), Some(9));
        until("it is counted", || group.oom_kills().unwrap() == 2);
        let memory = group.stats().unwrap().memory.unwrap();
        assert_eq!((memory.oom_kills, memory.limit_bytes), (2, Some(32 << 20)));
        group.remove().unwrap();
        assert!(ready(PollTimeout::ZERO), "ready when the group is gone");
    }
}

#[test]
fn root_stats_count_what_was_used() {
    for at in views("stats") {
        let group = at.create("c");
        let mut child = Inside::start(
            &group,
            "dd if=/dev/zero of=/dev/null bs=24M count=40 2>/dev/null; echo ready; exec sleep 1000",
        );
        child.says("ready");
        let stats = group.stats().unwrap();
        if at.host.mode() == Mode::V2 || at.dir("cpuacct", "").is_some() {
            assert!(stats.cpu.usage_ns > 1_000_000, "{stats:?}");
            assert!(stats.cpu.user_ns + stats.cpu.system_ns > 0);
        }
        if at.dir("memory", "").is_some() {
            let memory = stats.memory.unwrap();
            assert!(memory.usage_bytes > 0 && memory.anon_bytes > 0 && memory.page_faults > 0, "{memory:?}");
            assert!(memory.working_set_bytes <= memory.usage_bytes);
            assert!(memory.peak_bytes.is_none_or(|peak| peak >= 24 << 20), "{memory:?}");
        }
        if at.dir("pids", "").is_some() {
            assert_eq!(stats.pids.unwrap().current, 1);
        }
        if let Some(huge) = stats.hugetlb.first() {
            assert_eq!((huge.usage_bytes, huge.failures), (0, 0));
        }
        let text = serde_json::to_value(&stats).unwrap();
        assert!(text["cpu"]["usage_ns"].is_u64());
        group.kill().unwrap();
        group.remove().unwrap();
    }
}

#[test]
fn root_device_rules_bite() {
    let rule = |allow: bool, minor: i64, access: &str| json!({"allow": allow, "type": "c", "major": 1, "minor": minor, "access": access});
    for at in views("devices") {
        let group = at.create("c");
        let everything = json!({"allow": false, "access": "rwm"});
        let reads = |device: &str| {
            let mut child = Inside::start(&group, &format!("head -c1 {device} > /dev/null"));
            child.0.wait().unwrap().success()
        };
        assert!(reads("/dev/zero"));
        // /dev/null is needed by the shells of this test.
        let rules = json!({"devices": [everything, rule(true, 3, "rw"), rule(true, 5, "rwm"), rule(false, 5, "w"), rule(true, 8, "w")]});
        match group.apply(&resources(rules)) {
            Err(error)
                if error.to_string().contains("bpf(BPF_PROG_ATTACH") && error.to_string().contains("EINVAL")
                    || error.to_string().contains("ENOSYS") =>
            {
                println!("devices: skipped: this kernel has no device programs: {error}");
                group.remove().unwrap();
                continue;
            }
            applied => applied.unwrap(),
        }
        assert!(reads("/dev/null"));
        assert!(reads("/dev/zero"));
        assert!(!reads("/dev/random"), "write only");
        assert!(!reads("/dev/urandom"), "not named");
        let mut writer = Inside::start(&group, "exec 3> /dev/zero");
        assert!(!writer.0.wait().unwrap().success(), "denied again");

        // An update through another handle replaces the rules, in place.
        let update = Cgroup::open(&at.host, &at.path("c")).unwrap().unwrap();
        update.apply(&resources(json!({"devices": [everything, rule(true, 3, "rw"), rule(true, 9, "r")]}))).unwrap();
        assert!(!reads("/dev/zero"));
        assert!(reads("/dev/urandom"));
        // And through the same one, to everything.
        group.apply(&resources(json!({"devices": [{"allow": true}]}))).unwrap();
        assert!(reads("/dev/zero"));
        // None: nothing is touched.
        group.apply(&resources(json!({"devices": []}))).unwrap();
        assert!(reads("/dev/urandom"));
        group.remove().unwrap();
    }
}

#[test]
fn root_missing_controllers_are_refused_before_anything_is_written() {
    for at in views("missing") {
        if at.host.mode() != Mode::V2 || at.dir("memory", "").is_some() {
            println!("missing: skipped on {:?}: this host has all controllers", at.host.mode());
            continue;
        }
        let group = at.create("c");
        let error = group.apply(&resources(json!({"memory": {"limit": 1 << 20}}))).unwrap_err().to_string();
        assert_eq!(
            error,
            "linux.resources.memory.limit: needs the cgroup controller memory, which this host does not offer to its groups \
             (cgroup.controllers)"
        );
        assert_eq!(group.oom_kills().unwrap(), 0);
        assert!(group.oom_fd().unwrap().is_none());
        group.remove().unwrap();
    }
}

#[test]
fn root_groups_below_a_group_with_processes() {
    for at in views("internal") {
        if at.host.mode() != Mode::V2 || at.lacks("internal", &["memory", "pids"]) {
            println!("internal: skipped on {:?}", at.host.mode());
            continue;
        }
        let above = at.create("c");
        let mut child = Inside::start(&above, SLEEP);
        child.says("ready");
        // No controllers, but it works; only a limit that needs one is refused, with the reason.
        let group = at.create("c/own");
        let mut inside = Inside::start(&group, SLEEP);
        inside.says("ready");
        let error = group.apply(&resources(json!({"pids": {"limit": 5}}))).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "linux.resources.pids.limit: needs the cgroup controller pids, which a group above does not pass on: \
                 write(\"/sys/fs/cgroup{}/c/cgroup.subtree_control\", \"+pids\"): EBUSY (a process sits in this group; \
                 controllers reach only children of groups without processes of their own)",
                at.top
            )
        );
        above.remove().unwrap();
        assert_eq!(inside.0.wait().unwrap().signal(), Some(9));
    }
}

#[test]
fn root_hugepages_and_unified() {
    for at in views("hugetlb") {
        // On a hybrid host this would enable a controller in the machine's own root group.
        if at.host.mode() != Mode::V2 || at.lacks("hugetlb", &["hugetlb"]) {
            println!("hugetlb: skipped on {:?}", at.host.mode());
            continue;
        }
        let group = at.create("c");
        group.apply(&resources(json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}))).unwrap();
        assert_eq!(at.read("cgroup", "c", "hugetlb.2MB.max"), (4 << 20).to_string());
        assert_eq!(at.read("cgroup", "c", "hugetlb.2MB.rsvd.max"), (4 << 20).to_string());
        group.apply(&resources(json!({"unified": {"hugetlb.2MB.max": "2097152", "cgroup.max.depth": "3"}}))).unwrap();
        assert_eq!(at.read("cgroup", "c", "hugetlb.2MB.max"), (2 << 20).to_string());
        assert_eq!(at.read("cgroup", "c", "cgroup.max.depth"), "3");
        let huge = group.stats().unwrap().hugetlb;
        assert!(huge.iter().any(|huge| huge.page_size == "2MB" && huge.limit_bytes == Some(2 << 20)), "{huge:?}");
        let error = group.apply(&resources(json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}))).unwrap_err();
        assert!(error.to_string().contains("the kernel does not have huge pages of this size"), "{error}");
        group.remove().unwrap();
    }
}

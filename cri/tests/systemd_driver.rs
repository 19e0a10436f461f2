//! systemd's cgroup driver, against a systemd that runs the host: `hack/uml-systemd PATH/systemd_driver-HASH --test-threads=1`.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cri::cgroup::{CgroupDriver, is_booted};
use cri::config::CgroupDriver as Choice;
use nix::unistd::Pid;
use runtime::cgroup::{Cgroup, Host};
use runtime::spec::{Cpu, Memory, Pids, Resources};

const PARENT: &str = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice";

/// systemd as pid 1, used by one test at a time: some restart it.
struct Lab {
    driver: CgroupDriver,
    runtime: tokio::runtime::Runtime,
    _turn: MutexGuard<'static, ()>,
}

/// `None`, and says so, where systemd does not run the host.
fn lab() -> Option<Lab> {
    static TURN: Mutex<()> = Mutex::new(());
    if !is_booted() {
        eprintln!("skipped: systemd does not run this host (hack/uml-systemd has one that it does)");
        return None;
    }
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let built = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let shim = std::env::var_os("RT_PROGRAMS").map_or_else(built, PathBuf::from).join("rt-shim");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    Some(Lab { driver: CgroupDriver::new(Choice::Auto, shim), runtime, _turn: turn })
}

fn output(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn shown(unit: &str, properties: &[&str]) -> Vec<String> {
    let value = |property: &&str| run("systemctl", &["show", "--value", "-p", property, unit]);
    properties.iter().map(value).collect()
}

fn units() -> String {
    run("systemctl", &["list-units", "--all", "--no-legend", "--plain", "rt-*.scope"])
}

/// Asks systemd until it says so; a question takes it some ten milliseconds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
    }
}

fn group(path: &str) -> PathBuf {
    Host::detect().unwrap().cgroup2().unwrap().join(path.trim_start_matches('/'))
}

fn read(path: &str, file: &str) -> String {
    let path = group(path).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim().to_owned()
}

fn limits(memory: i64) -> Resources {
    Resources {
        memory: Some(Memory { limit: Some(memory), ..Memory::default() }),
        cpu: Some(Cpu { shares: Some(512), quota: Some(50_000), period: Some(100_000), ..Cpu::default() }),
        pids: Some(Pids { limit: Some(20) }),
        ..Resources::default()
    }
}

/// What the shim does with the path: a group with limits, and a process that is born in it.
fn container(path: &str, resources: &Resources) -> (Cgroup, Child) {
    let group = Cgroup::create(&Host::detect().unwrap(), &path.parse().unwrap()).unwrap();
    group.apply(resources).unwrap();
    let process = Command::new("sleep").arg("1000").spawn().unwrap();
    group.add(Pid::from_raw(process.id().cast_signed())).unwrap();
    (group, process)
}

#[test]
fn root_life_of_a_scope() {
    let Some(lab) = lab() else { return };
    let scope = "rt-a1.scope";
    let place = format!("{PARENT}/{scope}");
    let placement = lab.runtime.block_on(lab.driver.prepare(PARENT, "a1", &limits(64 << 20))).unwrap();
    let path = lab.driver.container_path(PARENT, "a1").unwrap();
    assert_eq!(path, format!("{place}/container"));
    assert_eq!(lab.driver.pod_path(PARENT).unwrap(), PARENT);
    let slice = PARENT.rsplit('/').next().unwrap();
    let of_the_scope = shown(scope, &["Slice", "ActiveState", "Delegate", "ControlGroup", "DefaultDependencies"]);
    assert_eq!(of_the_scope, [slice, "active", "yes", &place, "no"]);
    let told = shown(scope, &["MemoryMax", "CPUWeight", "CPUQuotaPerSecUSec", "TasksMax"]);
    assert_eq!(told, ["67108864", "59", "500ms", "21"]);
    // The placeholder is not in the scope's own group, so that controllers can be passed on.
    assert_eq!(read(&place, "cgroup.procs"), "");
    assert_eq!(read(&format!("{place}/start"), "cgroup.procs").lines().count(), 1);

    let (cgroup, mut process) = container(&path, &limits(64 << 20));
    lab.runtime.block_on(placement.settle());
    assert!(!group(&place).join("start").try_exists().unwrap());
    assert_eq!(read(&path, "cgroup.procs"), process.id().to_string());
    assert_eq!((read(&path, "memory.max").as_str(), read(&path, "pids.max").as_str()), ("67108864", "20"));

    // What systemd was told it writes again, and leaves alone what is below.
    run("systemctl", &["daemon-reload"]);
    let kept = |memory: &str| {
        assert_eq!(read(&place, "memory.max"), memory);
        assert_eq!(read(&place, "cpu.weight"), "59");
        assert_eq!(read(&place, "cpu.max"), "50000 100000");
        assert_eq!(read(&place, "pids.max"), "21");
        assert_eq!((read(&path, "memory.max").as_str(), read(&path, "pids.max").as_str()), ("67108864", "20"));
        assert_eq!(shown(scope, &["ActiveState", "MemoryMax"]), ["active", memory]);
    };
    kept("67108864");
    let half =
        Resources { memory: Some(Memory { limit: Some(32 << 20), ..Memory::default() }), ..Resources::default() };
    lab.runtime.block_on(lab.driver.update("a1", &half)).unwrap();
    kept("33554432");
    run("systemctl", &["daemon-reload"]);
    kept("33554432");
    run("systemctl", &["daemon-reexec"]);
    kept("33554432");
    lab.runtime.block_on(lab.driver.update("a1", &limits(48 << 20))).unwrap();
    kept("50331648");

    // systemd sees the end by itself.
    process.kill().unwrap();
    process.wait().unwrap();
    cgroup.remove().unwrap();
    until("the scope ends with its last process", || units().is_empty());
    assert!(!group(&place).try_exists().unwrap());
    lab.runtime.block_on(lab.driver.release(PARENT, "a1")).unwrap();
    lab.runtime.block_on(lab.driver.release(PARENT, "a1")).unwrap();
    assert_eq!(shown(scope, &["LoadState"]), ["not-found"]);
}

#[test]
fn root_release_kills_what_is_left() {
    let Some(lab) = lab() else { return };
    let placement = lab.runtime.block_on(lab.driver.prepare("/test.slice", "b1", &Resources::default())).unwrap();
    // Without a limit there is none.
    assert_eq!(shown("rt-b1.scope", &["TasksMax", "MemoryMax"]), ["infinity", "infinity"]);
    let path = lab.driver.container_path("/test.slice", "b1").unwrap();
    let (_, mut process) = container(&path, &Resources::default());
    lab.runtime.block_on(placement.settle());
    let begin = Instant::now();
    lab.runtime.block_on(lab.driver.release("/test.slice", "b1")).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(!process.wait().unwrap().success());
    assert_eq!(units(), "");
    assert!(!group("/test.slice/rt-b1.scope").try_exists().unwrap());
}

#[test]
fn root_a_placement_that_is_dropped_leaves_nothing() {
    let Some(lab) = lab() else { return };
    drop(lab.runtime.block_on(lab.driver.prepare("", "c1", &Resources::default())).unwrap());
    until("the scope ends with its placeholder", || units().is_empty());
    assert!(!group("/rt.slice/rt-c1.scope").try_exists().unwrap());
}

#[test]
fn root_a_leftover_scope_is_replaced() {
    let Some(lab) = lab() else { return };
    let arguments = ["--scope", "--unit", "rt-d1.scope", "--slice", "test.slice", "sleep", "1000"];
    let mut old = Command::new("systemd-run").args(arguments).stdin(Stdio::null()).spawn().unwrap();
    until("it is there", || shown("rt-d1.scope", &["ActiveState"]) == ["active"]);
    let placement = lab.runtime.block_on(lab.driver.prepare("/test.slice", "d1", &limits(16 << 20))).unwrap();
    assert!(!old.wait().unwrap().success());
    assert_eq!(shown("rt-d1.scope", &["ActiveState", "MemoryMax"]), ["active", "16777216"]);
    drop(placement);
    lab.runtime.block_on(lab.driver.release("/test.slice", "d1")).unwrap();
    assert_eq!(units(), "");
}

#[test]
fn root_errors_name_the_unit_and_the_answer() {
    let Some(lab) = lab() else { return };
    let failed = |parent: &str, id: &str, resources: &Resources| {
        lab.runtime.block_on(lab.driver.prepare(parent, id, resources)).unwrap_err().to_string()
    };
    let error = failed("/kubepods/pod1", "e1", &Resources::default());
    assert!(error.starts_with("cgroup parent \"/kubepods/pod1\": it is no slice"), "{error}");
    run("systemctl", &["mask", "--runtime", "masked.slice"]);
    let error = failed("/masked.slice", "e1", &Resources::default());
    run("systemctl", &["unmask", "--runtime", "masked.slice"]);
    assert!(error.starts_with("systemd: StartTransientUnit(rt-e1.scope): org.freedesktop.systemd1."), "{error}");
    assert!(error.contains("masked"), "{error}");
    let error = lab.runtime.block_on(lab.driver.update("e1", &limits(1 << 20))).unwrap_err().to_string();
    let expected = "systemd: SetUnitProperties(rt-e1.scope): org.freedesktop.systemd1.NoSuchUnit: ";
    assert!(error.starts_with(expected), "{error}");
    let missing = CgroupDriver::new(Choice::Systemd, Path::new("/nonexistent/rt-shim").to_owned());
    let error = lab.runtime.block_on(missing.prepare("", "e1", &Resources::default())).unwrap_err().to_string();
    assert!(error.starts_with("placeholder \"/nonexistent/rt-shim\" of rt-e1.scope: execve: "), "{error}");
    assert_eq!(units(), "");
}

#[test]
fn root_the_bus_and_systemd_come_and_go() {
    let Some(lab) = lab() else { return };
    let placement = lab.runtime.block_on(lab.driver.prepare("", "f1", &limits(16 << 20))).unwrap();
    run("systemctl", &["restart", "dbus.service"]);
    lab.runtime.block_on(lab.driver.update("f1", &limits(17 << 20))).unwrap();
    assert_eq!(shown("rt-f1.scope", &["MemoryMax"]), [(17 << 20).to_string()]);
    // A call while systemd executes itself anew.
    let mut anew = Command::new("systemctl").arg("daemon-reexec").spawn().unwrap();
    let second = lab.runtime.block_on(lab.driver.prepare("", "f2", &limits(16 << 20))).unwrap();
    assert!(anew.wait().unwrap().success());
    assert_eq!(shown("rt-f2.scope", &["ActiveState"]), ["active"]);

    run("systemctl", &["stop", "dbus.socket", "dbus.service"]);
    let error = lab.runtime.block_on(lab.driver.update("f1", &limits(18 << 20))).unwrap_err().to_string();
    run("systemctl", &["start", "dbus.socket"]);
    assert!(error.starts_with("systemd cannot be reached over D-Bus for SetUnitProperties(rt-f1.scope): "), "{error}");
    lab.runtime.block_on(lab.driver.update("f1", &limits(18 << 20))).unwrap();
    assert_eq!(shown("rt-f1.scope", &["MemoryMax"]), [(18 << 20).to_string()]);
    drop((placement, second));
    for id in ["f1", "f2"] {
        lab.runtime.block_on(lab.driver.release("", id)).unwrap();
    }
    assert_eq!(units(), "");
}

#[test]
fn root_many_at_once() {
    let Some(lab) = lab() else { return };
    lab.runtime.block_on(async {
        let one = |number: u32| {
            let driver = lab.driver.clone();
            tokio::spawn(async move {
                let (id, parent) = (format!("g{number}"), format!("/g.slice/g-{}.slice", number % 3));
                let placement = driver.prepare(&parent, &id, &limits(16 << 20)).await.unwrap();
                let slice = format!("/g.slice/g-{}.slice", number % 3);
                assert!(group(&format!("{slice}/rt-{id}.scope")).try_exists().unwrap());
                placement.settle().await;
                driver.release(&parent, &id).await.unwrap();
            })
        };
        for task in (0..20).map(one).collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    assert_eq!(units(), "");
}

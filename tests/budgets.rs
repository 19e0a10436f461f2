//! What is the same on every machine, as tests: sizes, process starts, fsyncs, system calls.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{Bundle, Kind, Test, kind, needs, program, test};

const MEBIBYTE: u64 = 1 << 20;

fn small_and_static(name: &str) {
    let path = program(name);
    let size = path.metadata().unwrap().len();
    let release = path.parent().unwrap().ends_with("release");
    assert!(release, "{path:?}: budgets are those of release builds");
    assert!(size < 2 * MEBIBYTE, "{path:?} has {size} bytes, the budget is {}", 2 * MEBIBYTE);
    assert!(!program_headers(&fs::read(&path).unwrap()).contains(&3), "{path:?} has a program interpreter");
}

/// The types of the program headers of a 64-bit little-endian ELF file (elf(5)); 3 is PT_INTERP.
fn program_headers(elf: &[u8]) -> Vec<u32> {
    let number =
        |at: usize, length: usize| elf[at..at + length].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01");
    let (offset, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).map(|index| u32::try_from(number(offset + index * size, 4)).unwrap()).collect()
}

#[test]
fn rt_runtime_is_small_and_static() {
    small_and_static("rt-runtime");
}

#[test]
fn rt_shim_is_small_and_static() {
    small_and_static("rt-shim");
}

/// The configuration that `runc spec` writes, with `true` for a program.
fn plain(t: &Test) -> Bundle {
    let mut bundle = t.bundle();
    let cgroup = bundle.spec["linux"]["cgroupsPath"].clone();
    t.runtime(&["spec", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    bundle.spec = serde_json::from_slice(&fs::read(bundle.dir.join("config.json")).unwrap()).unwrap();
    bundle.spec["process"]["terminal"] = json!(false);
    bundle.spec["linux"]["cgroupsPath"] = cgroup;
    bundle.args(&["/bin/true"])
}

/// `strace -f` of a command: a line a call.
fn trace(t: &Test, command: &Command) -> Vec<String> {
    let file = t.dir.join("trace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-e", "signal=none", "-o"])
        .arg(&file)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        strace.env(name, value.unwrap());
    }
    let output: tests::Output = strace.stdin(Stdio::null()).output().unwrap().into();
    assert_eq!(output.code, 0, "{output}");
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(file).unwrap();
    // A call that was interrupted by another thread's line is on two lines.
    text.lines().filter(|line| !line.contains(" resumed>")).map(str::to_owned).collect()
}

fn name_of(line: &str) -> &str {
    let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
    call.split('(').next().unwrap()
}

fn has_strace() -> bool {
    Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn system_calls_of_a_run() {
    test(|t| {
        needs!(t, has_strace(), "no strace");
        needs!(t, kind() == Kind::Rt, "a budget of ours");
        let bundle = plain(t);
        bundle.write();
        // The first one makes what is above its directory and its group. On v1 there are up to a dozen hierarchies instead of one.
        let ceilings = if t.cgroups.is_v2() { [282, 262] } else { [433, 407] };
        for (which, ceiling) in ["first", "later"].into_iter().zip(ceilings) {
            let calls = trace(t, &t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]));
            // The container's own program starts with the last execve; the runtime's part is all that is not after it in that process.
            let is_program = |line: &String| name_of(line) == "execve" && line.contains("/bin/true");
            let program = calls.iter().rposition(is_program).unwrap();
            let pid = calls[program].split(' ').next().unwrap();
            let own =
                calls.iter().enumerate().filter(|(index, line)| *index <= program || !line.starts_with(pid)).count();
            let mut counts = std::collections::BTreeMap::new();
            for line in &calls {
                *counts.entry(name_of(line)).or_insert(0) += 1;
            }
            assert!(own <= ceiling, "{which}: {own} system calls, the budget is {ceiling}: {counts:?}");
        }
    });
}

#[test]
fn no_waiting_for_the_disk() {
    test(|t| {
        needs!(t, has_strace(), "no strace");
        let bundle = plain(t);
        bundle.write();
        let calls = trace(t, &t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]));
        let waits = ["fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"];
        let waits: Vec<&String> = calls.iter().filter(|line| waits.contains(&name_of(line))).collect();
        assert!(waits.is_empty(), "{waits:#?}");
        let sleeps: Vec<&String> = calls.iter().filter(|line| name_of(line).contains("nanosleep")).collect();
        assert!(sleeps.is_empty(), "{sleeps:#?}");
    });
}

#[test]
fn one_process_start_for_a_run() {
    test(|t| {
        needs!(t, has_strace(), "no strace");
        needs!(t, kind() == Kind::Rt, "a budget of ours");
        let bundle = plain(t);
        bundle.write();
        let calls = trace(t, &t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]));
        let clones: Vec<&String> =
            calls.iter().filter(|line| ["clone", "clone3", "fork", "vfork"].contains(&name_of(line))).collect();
        assert_eq!(clones.len(), 1, "{clones:#?}");
    });
}

fn rtctl(t: &Test, args: &[&str]) -> Command {
    let mut command = Command::new(program("rtctl"));
    command
        .env("RT_ROOT", t.dir.join("rt"))
        .env("RT_STATE", t.dir.join("s"))
        .env("RT_TEST", t.marker())
        .args(args)
        .stdin(Stdio::null());
    command
}

fn ok(mut command: Command) -> String {
    let output: tests::Output = command.output().unwrap().into();
    output.ok()
}

/// Private anonymous memory of a process in bytes: what it costs that no other process shares and that no file backs.
fn private_anonymous(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn parent_of(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Starts a detached container from a folder; returns its id and pid.
fn detached(t: &Test, rootfs: &Path) -> (String, i32) {
    let id =
        ok(rtctl(t, &["run", "-d", "--network", "none", "--rootfs", rootfs.to_str().unwrap(), "/bin/payload", "hold"]));
    let inspected: Value = serde_json::from_str(&ok(rtctl(t, &["inspect", &id]))).unwrap();
    let pid = inspected.pointer("/0/State/Pid").and_then(Value::as_i64).unwrap_or_else(|| panic!("{inspected}"));
    (id, pid.try_into().unwrap())
}

#[test]
fn memory_of_an_idle_shim() {
    test(|t| {
        let (id, pid) = detached(t, &t.bundle().rootfs());
        let shim = parent_of(pid);
        assert_eq!(fs::read_to_string(format!("/proc/{shim}/comm")).unwrap().trim(), "rt-shim");
        let memory = private_anonymous(shim);
        assert!(memory <= MEBIBYTE, "{memory} bytes, the budget is {MEBIBYTE}");
        ok(rtctl(t, &["rm", "-f", &id]));
    });
}

#[test]
fn processes_and_disk_waits_of_a_detached_container() {
    test(|t| {
        needs!(t, has_strace(), "no strace");
        let rootfs = t.bundle().rootfs();
        // strace ends when all it follows has ended: the container does so by itself.
        let args = ["run", "-d", "--rm", "--network", "none", "--rootfs", rootfs.to_str().unwrap(), "/bin/true"];
        let calls = trace(t, &rtctl(t, &args));
        let waits = ["fsync", "fdatasync", "sync", "syncfs"];
        let waits: Vec<&String> = calls.iter().filter(|line| waits.contains(&name_of(line))).collect();
        assert!(waits.is_empty(), "{waits:#?}");
        let threads = |line: &&String| line.contains("CLONE_THREAD");
        let clones: Vec<&String> = calls
            .iter()
            .filter(|line| ["clone", "clone3", "fork", "vfork"].contains(&name_of(line)))
            .filter(|line| !threads(line))
            .collect();
        // The shim (a second fork lets go of the terminal) and the container.
        assert!((2..=3).contains(&clones.len()), "{clones:#?}");
        let programs: Vec<&String> = calls.iter().filter(|line| name_of(line).starts_with("execve")).collect();
        // rtctl, the shim, the container; a program may start itself again from a sealed copy.
        assert!(programs.len() <= 5, "{programs:#?}");
    });
}

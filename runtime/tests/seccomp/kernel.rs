//! Programs in the kernel: a thread of the test puts one before itself and starts a program that makes the calls.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::errno::Errno;
use runtime::seccomp::{Instruction, Program, compile, default_profile};
use runtime::spec::Seccomp;
use serde_json::json;

/// Builds the program that makes the calls; None, with the reason on standard error, where that cannot be.
fn probe(test: &str) -> Option<PathBuf> {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("SKIPPED {test}: the calls are written for x86_64");
        return None;
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probe-{test}"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seccomp/probe.c");
    match Command::new("cc").args(["-O1", "-static", "-no-pie", "-o"]).arg(&program).arg(source).output() {
        Ok(output) if output.status.success() => Some(program),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            eprintln!("SKIPPED {test}: cc: {error}");
            None
        }
    }
}

/// Runs a command behind a filter.
fn behind(filter: Program, mut command: Command) -> Output {
    // A filter is of the thread that loads it and of what that starts.
    let filtered = std::thread::spawn(move || {
        nix::sys::prctl::set_no_new_privs().unwrap();
        runtime::sys::seccomp::load(&filter).unwrap();
        command.output().unwrap()
    });
    filtered.join().unwrap()
}

fn answers(output: &Output) -> BTreeMap<String, i32> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let answer =
        |line: &str| line.split_once(' ').map(|(label, value)| (label.to_owned(), value.parse().unwrap())).unwrap();
    text.lines().map(answer).collect()
}

#[test]
fn dockers_profile_in_the_kernel() {
    let Some(probe) = probe("docker") else { return };
    // What the kernel says when nothing is in the way: 32-bit and x32 calls may be configured away.
    let bare = answers(&Command::new(&probe).output().unwrap());
    let filtered = answers(&behind(compile(&default_profile(&[])).unwrap(), Command::new(&probe)));

    let refused = -libc::EPERM;
    let unknown = -libc::ENOSYS;
    for (call, expected) in [
        ("getpid", 0),
        ("mount", refused),
        ("unshare", refused),
        ("keyctl", refused),
        ("io_uring_setup", refused),
        ("clone3", unknown),
        ("new", unknown),
        ("minus_one", unknown),
        ("socket_unix", 0),
        ("socket_alg", refused),
        ("socket_alg_hidden", refused),
        ("personality_query", 0),
        ("personality_random", refused),
        ("x32_mount", refused),
        ("x32_new", unknown),
    ] {
        assert_eq!(filtered[call], expected, "{call}");
    }
    // Allowed: what the kernel itself answers.
    for call in ["compat_getpid", "compat_socket_unix", "compat_socketcall", "x32_getpid"] {
        assert_eq!(filtered[call], bare[call], "{call}");
    }
    assert_eq!(bare["getpid"], 0);
    if bare["compat_getpid"] == 0 {
        for (call, expected) in [
            ("compat_mount", refused),
            ("compat_keyctl", refused),
            ("compat_new", unknown),
            ("compat_socket_alg", refused),
            // The 32-bit entry ignores the upper half of a register, and so does the filter.
            ("compat_socket_alg_hidden", refused),
        ] {
            assert_eq!(filtered[call], expected, "{call}");
        }
    } else {
        eprintln!("SKIPPED the 32-bit calls: this kernel has none");
    }
}

#[test]
fn callers_of_architectures_that_are_not_named_die() {
    let Some(probe) = probe("unnamed") else { return };
    let profile: Seccomp = serde_json::from_value(json!({"defaultAction": "SCMP_ACT_ALLOW"})).unwrap();
    let bare = answers(&Command::new(&probe).output().unwrap());
    for (call, exists) in [("compat_getpid", bare["compat_getpid"] == 0), ("x32_getpid", true), ("getpid", false)] {
        let mut command = Command::new(&probe);
        command.arg(call);
        let output = behind(compile(&profile).unwrap(), command);
        let expected = exists.then_some(libc::SIGSYS);
        assert_eq!(output.status.signal(), expected, "{call}: {output:?}");
    }
}

#[test]
fn what_the_kernel_refuses() {
    let load = |instructions: Vec<Instruction>, flags| {
        std::thread::spawn(move || {
            nix::sys::prctl::set_no_new_privs().unwrap();
            runtime::sys::seccomp::load(&Program { instructions, flags })
        })
        .join()
        .unwrap()
    };
    let allow = Instruction { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };
    assert_eq!(load(vec![], 0), Err(Errno::EINVAL));
    assert_eq!(load(vec![Instruction { code: 0xffff, ..allow }], 0), Err(Errno::EINVAL));
    assert_eq!(load(vec![allow], 1 << 31), Err(Errno::EINVAL));
    assert_eq!(load(vec![allow; 4097], 0), Err(Errno::EINVAL));
    assert_eq!(load(vec![allow; 4096], 0), Ok(None));
    // LOG and SPEC_ALLOW.
    assert_eq!(load(vec![allow], 6), Ok(None));
}

/// In a process of its own: it is about all threads.
#[test]
fn all_threads_follow() {
    const CHILD: &str = "RT_TEST_ALL_THREADS_FOLLOW";
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", "kernel::all_threads_follow"]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let profile: Seccomp = serde_json::from_value(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_TSYNC"],
        "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}],
    }))
    .unwrap();
    let (start, wait) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        wait.recv().unwrap();
        std::fs::read_to_string("/proc/thread-self/status").unwrap()
    });
    nix::sys::prctl::set_no_new_privs().unwrap();
    runtime::sys::seccomp::load(&compile(&profile).unwrap()).unwrap();
    start.send(()).unwrap();
    let status = other.join().unwrap();
    assert!(status.contains("Seccomp:\t2\n"), "{status}");
}

//! `SCMP_ACT_NOTIFY`: somebody else decides on calls (runtime-spec config-linux.md, "Seccomp", `listenerPath`).

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tests::{Bundle, Kind, Test, differs, kind, test};

/// The agent: `calls decide`.
struct Agent {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Agent {
    fn listen(path: &Path) -> Agent {
        let mut child = Command::new(tests::calls()).arg("decide").arg(path).stdout(Stdio::piped()).spawn().unwrap();
        let mut agent = Agent { output: BufReader::new(child.stdout.take().unwrap()), child };
        assert_eq!(agent.line(), "listening");
        agent
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// What came with the listener, and the numbers of the calls it decided on, once the last process with the filter has ended.
    fn finish(mut self) -> (Value, Vec<String>) {
        let state = serde_json::from_str(&self.line()).unwrap();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        // The end of a container may have reaped it already.
        let _ = self.child.wait();
        (state, rest.lines().map(str::to_owned).collect())
    }
}

fn with(t: &Test, names: &[&str], flags: &[&str]) -> (Bundle, PathBuf) {
    let socket = t.dir.join("agent");
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": flags,
        "listenerPath": socket,
        "listenerMetadata": "some words",
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
    });
    (t.bundle().set("/linux/seccomp", profile).set("/annotations", json!({"a": "b"})), socket)
}

fn supported(t: &Test) -> bool {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if !actions.contains("user_notif") {
        t.skip("the kernel has no user notifications");
    }
    actions.contains("user_notif")
}

const GETPGRP: [&str; 3] = ["/bin/calls", "x86-64", "111"];

#[test]
fn agent_decides() {
    test(|t| {
        if !supported(t) {
            return;
        }
        for (uid, no_new_privileges) in [(0, false), (0, true), (1000, false), (1000, true)] {
            let (bundle, socket) = with(t, &["getpgrp"], &[]);
            let agent = Agent::listen(&socket);
            let bundle =
                bundle.set("/process/noNewPrivileges", json!(no_new_privileges)).set("/process/user/uid", json!(uid));
            assert_eq!(t.run(&bundle.args(&GETPGRP)).ok(), "4242", "uid {uid}, {no_new_privileges}");
            let (state, calls) = agent.finish();
            assert_eq!(calls, ["111"]);
            assert_eq!(state["fds"], json!(["seccompFd"]));
            assert_eq!(state["metadata"], "some words");
            assert!(state["pid"].as_i64().unwrap() > 1);
            assert_eq!(state["state"]["annotations"]["a"], "b");
        }
    });
}

#[test]
fn even_the_calls_on_the_way_to_the_program() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("runc 1.1 and crun 1.8 hang on some of these");
        }
        if !supported(t) {
            return;
        }
        // What a runtime could need after the filter is loaded.
        let names = ["execve", "sendmsg", "read", "recvmsg", "close", "capset", "getpgrp", "futex", "sched_yield"];
        let (bundle, socket) = with(t, &names, &["SECCOMP_FILTER_FLAG_LOG"]);
        let agent = Agent::listen(&socket);
        assert_eq!(t.run(&bundle.args(&GETPGRP)).ok(), "4242");
        let (_, calls) = agent.finish();
        assert!(calls.contains(&"59".to_owned()) && calls.contains(&"111".to_owned()), "{calls:?}");
    });
}

#[test]
fn of_start_and_exec() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 tells the pid of the container's namespace");
        if !supported(t) {
            return;
        }
        let (bundle, socket) = with(t, &["getpgrp"], &[]);
        let agent = Agent::listen(&socket);
        let mut container = t.create(&bundle.args(&["/bin/sh", "-c", "/bin/calls x86-64 111; exec payload hold"]));
        container.start().ok();
        assert_eq!((container.line(), container.line()), ("4242".to_owned(), "ready".to_owned()));
        let (id, pid) = (container.id.clone(), container.pid);
        let second = t.dir.join("second");
        std::fs::rename(&socket, &second).ok();
        let other = Agent::listen(&socket);
        assert_eq!(container.exec(&GETPGRP).ok(), "4242");
        let (state, calls) = other.finish();
        assert_eq!((&state["state"]["id"], calls.len()), (&json!(id), 1));
        assert_ne!(state["pid"], json!(pid));
        container.end();
        let (state, _) = agent.finish();
        assert_eq!(
            (&state["pid"], &state["state"]["pid"], &state["state"]["id"]),
            (&json!(pid), &json!(pid), &json!(id))
        );
    });
}

#[test]
fn nobody_there_is_an_error() {
    test(|t| {
        if kind() == Kind::Crun && !t.cgroups.is_v2() {
            return t.skip("crun 1.8 leaves the cgroup behind when create fails late");
        }
        differs!(t, Kind::Crun, "1.8 leaves the cgroup behind when create fails late");
        differs!(t, Kind::Runc, "1.1 may leave the cgroup behind when create fails late");
        if !supported(t) {
            return;
        }
        let (bundle, socket) = with(t, &["getpgrp"], &[]);
        let output = t.run(&bundle.args(&GETPGRP));
        output.fails(&["linux.seccomp.listenerPath", socket.to_str().unwrap()]);
        let (bundle, _) = with(t, &["getpgrp"], &[]);
        let mut container = t.create(&bundle.args(&GETPGRP));
        container.start().fails(&["linux.seccomp.listenerPath"]);
        container.wait();
        container.delete();
        // A listener that is not asked for is not connected to.
        let (bundle, _) = with(t, &["getpgrp"], &[]);
        t.run(&bundle.set("/linux/seccomp/syscalls", json!([])).args(&["/bin/true"])).ok();
        let (bundle, _) = with(t, &["getpgrp"], &[]);
        t.run(&bundle.unset("/linux/seccomp/listenerPath")).fails(&["listener"]);
    });
}

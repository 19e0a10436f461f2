//! Kill -9 of everything that can be killed: the next command finds a consistent state and says the truth, and `rm -f` always cleans up.

use std::fs;
use std::process::Command;

use tests::{Rtctl, rtctl_test};

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

fn shim_of(r: &Rtctl<'_>, id: &str) -> i32 {
    let pid = r.field(id, "{{.State.Pid}}");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn rtctl_killed_in_the_foreground() {
    rtctl_test(|r| {
        let mut session = r.start(&["run", "--name", "on", "busybox", "sh", "-c", "echo ready; exec sleep 1000"]);
        assert_eq!(session.line(), "ready");
        session.signal("KILL");
        session.child.wait().unwrap();
        assert_eq!(r.field("on", "{{.State.Running}}"), "true");
        assert_eq!(r.ok(&["exec", "on", "echo", "alive"]), "alive");
        r.ok(&["rm", "-f", "on"]);
        session.end();
    });
}

#[test]
fn shim_killed_under_a_running_container() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let shim = shim_of(r, &id);
        kill(&shim.to_string());
        assert_eq!(r.test.wait_pid(shim), 137);
        // What is said must be true: it runs, or it is over; and it can be removed.
        let status = r.field(&id, "{{.State.Status}}");
        let pid = r.field(&id, "{{.State.Pid}}");
        let alive = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
        assert_eq!(status == "running", alive && pid != "0", "{status} {pid}");
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn shim_and_container_killed_together() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let pid = r.field(&id, "{{.State.Pid}}");
        let shim = shim_of(r, &id);
        kill(&shim.to_string());
        kill(&pid);
        assert_eq!(r.test.wait_pid(shim), 137);
        assert_eq!(r.test.wait_pid(pid.parse().unwrap()), 137);
        assert_eq!(r.field(&id, "{{.State.Running}}"), "false");
        r.ok(&["rm", "-f", &id]);
    });
}

/// Kills `rtctl run -d` at the Nth system call of one kind, by strace, for a good number of N.
#[test]
fn rtctl_killed_between_any_two_steps() {
    rtctl_test(|r| {
        if Command::new("strace").arg("-V").output().is_err() {
            return r.test.skip("no strace");
        }
        for call in
            ["openat", "renameat", "mkdirat", "symlinkat", "connect", "sendmsg", "clone", "execve", "flock", "fchmod"]
        {
            for number in 1..=6 {
                let name = format!("{call}{number}");
                let inner = r.command(&["run", "-d", "--name", &name, "--network", "none", "busybox", "sleep", "1000"]);
                let mut strace = Command::new("strace");
                // The call is made, then the process is killed.
                strace.args([
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    &format!("trace=/^{call}"),
                    "-e",
                    &format!("inject=/^{call}:signal=KILL:when={number}"),
                ]);
                strace.arg(inner.get_program()).args(inner.get_args());
                for (name, value) in inner.get_envs() {
                    strace.env(name, value.unwrap());
                }
                let out = fs::File::create_new(r.test.dir.join(&name)).unwrap();
                strace.stdin(std::process::Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
                strace.status().unwrap();
                // Every command must work on what is there.
                r.ok(&["ps", "-a"]);
                let ids = r.ok(&["ps", "-aq", "--no-trunc"]);
                for id in ids.lines() {
                    r.ok(&["inspect", id]);
                    r.ok(&["rm", "-f", id]);
                }
                // The name is free.
                let id = r.ok(&["create", "--name", &name, "busybox"]);
                r.ok(&["rm", &id]);
            }
        }
    });
}

#[test]
fn commands_at_the_same_time() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let sessions: Vec<_> = ["stop", "kill", "pause", "unpause", "rm", "restart", "stop"]
            .iter()
            .map(|verb| {
                if *verb == "stop" || *verb == "restart" {
                    r.start(&[verb, "-t", "0", &id])
                } else {
                    r.start(&[verb, &id])
                }
            })
            .collect();
        for session in sessions {
            let (code, text) = session.end();
            assert!(code <= 1, "{code}: {text}");
        }
        r.call(&["rm", "-f", &id]);
        r.call(&["inspect", &id]).fails(&[]);
    });
}

//! Kill -9 of everything that can be killed: the next command finds a consistent state and says the truth, and `rm -f` always cleans up.

use std::fs;
use std::process::{Command, Stdio};

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

/// Runs rtctl and kills it at its Nth system call of one kind, after the call.
fn kill_at(r: &Rtctl<'_>, call: &str, number: u32, args: &[&str]) {
    let inner = r.command(args);
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", &format!("trace=/^{call}")]);
    strace.args(["-e", &format!("inject=/^{call}:signal=KILL:when={number}")]);
    strace.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        strace.env(name, value.unwrap());
    }
    let out = fs::OpenOptions::new().append(true).create(true).open(r.test.dir.join("output")).unwrap();
    strace.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    strace.status().unwrap();
}

/// Names in a folder below the root, but hidden ones.
fn entries(r: &Rtctl<'_>, folder: &str) -> Vec<String> {
    let path = if folder == "names" { r.state().join(folder) } else { r.root().join(folder) };
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn removal_with_volumes_killed_between_any_two_steps() {
    rtctl_test(|r| {
        if Command::new("strace").arg("-V").output().is_err() {
            return r.test.skip("no strace");
        }
        for call in ["openat", "unlink", "rmdir", "rename", "flock", "write"] {
            for number in 1..=12 {
                let id = r.ok(&["create", "--name", "vol", "-v", "/data", "busybox"]);
                kill_at(r, call, number, &["rm", "-v", "vol"]);
                r.ok(&["ps", "-a"]);
                // What was begun is gone on with; what was not is still whole.
                r.ok(&["rm", "-f", "-v", &id]);
                let id = r.ok(&["create", "--name", "vol", "busybox"]);
                r.ok(&["rm", &id]);
                assert_eq!(entries(r, "volumes"), [""; 0], "{call} {number}");
            }
        }
    });
}

#[test]
fn rename_killed_between_any_two_steps() {
    rtctl_test(|r| {
        if Command::new("strace").arg("-V").output().is_err() {
            return r.test.skip("no strace");
        }
        for call in ["openat", "unlink", "symlink", "rename", "flock", "write"] {
            for number in 1..=8 {
                let id = r.ok(&["create", "--name", "before", "busybox"]);
                kill_at(r, call, number, &["rename", "before", "after"]);
                let name = r.field(&id, "{{.Name}}");
                assert!(["/before", "/after"].contains(&name.as_str()), "{call} {number}: {name}");
                assert_eq!(r.field(&name, "{{.Id}}"), id, "{call} {number}");
                r.ok(&["rm", &id]);
                assert_eq!(entries(r, "names"), [""; 0], "{call} {number}");
            }
        }
    });
}

#[test]
fn renames_at_the_same_time() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "--name", "one", "busybox"]);
        for _ in 0..10 {
            let names = ["one", "two", "one", "two", "one", "two"];
            let sessions: Vec<_> = names.iter().map(|name| r.start(&["rename", &id, name])).collect();
            for session in sessions {
                let (code, text) = session.end();
                assert_eq!(code, 0, "{text}");
            }
            assert_eq!(entries(r, "names").len(), 1);
        }
        r.ok(&["rm", &id]);
    });
}

#[test]
fn a_shim_that_does_not_answer_is_removed_by_force() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        let shim = shim_of(r, &id);
        assert!(Command::new("kill").args(["-STOP", &shim.to_string()]).status().unwrap().success());
        // Records need no shim.
        assert_eq!(r.field(&id, "{{.State.Running}}"), "true");
        r.ok(&["rm", "-f", &id]);
        assert_eq!(r.test.wait_pid(shim), 137);
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
                let words = ["--name", &name, "--network", "none", "-v", "/data", "busybox", "sleep", "1000"];
                kill_at(r, call, number, &[&["run", "-d"], &words[..]].concat());
                // Every command must work on what is there.
                r.ok(&["ps", "-a"]);
                let ids = r.ok(&["ps", "-aq", "--no-trunc"]);
                for id in ids.lines() {
                    r.ok(&["inspect", id]);
                    r.ok(&["rm", "-f", "-v", id]);
                }
                // The name is free.
                let id = r.ok(&["create", "--name", &name, "busybox"]);
                r.ok(&["rm", &id]);
                assert_eq!(entries(r, "volumes"), [""; 0], "{call} {number}");
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

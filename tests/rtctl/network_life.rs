//! Networks when something goes wrong: programs that are killed, a host that is restarted, many containers at a time.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tests::{Rtctl, links};

use super::network::{address, network_test};

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

/// Process id of the shim of a container that runs.
fn shim(r: &Rtctl<'_>, id: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{}/stat", r.field(id, "{{.State.Pid}}"))).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().to_owned()
}

/// Waits for the end of a process that is no child of ours, or an orphan that is.
fn wait_gone(pid: &str) {
    while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        std::thread::yield_now();
    }
}

/// Waits until the kernel has removed what a namespace that ended had on the host: it does so in its own time.
fn wait_for_links(expected: &[&str]) {
    while links() != expected {
        std::thread::yield_now();
    }
}

#[test]
fn a_shim_that_is_killed() {
    network_test(|r| {
        let run = || r.detached(&["--ip", "172.17.0.99", "-p", "8080:80", "busybox", "sleep", "1000"]);
        let first = run();
        let pid = shim(r, &first);
        kill(&pid);
        wait_gone(&pid);
        wait_for_links(&["lo", "rt0"]);
        // Its address and port are free, without anybody having cleaned up.
        let second = run();
        assert_eq!(r.field(&first, "{{.State.Status}} {{.NetworkSettings.IPAddress}}"), "exited ");
        // Started again it finds them taken, and says by whom.
        r.call(&["start", &first]).fails(&["172.17.0.99", "in use"]);
        r.ok(&["rm", "-f", &second]);
        r.ok(&["start", &first]);
        let pid = shim(r, &first);
        kill(&pid);
        wait_gone(&pid);
        r.ok(&["rm", "-f", &first]);
        wait_for_links(&["lo", "rt0"]);
    });
}

#[test]
fn rtctl_that_is_killed_at_any_step() {
    network_test(|r| {
        let rounds: u32 = std::env::var("RT_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
        r.ok(&["run", "--rm", "busybox", "true"]);
        let begun = std::time::Instant::now();
        r.ok(&["run", "--rm", "--name", "timed", "--ip", "172.17.0.99", "-p", "8080:80", "busybox", "true"]);
        let whole = begun.elapsed();
        for round in 0..rounds / 4 {
            let name = format!("round{round}");
            let flags = ["run", "--name", &name, "--ip", "172.17.0.99", "-p", "8080:80", "busybox", "sleep", "0"];
            let mut session = r.start(&flags);
            // Another moment each time: this is about them all, not about waiting.
            let moment = whole * round / (rounds / 4);
            let ended = std::time::Instant::now() + moment;
            while std::time::Instant::now() < ended {
                std::hint::spin_loop();
            }
            session.child.kill().unwrap();
            session.end();
            r.call(&["rm", "-f", &name]);
            // Nothing is in the way of the same once more.
            let output = r.call(&["run", "--rm", "--ip", "172.17.0.99", "-p", "8080:80", "busybox", "true"]);
            assert_eq!(output.code, 0, "round {round}, killed after {moment:?}: {output}");
        }
        r.call(&["rm", "-f", "nothing"]);
    });
}

#[test]
fn a_restart_of_the_host() {
    network_test(|r| {
        r.ok(&["network", "create", "--subnet", "10.99.0.0/24", "mine"]);
        let id = r.detached(&["--network", "mine:ip=10.99.0.9", "-p", "8080:80", "busybox", "sleep", "1000"]);
        let (init, pid) = (r.field(&id, "{{.State.Pid}}"), shim(r, &id));
        kill(&pid);
        wait_gone(&pid);
        wait_gone(&init);
        // What a restart takes: all links, all rules, all cgroups, /run.
        for group in r.test.cgroups.find(&id) {
            fs::remove_dir(group).unwrap();
        }
        let bridge = r.ok(&["network", "inspect", "-f", "{{.Bridge}}", "mine"]);
        assert!(Command::new("ip").args(["link", "delete", &bridge]).status().unwrap().success());
        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        fs::remove_dir_all(r.state()).unwrap();
        fs::remove_dir_all(r.root().join("upper").join(&id)).unwrap();
        assert_eq!(r.ok(&["network", "ls", "--format", "{{.Name}}", "--filter", "type=custom"]), "mine");
        let id = r.detached(&["--network", "mine:ip=10.99.0.9", "-p", "8080:80", "busybox", "sleep", "1000"]);
        assert_eq!(address(r, &id), "10.99.0.9");
        r.ok(&["rm", "-f", &id]);
        r.ok(&["network", "rm", "mine"]);
    });
}

#[test]
fn many_at_a_time() {
    network_test(|r| {
        let rounds: usize = std::env::var("RT_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
        // 200 with the full number of rounds.
        let count = (rounds / 2).clamp(10, 200);
        let mut ids = Vec::new();
        let mut left = count;
        while left > 0 {
            let some = left.min(16);
            left -= some;
            let sessions: Vec<_> =
                (0..some).map(|_| r.start(&["run", "-d", "-p", "80", "busybox", "sleep", "1000"])).collect();
            for session in sessions {
                let (code, text) = session.end();
                assert_eq!(code, 0, "{text}");
                ids.push(text.trim_end().to_owned());
            }
        }
        let settings = r.ok(&[
            "inspect",
            "-f",
            "{{.NetworkSettings.IPAddress}} {{(index .NetworkSettings.Ports \"80/tcp\")}}",
            &ids[0],
        ]);
        assert!(settings.contains("172.17."), "{settings}");
        let addresses: BTreeSet<String> = ids.iter().map(|id| address(r, id)).collect();
        let ports: BTreeSet<String> = ids.iter().map(|id| r.ok(&["port", id, "80"])).collect();
        assert_eq!((addresses.len(), ports.len()), (count, count));
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        r.ok(&[&["rm", "-f"], &all[..]].concat());
        assert_eq!(links(), ["lo", "rt0"]);
    });
}

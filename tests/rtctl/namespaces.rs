//! `--network`, `--pid`, `--ipc`, `--uts`, `--cgroupns`, `--userns`.

use std::fs;

use tests::rtctl_test;

fn own(link: &str) -> String {
    fs::read_link(format!("/proc/thread-self/ns/{link}")).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn private_and_host() {
    rtctl_test(|r| {
        for (flag, link) in
            [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup")]
        {
            let script = format!("readlink /proc/self/ns/{link}");
            let private = if flag == "--network" { "none" } else { "private" };
            let flags = |value| {
                if flag == "--network" {
                    vec!["run", "--rm", "--network", value]
                } else {
                    vec!["run", "--rm", "--network", "none", flag, value]
                }
            };
            let run = |value: &'static str| r.ok(&[&flags(value)[..], &["busybox", "sh", "-c", &script]].concat());
            if flag != "--uts" {
                assert_ne!(run(private), own(link), "{flag}");
            }
            assert_eq!(run("host"), own(link), "{flag}");
        }
    });
}

#[test]
fn of_another_container() {
    rtctl_test(|r| {
        let id = r.detached(&["--name", "holder", "--network", "none", "busybox", "sleep", "1000"]);
        let pid = r.field(&id, "{{.State.Pid}}");
        for (flag, link) in [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net")] {
            let expected = fs::read_link(format!("/proc/{pid}/ns/{link}")).unwrap();
            let mut args = vec!["run", "--rm", flag, "container:holder"];
            if flag != "--network" {
                args.extend(["--network", "none"]);
            }
            let script = format!("readlink /proc/self/ns/{link}");
            args.extend(["busybox", "sh", "-c", &script]);
            let output = r.call(&args);
            if output.code == 125 && output.stderr.contains(flag.trim_start_matches('-')) {
                r.test.skip(&format!("{flag} container: is refused by name: {}", output.stderr.trim()));
            } else {
                assert_eq!(output.ok(), expected.to_str().unwrap(), "{flag}");
            }
        }
        r.ok(&["rm", "-f", "holder"]);
    });
}

#[test]
fn user_namespace_with_maps() {
    rtctl_test(|r| {
        let output = r.sh(&["--userns", "auto"], "cat /proc/self/uid_map; id -u; touch /file && stat -c %u /file");
        let text = output.ok();
        let first: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(first[0], "0");
        assert_ne!(first[1], "0");
        assert!(text.ends_with("\n0\n0"), "{text}");
        assert_eq!(r.sh(&["--userns", "host"], "cat /proc/self/uid_map").ok().split_whitespace().nth(1), Some("0"));
    });
}

#[test]
fn network_none_has_loopback_alone() {
    rtctl_test(|r| {
        assert_eq!(r.sh(&[], "ls /sys/class/net; ping -c 1 -w 5 127.0.0.1 >/dev/null && echo up").ok(), "lo\nup");
    });
}

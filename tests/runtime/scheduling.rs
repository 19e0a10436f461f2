//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`, `linux.memoryPolicy` (runtime-spec config.md, "Linux Process",
//! and config-linux.md, "Memory policy").

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{Kind, Output, Test, differs, needs, test};

/// Fields of proc_pid_stat(5): nice, rt_priority, policy.
fn schedule(facts: &Value) -> [&str; 3] {
    [16, 37, 38].map(|index| facts["stat"][index].as_str().unwrap())
}

#[test]
fn scheduler() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know scheduler");
        differs!(t, Kind::Crun, "1.8 does not know scheduler");
        let with = |scheduler: Value| t.bundle().set("/process/scheduler", scheduler);
        let facts = t.facts(with(json!({"policy": "SCHED_BATCH", "nice": 7})));
        assert_eq!(schedule(&facts), ["7", "0", "3"]);
        let facts = t.facts(with(json!({"policy": "SCHED_IDLE"})));
        assert_eq!(schedule(&facts)[2], "5");
        let facts = t.facts(with(json!({"policy": "SCHED_OTHER", "nice": -3})));
        assert_eq!(schedule(&facts), ["-3", "0", "0"]);
        // As a user without capabilities, too: it is set before they are gone.
        let bundle = with(json!({"policy": "SCHED_OTHER", "nice": -4}))
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .set("/process/capabilities", json!({}));
        assert_eq!(schedule(&t.facts(bundle)), ["-4", "0", "0"]);
        let container = t.hold(t.bundle());
        let process = json!({"args": ["/bin/payload", "facts"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "scheduler": {"policy": "SCHED_BATCH", "nice": 9}});
        let file = t.dir.join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        let facts = container.exec_with(&["--process", file.to_str().unwrap()], &[]).json();
        assert_eq!(schedule(&facts), ["9", "0", "3"]);
        container.end();
    });
}

#[test]
fn real_time_scheduler() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know scheduler");
        differs!(t, Kind::Crun, "1.8 does not know scheduler");
        let fifo = json!({"policy": "SCHED_FIFO", "priority": 4, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
        let output = t.run(&t.bundle().set("/process/scheduler", fifo).args(&["/bin/payload", "facts"]));
        // Groups of the v1 controller have no real-time share until they are given one.
        needs!(t, !output.stderr.contains("sched_setattr"), "groups have no real-time share here");
        assert_eq!(schedule(&output.json())[1..], ["4", "1"]);
    });
}

#[test]
fn io_priority() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know ioPriority");
        differs!(t, Kind::Crun, "1.8 does not know ioPriority");
        for (class, priority, value) in [
            ("IOPRIO_CLASS_BE", 3, 2 << 13 | 3),
            ("IOPRIO_CLASS_IDLE", 0, 3 << 13),
            ("IOPRIO_CLASS_RT", 7, 1 << 13 | 7),
        ] {
            let bundle = t.bundle().set("/process/ioPriority", json!({"class": class, "priority": priority}));
            // ioprio_get(IOPRIO_WHO_PROCESS, 0)
            let got: i32 = t.run(&bundle.args(&["/bin/calls", "x86-64", "252", "1", "0"])).ok().parse().unwrap();
            assert_eq!(got, value, "{class}");
        }
    });
}

fn processors() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        (first.parse::<u32>().unwrap()..=last.parse().unwrap()).map(|number| number.to_string()).collect::<Vec<_>>()
    };
    list.trim().split(',').flat_map(range).collect()
}

#[test]
fn processors_of_exec() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know execCPUAffinity");
        differs!(t, Kind::Crun, "1.8 does not know execCPUAffinity");
        let all = processors();
        needs!(t, all.len() > 1, "one processor");
        let container = t.hold(t.bundle());
        let file = t.dir.join("process.json");
        let affinity = |affinity: Value| {
            let process = json!({"args": ["/bin/payload", "facts"], "cwd": "/", "execCPUAffinity": affinity});
            fs::write(&file, process.to_string()).unwrap();
            container.exec_with(&["--process", file.to_str().unwrap()], &[])
        };
        let last = all.last().unwrap();
        let facts = affinity(json!({"initial": all[0], "final": last})).json();
        assert_eq!(facts["status"]["Cpus_allowed_list"], last.as_str());
        // Without a final list it may run wherever the container may.
        let facts = affinity(json!({"initial": last})).json();
        assert_eq!(facts["status"]["Cpus_allowed_list"], format!("{}-{last}", all[0]));
        affinity(json!({"final": "8000"})).fails(&["sched_setaffinity"]);
        affinity(json!({"final": "a"})).fails(&["process.execCPUAffinity.final"]);
        container.end();
    });
}

#[test]
fn callers_processors_are_not_the_containers() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 leaves the container on the processors of the caller");
        differs!(t, Kind::Crun, "1.8 leaves the container on the processors of the caller");
        let all = processors();
        needs!(t, all.len() > 1, "one processor");
        let bundle = t.bundle().args(&["/bin/payload", "facts"]);
        bundle.write();
        let inner = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
        let mut command = Command::new("taskset");
        command.args(["-c", &all[0]]).arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
        let facts = Output::from(command.output().unwrap()).json();
        assert_eq!(facts["status"]["Cpus_allowed_list"], format!("{}-{}", all[0], all.last().unwrap()));
    });
}

fn numa(t: &Test) -> bool {
    let there = fs::metadata("/proc/self/numa_maps").is_ok();
    if !there {
        t.skip("the kernel has no NUMA");
    }
    there
}

#[test]
fn memory_policy() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know memoryPolicy");
        differs!(t, Kind::Crun, "1.8 does not know memoryPolicy");
        let bundle = |policy: Value| t.bundle().set("/linux/memoryPolicy", policy).sh("head -n 1 /proc/self/numa_maps");
        if !numa(t) {
            t.run(&bundle(json!({"mode": "MPOL_BIND", "nodes": "0"}))).fails(&["linux.memoryPolicy", "NUMA"]);
            return;
        }
        for (policy, shown) in [
            (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
            (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}), "interleave=static:0"),
            (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
            (json!({"mode": "MPOL_LOCAL"}), "local"),
            (json!({"mode": "MPOL_DEFAULT"}), "default"),
        ] {
            let line = t.run(&bundle(policy.clone())).ok();
            assert_eq!(line.split(' ').nth(1), Some(shown), "{policy}: {line}");
        }
        t.run(&bundle(json!({"mode": "MPOL_BIND", "nodes": "1000"}))).fails(&["linux.memoryPolicy"]);
        let container = t.hold(t.bundle().set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"})));
        let line = container.exec(&["head", "-n", "1", "/proc/self/numa_maps"]).ok();
        assert_eq!(line.split(' ').nth(1), Some("bind:0"));
        container.end();
    });
}

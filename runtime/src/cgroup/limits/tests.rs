//! Tables of what is written for what is asked.

use super::*;

fn hybrid() -> Layout {
    use Controller::*;
    let v1 = [Cpu, Cpuacct, Cpuset, Memory, Devices, Freezer, Io, Pids, Systemd].into_iter().collect();
    Layout { v1, v2: true }
}

const V2: Layout = Layout { v1: Controllers::NONE, v2: true };

fn old() -> Layout {
    use Controller::*;
    let v1 = [Cpu, Cpuset, Memory, Devices, Freezer, Io, Pids, Hugetlb].into_iter().collect();
    Layout { v1, v2: false }
}

fn resources(json: serde_json::Value) -> Resources {
    serde_json::from_value(json).unwrap()
}

/// `file=value` of each write, alternatives joined by ` or `, with `?` after a file that may be absent.
fn files(layout: Layout, current: &Current, json: serde_json::Value) -> Result<Vec<String>, String> {
    let writes = plan(&resources(json), layout, current).map_err(|error| error.to_string())?;
    let text = |write: Write| {
        let optional = if write.absent == Absent::Skip { "?" } else { "" };
        let targets: Vec<String> =
            write.targets.iter().map(|(file, value)| format!("{file}{optional}={value}")).collect();
        targets.join(" or ")
    };
    Ok(writes.into_iter().map(text).collect())
}

fn check(layout: Layout, json: serde_json::Value, expected: &[&str]) {
    let got = files(layout, &Current { fresh: true, ..Current::default() }, json.clone());
    assert_eq!(got.as_deref(), Ok(expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()), "{json}");
}

fn refused(layout: Layout, json: serde_json::Value, message: &str) {
    assert_eq!(files(layout, &Current::default(), json.clone()), Err(message.to_owned()), "{json}");
}

macro_rules! json { ($($json:tt)+) => { serde_json::json!($($json)+) } }

#[test]
fn nothing_asked_nothing_written() {
    for layout in [hybrid(), V2, old(), Layout { v1: Controllers::NONE, v2: false }] {
        check(layout, json!({}), &[]);
        check(layout, json!({"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}}), &[]);
        let zeros = json!({
            "memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 5, "kernelTCP": 5, "useHierarchy": true,
                       "disableOOMKiller": false},
            "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimePeriod": 0, "realtimeRuntime": 0, "cpus": "", "mems": " "},
            "blockIO": {"weight": 0, "leafWeight": 0},
        });
        check(layout, zeros, &[]);
    }
}

#[test]
fn memory_v1() {
    for (memory, expected) in [
        (json!({"limit": 1000}), vec!["memory.limit_in_bytes=1000"]),
        (json!({"limit": 1000, "swap": 1000}), vec!["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=1000"]),
        (json!({"limit": 1000, "swap": -1}), vec!["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes?=-1"]),
        (json!({"limit": -1}), vec!["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes?=-1"]),
        (json!({"swap": 5000}), vec!["memory.memsw.limit_in_bytes=5000"]),
        (json!({"reservation": 500}), vec!["memory.soft_limit_in_bytes=500"]),
        (json!({"reservation": -1}), vec!["memory.soft_limit_in_bytes=-1"]),
        (json!({"swappiness": 0, "disableOOMKiller": true}), vec!["memory.swappiness=0", "memory.oom_control=1"]),
        (json!({"limit": 1000, "checkBeforeUpdate": true}), vec!["memory.limit_in_bytes=1000"]),
    ] {
        check(hybrid(), json!({"memory": memory}), &expected);
        check(old(), json!({"memory": memory}), &expected);
    }
    let update = files(old(), &Current::default(), json!({"memory": {"disableOOMKiller": false}}));
    assert_eq!(update.unwrap(), ["memory.oom_control?=0"]);
}

/// v1 keeps memory ≤ memory and swap at every moment: any change between allowed pairs must get through in two passes.
#[test]
fn memory_v1_order_when_both_change() {
    const UNLIMITED: i64 = i64::MAX;
    let values = [100, 200, 300, 400, -1];
    let real = |value: i64| if value == -1 { UNLIMITED } else { value };
    let pairs: Vec<(i64, i64)> = values
        .iter()
        .flat_map(|limit| values.iter().map(move |both| (*limit, *both)))
        .filter(|(limit, both)| real(*limit) <= real(*both))
        .collect();
    for &(old_limit, old_both) in &pairs {
        for &(limit, both) in &pairs {
            let (mut now_limit, mut now_both) = (real(old_limit), real(old_both));
            let writes =
                plan(&resources(json!({"memory": {"limit": limit, "swap": both}})), old(), &Current::default());
            let mut write = |write: &Write| {
                let (file, value) = &write.targets[0];
                let value = real(value.parse().unwrap());
                match file.as_ref() {
                    "memory.limit_in_bytes" if value <= now_both => now_limit = value,
                    "memory.memsw.limit_in_bytes" if value >= now_limit => now_both = value,
                    _ => return false,
                }
                true
            };
            let again: Vec<Write> = writes.unwrap().into_iter().filter(|first| !write(first)).collect();
            for refused in &again {
                assert_eq!(refused.refused, Refused::TryLast);
                assert!(write(refused), "{old_limit}/{old_both} to {limit}/{both}: {refused:?}");
            }
            assert_eq!((now_limit, now_both), (real(limit), real(both)));
        }
    }
}

#[test]
fn memory_v2() {
    for (memory, expected) in [
        (json!({"limit": 1000}), vec!["memory.max=1000"]),
        (json!({"limit": 1000, "swap": 1000}), vec!["memory.swap.max?=0", "memory.max=1000"]),
        (json!({"limit": 1000, "swap": 1500}), vec!["memory.swap.max=500", "memory.max=1000"]),
        (json!({"limit": 1000, "swap": -1}), vec!["memory.swap.max?=max", "memory.max=1000"]),
        (json!({"limit": -1}), vec!["memory.swap.max?=max", "memory.max=max"]),
        (json!({"limit": -1, "swap": -1}), vec!["memory.swap.max?=max", "memory.max=max"]),
        (json!({"swap": -1}), vec!["memory.swap.max?=max"]),
        (json!({"reservation": 500, "limit": 1000}), vec!["memory.max=1000", "memory.low=500"]),
        (json!({"kernel": 1, "kernelTCP": 1, "useHierarchy": false, "disableOOMKiller": false}), vec![]),
    ] {
        check(V2, json!({"memory": memory}), &expected);
    }
}

#[test]
fn memory_refused() {
    for layout in [V2, old()] {
        for (memory, message) in [
            (json!({"limit": -2}), "linux.resources.memory.limit: -2 is neither -1 (no limit) nor an amount"),
            (
                json!({"reservation": -7}),
                "linux.resources.memory.reservation: -7 is neither -1 (no limit) nor an amount",
            ),
            (
                json!({"limit": 1000, "swap": 999}),
                "linux.resources.memory.swap: memory and swap together (999) are less than the memory limit (1000)",
            ),
            (
                json!({"limit": -1, "swap": 999}),
                "linux.resources.memory.swap: a limit of memory and swap together needs a memory limit",
            ),
        ] {
            refused(layout, json!({"memory": memory}), message);
        }
    }
    refused(
        V2,
        json!({"memory": {"swap": 999}}),
        "linux.resources.memory.swap: a limit of memory and swap together needs a memory limit",
    );
    refused(
        V2,
        json!({"memory": {"swappiness": 60}}),
        "linux.resources.memory.swappiness: cgroup v2 has no swappiness",
    );
    refused(
        V2,
        json!({"memory": {"disableOOMKiller": true}}),
        "linux.resources.memory.disableOOMKiller: on cgroup v2 the OOM killer cannot be disabled",
    );
    refused(
        old(),
        json!({"memory": {"swappiness": 101}}),
        "linux.resources.memory.swappiness: 101 is not from 0 to 100",
    );
    let current = Current { memory_usage: Some(2000), ..Current::default() };
    let json = json!({"memory": {"limit": 1000, "checkBeforeUpdate": true}});
    assert_eq!(
        files(V2, &current, json).unwrap_err(),
        "linux.resources.memory.limit: 2000 bytes are in use, 1000 would make the OOM killer run (checkBeforeUpdate)"
    );
}

#[test]
fn cpu_v1() {
    for (cpu, expected) in [
        (json!({"shares": 512}), vec!["cpu.shares=512"]),
        (json!({"quota": 50000, "period": 100000}), vec!["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"]),
        (json!({"quota": -1}), vec!["cpu.cfs_quota_us=-1"]),
        (json!({"period": 20000}), vec!["cpu.cfs_period_us=20000"]),
        (json!({"burst": 0}), vec!["cpu.cfs_burst_us?=0"]),
        (json!({"quota": 9000, "burst": 1000}), vec!["cpu.cfs_quota_us=9000", "cpu.cfs_burst_us=1000"]),
        (json!({"idle": 1, "shares": 512}), vec!["cpu.idle=1"]),
        (json!({"idle": 0, "shares": 512}), vec!["cpu.idle=0", "cpu.shares=512"]),
        (
            json!({"realtimeRuntime": 950000, "realtimePeriod": 1000000}),
            vec!["cpu.rt_period_us=1000000", "cpu.rt_runtime_us=950000"],
        ),
        (
            json!({"cpus": "0-1,3", "mems": "0", "shares": 2}),
            vec!["cpuset.cpus=0-1,3", "cpuset.mems=0", "cpu.shares=2"],
        ),
    ] {
        check(hybrid(), json!({"cpu": cpu}), &expected);
    }
    // Whatever the old values are, what the kernel refuses at first is tried again.
    let writes = plan(&resources(json!({"cpu": {"quota": 1, "period": 1, "burst": 1}})), old(), &Current::default());
    assert!(writes.unwrap().iter().all(|write| write.refused == Refused::TryLast));
}

#[test]
fn cpu_v2() {
    for (cpu, expected) in [
        (json!({"shares": 1024}), vec!["cpu.weight=100"]),
        (json!({"quota": 50000, "period": 200000}), vec!["cpu.max=50000 200000"]),
        (json!({"quota": 50000}), vec!["cpu.max=50000"]),
        (json!({"quota": -1}), vec!["cpu.max=max"]),
        (json!({"quota": -1, "period": 50000}), vec!["cpu.max=max 50000"]),
        (json!({"period": 50000}), vec!["cpu.max=max 50000"]),
        (json!({"quota": 9000, "burst": 1000}), vec!["cpu.max=9000", "cpu.max.burst=1000"]),
        (json!({"burst": 0}), vec!["cpu.max.burst?=0"]),
        (json!({"idle": 1, "shares": 512}), vec!["cpu.idle=1"]),
        (json!({"idle": 0, "shares": 1024}), vec!["cpu.idle?=0", "cpu.weight=100"]),
        (json!({"cpus": "0", "mems": "0-1"}), vec!["cpuset.cpus=0", "cpuset.mems=0-1"]),
    ] {
        check(V2, json!({"cpu": cpu}), &expected);
    }
    let current = Current { cpu_max: Some("70000 100000\n".to_owned()), ..Current::default() };
    assert_eq!(files(V2, &current, json!({"cpu": {"period": 50000}})).unwrap(), ["cpu.max=70000 50000"]);
}

#[test]
fn cpu_refused() {
    for layout in [V2, hybrid()] {
        for (cpu, message) in [
            (json!({"quota": -5}), "linux.resources.cpu.quota: -5 is neither -1 (no limit) nor an amount"),
            (json!({"idle": 2}), "linux.resources.cpu.idle: 2 is neither 0 nor 1"),
            (json!({"cpus": "0-"}), "linux.resources.cpu.cpus: \"0-\" is no list such as 0-3,7"),
            (json!({"mems": "all"}), "linux.resources.cpu.mems: \"all\" is no list such as 0-3,7"),
            (json!({"cpus": "1,,2"}), "linux.resources.cpu.cpus: \"1,,2\" is no list such as 0-3,7"),
        ] {
            refused(layout, json!({"cpu": cpu}), message);
        }
    }
    refused(
        V2,
        json!({"cpu": {"realtimeRuntime": 1}}),
        "linux.resources.cpu.realtimeRuntime: cgroup v2 has no realtime limits",
    );
}

#[test]
fn weight_curve() {
    let table =
        [(0, 1), (1, 1), (2, 1), (3, 2), (10, 4), (100, 17), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000)];
    for (shares, weight) in table {
        assert_eq!(v2::weight(shares), weight, "{shares}");
    }
    assert_eq!(v2::weight(u64::MAX), 10_000);
    let curve: Vec<u64> = (2..=262_144).map(v2::weight).collect();
    assert!(curve.is_sorted() && curve.iter().all(|weight| (1..=10_000).contains(weight)));
}

#[test]
fn pids() {
    for layout in [V2, hybrid(), old()] {
        check(layout, json!({"pids": {"limit": 0}}), &["pids.max=0"]);
        check(layout, json!({"pids": {"limit": 64}}), &["pids.max=64"]);
        check(layout, json!({"pids": {"limit": -1}}), &["pids.max=max"]);
        refused(
            layout,
            json!({"pids": {"limit": -3}}),
            "linux.resources.pids.limit: -3 is neither -1 (no limit) nor an amount",
        );
    }
}

#[test]
fn block_io() {
    let throttles = json!({"blockIO": {
        "weight": 500,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}, {"major": 8, "minor": 16, "rate": 200}],
        "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 0}],
        "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 300}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 400}],
    }});
    check(
        hybrid(),
        throttles.clone(),
        &[
            "blkio.bfq.weight=500 or blkio.weight=500",
            "blkio.bfq.weight_device=8:0 10 or blkio.weight_device=8:0 10",
            "blkio.throttle.read_bps_device=8:0 100",
            "blkio.throttle.read_bps_device=8:16 200",
            "blkio.throttle.write_bps_device=8:0 0",
            "blkio.throttle.read_iops_device=8:0 300",
            "blkio.throttle.write_iops_device=8:16 400",
        ],
    );
    check(
        V2,
        throttles,
        &[
            "io.bfq.weight=500 or io.weight=4950",
            "io.bfq.weight=8:0 10 or io.weight=8:0 1",
            "io.max=8:0 rbps=100 wbps=max riops=300",
            "io.max=8:16 rbps=200 wiops=400",
        ],
    );
    check(V2, json!({"blockIO": {"weight": 1000}}), &["io.bfq.weight=1000 or io.weight=10000"]);
    check(
        old(),
        json!({"blockIO": {"leafWeight": 30, "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 20}]}}),
        &["blkio.leaf_weight=30", "blkio.leaf_weight_device=8:0 20"],
    );
    refused(
        V2,
        json!({"blockIO": {"leafWeight": 30}}),
        "linux.resources.blockIO.leafWeight: cgroup v2 has no leaf weights",
    );
    for layout in [V2, old()] {
        refused(layout, json!({"blockIO": {"weight": 9}}), "linux.resources.blockIO.weight: 9 is not from 10 to 1000");
        refused(
            layout,
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}}),
            "linux.resources.blockIO.throttleReadBpsDevice[0]: -1:0 is no device",
        );
    }
}

#[test]
fn hugepages() {
    let limits = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 1 << 30}]});
    let v2 = [
        "hugetlb.2MB.max=0",
        "hugetlb.2MB.rsvd.max?=0",
        "hugetlb.1GB.max=1073741824",
        "hugetlb.1GB.rsvd.max?=1073741824",
    ];
    check(V2, limits.clone(), &v2);
    // Hybrid hosts keep it on the cgroup2 mount.
    check(hybrid(), limits, &v2);
    check(
        old(),
        json!({"hugepageLimits": [{"pageSize": "64KB", "limit": 65536}]}),
        &["hugetlb.64KB.limit_in_bytes=65536", "hugetlb.64KB.rsvd.limit_in_bytes?=65536"],
    );
    for size in ["2", "MB", "2mb", "02MB", "2TB", "../2MB", "2MBKB", ""] {
        refused(
            V2,
            json!({"hugepageLimits": [{"pageSize": size, "limit": 1}]}),
            &format!("linux.resources.hugepageLimits[0].pageSize: {size:?} is no size such as 64KB, 2MB or 1GB"),
        );
    }
}

#[test]
fn unified() {
    check(
        V2,
        json!({"memory": {"limit": 5}, "unified": {"memory.max": "10", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.max.depth": "3"}}),
        // Last, so that it has the last word; a line a write.
        &["memory.max=5", "cgroup.max.depth=3", "io.max=8:0 rbps=1", "io.max=8:16 rbps=2", "memory.max=10"],
    );
    check(hybrid(), json!({"unified": {"hugetlb.2MB.max": "0"}}), &["hugetlb.2MB.max=0"]);
    for (layout, key, problem) in [
        (V2, "../memory.max", "it must be the name of a file, without slashes"),
        (V2, "memory", "it must have the form CONTROLLER.PARAMETER"),
        (V2, "memory.", "no controller of cgroup v2 is called \"memory\""),
        (V2, "mem.max", "no controller of cgroup v2 is called \"mem\""),
        (V2, "cgroup.procs", "it is not a limit"),
        (V2, "cgroup.kill", "it is not a limit"),
        (hybrid(), "memory.max", "on this host the controller memory is not one of cgroup v2"),
        (old(), "memory.max", "on this host the controller memory is not one of cgroup v2"),
        (old(), "cgroup.max.depth", "this host has no cgroup v2"),
    ] {
        refused(layout, json!({"unified": {key: "1"}}), &format!("linux.resources.unified[{key:?}]: {problem}"));
    }
    refused(V2, json!({"unified": {"memory.max": "\n"}}), "linux.resources.unified[\"memory.max\"]: it has no value");
}

#[test]
fn missing_controllers_are_named() {
    use Controller::*;
    let bare = Layout { v1: [Freezer, Pids].into_iter().collect(), v2: false };
    for (json, message) in [
        (
            json!({"memory": {"reservation": 5}}),
            "linux.resources.memory.reservation: needs the cgroup controller memory, which is not mounted on this host",
        ),
        (
            json!({"cpu": {"cpus": "0"}}),
            "linux.resources.cpu.cpus: needs the cgroup controller cpuset, which is not mounted on this host",
        ),
        (
            json!({"cpu": {"quota": 5}}),
            "linux.resources.cpu.quota: needs the cgroup controller cpu, which is not mounted on this host",
        ),
        (
            json!({"blockIO": {"weight": 50}}),
            "linux.resources.blockIO.weight: needs the cgroup controller io, which is not mounted on this host",
        ),
        (
            json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}),
            "linux.resources.hugepageLimits[0].limit: needs the cgroup controller hugetlb, which is not mounted on this host",
        ),
    ] {
        refused(bare, json, message);
    }
    refused(
        V2,
        json!({"network": {"classID": 5}}),
        "linux.resources.network.classID: needs the cgroup controller net_cls, \
         which is not mounted on this host (it exists in cgroup v1 alone)",
    );
    refused(
        bare,
        json!({"rdma": {"mlx5_0": {"hcaHandles": 2}}}),
        "linux.resources.rdma[\"mlx5_0\"]: needs the cgroup controller rdma, which is not mounted on this host",
    );
}

#[test]
fn network_and_rdma() {
    let network = json!({"network": {"classID": 0x0010_0001, "priorities": [{"name": "eth0", "priority": 5}]}});
    let v1 = Layout { v1: [Controller::NetCls, Controller::NetPrio].into_iter().collect(), v2: true };
    check(v1, network, &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"]);
    let rdma = json!({"rdma": {"mlx5_0": {"hcaHandles": 2, "hcaObjects": 9}, "mlx5_1": {"hcaObjects": 0}}});
    check(V2, rdma, &["rdma.max=mlx5_0 hca_handle=2 hca_object=9", "rdma.max=mlx5_1 hca_object=0"]);
    for layout in [v1, V2] {
        check(layout, json!({"network": {}, "rdma": {}}), &[]);
    }
    for (json, message) in [
        (
            json!({"network": {"classID": -1}}),
            "linux.resources.network.classID: -1 is not a whole number from 0 to 4294967295",
        ),
        (
            json!({"network": {"priorities": [{"name": "a b"}]}}),
            "linux.resources.network.priorities[0].name: must be the name of an interface",
        ),
        (json!({"rdma": {"a b": {"hcaHandles": 1}}}), "linux.resources.rdma[\"a b\"]: is no name of a device"),
        (json!({"rdma": {"m": {}}}), "linux.resources.rdma[\"m\"]: needs hcaHandles or hcaObjects"),
        (json!({"rdma": []}), "linux.resources.rdma: must be an object"),
    ] {
        refused(v1, json, message);
    }
}

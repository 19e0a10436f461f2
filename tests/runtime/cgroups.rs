//! `linux.cgroupsPath` and `linux.resources` (runtime-spec config-linux.md, "Control groups").

use std::fs;

use serde_json::{Value, json};
use tests::{Kind, Test, differs, needs, test};

/// Starts a container with `resources` and reads one limit.
fn limit(t: &Test, resources: &Value, controller: &str, v1: &str, v2: &str) -> String {
    let mut bundle = t.bundle();
    for (name, value) in resources.as_object().unwrap() {
        bundle = bundle.set(&format!("/linux/resources/{name}"), value.clone());
    }
    let container = t.hold(bundle);
    let value = t.cgroups.read(container.pid, controller, v1, v2);
    container.end();
    value
}

#[test]
fn path_is_as_configured() {
    test(|t| {
        let container = t.hold(t.bundle());
        let name = container.id.clone();
        let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid)).unwrap();
        let wanted = t.cgroups.find(t.marker());
        assert!(!wanted.is_empty(), "{name}: no group of ours in {text}");
        for controller in ["pids", "memory", "cpu", "freezer", ""] {
            if (t.cgroups.has(controller) || controller.is_empty() && t.cgroups.is_v2())
                && let Some(folder) = t.cgroups.folder(container.pid, controller)
            {
                assert!(folder.to_str().unwrap().contains(t.marker()), "{controller}: {folder:?}");
            }
        }
        container.end();
    });
}

#[test]
fn exec_joins_them() {
    test(|t| {
        let container = t.hold(t.bundle());
        let init = fs::read_to_string(format!("/proc/{}/cgroup", container.pid)).unwrap();
        let inside = container.exec(&["/bin/cat", "/proc/self/cgroup"]).ok();
        assert_eq!(inside, init.trim_end());
        container.end();
    });
}

#[test]
fn memory_limit() {
    test(|t| {
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let value = limit(t, &json!({"memory": {"limit": 64 << 20}}), "memory", "memory.limit_in_bytes", "memory.max");
        assert_eq!(value, (64 << 20).to_string());
    });
}

#[test]
fn memory_reservation() {
    test(|t| {
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let value = limit(
            t,
            &json!({"memory": {"reservation": 32 << 20}}),
            "memory",
            "memory.soft_limit_in_bytes",
            "memory.low",
        );
        assert_eq!(value, (32 << 20).to_string());
    });
}

#[test]
fn pids_limit() {
    test(|t| {
        needs!(t, t.cgroups.has("pids"), "no pids controller");
        let bundle = t.bundle().set("/linux/resources/pids", json!({"limit": 10}));
        let output = t.run(&bundle.args(&["/bin/payload", "threads", "50"])).ok();
        assert_eq!(output, "9", "threads beside the first");
    });
}

#[test]
fn cpu_shares_and_quota() {
    test(|t| {
        needs!(t, t.cgroups.has("cpu"), "no cpu controller");
        let quota = json!({"cpu": {"quota": 50_000, "period": 100_000}});
        let (quota, v2) = (limit(t, &quota, "cpu", "cpu.cfs_quota_us", "cpu.max"), t.cgroups.is_v2());
        assert_eq!(quota, if v2 { "50000 100000" } else { "50000" });
        let shares = limit(t, &json!({"cpu": {"shares": 2048}}), "cpu", "cpu.shares", "cpu.weight");
        // Two formulas are in use: linear (79) until 2024, and the one that keeps 1024 at 100.
        let known: &[&str] = if v2 { &["79", "174"] } else { &["2048"] };
        assert!(known.contains(&shares.as_str()), "{shares}");
    });
}

#[test]
fn cpuset() {
    test(|t| {
        needs!(t, t.cgroups.has("cpuset"), "no cpuset controller");
        let value = limit(t, &json!({"cpu": {"cpus": "0", "mems": "0"}}), "cpuset", "cpuset.cpus", "cpuset.cpus");
        assert_eq!(value, "0");
        let bundle = t.bundle().set("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
        assert_eq!(t.facts(bundle)["status"]["Cpus_allowed_list"], "0");
    });
}

#[test]
fn cpuset_of_missing_cpus_is_refused() {
    test(|t| {
        needs!(t, t.cgroups.has("cpuset"), "no cpuset controller");
        t.run(&t.bundle().set("/linux/resources/cpu", json!({"cpus": "4095"}))).fails(&["cpuset.cpus"]);
    });
}

#[test]
fn swap_limit() {
    test(|t| {
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let root = fs::read_dir("/sys/fs/cgroup/memory")
            .is_ok_and(|mut entries| entries.any(|entry| entry.unwrap().file_name() == "memory.memsw.limit_in_bytes"));
        needs!(t, t.cgroups.is_v2() && fs::read_to_string("/proc/swaps").is_ok() || root, "no swap accounting");
        let resources = json!({"memory": {"limit": 64 << 20, "swap": 96 << 20}});
        let container = match t.try_create(&t.bundle().set("/linux/resources", resources), &[]) {
            Ok(container) => container,
            Err(output) if output.stderr.contains("swap") && t.cgroups.is_v2() => {
                return t.skip(&format!("the kernel has no memory.swap.max: {}", output.stderr.trim()));
            }
            Err(output) => panic!("{output}"),
        };
        let value = t.cgroups.read(container.pid, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
        // v1 counts memory and swap together, v2 swap alone.
        assert_eq!(value, if t.cgroups.is_v2() { (32 << 20).to_string() } else { (96 << 20).to_string() });
        container.verb("delete", &["-f"]).ok();
        t.wait_pid(container.pid);
    });
}

#[test]
fn block_io_weight_and_throttle() {
    test(|t| {
        let v1 = fs::metadata("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device").is_ok();
        needs!(t, v1 || t.cgroups.is_v2() && t.cgroups.has("io"), "no io controller");
        let Some(line) =
            fs::read_to_string("/proc/partitions").ok().and_then(|text| text.lines().nth(2).map(str::to_owned))
        else {
            return t.skip("no block device");
        };
        let numbers: Vec<u64> = line.split_whitespace().take(2).map(|word| word.parse().unwrap()).collect();
        let resources = json!({"blockIO": {"throttleReadBpsDevice": [{"major": numbers[0], "minor": numbers[1], "rate": 1 << 20}]}});
        let value = limit(t, &resources, if v1 { "blkio" } else { "io" }, "blkio.throttle.read_bps_device", "io.max");
        let expected = format!("{}:{} ", numbers[0], numbers[1]);
        assert!(value.starts_with(&expected) && value.contains("1048576"), "{value}");
    });
}

#[test]
fn huge_pages() {
    test(|t| {
        needs!(t, t.cgroups.has("hugetlb"), "no hugetlb controller");
        if !t.cgroups.is_v2() {
            differs!(t, Kind::Runc, "1.1 does not find it where cgroup2 has it on a hybrid host");
        }
        let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 6 << 20}]});
        let value = limit(t, &resources, "hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max");
        assert_eq!(value, (6 << 20).to_string());
    });
}

#[test]
fn remote_memory() {
    test(|t| {
        needs!(t, t.cgroups.has("rdma"), "no rdma controller");
        let devices = fs::read_dir("/sys/class/infiniband").into_iter().flatten();
        let Some(device) = devices.map(|entry| entry.unwrap().file_name().into_string().unwrap()).next() else {
            return t.skip("no RDMA device");
        };
        let resources = json!({"rdma": {device.clone(): {"hcaHandles": 3, "hcaObjects": 10000}}});
        let value = limit(t, &resources, "rdma", "rdma.max", "rdma.max");
        let line = value.lines().find(|line| line.starts_with(&device)).unwrap();
        assert_eq!(line.trim(), format!("{device} hca_handle=3 hca_object=10000"));
    });
}

#[test]
fn unified_is_written_as_it_is() {
    test(|t| {
        needs!(t, t.cgroups.is_v2() && t.cgroups.has("pids"), "no cgroup v2 with the pids controller");
        let value = limit(t, &json!({"unified": {"pids.max": "77"}}), "pids", "", "pids.max");
        assert_eq!(value, "77");
    });
}

#[test]
fn unified_with_a_path_is_refused() {
    test(|t| {
        needs!(t, t.cgroups.is_v2(), "no cgroup v2");
        differs!(t, Kind::Crun, "1.8 leaves the cgroup behind when create fails late");
        t.run(&t.bundle().set("/linux/resources/unified", json!({"../pids.max": "77"}))).fails(&[]);
    });
}

#[test]
fn limits_that_are_not_possible_leave_nothing() {
    test(|t| {
        needs!(t, t.cgroups.has("memory"), "no memory controller");
        let resources = json!({"memory": {"limit": 4096}});
        let output = t.run(&t.bundle().set("/linux/resources", resources));
        // A page is too little for any process: refused or killed, and nothing stays either way.
        assert_ne!(output.code, 0, "{output}");
    });
}

#[test]
fn path_cannot_leave_the_hierarchy() {
    test(|t| {
        let bundle = t
            .bundle()
            .set("/linux/cgroupsPath", json!(format!("../../{}/x", t.marker())))
            .args(&["/bin/cat", "/proc/self/cgroup"]);
        let output = t.run(&bundle);
        // Refused, or taken as a path below the root.
        assert!(output.code != 0 || !output.stdout.contains(".."), "{output}");
    });
}

#[test]
fn without_a_path_there_is_a_group_of_its_own() {
    test(|t| {
        let container = t.hold(t.bundle().unset("/linux/cgroupsPath"));
        let folder = t.cgroups.folder(container.pid, "pids").unwrap();
        assert!(folder.to_str().unwrap().contains(&container.id), "{folder:?}");
        container.end();
    });
}

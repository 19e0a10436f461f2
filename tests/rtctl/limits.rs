//! Limits: what they are, that they hold, and that they can be changed.

use std::fs;

use tests::{needs, rtctl_test};

#[test]
fn memory_pids_and_cpu() {
    rtctl_test(|r| {
        let cgroups = &r.test.cgroups;
        needs!(
            r.test,
            cgroups.has("memory") && cgroups.has("pids") && cgroups.has("cpu"),
            "no memory, pids and cpu controllers"
        );
        let id = r.detached(&[
            "-m",
            "64m",
            "--pids-limit",
            "20",
            "--cpus",
            "0.5",
            "--cpu-shares",
            "512",
            "busybox",
            "sleep",
            "1000",
        ]);
        let pid = r.field(&id, "{{.State.Pid}}").parse().unwrap();
        assert_eq!(cgroups.read(pid, "memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
        assert_eq!(cgroups.read(pid, "pids", "pids.max", "pids.max"), "20");
        let quota = cgroups.read(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
        assert!(quota == "50000" || quota == "50000 100000", "{quota}");
        r.ok(&["update", "-m", "96m", "--pids-limit", "30", "--cpus", "1", &id]);
        assert_eq!(cgroups.read(pid, "memory", "memory.limit_in_bytes", "memory.max"), (96 << 20).to_string());
        assert_eq!(cgroups.read(pid, "pids", "pids.max", "pids.max"), "30");
        assert_eq!(r.field(&id, "{{.HostConfig.Memory}}"), (96 << 20).to_string());
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn out_of_memory_is_told() {
    rtctl_test(|r| {
        needs!(r.test, r.test.cgroups.has("memory"), "no memory controller");
        let id = r.detached(&[
            "-m",
            "16m",
            "--memory-swap",
            "16m",
            "busybox",
            "sh",
            "-c",
            "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo $?",
        ]);
        let code = r.ok(&["wait", &id]);
        assert_eq!(r.field(&id, "{{.State.OOMKilled}}"), "true", "code {code}");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn ulimits_shm_and_oom_score() {
    rtctl_test(|r| {
        let output = r.sh(
            &["--ulimit", "nofile=100:200", "--ulimit", "core=0", "--shm-size", "1m", "--oom-score-adj", "300"],
            "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; grep -o 'size=1024k' /proc/self/mounts",
        );
        assert_eq!(output.ok(), "100\n200\n0\n300\nsize=1024k");
    });
}

#[test]
fn cpuset() {
    rtctl_test(|r| {
        needs!(r.test, r.test.cgroups.has("cpuset"), "no cpuset controller");
        assert_eq!(
            r.sh(&["--cpuset-cpus", "0"], "grep Cpus_allowed_list /proc/self/status").ok(),
            "Cpus_allowed_list:\t0"
        );
    });
}

#[test]
fn default_cgroup_parent_is_left_clean() {
    rtctl_test(|r| {
        let mut command = std::process::Command::new(tests::program("rtctl"));
        command.env("RT_ROOT", r.root()).env("RT_STATE", r.state()).stdin(std::process::Stdio::null());
        let output: tests::Output = command
            .args(["run", "--rm", "--network", "none", "busybox", "cat", "/proc/self/cgroup"])
            .output()
            .unwrap()
            .into();
        let text = output.ok();
        for line in text.lines() {
            let path = line.splitn(3, ':').nth(2).unwrap();
            if path != "/" {
                let left = r.test.cgroups.find(path.trim_start_matches('/'));
                assert!(left.is_empty(), "{left:?}");
            }
        }
    });
}

#[test]
fn sysctl() {
    rtctl_test(|r| {
        let before = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        assert_eq!(r.sh(&["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward").ok(), "1");
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), before);
        assert_eq!(r.sh(&["--sysctl", "vm.swappiness=1"], "true").code, 125);
    });
}

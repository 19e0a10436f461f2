//! Limits that change.

use std::collections::HashMap;

use proto::v1::{
    LinuxContainerResources, UpdateContainerResourcesRequest, UpdatePodSandboxResourcesRequest,
    UpdateRuntimeConfigRequest,
};
use tests::{Cgroups, Rtd, handler_differs, needs, pod_test};
use tonic::{Code, Status};

use crate::lab::{changed, logged};

async fn update(rtd: &mut Rtd<'_>, id: &str, linux: LinuxContainerResources) -> Result<(), Status> {
    let request = UpdateContainerResourcesRequest {
        container_id: id.to_owned(),
        linux: Some(linux),
        annotations: HashMap::new(),
    };
    rtd.runtime.update_container_resources(request).await.map(|_| ())
}

async fn told(rtd: &mut Rtd<'_>, id: &str) -> LinuxContainerResources {
    rtd.status(id).await.unwrap().resources.unwrap().linux.unwrap()
}

const MIB: i64 = 1 << 20;

fn memory(limit: i64) -> LinuxContainerResources {
    LinuxContainerResources { memory_limit_in_bytes: limit, ..LinuxContainerResources::default() }
}

fn cpu(quota: i64, shares: i64) -> LinuxContainerResources {
    LinuxContainerResources { cpu_quota: quota, cpu_period: 100_000, cpu_shares: shares, ..Default::default() }
}

#[test]
fn running_and_waiting_containers() {
    pod_test(async |rtd| {
        let groups = Cgroups::detect();
        needs!(rtd.test, groups.has("memory") && groups.has("cpu"), "no memory and cpu controllers");
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let limited = changed("limited", "exec sleep 1000", |config| {
            let resources = LinuxContainerResources { memory_limit_in_bytes: 64 * MIB, ..cpu(50_000, 512) };
            config.linux.get_or_insert_default().resources = Some(resources);
        });
        let id = rtd.create(&pod, &limited, &config).await.unwrap();
        let limits = |told: &LinuxContainerResources| (told.memory_limit_in_bytes, told.cpu_quota, told.cpu_shares);
        assert_eq!(limits(&told(rtd, &id).await), (64 * MIB, 50_000, 512));
        // Before its start.
        update(rtd, &id, cpu(20_000, 0)).await.unwrap();
        assert_eq!(limits(&told(rtd, &id).await), (64 * MIB, 20_000, 512));
        rtd.start(&id).await.unwrap();
        let script = if groups.is_v2() {
            "cd /sys/fs/cgroup; cat memory.max; cut -d' ' -f1 cpu.max"
        } else {
            "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us 2>/dev/null \
             || cat memory/memory.limit_in_bytes cpu,cpuacct/cpu.cfs_quota_us"
        };
        let seen = async |rtd: &mut Rtd<'_>| String::from_utf8(rtd.exec(&id, script).await.unwrap().stdout).unwrap();
        assert_eq!(seen(rtd).await, format!("{}\n20000\n", 64 * MIB));
        // While it runs: what is 0 stays.
        update(rtd, &id, memory(128 * MIB)).await.unwrap();
        assert_eq!(limits(&told(rtd, &id).await), (128 * MIB, 20_000, 512));
        assert_eq!(seen(rtd).await, format!("{}\n20000\n", 128 * MIB));
        update(rtd, &id, LinuxContainerResources::default()).await.unwrap();
        assert_eq!(seen(rtd).await, format!("{}\n20000\n", 128 * MIB));
        // All or nothing: the CPUs cannot be had, so the memory stays.
        let wrong = LinuxContainerResources { cpuset_cpus: "4000".into(), ..memory(256 * MIB) };
        update(rtd, &id, wrong).await.unwrap_err();
        assert_eq!(limits(&told(rtd, &id).await), (128 * MIB, 20_000, 512));
        assert_eq!(seen(rtd).await, format!("{}\n20000\n", 128 * MIB));
        // A new daemon knows.
        rtd.kill();
        rtd.restart().await;
        assert_eq!(limits(&told(rtd, &id).await), (128 * MIB, 20_000, 512));

        for wrong in [
            LinuxContainerResources { cpu_period: -1, ..Default::default() },
            LinuxContainerResources { cpuset_cpus: "x".into(), ..Default::default() },
            LinuxContainerResources { memory_swap_limit_in_bytes: MIB, ..memory(2 * MIB) },
        ] {
            assert_eq!(update(rtd, &id, wrong).await.unwrap_err().code(), Code::InvalidArgument);
        }
        rtd.stop_container(&id, 0).await.unwrap();
        assert_eq!(update(rtd, &id, memory(MIB)).await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!(update(rtd, &"0".repeat(64), memory(MIB)).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(update(rtd, "", memory(MIB)).await.unwrap_err().code(), Code::InvalidArgument);
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn many_at_once_come_one_after_the_other() {
    pod_test(async |rtd| {
        needs!(rtd.test, Cgroups::detect().has("memory"), "no memory controller");
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let id = rtd.launch(&pod, "one", "exec sleep 1000", &config).await;
        let one = |linux: LinuxContainerResources| {
            let mut client = rtd.runtime.clone();
            let request = UpdateContainerResourcesRequest {
                container_id: id.clone(),
                linux: Some(linux),
                annotations: HashMap::new(),
            };
            async move { client.update_container_resources(request).await }
        };
        let (first, second, third) = tokio::join!(one(memory(64 * MIB)), one(cpu(30_000, 0)), one(cpu(0, 300)));
        for answer in [first, second, third] {
            answer.unwrap();
        }
        let told = told(rtd, &id).await;
        assert_eq!((told.memory_limit_in_bytes, told.cpu_quota, told.cpu_shares), (64 * MIB, 30_000, 300));
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn pods_and_the_runtime() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let request = |id: &str, resources| UpdatePodSandboxResourcesRequest {
            pod_sandbox_id: id.to_owned(),
            overhead: None,
            resources: Some(resources),
        };
        rtd.runtime.update_pod_sandbox_resources(request(&pod, memory(MIB))).await.unwrap();
        let noted = std::fs::read_to_string(rtd.state().join("pods").join(&pod).join("pod-resources.json")).unwrap();
        assert!(noted.contains(&format!("\"memory_limit\":{MIB}")), "{noted}");
        let unknown = rtd.runtime.update_pod_sandbox_resources(request(&"0".repeat(64), memory(MIB))).await;
        assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
        let wrong = rtd.runtime.update_pod_sandbox_resources(request(&pod, cpu(0, -1))).await.unwrap_err();
        assert_eq!(wrong.code(), Code::InvalidArgument);
        assert!(wrong.message().starts_with("resources.cpu_shares: "), "{wrong}");

        let mut range = async |text: &str| {
            let network_config = Some(proto::v1::NetworkConfig { pod_cidr: text.to_owned() });
            let runtime_config = Some(proto::v1::RuntimeConfig { network_config });
            rtd.runtime.update_runtime_config(UpdateRuntimeConfigRequest { runtime_config }).await.map(|_| ())
        };
        for good in ["", "10.1.0.0/24", "10.1.0.0/24,fd00:1::/64"] {
            range(good).await.unwrap();
        }
        assert_eq!(range("10.1.0.0").await.unwrap_err().code(), Code::InvalidArgument);
        rtd.runtime.update_runtime_config(UpdateRuntimeConfigRequest::default()).await.unwrap();
        rtd.remove_pod(&pod).await.unwrap();
    });
}

/// The kubelet makes it of the memory request, and sends it along when that is resized.
#[test]
fn oom_score_of_what_runs() {
    pod_test(async |rtd| {
        handler_differs!(rtd.test, "what is executed has the value that the container began with");
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let score = |oom_score_adj| LinuxContainerResources { oom_score_adj, ..LinuxContainerResources::default() };
        let script =
            "echo 900 > /proc/self/oom_score_adj; sleep 1000 & echo 500 > /proc/self/oom_score_adj; exec sleep 1000";
        let container = changed("main", script, |config| {
            config.linux.get_or_insert_default().resources = Some(score(500));
        });
        let id = rtd.create(&pod, &container, &config).await.unwrap();
        rtd.start(&id).await.unwrap();
        let seen = async |rtd: &mut Rtd<'_>| {
            let script = "cat /proc/self/oom_score_adj; for p in $(pidof sleep | tr ' ' '\\n' | sort -n); do cat /proc/$p/oom_score_adj; done";
            let text = String::from_utf8(rtd.exec(&id, script).await.unwrap().stdout).unwrap();
            text.lines().map(|line| line.parse().unwrap()).collect::<Vec<i32>>()
        };
        while seen(rtd).await != [500, 500, 900] {}
        // What runs, what will be executed in it, and what is told; what the program chose for a process of its own stays.
        update(rtd, &id, score(700)).await.unwrap();
        assert_eq!(seen(rtd).await, [700, 700, 900]);
        assert_eq!(told(rtd, &id).await.oom_score_adj, 700);
        update(rtd, &id, score(600)).await.unwrap();
        assert_eq!(seen(rtd).await, [600, 600, 900]);
        // Nothing given, nothing changed; what cannot be changes nothing.
        update(rtd, &id, LinuxContainerResources::default()).await.unwrap();
        let wrong = LinuxContainerResources { cpuset_cpus: "4000".into(), ..score(300) };
        update(rtd, &id, wrong).await.unwrap_err();
        assert_eq!(seen(rtd).await, [600, 600, 900]);
        // Where it may not be lowered so far, the other limits stay, too.
        let shares = "cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight 2>/dev/null || :";
        let before = rtd.exec(&id, shares).await.unwrap().stdout;
        let low = LinuxContainerResources { cpu_shares: 4000, ..score(-900) };
        if update(rtd, &id, low).await.is_err() {
            assert_eq!(rtd.exec(&id, shares).await.unwrap().stdout, before);
            assert_eq!(seen(rtd).await, [600, 600, 900]);
        } else {
            update(rtd, &id, score(600)).await.unwrap();
        }
        // Before its start.
        let id = rtd.create(&pod, &changed("late", "cat /proc/self/oom_score_adj", |_| {}), &config).await.unwrap();
        update(rtd, &id, score(400)).await.unwrap();
        rtd.start(&id).await.unwrap();
        let log = rtd.ended(&id).await.log_path;
        assert!(std::fs::read_to_string(log).unwrap().ends_with(" stdout F 400\n"));
        rtd.remove_pod(&pod).await.unwrap();
    });
}

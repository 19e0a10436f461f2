//! Pods where systemd makes the cgroups: a host that it runs, such as that of `hack/uml-systemd`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proto::v1::{CgroupDriver, ContainerConfig, LinuxContainerResources, PodSandboxConfig, RuntimeConfigRequest};
use tests::pods::{container, pod};
use tests::{Rtd, pod_test};

const SLICE: &str = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7_2.slice";

/// A pod in a slice as the kubelet names it.
fn in_slice(name: &str) -> PodSandboxConfig {
    let mut pod = pod(name);
    pod.linux.as_mut().unwrap().cgroup_parent = SLICE.to_owned();
    pod
}

fn limited(name: &str, script: &str, memory: i64) -> ContainerConfig {
    let mut container = container(name, script);
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: memory,
        memory_swap_limit_in_bytes: memory,
        cpu_shares: 512,
        ..LinuxContainerResources::default()
    };
    container.linux.as_mut().unwrap().resources = Some(resources);
    container
}

fn show(unit: &str, property: &str) -> String {
    let mut systemctl = Command::new("systemctl");
    let output = systemctl.args(["show", "--value", "-p", property, unit]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn group(path: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
}

fn is_booted(rtd: &Rtd<'_>) -> bool {
    let booted = fs::symlink_metadata("/run/systemd/system").is_ok();
    if !booted {
        rtd.test.skip("systemd does not run this host (hack/uml-systemd has one that it does)");
    }
    booted
}

#[test]
fn a_container_has_a_scope_in_the_slice_of_its_pod() {
    pod_test(async |rtd| {
        if !is_booted(rtd) {
            return;
        }
        let answer = rtd.runtime.runtime_config(RuntimeConfigRequest {}).await.unwrap().into_inner();
        assert_eq!(answer.linux.unwrap().cgroup_driver, CgroupDriver::Systemd as i32);
        let config = in_slice("web");
        let pod = rtd.run(&config).await.unwrap();
        let id = rtd.create(&pod, &limited("c", "sleep 1000", 64 << 20), &config).await.unwrap();
        let scope = format!("rt-{id}.scope");
        // Nothing is made before it runs.
        assert_eq!(show(&scope, "LoadState"), "not-found");
        rtd.start(&id).await.unwrap();
        assert_eq!(show(&scope, "ControlGroup"), format!("{SLICE}/{scope}"));
        assert_eq!((show(&scope, "MemoryMax"), show(&scope, "Delegate")), ((64 << 20).to_string(), "yes".to_owned()));
        let place = group(&format!("{SLICE}/{scope}"));
        let groups: Vec<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap()).collect();
        let groups: Vec<_> = groups.iter().filter(|entry| entry.file_type().unwrap().is_dir()).collect();
        assert_eq!(groups.iter().map(|entry| entry.file_name()).collect::<Vec<_>>(), ["container"]);
        let told = rtd.exec(&id, "cat /proc/self/cgroup /sys/fs/cgroup/memory.max").await.unwrap();
        assert_eq!(String::from_utf8(told.stdout).unwrap(), format!("0::/\n{}\n", 64 << 20));

        // It goes on without the daemon, and with another systemd.
        rtd.kill();
        assert!(Command::new("systemctl").arg("daemon-reexec").status().unwrap().success());
        rtd.restart().await;
        assert_eq!(show(&scope, "ActiveState"), "active");
        assert_eq!(rtd.exec(&id, "exit 3").await.unwrap().exit_code, 3);
        rtd.stop_container(&id, 0).await.unwrap();
        rtd.remove_container(&id).await.unwrap();
        assert_eq!(show(&scope, "LoadState"), "not-found");
        assert!(fs::symlink_metadata(&place).is_err());

        // An end that nobody asked for.
        let id = rtd.launch(&pod, "ends", "exit 4", &config).await;
        assert_eq!(rtd.ended(&id).await.exit_code, 4);
        rtd.remove_pod(&pod).await.unwrap();
        assert_eq!(show(&format!("rt-{id}.scope"), "LoadState"), "not-found");
    });
}

#[test]
fn a_parent_of_the_other_driver_is_refused() {
    pod_test(async |rtd| {
        if !is_booted(rtd) {
            return;
        }
        let mut config = pod("web");
        config.linux.as_mut().unwrap().cgroup_parent = "/kubepods/pod1".to_owned();
        let error = rtd.run(&config).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::InvalidArgument);
        assert!(error.message().contains("cgroup parent \"/kubepods/pod1\": it is no slice"), "{error}");
    });
}

#[test]
fn an_oom_kill_is_told_although_systemd_removes_the_group() {
    pod_test(async |rtd| {
        if !is_booted(rtd) {
            return;
        }
        let config = in_slice("oom");
        let pod = rtd.run(&config).await.unwrap();
        for round in 0..10 {
            let script = "exec dd if=/dev/zero of=/dev/null bs=100M count=1";
            let id = rtd.create(&pod, &limited(&format!("c{round}"), script, 15 << 20), &config).await.unwrap();
            rtd.start(&id).await.unwrap();
            let status = rtd.ended(&id).await;
            assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"), "round {round}");
            rtd.remove_container(&id).await.unwrap();
        }
        rtd.remove_pod(&pod).await.unwrap();
    });
}

//! The daemon is killed before each of its steps (a sample of them; with `RT_TEST_ROUNDS=1000` before all), in every call that changes something.
//! The next one tells the truth, the same call succeeds when it is tried again, and a removal leaves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use proto::v1::{ContainerState, PodSandboxConfig, PodSandboxState, VersionRequest};
use tests::pods::{container, pod};
use tests::{Killer, Rtd, has_networks, links, needs, pod_test};
use tonic::Status;

use crate::cni::{self, connected, networked};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Run,
    Create,
    Start,
    StopContainer,
    RemoveContainer,
    StopPod,
    RemovePod,
}

/// The ids of what the call is about; empty: not made yet.
#[derive(Debug, Default)]
struct Ids {
    pod: String,
    container: String,
}

fn main_of(config: &PodSandboxConfig) -> proto::v1::ContainerConfig {
    let node = pod("any").linux == config.linux;
    if node { container("main", "exec sleep 1000") } else { connected("main", "exec sleep 1000") }
}

/// Makes what has to be there before the call.
async fn prepare(rtd: &mut Rtd<'_>, call: Call, config: &PodSandboxConfig) -> Ids {
    let mut ids = Ids::default();
    if call == Call::Run {
        return ids;
    }
    ids.pod = rtd.run(config).await.unwrap();
    if call == Call::Create {
        return ids;
    }
    ids.container = rtd.create(&ids.pod, &main_of(config), config).await.unwrap();
    if call != Call::Start {
        rtd.start(&ids.container).await.unwrap();
    }
    ids
}

async fn ask(rtd: &mut Rtd<'_>, call: Call, ids: &Ids, config: &PodSandboxConfig) -> Result<(), Status> {
    match call {
        Call::Run => rtd.run(config).await.map(|_| ()),
        Call::Create => rtd.create(&ids.pod, &main_of(config), config).await.map(|_| ()),
        Call::Start => rtd.start(&ids.container).await,
        Call::StopContainer => rtd.stop_container(&ids.container, 0).await,
        Call::RemoveContainer => rtd.remove_container(&ids.container).await,
        Call::StopPod => rtd.stop_pod(&ids.pod).await,
        Call::RemovePod => rtd.remove_pod(&ids.pod).await,
    }
}

/// What is said to run does, what is not does not.
async fn truth(rtd: &mut Rtd<'_>) {
    for container in rtd.containers().await {
        let answer = rtd.exec(&container.id, "echo alive").await;
        let runs = answer.as_ref().is_ok_and(|answer| answer.stdout == b"alive\n");
        // One that was said to be made may be told to have ended: its start was cut off.
        let now = rtd.status(&container.id).await.unwrap().state;
        assert_eq!(runs, now == ContainerState::ContainerRunning as i32, "{container:?} {answer:?}");
    }
    for pod in rtd.pods().await {
        let record = fs::read(rtd.state().join("pods").join(&pod.id).join("sandbox-status.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        let shim = Pid::from_raw(i32::try_from(record["shim"][0].as_i64().unwrap()).unwrap());
        if pod.state == PodSandboxState::SandboxReady as i32 {
            assert!(kill(shim, None).is_ok(), "{pod:?}: no shim");
        }
    }
}

/// The same call again, as a kubelet makes it, and what has come of it.
async fn again(rtd: &mut Rtd<'_>, call: Call, ids: &Ids, config: &PodSandboxConfig) {
    let running = ContainerState::ContainerRunning as i32;
    match call {
        Call::Run | Call::Create => {
            let pod = rtd.run(config).await.unwrap();
            let one = rtd.create(&pod, &main_of(config), config).await.unwrap();
            assert_eq!((rtd.pods().await.len(), rtd.containers().await.len()), (1, 1));
            rtd.start(&one).await.unwrap();
            assert_eq!(rtd.exec(&one, "echo alive").await.unwrap().stdout, b"alive\n");
        }
        Call::Start => {
            let mut status = rtd.status(&ids.container).await.unwrap();
            if status.state == ContainerState::ContainerCreated as i32 && rtd.start(&ids.container).await.is_ok() {
                status = rtd.status(&ids.container).await.unwrap();
                assert_eq!(status.state, running, "{status:?}");
            }
            if status.state != running {
                // It was cut off: the kubelet makes the next one.
                status = rtd.status(&ids.container).await.unwrap();
                assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"), "{status:?}");
                let mut next = main_of(config);
                next.metadata.as_mut().unwrap().attempt = 1;
                let next = rtd.create(&ids.pod, &next, config).await.unwrap();
                rtd.start(&next).await.unwrap();
            }
        }
        Call::StopContainer => {
            rtd.stop_container(&ids.container, 0).await.unwrap();
            let status = rtd.status(&ids.container).await.unwrap();
            assert_eq!((status.state, status.exit_code), (ContainerState::ContainerExited as i32, 137), "{status:?}");
        }
        Call::RemoveContainer => {
            rtd.remove_container(&ids.container).await.unwrap();
            assert!(rtd.containers().await.is_empty());
            assert_eq!(rtd.pods().await.len(), 1);
        }
        Call::StopPod => {
            rtd.stop_pod(&ids.pod).await.unwrap();
            let pod = rtd.pod_status(&ids.pod).await.unwrap();
            assert_eq!(pod.state, PodSandboxState::SandboxNotready as i32, "{pod:?}");
        }
        Call::RemovePod => {
            rtd.remove_pod(&ids.pod).await.unwrap();
            assert!(rtd.pods().await.is_empty());
        }
    }
}

/// Waits until what is undone in the background is.
async fn nothing_left(rtd: &Rtd<'_>, links_before: &[String]) {
    let empty = |dir: &Path| fs::read_dir(dir).unwrap().next().is_none();
    while !empty(&rtd.state().join("pods")) || !empty(&rtd.root().join("upper")) || links() != links_before {
        tokio::task::yield_now().await;
    }
}

/// Numbers of steps at which it is killed.
pub(crate) fn sample(steps: u32) -> BTreeSet<u32> {
    let rounds: u32 = std::env::var("RT_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    if rounds >= 1000 {
        return (1..=steps).collect();
    }
    let points = (rounds / 20).max(1);
    (0..points).map(|point| 1 + point * steps.saturating_sub(1) / points.max(2).saturating_sub(1)).collect()
}

/// Has the daemon make a call, if it lives.
pub(crate) async fn wake(rtd: &Rtd<'_>) {
    // An error says that it has been killed.
    let _ = rtd.runtime.clone().version(VersionRequest::default()).await;
}

async fn attempt(rtd: &mut Rtd<'_>, call: Call, at: u32, config: &PodSandboxConfig) -> u32 {
    let ids = prepare(rtd, call, config).await;
    let killer = Killer::watch(rtd.pid(), at, &rtd.test.dir);
    let answer = ask(rtd, call, &ids, config).await;
    let steps = killer.end(wake(rtd)).await;
    eprintln!("{call:?}: killed before step {at}: {:?}", answer.map_err(|error| error.code()));
    if at != u32::MAX {
        rtd.kill();
        rtd.restart().await;
        truth(rtd).await;
    }
    again(rtd, call, &ids, config).await;
    truth(rtd).await;
    for pod in rtd.pods().await {
        rtd.remove_pod(&pod.id).await.unwrap();
    }
    steps
}

async fn walk(rtd: &mut Rtd<'_>, call: Call, config: &PodSandboxConfig) {
    let steps = attempt(rtd, call, u32::MAX, config).await;
    assert!(steps > 0, "{call:?} changes nothing");
    let links_before = links();
    eprintln!("{call:?}: {steps} steps");
    for at in sample(steps) {
        attempt(rtd, call, at, config).await;
        nothing_left(rtd, &links_before).await;
    }
}

#[test]
fn run_pod_sandbox() {
    pod_test(async |rtd| walk(rtd, Call::Run, &pod("web")).await);
}

#[test]
fn run_pod_sandbox_on_the_bridge() {
    pod_test(async |rtd| {
        needs!(rtd.test, has_networks(), "no bridges or nftables here");
        walk(rtd, Call::Run, &networked("web")).await;
    });
}

#[test]
fn run_and_remove_with_plugins() {
    pod_test(async |rtd| {
        needs!(rtd.test, cni::has_plugins() && has_networks(), "no CNI plugins");
        cni::configure(rtd, &[cni::PLUGINS]).await;
        cni::network(rtd);
        cni::ready(rtd).await;
        for call in [Call::Run, Call::StopPod] {
            walk(rtd, call, &networked("web")).await;
        }
        // No address is kept.
        let addresses = fs::read_dir(rtd.test.dir.join("ipam/test")).unwrap();
        let names: Vec<_> = addresses.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.starts_with("10.")), "{names:?}");
        cni::clean_up();
    });
}

#[test]
fn create_container() {
    pod_test(async |rtd| walk(rtd, Call::Create, &pod("web")).await);
}

#[test]
fn start_container() {
    pod_test(async |rtd| walk(rtd, Call::Start, &pod("web")).await);
}

#[test]
fn stop_container() {
    pod_test(async |rtd| walk(rtd, Call::StopContainer, &pod("web")).await);
}

#[test]
fn remove_container() {
    pod_test(async |rtd| walk(rtd, Call::RemoveContainer, &pod("web")).await);
}

#[test]
fn stop_pod_sandbox() {
    pod_test(async |rtd| {
        let config = if has_networks() { networked("web") } else { pod("web") };
        walk(rtd, Call::StopPod, &config).await;
    });
}

#[test]
fn remove_pod_sandbox() {
    pod_test(async |rtd| {
        let config = if has_networks() { networked("web") } else { pod("web") };
        walk(rtd, Call::RemovePod, &config).await;
    });
}

//! A disk that never answers: whoever waits for it waits in the kernel and cannot be killed. All others are served meanwhile, the caller is told
//! what it waits for, and when the disk is given up nothing is left.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proto::v1::{
    ContainerConfig, ContainerState, ContainerStatsRequest, CreateContainerRequest, ListContainerStatsRequest,
    ListPodSandboxStatsRequest, Mount, PodSandboxConfig, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StatusRequest, StopContainerRequest, StopPodSandboxRequest,
};
use tests::pods::{container, pod};
use tests::{Fuse, Rtd, pod_test};
use tonic::{Code, Request, Status};

use crate::lab::{changed, logged};

/// How long a call may take that has nothing to wait for; milliseconds, but for a busy machine.
const PROMPT: Duration = Duration::from_secs(1);

/// A request whose caller gives up.
fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

const LIMIT: Duration = Duration::from_secs(1);

/// It was told in time, and what it waits for.
#[track_caller]
fn late(began: Instant, answer: Result<impl Sized, Status>, step: &str) {
    let Err(error) = answer else { panic!("it did not wait") };
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    assert!(error.message().contains(step), "{error}");
    assert!(began.elapsed() < LIMIT + PROMPT, "{:?}: {error}", began.elapsed());
}

/// Everybody else is served: what is known of the stuck ones, and other pods from beginning to end.
async fn others_go_on(rtd: &mut Rtd<'_>) {
    let begun = Instant::now();
    rtd.pods().await;
    rtd.containers().await;
    rtd.runtime.status(StatusRequest { verbose: true }).await.unwrap();
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    let config = logged(rtd, "other");
    let id = rtd.run(&config).await.unwrap();
    let one = rtd.create(&id, &changed("one", "echo out; sleep 1000", |_| {}), &config).await.unwrap();
    rtd.start(&one).await.unwrap();
    assert_eq!(rtd.exec(&one, "echo alive").await.unwrap().stdout, b"alive\n");
    rtd.stop_container(&one, 0).await.unwrap();
    assert_eq!(rtd.ended(&one).await.exit_code, 137);
    rtd.remove_pod(&id).await.unwrap();
    fs::remove_dir_all(&config.log_directory).unwrap();
}

fn with_volume(fuse: &Fuse, script: &str) -> ContainerConfig {
    let mut config = container("one", script);
    config.mounts = vec![mounted("/data", &fuse.dir)];
    config
}

fn mounted(at: &str, source: &Path) -> Mount {
    Mount { container_path: at.to_owned(), host_path: source.display().to_string(), ..Mount::default() }
}

/// Starts a container, and has it go on once the disk hangs, until it waits for that.
async fn get_stuck(
    rtd: &mut Rtd<'_>,
    fuse: &Fuse,
    id: &str,
    wanted: &ContainerConfig,
    of: &PodSandboxConfig,
) -> String {
    let go = rtd.test.dir.join("go");
    fs::create_dir(&go).unwrap();
    let mut wanted = wanted.clone();
    wanted.mounts.push(mounted("/go", &go));
    let one = rtd.create(id, &wanted, of).await.unwrap();
    rtd.start(&one).await.unwrap();
    fuse.hang();
    fs::write(go.join("now"), "").unwrap();
    fuse.asked();
    one
}

/// The disk is given up: the container that waited for it has been killed, and all is removed.
async fn give_up(rtd: &mut Rtd<'_>, mut fuse: Fuse, id: &str, one: &str) {
    fuse.abort();
    rtd.stop_pod(id).await.unwrap();
    assert_eq!(rtd.ended(one).await.exit_code, 137);
    drop(fuse);
    rtd.remove_pod(id).await.unwrap();
}

async fn stop_pod_within(rtd: &mut Rtd<'_>, id: &str) -> Result<(), Status> {
    let request = within(LIMIT, StopPodSandboxRequest { pod_sandbox_id: id.to_owned() });
    rtd.runtime.stop_pod_sandbox(request).await.map(|_| ())
}

/// Mounts the disk, or ends the test.
macro_rules! fuse {
    ($rtd:expr) => {
        match Fuse::mount(&$rtd.test.dir.join("fuse")) {
            Some(fuse) => fuse,
            None => return $rtd.test.skip("no FUSE here"),
        }
    };
}

#[test]
fn a_volume_that_hangs_before_its_container_is_made() {
    pod_test(async |rtd| {
        let mut fuse = fuse!(rtd);
        fuse.hang();
        let config = pod("stuck");
        let id = rtd.run(&config).await.unwrap();
        let mut wanted = with_volume(&fuse, "sleep 1000");
        wanted.mounts[0].host_path += "/below";
        let create = CreateContainerRequest {
            pod_sandbox_id: id.clone(),
            config: Some(wanted),
            sandbox_config: Some(config.clone()),
        };
        // The kubelet tries again: it joins the first one.
        for _ in 0..2 {
            let began = Instant::now();
            late(began, rtd.runtime.create_container(within(LIMIT, create.clone())).await, "mounts");
        }
        others_go_on(rtd).await;
        rtd.stop_pod(&id).await.unwrap();
        let began = Instant::now();
        let remove = within(LIMIT, RemovePodSandboxRequest { pod_sandbox_id: id.clone() });
        late(began, rtd.runtime.remove_pod_sandbox(remove).await, "creations");
        fuse.abort();
        rtd.remove_pod(&id).await.unwrap();
        drop(fuse);
    });
}

/// Nothing is asked of a disk to mount it.
#[test]
fn a_volume_that_hangs_is_mounted_all_the_same() {
    pod_test(async |rtd| {
        let fuse = fuse!(rtd);
        fuse.hang();
        let config = pod("stuck");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.create(&id, &with_volume(&fuse, "sleep 1000"), &config).await.unwrap();
        rtd.runtime.start_container(within(LIMIT, StartContainerRequest { container_id: one.clone() })).await.unwrap();
        assert_eq!(rtd.exec(&one, "grep -c ' /data fuse ' /proc/mounts").await.unwrap().stdout, b"1\n");
        rtd.stop_container(&one, 0).await.unwrap();
        rtd.remove_pod(&id).await.unwrap();
        drop(fuse);
    });
}

/// The one that waits is the pod's own: the daemon can be ended and started again.
#[test]
fn a_volume_that_hangs_before_its_container_is_started() {
    pod_test(async |rtd| {
        let mut fuse = fuse!(rtd);
        let config = pod("stuck");
        let id = rtd.run(&config).await.unwrap();
        let mut wanted = with_volume(&fuse, "sleep 1000");
        wanted.mounts[0].host_path += "/file.log";
        let one = rtd.create(&id, &wanted, &config).await.unwrap();
        fuse.hang();
        for _ in 0..2 {
            let began = Instant::now();
            let start = within(LIMIT, StartContainerRequest { container_id: one.clone() });
            late(began, rtd.runtime.start_container(start).await, "create");
        }
        others_go_on(rtd).await;
        let began = Instant::now();
        late(began, stop_pod_within(rtd, &id).await, "namespaces");
        rtd.kill();
        rtd.restart().await;
        others_go_on(rtd).await;
        fuse.abort();
        rtd.remove_pod(&id).await.unwrap();
        drop(fuse);
    });
}

#[test]
fn a_volume_that_hangs_under_a_container() {
    pod_test(async |rtd| {
        let fuse = fuse!(rtd);
        let config = pod("stuck");
        let id = rtd.run(&config).await.unwrap();
        let wanted = with_volume(&fuse, "until [ -e /go/now ]; do usleep 10000; done; echo x > /data/x.log");
        let one = get_stuck(rtd, &fuse, &id, &wanted, &config).await;

        let began = Instant::now();
        let stop = within(LIMIT, StopContainerRequest { container_id: one.clone(), timeout: 0 });
        late(began, rtd.runtime.stop_container(stop).await, "processes");
        let began = Instant::now();
        late(began, stop_pod_within(rtd, &id).await, "containers");
        others_go_on(rtd).await;
        let began = Instant::now();
        rtd.runtime.list_container_stats(ListContainerStatsRequest::default()).await.unwrap();
        rtd.runtime.list_pod_sandbox_stats(ListPodSandboxStatsRequest::default()).await.unwrap();
        assert!(began.elapsed() < 2 * PROMPT, "{:?}", began.elapsed());
        // It has been killed, and that is all that can be said of it.
        assert_eq!(rtd.status(&one).await.unwrap().state, ContainerState::ContainerRunning as i32);
        rtd.kill();
        rtd.restart().await;
        others_go_on(rtd).await;
        let began = Instant::now();
        late(began, stop_pod_within(rtd, &id).await, "containers");

        give_up(rtd, fuse, &id, &one).await;
    });
}

/// The shim itself waits: it answers nobody.
#[test]
fn a_folder_of_logs_that_hangs() {
    pod_test(async |rtd| {
        let fuse = fuse!(rtd);
        let config = PodSandboxConfig { log_directory: fuse.dir.display().to_string(), ..pod("stuck") };
        let id = rtd.run(&config).await.unwrap();
        let wanted = changed("one", "until [ -e /go/now ]; do usleep 10000; done; exec yes", |_| {});
        let one = get_stuck(rtd, &fuse, &id, &wanted, &config).await;

        let began = Instant::now();
        late(began, stop_pod_within(rtd, &id).await, "containers");
        others_go_on(rtd).await;
        let began = Instant::now();
        let stats = within(PROMPT, ContainerStatsRequest { container_id: one.clone() });
        rtd.runtime.container_stats(stats).await.unwrap();
        rtd.runtime.list_container_stats(ListContainerStatsRequest::default()).await.unwrap();
        rtd.runtime.list_pod_sandbox_stats(ListPodSandboxStatsRequest::default()).await.unwrap();
        assert!(began.elapsed() < 2 * PROMPT, "{:?}", began.elapsed());
        rtd.kill();
        rtd.restart().await;
        others_go_on(rtd).await;

        give_up(rtd, fuse, &id, &one).await;
    });
}

#[test]
fn a_folder_of_logs_that_hangs_before_its_pod_is_made() {
    pod_test(async |rtd| {
        let mut fuse = fuse!(rtd);
        fuse.hang();
        let logs = fuse.dir.join("pod");
        let config = PodSandboxConfig { log_directory: logs.display().to_string(), ..pod("stuck") };
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        for _ in 0..2 {
            let began = Instant::now();
            late(began, rtd.runtime.run_pod_sandbox(within(LIMIT, request.clone())).await, "log directory");
        }
        others_go_on(rtd).await;
        assert!(rtd.pods().await.is_empty());
        fuse.abort();
        let error = rtd.run(&config).await.unwrap_err();
        assert!(error.message().contains("log directory"), "{error}");
        drop(fuse);
        let id = rtd.run(&config).await.unwrap();
        rtd.remove_pod(&id).await.unwrap();
    });
}

//! What a kubelet meets that tries everything again: what is stuck, cut off, shared or damaged.

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::{
    ContainerState, ImageSpec, NamespaceMode, PodSandboxConfig, PodSandboxState, RemoveImageRequest,
    StartContainerRequest, StopContainerRequest,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use tests::pods::{IMAGE, container, namespaces_of, pod};
use tests::{Cgroups, Rtd, handler_differs, pod_test};
use tonic::{Code, Request};

fn pod_dir(rtd: &Rtd<'_>, pod: &str) -> PathBuf {
    rtd.state().join("pods").join(pod)
}

fn shim_of(rtd: &Rtd<'_>, pod: &str) -> Pid {
    let record = fs::read(pod_dir(rtd, pod).join("sandbox-status.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    Pid::from_raw(i32::try_from(record["shim"][0].as_i64().unwrap()).unwrap())
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_millis(300));
    request
}

fn below(parent: &str, name: &str) -> PodSandboxConfig {
    let mut config = pod(name);
    parent.clone_into(&mut config.linux.as_mut().unwrap().cgroup_parent);
    config
}

/// The one for which the group was made goes first: what is left in it is somebody else's.
#[test]
fn a_shared_cgroup_parent_goes_with_the_last_pod() {
    pod_test(async |rtd| {
        if fs::symlink_metadata("/run/systemd/system").is_ok() {
            rtd.test.skip("systemd makes the control groups");
            return;
        }
        if tests::handler() == "runc" && !Cgroups::detect().is_v2() {
            handler_differs!(
                rtd.test,
                "it makes groups in the hierarchy name=systemd of v1 and leaves that of the pod there"
            );
        }
        let parent = format!("/rt-test-{}-shared", rtd.pid());
        let (a, b) = (below(&parent, "a"), below(&parent, "b"));
        let one = rtd.run(&a).await.unwrap();
        let first = rtd.launch(&one, "first", "sleep 1000", &a).await;
        let two = rtd.run(&b).await.unwrap();
        let second = rtd.launch(&two, "second", "sleep 1000", &b).await;
        rtd.remove_pod(&one).await.unwrap();
        assert_eq!(rtd.status(&first).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(rtd.exec(&second, "echo alive").await.unwrap().stdout, b"alive\n");
        rtd.remove_pod(&two).await.unwrap();
        let left = fs::read_to_string("/proc/self/mountinfo").unwrap();
        for at in left.lines().filter(|line| line.contains(" - cgroup")).map(|line| line.split(' ').nth(4).unwrap()) {
            let path = format!("{at}{parent}");
            assert!(!fs::exists(&path).unwrap(), "{path}");
        }
    });
}

/// Its programs have ended: that its network could not be given back is another matter.
#[test]
fn a_pod_whose_network_stays_is_not_ready() {
    pod_test(async |rtd| {
        let mut config = pod("web");
        namespaces_of(&mut config).network = NamespaceMode::Pod as i32;
        let id = rtd.run(&config).await.unwrap();
        let book: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(rtd.state().join("network"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        assert!(!book.is_empty());
        for (path, _) in &book {
            fs::write(path, "no json").unwrap();
        }
        for _ in 0..2 {
            let error = rtd.stop_pod(&id).await.unwrap_err();
            assert!(error.message().contains("network"), "{error}");
            assert_eq!(rtd.pod_status(&id).await.unwrap().state(), PodSandboxState::SandboxNotready);
        }
        rtd.remove_pod(&id).await.unwrap_err();
        for (path, text) in &book {
            fs::write(path, text).unwrap();
        }
        rtd.stop_pod(&id).await.unwrap();
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// Does what the daemon does first when it starts a container.
fn begin_start(rtd: &Rtd<'_>, pod: &str, container: &str) {
    let dir = fs::File::open(pod_dir(rtd, pod)).unwrap();
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let path = format!("/proc/self/fd/{}/shim.sock", dir.as_raw_fd());
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    let mut packet = vec![0; 4096];
    rustix::net::recv(&socket, packet.as_mut_slice(), RecvFlags::empty()).unwrap();
    let own = fs::File::open(pod_dir(rtd, pod).join("containers").join(container)).unwrap();
    let request = serde_json::json!({"create": {"container": container, "dir": "."}}).to_string();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut fds = SendAncillaryBuffer::new(&mut space);
    let own = [own.as_fd()];
    assert!(fds.push(SendAncillaryMessage::ScmRights(&own)));
    rustix::net::sendmsg(&socket, &[IoSlice::new(request.as_bytes())], &mut fds, SendFlags::empty()).unwrap();
    let (size, _) = rustix::net::recv(&socket, packet.as_mut_slice(), RecvFlags::empty()).unwrap();
    let answer = String::from_utf8_lossy(&packet[..size]).into_owned();
    assert!(answer.contains("created"), "{answer}");
}

#[test]
fn a_container_whose_start_was_cut_off_has_ended() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.create(&id, &container("one", "sleep 1000"), &config).await.unwrap();
        rtd.kill();
        begin_start(rtd, &id, &one);
        rtd.restart().await;
        let status = rtd.ended(&one).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"), "{status:?}");
        assert!(rtd.start(&one).await.is_err());
        rtd.remove_container(&one).await.unwrap();
        let again = rtd.launch(&id, "one", "exit 3", &config).await;
        assert_eq!(rtd.ended(&again).await.exit_code, 3);
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// Calls for others are answered meanwhile, and once it goes on all of it is known.
#[test]
fn a_stuck_shim_delays_nobody() {
    pod_test(async |rtd| {
        let (a, b) = (pod("a"), pod("b"));
        let stuck = rtd.run(&a).await.unwrap();
        let one = rtd.launch(&stuck, "one", "sleep 1000", &a).await;
        let two = rtd.launch(&stuck, "two", "sleep 1000", &a).await;
        let shim = shim_of(rtd, &stuck);
        kill(shim, Signal::SIGSTOP).unwrap();
        rtd.kill();
        let began = std::time::Instant::now();
        rtd.restart().await;
        assert_eq!(rtd.containers().await.len(), 2);
        let other = rtd.run(&b).await.unwrap();
        let third = rtd.launch(&other, "third", "exit 3", &b).await;
        assert_eq!(rtd.ended(&third).await.exit_code, 3);
        rtd.remove_pod(&other).await.unwrap();
        // Less than one connection to a shim that says nothing is waited for.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let request = within(StopContainerRequest { container_id: one.clone(), timeout: 0 });
        let error = rtd.runtime.stop_container(request).await.unwrap_err();
        assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error}");
        let pid: i32 = {
            let record = pod_dir(rtd, &stuck).join("containers").join(&two).join("status.json");
            let record: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
            record["state"]["running"]["init"][0].as_i64().unwrap().try_into().unwrap()
        };
        kill(shim, Signal::SIGCONT).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        for container in [&one, &two] {
            assert_eq!(rtd.ended(container).await.exit_code, 137);
        }
        rtd.remove_pod(&stuck).await.unwrap();
    });
}

/// It answers that the container has stopped: then it must not begin to run.
#[test]
fn a_container_that_is_being_started_is_stopped() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.create(&id, &container("one", "sleep 1000"), &config).await.unwrap();
        let shim = shim_of(rtd, &id);
        kill(shim, Signal::SIGSTOP).unwrap();
        let start = within(StartContainerRequest { container_id: one.clone() });
        let error = rtd.runtime.start_container(start).await.unwrap_err();
        assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error}");
        let stop = within(StopContainerRequest { container_id: one.clone(), timeout: 0 });
        let error = rtd.runtime.stop_container(stop).await.unwrap_err();
        assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error}");
        kill(shim, Signal::SIGCONT).unwrap();
        assert_eq!(rtd.ended(&one).await.exit_code, 137);
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn images_of_damaged_records_are_in_use() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        let dir = pod_dir(rtd, &id);
        for record in [dir.join("containers").join(&one).join("container.json"), dir.join("pod.json")] {
            let text = fs::read(&record).unwrap();
            rtd.kill();
            fs::write(&record, "no json").unwrap();
            rtd.restart().await;
            assert_eq!(rtd.status(&one).await.unwrap_err().code(), Code::NotFound);
            let image = ImageSpec { image: IMAGE.to_owned(), ..ImageSpec::default() };
            let error = rtd.images.remove_image(RemoveImageRequest { image: Some(image) }).await.unwrap_err();
            assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
            rtd.kill();
            fs::write(&record, text).unwrap();
            rtd.restart().await;
            assert_eq!(rtd.status(&one).await.unwrap().state, ContainerState::ContainerRunning as i32);
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// Whoever collects logs is not root, and the daemon's umask is 077.
#[test]
fn directories_of_logs_can_be_read() {
    pod_test(async |rtd| {
        let top = rtd.test.dir.join("logs");
        let config = PodSandboxConfig { log_directory: top.join("pod").display().to_string(), ..pod("web") };
        let id = rtd.run(&config).await.unwrap();
        let mut one = container("one", "echo out");
        one.log_path = "one/0.log".to_owned();
        rtd.create(&id, &one, &config).await.unwrap();
        for dir in [top.clone(), top.join("pod"), top.join("pod/one")] {
            assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o755, "{dir:?}");
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// A shim that is stopped (SIGSTOP, a debugger, a dead disk) does not answer; the pod ends and goes all the same, and so does what ran
/// in it.
#[test]
fn a_pod_whose_shim_is_stuck_can_be_removed() {
    pod_test(async |rtd| {
        let config = pod("stuck");
        let id = rtd.run(&config).await.unwrap();
        let main = rtd.launch(&id, "main", "sleep 1000", &config).await;
        let (shim, other) = (shim_of(rtd, &id), rtd.run(&pod("other")).await.unwrap());
        let process = rtd.exec(&main, "readlink /proc/self/ns/pid").await.unwrap();
        kill(shim, Signal::SIGSTOP).unwrap();

        // Nobody else is delayed, and StopContainer has an end: it is the pod's to end the shim.
        rtd.remove_pod(&other).await.unwrap();
        let error = rtd.stop_container(&main, 0).await.unwrap_err();
        assert!(error.message().contains("does not answer"), "{error}");
        rtd.stop_pod(&id).await.unwrap();
        assert_eq!(rtd.pod_status(&id).await.unwrap().state, PodSandboxState::SandboxNotready as i32);
        let status = rtd.status(&main).await.unwrap();
        assert_eq!((status.state, status.exit_code), (ContainerState::ContainerExited as i32, 255));
        // Nobody reaps them here.
        let ended = |process: &str| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        assert!(ended(&shim.to_string()), "the shim lives");
        let namespace = String::from_utf8(process.stdout).unwrap();
        for process in fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
            let its = fs::read_link(format!("/proc/{process}/ns/pid")).unwrap_or_default();
            assert!(its.to_str() != Some(namespace.trim()) || ended(&process), "{process} of the container runs");
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

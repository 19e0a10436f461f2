//! The daemon may end at any moment: nothing that runs is touched, and the next one knows all of it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::{ContainerState, PodSandboxState};
use tests::pod_test;
use tests::pods::{container, pod};

#[test]
fn containers_live_on_and_ends_are_known() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let stays = rtd.launch(&id, "stays", "sleep 1000", &config).await;
        let ends = rtd.launch(&id, "ends", "sleep 0.1; exit 3", &config).await;
        let made = rtd.create(&id, &container("made", "exit 4"), &config).await.unwrap();
        let before = rtd.status(&stays).await.unwrap();
        rtd.kill();
        // The shim writes what happened meanwhile.
        let record = rtd.state().join("pods").join(&id).join("containers").join(&ends).join("status.json");
        while !std::fs::read_to_string(&record).unwrap().contains("\"exited\"") {
            tokio::task::yield_now().await;
        }
        rtd.restart().await;
        assert_eq!(rtd.status(&stays).await.unwrap(), before);
        let ended = rtd.status(&ends).await.unwrap();
        assert_eq!((ended.state, ended.exit_code), (ContainerState::ContainerExited as i32, 3));
        assert_eq!(rtd.status(&made).await.unwrap().state, ContainerState::ContainerCreated as i32);
        rtd.start(&made).await.unwrap();
        assert_eq!(rtd.ended(&made).await.exit_code, 4);
        assert_eq!(rtd.run(&config).await.unwrap(), id);
        rtd.stop_container(&stays, 0).await.unwrap();
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn a_pod_whose_shim_died_is_not_ready_and_can_be_removed() {
    for down in [false, true] {
        pod_test(async |rtd| {
            let config = pod("web");
            let id = rtd.run(&config).await.unwrap();
            let runs = rtd.launch(&id, "runs", "sleep 1000", &config).await;
            let record = rtd.state().join("pods").join(&id).join("sandbox-status.json");
            let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
            let shim = Pid::from_raw(i32::try_from(record["shim"][0].as_i64().unwrap()).unwrap());
            if down {
                rtd.kill();
            }
            kill(shim, Signal::SIGKILL).unwrap();
            if down {
                rtd.restart().await;
            }
            let ended = rtd.ended(&runs).await;
            assert_eq!((ended.exit_code, ended.reason.as_str()), (255, "ContainerStatusUnknown"));
            while rtd.pod_status(&id).await.unwrap().state == PodSandboxState::SandboxReady as i32 {
                tokio::task::yield_now().await;
            }
            rtd.stop_pod(&id).await.unwrap();
            rtd.remove_pod(&id).await.unwrap();
        });
    }
}

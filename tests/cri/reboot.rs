//! After a restart of the host: what ran has ended, and what it held is given back.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::{ContainerState, PodSandboxState};
use serde_json::{Value, json};
use tests::pod_test;

use crate::cni::{Script, connected, networked};

/// Field 22 of /proc/self/stat.
fn own_start_time() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// Makes the records below a directory those of another boot, and has them name a process that lives. How many there were.
fn age(dir: &Path) -> usize {
    let mut aged = 0;
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.is_symlink() {
            aged += age(&path);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            if record.get("boot_id").is_none() {
                continue;
            }
            record["boot_id"] = json!("00000000-0000-4000-8000-000000000000");
            if record.get("shim").is_some() {
                record["shim"] = json!([std::process::id(), own_start_time()]);
            }
            fs::write(&path, record.to_string()).unwrap();
            aged += 1;
        }
    }
    aged
}

#[test]
fn what_ran_has_ended_and_attachments_are_undone() {
    pod_test(async |rtd| {
        let mut plugin = Script::install(rtd).await;
        plugin.answer();
        let config = networked("web");
        let id = rtd.run(&config).await.unwrap();
        let mut ids = Vec::new();
        for (name, script) in [("runs", "sleep 1000"), ("ended", "exit 3"), ("made", "exit 4")] {
            ids.push(rtd.create(&id, &connected(name, script), &config).await.unwrap());
        }
        let [runs, ended, made] = &ids[..] else { unreachable!() };
        rtd.start(runs).await.unwrap();
        rtd.start(ended).await.unwrap();
        let before = rtd.ended(ended).await;
        let record = rtd.state().join("pods").join(&id).join("sandbox-status.json");
        let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        let shim = Pid::from_raw(i32::try_from(record["shim"][0].as_i64().unwrap()).unwrap());
        rtd.kill();
        kill(shim, Signal::SIGKILL).unwrap();
        rtd.test.wait_pid(shim.as_raw());
        // The sandbox, and the two containers that were started.
        assert_eq!(age(&rtd.state().join("pods")), 3);
        let ledger = rtd.root().join("net/cni");
        assert_eq!(age(&ledger), 1);
        rtd.restart().await;

        // Before it serves: plugins are told that the namespace is gone.
        assert_eq!(plugin.calls("DEL"), 1);
        assert_eq!(fs::read_to_string(plugin.dir.join("DEL.netns")).unwrap(), "\n");
        let left: Vec<_> = fs::read_dir(&ledger).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);

        let pod = rtd.pod_status(&id).await.unwrap();
        assert_eq!(pod.state, PodSandboxState::SandboxNotready as i32);
        let status = rtd.status(runs).await.unwrap();
        assert_eq!(
            (status.state, status.exit_code, status.reason.as_str()),
            (ContainerState::ContainerExited as i32, 255, "ContainerStatusUnknown")
        );
        assert!(status.message.contains("the host was restarted"), "{status:?}");
        assert_eq!(rtd.status(ended).await.unwrap(), before);
        assert!(rtd.start(made).await.is_err());
        for container in &ids {
            rtd.remove_container(container).await.unwrap();
        }
        assert!(rtd.containers().await.is_empty());
        rtd.stop_pod(&id).await.unwrap();
        rtd.remove_pod(&id).await.unwrap();
        assert_eq!(plugin.calls("DEL"), 1);
        // The same pod can be made, with a network.
        plugin.answer();
        let id = rtd.run(&config).await.unwrap();
        assert_eq!((plugin.calls("ADD"), rtd.pods().await.len()), (2, 1));
        rtd.remove_pod(&id).await.unwrap();
    });
}

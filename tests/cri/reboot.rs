//! After a restart of the host: what ran has ended, and what it held is given back.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::{ContainerState, PodSandboxState, PortMapping, Protocol};
use serde_json::{Value, json};
use tests::{Rtd, has_networks, links, needs, pod_test};

use crate::cni::{self, Script, connected, networked};

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

/// Ends the daemon and all that it has started, and takes away what is in memory: links, rules, and what is below /run. On the disk the records
/// are of another boot now.
fn go_down(rtd: &mut Rtd<'_>) {
    rtd.kill();
    for pod in fs::read_dir(rtd.state().join("pods")).unwrap().map(|entry| entry.unwrap().path()) {
        let record: Value = serde_json::from_slice(&fs::read(pod.join("sandbox-status.json")).unwrap()).unwrap();
        let shim = Pid::from_raw(i32::try_from(record["shim"][0].as_i64().unwrap()).unwrap());
        // Its containers end with it.
        kill(shim, Signal::SIGKILL).unwrap();
        rtd.test.wait_pid(shim.as_raw());
    }
    fs::remove_dir_all(rtd.state()).unwrap();
    for link in links().iter().filter(|name| *name != "lo") {
        // The other end of a pair goes along.
        let _ = Command::new("ip").args(["link", "delete", link]).stderr(Stdio::null()).status();
    }
    assert_eq!(links(), ["lo"]);
    assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
    if rtd.root().join("net/cni").is_dir() {
        age(&rtd.root().join("net/cni"));
    }
}

/// Pods with a container each that has written something, and a port of the host; their addresses.
async fn bring_up(rtd: &mut Rtd<'_>, count: u16) -> Vec<String> {
    let mut addresses = Vec::new();
    for number in 0..count {
        let mut config = networked(&format!("web{number}"));
        config.port_mappings = vec![PortMapping {
            protocol: Protocol::Tcp as i32,
            container_port: 80,
            host_port: 18080 + i32::from(number),
            host_ip: String::new(),
        }];
        let id = rtd.run(&config).await.unwrap();
        let main = connected("main", "echo something >/file; sleep 1000");
        let main = rtd.create(&id, &main, &config).await.unwrap();
        rtd.start(&main).await.unwrap();
        addresses.push(rtd.pod_status(&id).await.unwrap().network.unwrap().ip);
    }
    addresses
}

async fn remove_all(rtd: &mut Rtd<'_>) {
    for pod in rtd.pods().await {
        rtd.stop_pod(&pod.id).await.unwrap();
        rtd.remove_pod(&pod.id).await.unwrap();
    }
}

/// Waits until nothing is left of the writable layers.
async fn layers_are_gone(rtd: &Rtd<'_>) {
    while fs::read_dir(rtd.root().join("upper")).unwrap().count() > 0 {
        tokio::task::yield_now().await;
    }
}

fn distinct(addresses: &[String]) {
    let set: BTreeSet<_> = addresses.iter().collect();
    assert!(set.len() == addresses.len() && !set.contains(&String::new()), "{addresses:?}");
}

#[test]
fn all_is_gone_and_the_bridge_is_made_again() {
    pod_test(async |rtd| {
        needs!(rtd.test, has_networks(), "no bridges or nftables here");
        let before = bring_up(rtd, 3).await;
        distinct(&before);
        for _ in 0..2 {
            go_down(rtd);
            rtd.restart().await;
            assert!(rtd.pods().await.is_empty() && rtd.containers().await.is_empty());
            layers_are_gone(rtd).await;
            // The image is there, and so are names, addresses and ports of those that ran.
            let after = bring_up(rtd, 3).await;
            distinct(&after);
            assert_eq!(after, before);
        }
        remove_all(rtd).await;
    });
}

#[test]
fn plugins_give_back_what_they_keep_on_the_disk() {
    pod_test(async |rtd| {
        needs!(rtd.test, cni::has_plugins() && has_networks(), "no CNI plugins");
        cni::configure(rtd, &[cni::PLUGINS]).await;
        cni::network(rtd);
        cni::ready(rtd).await;
        let reserved = |rtd: &Rtd<'_>| {
            let names = fs::read_dir(rtd.test.dir.join("ipam/test")).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with("10.")).collect::<BTreeSet<_>>()
        };
        distinct(&bring_up(rtd, 3).await);
        assert_eq!(reserved(rtd).len(), 3);
        for _ in 0..2 {
            go_down(rtd);
            rtd.restart().await;
            // Before it serves.
            assert_eq!(reserved(rtd), BTreeSet::new());
            assert!(rtd.pods().await.is_empty() && rtd.containers().await.is_empty());
            layers_are_gone(rtd).await;
            let after = bring_up(rtd, 3).await;
            distinct(&after);
            assert_eq!(reserved(rtd), after.into_iter().collect());
        }
        remove_all(rtd).await;
        assert_eq!(reserved(rtd), BTreeSet::new());
        cni::clean_up();
    });
}

//! Pods on the network of CNI plugins: those of Debian, and ones that hang.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proto::v1::{
    ContainerConfig, NamespaceMode, PodSandboxConfig, PortMapping, Protocol, RunPodSandboxRequest,
    RunPodSandboxResponse, RuntimeCondition, StatusRequest,
};
use tests::pods::{container, namespaces_of, pod};
use tests::{Host, Rtd, has_networks, links, needs, pod_test};
use tokio::task::JoinHandle;
use tonic::{Code, Request, Response, Status};

use crate::lab::security;

/// Where Debian has its plugins (containernetworking-plugins).
pub(crate) const PLUGINS: &str = "/usr/lib/cni";

pub(crate) fn has_plugins() -> bool {
    ["bridge", "host-local", "portmap"].iter().all(|name| Path::new(PLUGINS).join(name).is_file())
}

fn conf_dir(rtd: &Rtd<'_>) -> PathBuf {
    rtd.test.dir.join("net.d")
}

/// Starts the daemon again, with CNI and these directories of plugins.
pub(crate) async fn configure(rtd: &mut Rtd<'_>, bins: &[&str]) {
    fs::create_dir(conf_dir(rtd)).unwrap();
    let settings = format!("network = \"cni\"\ncni_conf_dir = {:?}\ncni_bin_dirs = {bins:?}\n", conf_dir(rtd));
    rtd.configure(&settings).await;
}

fn write_conf(rtd: &Rtd<'_>, text: &str) {
    let (draft, path) = (rtd.test.dir.join("draft"), conf_dir(rtd).join("10-test.conflist"));
    fs::write(&draft, text).unwrap();
    fs::rename(draft, path).unwrap();
}

/// A bridge with addresses of the test's own, and ports of the host.
pub(crate) fn network(rtd: &Rtd<'_>) {
    let data = rtd.test.dir.join("ipam");
    write_conf(
        rtd,
        &format!(
            r#"{{"cniVersion": "1.0.0", "name": "test", "plugins": [
                {{"type": "bridge", "bridge": "cnitest0", "isGateway": true, "ipMasq": false, "ipam": {{
                    "type": "host-local", "dataDir": {data:?},
                    "ranges": [[{{"subnet": "10.77.0.0/24"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
                {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}"#
        ),
    );
}

/// The bridge plugin leaves its bridge, portmap its chains.
pub(crate) fn clean_up() {
    assert!(Command::new("ip").args(["link", "delete", "cnitest0"]).status().unwrap().success());
    assert!(!links().iter().any(|link| link.starts_with("veth")), "{:?}", links());
    assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
}

async fn condition(rtd: &mut Rtd<'_>) -> RuntimeCondition {
    let status = rtd.runtime.status(StatusRequest::default()).await.unwrap().into_inner().status.unwrap();
    status.conditions.into_iter().find(|condition| condition.r#type == "NetworkReady").unwrap()
}

/// Waits until the daemon has seen its configuration.
pub(crate) async fn ready(rtd: &mut Rtd<'_>) {
    while !condition(rtd).await.status {
        tokio::task::yield_now().await;
    }
}

/// A pod with a network of its own.
pub(crate) fn networked(name: &str) -> PodSandboxConfig {
    let mut config = pod(name);
    namespaces_of(&mut config).network = NamespaceMode::Pod as i32;
    config
}

/// A container of such a pod.
pub(crate) fn connected(name: &str, script: &str) -> ContainerConfig {
    let mut config = container(name, script);
    security(&mut config).namespace_options.get_or_insert_default().network = NamespaceMode::Pod as i32;
    config
}

#[test]
fn a_network_of_plugins() {
    pod_test(async |rtd| {
        needs!(rtd.test, has_plugins() && has_networks(), "no CNI plugins");
        configure(rtd, &[PLUGINS]).await;
        let missing = condition(rtd).await;
        assert_eq!((missing.status, missing.reason.as_str()), (false, "NetworkPluginNotReady"));
        assert!(missing.message.contains("net.d"), "{missing:?}");
        let refused = rtd.run(&networked("early")).await.unwrap_err();
        assert!(refused.message().contains("network: "), "{refused}");

        network(rtd);
        ready(rtd).await;
        let mut config = networked("web");
        config.port_mappings = vec![PortMapping {
            protocol: Protocol::Tcp as i32,
            container_port: 8080,
            host_port: 18080,
            host_ip: String::new(),
        }];
        let id = rtd.run(&config).await.unwrap();
        let address = rtd.pod_status(&id).await.unwrap().network.unwrap().ip;
        assert!(address.starts_with("10.77.0."), "{address}");
        let web = connected("web", "mkdir /www; echo hello >/www/index.html; exec httpd -f -p 8080 -h /www");
        let web = rtd.create(&id, &web, &config).await.unwrap();
        rtd.start(&web).await.unwrap();
        // It listens when it answers within the pod.
        while rtd.exec(&web, "wget -qO- http://127.0.0.1:8080/").await.unwrap().stdout != b"hello\n" {}
        let interfaces = rtd.exec(&web, "ip -4 -o addr show eth0").await.unwrap().stdout;
        let interfaces = String::from_utf8(interfaces).unwrap();
        assert!(interfaces.contains(&address), "{interfaces}");

        let other = Host::cabled();
        let mut client = other.command("busybox", &["wget", "-qO-", "http://192.0.2.1:18080/"]);
        let answer = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.stdout), "hello\n", "{answer:?}");
        drop(other);

        rtd.stop_pod(&id).await.unwrap();
        assert!(!links().iter().any(|link| link.starts_with("veth")), "{:?}", links());
        rtd.remove_pod(&id).await.unwrap();
        clean_up();
    });
}

/// A plugin that is a script. What it is given is in files: the names of all calls in `calls`, of the last ADD the configuration in `ADD.json` and
/// the namespace in `ADD.netns`, and so on.
pub(crate) struct Script {
    pub(crate) dir: PathBuf,
    /// An answer to ADD is to be written here. Open at both ends: neither side waits for the other to open it.
    gate: File,
}

impl Script {
    /// The plugin, with its network.
    pub(crate) async fn install(rtd: &mut Rtd<'_>) -> Script {
        let dir = rtd.test.dir.join("plugin");
        fs::create_dir(&dir).unwrap();
        let at = dir.display();
        let script = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\necho $CNI_COMMAND >>{at}/calls\ncat >{at}/$CNI_COMMAND.json\n\
             echo \"$CNI_NETNS\" >{at}/$CNI_COMMAND.netns\n\
             case $CNI_COMMAND in\nVERSION) echo '{{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"1.0.0\"]}}';;\n\
             ADD) touch {at}/added; read line <{at}/gate; echo \"$line\";;\n\
             DEL) if [ -e {at}/broken ]; then echo '{{\"code\":100,\"msg\":\"it is broken\"}}'; exit 1; fi;;\nesac\n"
        );
        fs::write(dir.join("slow"), script).unwrap();
        fs::set_permissions(dir.join("slow"), fs::Permissions::from_mode(0o755)).unwrap();
        nix::unistd::mkfifo(&dir.join("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let gate = OpenOptions::new().read(true).write(true).open(dir.join("gate")).unwrap();
        configure(rtd, &[dir.to_str().unwrap()]).await;
        let capabilities = "\"capabilities\": {\"bandwidth\": true}";
        let text = format!(
            "{{\"cniVersion\": \"1.0.0\", \"name\": \"slow\", \"plugins\": [{{\"type\": \"slow\", {capabilities}}}]}}"
        );
        write_conf(rtd, &text);
        ready(rtd).await;
        Script { dir, gate }
    }

    /// Lets an ADD come to its end.
    pub(crate) fn answer(&mut self) {
        let answer = "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/x\"}],\
                      \"ips\":[{\"address\":\"10.9.8.7/24\",\"interface\":0}]}\n";
        self.gate.write_all(answer.as_bytes()).unwrap();
    }

    /// How often a call was made.
    pub(crate) fn calls(&self, name: &str) -> usize {
        let text = fs::read_to_string(self.dir.join("calls")).unwrap();
        text.lines().filter(|line| *line == name).count()
    }

    /// Waits until ADD has been called.
    async fn added(&self) {
        while !self.dir.join("added").is_file() {
            tokio::task::yield_now().await;
        }
    }
}

fn begin(rtd: &Rtd<'_>, config: &PodSandboxConfig) -> JoinHandle<Result<Response<RunPodSandboxResponse>, Status>> {
    let mut client = rtd.runtime.clone();
    let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
    tokio::spawn(async move { client.run_pod_sandbox(request).await })
}

#[test]
fn a_plugin_that_hangs_delays_nobody_else() {
    pod_test(async |rtd| {
        let mut plugin = Script::install(rtd).await;
        let stuck = networked("stuck");
        let first = begin(rtd, &stuck);
        plugin.added().await;

        // Others are served meanwhile.
        assert!(rtd.pods().await.is_empty());
        assert!(rtd.containers().await.is_empty());
        let config = pod("other");
        let other = rtd.run(&config).await.unwrap();
        let container = rtd.launch(&other, "main", "exit 3", &config).await;
        assert_eq!(rtd.ended(&container).await.exit_code, 3);
        assert_eq!(rtd.pods().await.len(), 1);

        // Who gives up is told for what it waited, and ends nothing.
        let run = RunPodSandboxRequest { config: Some(stuck.clone()), runtime_handler: String::new() };
        let mut request = Request::new(run);
        request.set_timeout(Duration::from_secs(1));
        let late = rtd.runtime.run_pod_sandbox(request).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert!(late.message().contains("network") && late.message().contains("default/stuck"), "{late}");

        // Who asks again joins.
        let again = begin(rtd, &stuck);
        rtd.remove_pod(&other).await.unwrap();
        assert!(!first.is_finished() && !again.is_finished());
        plugin.answer();
        let id = first.await.unwrap().unwrap().into_inner().pod_sandbox_id;
        assert_eq!(again.await.unwrap().unwrap().into_inner().pod_sandbox_id, id);
        assert_eq!(rtd.run(&stuck).await.unwrap(), id);
        assert_eq!(plugin.calls("ADD"), 1);
        assert_eq!(rtd.pod_status(&id).await.unwrap().network.unwrap().ip, "10.9.8.7");
        rtd.remove_pod(&id).await.unwrap();
        assert_eq!(plugin.calls("DEL"), 1);
    });
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_leaves_no_pod() {
    pod_test(async |rtd| {
        let mut plugin = Script::install(rtd).await;
        let stuck = networked("stuck");
        let first = begin(rtd, &stuck);
        plugin.added().await;
        rtd.kill();
        first.await.unwrap().unwrap_err();
        rtd.restart().await;
        assert!(rtd.pods().await.is_empty());
        // It is undone in the background.
        let pods = rtd.state().join("pods");
        while fs::read_dir(&pods).unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!((plugin.calls("ADD"), plugin.calls("DEL")), (1, 1));
        // The same pod can be made.
        plugin.answer();
        let id = rtd.run(&stuck).await.unwrap();
        assert_eq!(plugin.calls("ADD"), 2);
        rtd.remove_pod(&id).await.unwrap();
        assert_eq!(plugin.calls("DEL"), 2);
    });
}

#[test]
fn plugins_are_told_the_bandwidth() {
    pod_test(async |rtd| {
        let mut plugin = Script::install(rtd).await;
        plugin.answer();
        let mut config = networked("web");
        config.annotations = HashMap::from([
            ("kubernetes.io/ingress-bandwidth".to_owned(), "10M".to_owned()),
            ("kubernetes.io/egress-bandwidth".to_owned(), "1Gi".to_owned()),
        ]);
        let id = rtd.run(&config).await.unwrap();
        let input: serde_json::Value =
            serde_json::from_reader(File::open(plugin.dir.join("ADD.json")).unwrap()).unwrap();
        let burst = i32::MAX;
        assert_eq!(
            input["runtimeConfig"]["bandwidth"],
            serde_json::json!({
                "ingressRate": 10_000_000, "ingressBurst": burst, "egressRate": 1 << 30, "egressBurst": burst,
            })
        );
        rtd.remove_pod(&id).await.unwrap();
    });
}

async fn to_undo(rtd: &mut Rtd<'_>) -> serde_json::Value {
    let status = rtd.runtime.status(StatusRequest { verbose: true }).await.unwrap().into_inner();
    let config: serde_json::Value = serde_json::from_str(&status.info["config"]).unwrap();
    config["toUndo"].clone()
}

/// A pod that did not come about, and whose plugin refuses the DEL: nobody else knows of it, so it is tried again until it succeeds, also
/// by the next daemon.
#[test]
fn what_could_not_be_undone_is_tried_again() {
    pod_test(async |rtd| {
        let mut plugin = Script::install(rtd).await;
        let ledger = rtd.root().join("net").join("cni");
        let records = || {
            fs::read_dir(&ledger)
                .unwrap()
                .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "json"))
                .count()
        };
        for restart in [false, true] {
            fs::write(plugin.dir.join("broken"), "").unwrap();
            plugin.gate.write_all(b"nonsense\n").unwrap();
            let error = rtd.run(&networked("web")).await.unwrap_err();
            assert!(error.message().contains("it is broken"), "{error}");
            let debts = to_undo(rtd).await;
            assert_eq!(debts.as_array().unwrap().len(), 1, "{debts}");
            assert!(debts[0]["error"].as_str().unwrap().contains("it is broken"), "{debts}");
            assert!(rtd.pods().await.is_empty());
            if restart {
                rtd.kill();
                rtd.restart().await;
            }
            while to_undo(rtd).await[0]["attempts"].as_u64().unwrap_or(0) < 1 {
                tokio::task::yield_now().await;
            }
            assert_eq!(records(), 1);
            fs::remove_file(plugin.dir.join("broken")).unwrap();
            while !to_undo(rtd).await.as_array().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(records(), 0);
        }
        // The same pod can be made.
        plugin.answer();
        let id = rtd.run(&networked("web")).await.unwrap();
        rtd.remove_pod(&id).await.unwrap();
    });
}

//! What `rtd` tells of itself: its log, its metrics, its traces.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;

use proto::v1::image_service_client::ImageServiceClient;
use proto::v1::runtime_service_client::RuntimeServiceClient;
use proto::v1::{
    AuthConfig, ContainerState, ContainerStatusRequest, CreateContainerRequest, ImageSpec, KeyValue, PodSandboxConfig,
    PullImageRequest, RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest, StopPodSandboxRequest,
    VersionRequest,
};
use serde_json::{Value, json};
use tests::pods::{container, pod};

use crate::daemon::{Daemon, PATIENCE, config_test, dropin, load};

fn http(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_are_scraped() {
    config_test(|t| {
        let mut rtd = Daemon::with(t, "metrics_listen = \"127.0.0.1:0\"\n");
        let line = rtd.line(&["metrics at http://"]);
        let address = line.split("http://").nth(1).unwrap().trim_end_matches("/metrics").parse().unwrap();
        rtd.line(&["listening on"]);
        rtd.version();
        rtd.version();
        let channel = rtd.channel();
        let request = ContainerStatusRequest { container_id: "none".into(), verbose: false };
        rtd.runtime.block_on(RuntimeServiceClient::new(channel).container_status(request)).unwrap_err();

        let answer = http(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
        let value = |name: &str| {
            let line = body.lines().find(|line| line.rsplit_once(' ').is_some_and(|(found, _)| found == name));
            line.unwrap_or_else(|| panic!("no {name} in\n{body}")).rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        for (name, expected) in [
            ("rtd_rpc_duration_seconds_count{method=\"Version\",code=\"OK\"}", 2.0),
            ("rtd_rpc_duration_seconds_bucket{le=\"+Inf\",method=\"Version\",code=\"OK\"}", 2.0),
            ("rtd_rpc_duration_seconds_count{method=\"ContainerStatus\",code=\"NotFound\"}", 1.0),
            ("rtd_rpcs_in_flight{method=\"Version\"}", 0.0),
            ("rtd_pods{state=\"ready\"}", 0.0),
            ("rtd_containers{state=\"running\"}", 0.0),
            ("rtd_config_valid", 1.0),
            ("rtd_build_info{version=\"0.1.0\"}", 1.0),
        ] {
            assert!((value(name) - expected).abs() < 0.5, "{name}: {}", value(name));
        }
        for name in
            ["process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds", "process_threads"]
        {
            assert!(value(name) >= 1.0, "{name}");
        }
        assert!(body.ends_with("# EOF\n"), "{body}");
        assert!(http(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(http(address, "POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 405 "));
        rtd.stop();
    });
}

/// A pod and a container: what is counted and logged of them, and what is not. Limits are those of the settings of that moment.
#[test]
fn a_pod_is_counted_and_logged() {
    config_test(|t| {
        let mut rtd = Daemon::with(t, "metrics_listen = \"127.0.0.1:0\"\nlog_format = \"json\"\n");
        let line = rtd.line(&["metrics at http://"]);
        let address = line.split("http://").nth(1).unwrap().split("/metrics").next().unwrap().parse().unwrap();
        rtd.line(&["listening on"]);
        load(t);
        dropin(t, "50-site.toml", "default_ulimits = [\"nofile=100:200\"]\n");
        rtd.line(&["configuration read again", "default_ulimits"]);
        let (config, secret) = (pod("web"), "s3cret-value");
        let mut container = container("main", "ulimit -n; ulimit -Hn; exit 0");
        container.envs.push(KeyValue { key: "TOKEN".into(), value: secret.into() });
        container.log_path = "main.log".into();
        let config = PodSandboxConfig { log_directory: t.dir.join("logs").to_str().unwrap().into(), ..config };
        let mut client = RuntimeServiceClient::new(rtd.channel());
        let (pod_id, id) = rtd.runtime.block_on(async {
            let run = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
            let pod_sandbox_id = client.run_pod_sandbox(run).await.unwrap().into_inner().pod_sandbox_id;
            let create = CreateContainerRequest {
                pod_sandbox_id: pod_sandbox_id.clone(),
                config: Some(container),
                sandbox_config: Some(config),
            };
            let container_id = client.create_container(create).await.unwrap().into_inner().container_id;
            client.start_container(StartContainerRequest { container_id: container_id.clone() }).await.unwrap();
            let status = ContainerStatusRequest { container_id: container_id.clone(), verbose: false };
            loop {
                let status = client.container_status(status.clone()).await.unwrap().into_inner().status.unwrap();
                if status.state() == ContainerState::ContainerExited {
                    break;
                }
                tokio::task::yield_now().await;
            }
            (pod_sandbox_id, container_id)
        });
        let output = std::fs::read_to_string(t.dir.join("logs/main.log")).unwrap();
        let words: Vec<&str> = output.lines().filter_map(|line| line.split(' ').nth(3)).collect();
        assert_eq!(words, ["100", "200"]);

        let text = http(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        for line in [
            "rtd_phase_duration_seconds_count{operation=\"run_pod_sandbox\",phase=\"namespaces\"} 1",
            "rtd_phase_duration_seconds_count{operation=\"create_container\",phase=\"mounts\"} 1",
            "rtd_phases_in_flight{operation=\"run_pod_sandbox\",phase=\"namespaces\"} 0",
            "rtd_rpc_duration_seconds_count{method=\"RunPodSandbox\",code=\"OK\"} 1",
            "rtd_pods{state=\"ready\"} 1",
            "rtd_containers{state=\"exited\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        rtd.runtime.block_on(async {
            client.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod_id.clone() }).await.unwrap();
            client.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: pod_id.clone() }).await.unwrap();
        });
        drop(client);
        let lines: Vec<Value> = rtd.stop().iter().map(|line| serde_json::from_str(line).expect(line)).collect();
        let span = |method: &str| {
            let line = lines.iter().find(|line| line["span"]["name"] == method && line["ms"].is_number());
            &line.unwrap_or_else(|| panic!("no {method}: {lines:#?}"))["span"]
        };
        let run = span("RunPodSandbox");
        assert_eq!(
            (&run["pod"], &run["pod_name"], &run["namespace"]),
            (&json!(pod_id), &json!("web"), &json!("default"))
        );
        let create = span("CreateContainer");
        assert_eq!((&create["container"], &create["container_name"]), (&json!(id), &json!("main")));
        assert_eq!(span("StartContainer")["container"], json!(id));
        assert!(!format!("{lines:?}").contains(secret), "{lines:#?}");
    });
}

#[test]
fn lines_of_json_without_secrets() {
    config_test(|t| {
        let mut rtd = Daemon::with(t, "log_format = \"json\"\nlog_level = \"debug\"\n");
        let first = rtd.line(&["listening on"]);
        rtd.version();
        let mut images = ImageServiceClient::new(rtd.channel());
        let image = Some(ImageSpec { image: "127.0.0.1:1/nobody/app:1".into(), ..ImageSpec::default() });
        let auth = AuthConfig { username: "me".into(), password: "hunter2-secret".into(), ..AuthConfig::default() };
        let pull = PullImageRequest { image, auth: Some(auth), sandbox_config: None };
        rtd.runtime.block_on(images.pull_image(pull)).unwrap_err();
        drop(images);
        let lines = [vec![first], rtd.stop()].concat();
        let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
        for line in &lines {
            assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
        }
        let call = |method: &str| {
            let mut found = lines.iter().filter(|line| line["span"]["name"] == method && line["ms"].is_number());
            let line = found.next().unwrap_or_else(|| panic!("no {method}: {lines:#?}"));
            assert!(found.next().is_none(), "{method} is there twice: {lines:#?}");
            line
        };
        let version = call("Version");
        assert_eq!(
            (&version["level"], &version["message"], &version["span"]["code"]),
            (&"DEBUG".into(), &"done".into(), &"OK".into())
        );
        let pull = call("PullImage");
        assert_eq!((&pull["level"], &pull["span"]["image"]), (&"WARN".into(), &"127.0.0.1:1/nobody/app:1".into()));
        assert!(pull["error"].as_str().unwrap().starts_with("RegistryUnavailable: "), "{pull}");
        let all = format!("{lines:?}");
        assert!(!all.contains("hunter2"), "{all}");
    });
}

#[test]
fn spans_reach_the_collector() {
    config_test(|t| {
        // Enough of a server: a client sends its first messages before it hears anything.
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = collector.local_addr().unwrap();
        let (sender, received) = channel();
        std::thread::spawn(move || {
            let (mut socket, _) = collector.accept().unwrap();
            let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(length @ 1..) = socket.read(&mut buffer) {
                all.extend_from_slice(&buffer[..length]);
                if all.windows(7).any(|part| part == b"Version") {
                    sender.send(all).unwrap();
                    return;
                }
            }
        });
        let mut rtd = Daemon::with(t, &format!("otlp_endpoint = \"http://{address}\"\n"));
        rtd.line(&["listening on"]);
        // A call that is a part of the kubelet's trace.
        let mut client = RuntimeServiceClient::new(rtd.channel());
        let mut request = tonic::Request::new(VersionRequest::default());
        let place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        request.metadata_mut().insert("traceparent", place.parse().unwrap());
        rtd.runtime.block_on(client.version(request)).unwrap();
        let rest = rtd.stop();
        let all = received.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no span: {rest:#?}"));
        let holds = |part: &str| all.windows(part.len()).any(|found| found == part.as_bytes());
        for part in ["PRI * HTTP/2.0", "service.name", "rtd", "Version", "code"] {
            assert!(holds(part), "{part}");
        }
        let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
        assert!(all.windows(16).any(|found| found == trace), "the trace of the caller");
        let parent = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();
        assert!(all.windows(8).any(|found| found == parent), "the span of the caller");
    });
}

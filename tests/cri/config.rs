//! `rtd` as a daemon that an operator runs: its settings, its log, its metrics, its traces, and what the service manager hears.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::image_service_client::ImageServiceClient;
use proto::v1::runtime_service_client::RuntimeServiceClient;
use proto::v1::{
    AuthConfig, ContainerState, ContainerStatusRequest, CreateContainerRequest, GetEventsRequest, ImageSpec, KeyValue,
    ListImagesRequest, PodSandboxConfig, PullImageRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StopPodSandboxRequest, VersionRequest,
};
use serde_json::{Value, json};
use tests::pods::{container, pod};
use tests::{Test, connect, program, test};
use tonic::transport::Channel;

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A test with a directory for settings: `rtd.toml` names folders of the test.
fn config_test(body: impl FnOnce(&Test)) {
    // The first one of a process leaves descriptors for signals: the oracle must not see them as new.
    drop(runtime());
    test(|t| {
        std::fs::create_dir_all(t.dir.join("etc/rtd.toml.d")).unwrap();
        settings(t, "");
        body(t);
    });
}

fn file(t: &Test) -> PathBuf {
    t.dir.join("etc/rtd.toml")
}

fn dropin(t: &Test, name: &str, text: &str) -> PathBuf {
    let path = t.dir.join("etc/rtd.toml.d").join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn settings(t: &Test, more: &str) {
    let dir = t.dir.display();
    let text = format!("root = \"{dir}/r\"\nstate = \"{dir}/s\"\nlisten = \"{dir}/rtd.sock\"\n{more}");
    std::fs::write(file(t), text).unwrap();
}

fn rtd(t: &Test) -> Command {
    let mut command = Command::new(program("rtd"));
    command.env("RT_TEST", t.marker()).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    command
}

/// Loads the image of busybox.
fn load(t: &Test) {
    let mut load = Command::new(program("rtctl"));
    load.env("RT_ROOT", t.dir.join("r")).env("RT_STATE", t.dir.join("s"));
    let loaded = load.args(["load", "-q", "-i", env!("RT_TEST_IMAGE")]).output().unwrap();
    assert!(loaded.status.success(), "{loaded:?}");
}

fn run(t: &Test, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = rtd(t).args(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running daemon with the settings of the test.
struct Daemon {
    child: Option<Child>,
    lines: Receiver<String>,
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
    channel: Option<Channel>,
}

impl Daemon {
    fn start(t: &Test, mut command: Command) -> Daemon {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let socket = t.dir.join("rtd.sock");
        Daemon { child: Some(child), lines, socket, runtime: runtime(), channel: None }
    }

    fn with(t: &Test, more: &str) -> Daemon {
        settings(t, more);
        let mut command = rtd(t);
        command.arg("--config").arg(file(t));
        Daemon::start(t, command)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.as_ref().unwrap().id()).unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The next line of the log that holds all of these.
    fn line(&self, parts: &[&str]) -> String {
        let mut seen = Vec::new();
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {parts:?}: {seen:#?}"));
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push(line);
        }
    }

    fn channel(&mut self) -> Channel {
        let (runtime, socket) = (&self.runtime, self.socket.clone());
        self.channel.get_or_insert_with(|| runtime.block_on(connect(socket))).clone()
    }

    /// A call that always succeeds.
    fn version(&mut self) {
        let mut client = RuntimeServiceClient::new(self.channel());
        let answer = self.runtime.block_on(client.version(VersionRequest::default())).unwrap();
        assert_eq!(answer.into_inner().runtime_name, "rtd");
    }

    /// Asks it to end, and answers the rest of its log.
    fn stop(mut self) -> Vec<String> {
        self.channel = None;
        self.signal(Signal::SIGTERM);
        let rest: Vec<String> = std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok()).collect();
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "rtd: {status}: {rest:#?}");
        rest
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After a test that failed.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn printed_defaults_are_accepted() {
    config_test(|t| {
        let (code, defaults, _) = run(t, &["config", "default"]);
        assert_eq!(code, Some(0));
        let path = t.dir.join("defaults.toml");
        std::fs::write(&path, &defaults).unwrap();
        let path = path.to_str().unwrap();
        let expected = (Some(0), "nothing is wrong\n".to_owned(), String::new());
        assert_eq!(run(t, &["config", "check", path]), expected);
        let (_, shown, _) = run(t, &["--config", path, "config", "show"]);
        let line = defaults.lines().position(|line| line == "log_level = \"info\"").unwrap() + 1;
        assert!(shown.lines().any(|shown| shown == format!("log_level = \"info\" # {path}:{line}")), "{shown}");
    });
}

#[test]
fn where_values_come_from() {
    config_test(|t| {
        settings(t, "stream_port = 1\n[handlers.crun]\npath = \"/usr/bin/crun\"\n");
        let dropin = dropin(t, "50-site.toml", "\nstream_port = 2\n");
        let (config, dropin) = (file(t).display().to_string(), dropin.display().to_string());
        let (code, shown, _) = run(t, &["config", "show", "--config", &config, "--listen", "/x"]);
        assert_eq!(code, Some(0));
        for line in [
            format!("stream_port = 2 # {dropin}:2"),
            format!("root = \"{}/r\" # {config}:1", t.dir.display()),
            "listen = \"/x\" # --listen".to_owned(),
            "log_format = \"text\" # default".to_owned(),
            "[handlers.crun]".to_owned(),
            format!("path = \"/usr/bin/crun\" # {config}:6"),
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    });
}

#[test]
fn mistakes_are_told_and_nothing_starts() {
    config_test(|t| {
        settings(t, "stream_prot = 1\n");
        let dropin = dropin(t, "50-site.toml", "log_level = \"loud\"\n");
        let (config, dropin) = (file(t).display().to_string(), dropin.display().to_string());
        let expected = format!(
            "rtd: {config}:4: stream_prot: there is no such key; the nearest is stream_port\n\
             rtd: {dropin}:1: log_level: \"loud\" is not allowed; allowed is \"error\", \"warn\", \"info\", \"debug\" or \"trace\"\n"
        );
        for args in
            [&["config", "check", &config][..], &["--config", &config, "config", "check"], &["--config", &config]]
        {
            assert_eq!(run(t, args), (Some(1), String::new(), expected.clone()), "{args:?}");
        }
        let missing = t.dir.join("none.toml");
        let missing = missing.to_str().unwrap();
        let (code, _, told) = run(t, &["--config", missing]);
        assert_eq!((code, told), (Some(1), format!("rtd: {missing}: No such file or directory (os error 2)\n")));
        settings(t, "[handlers.k]\npath = \"/nowhere/k\"\n");
        std::fs::remove_file(&dropin).unwrap();
        let warning = "rtd: warning: handlers.k.path: access(\"/nowhere/k\"): ENOENT\n".to_owned();
        assert_eq!(run(t, &["config", "check", &config]), (Some(0), "nothing is wrong\n".to_owned(), warning));
    });
}

#[test]
fn changes_are_taken_while_it_runs() {
    config_test(|t| {
        let mut command = rtd(t);
        // By a path from where it was started.
        command.current_dir(&t.dir).args(["--config", "etc/rtd.toml"]);
        let mut rtd = Daemon::start(t, command);
        rtd.line(&["listening on"]);
        rtd.version();

        // A drop-in that appears: one key counts now, the other one after a restart.
        dropin(t, "50-site.toml", "log_level = \"debug\"\nstream_port = 7\n");
        rtd.line(&["INFO", "configuration read again", "applied=\"log_level\"", "needs_restart=\"stream_port\""]);
        rtd.version();
        rtd.line(&["DEBUG", "Version{", "code=\"OK\"", "done"]);

        // A broken one changes nothing: debug lines are still there.
        let broken = dropin(t, "60-broken.toml", "log_level = \"warn\"\nkeep_blob = true\n");
        let place = format!("{}:2: keep_blob: there is no such key; the nearest is keep_blobs", broken.display());
        rtd.line(&["ERROR", "configuration not taken, nothing has changed", &place]);
        rtd.version();
        rtd.line(&["DEBUG", "Version{"]);
        rtd.signal(Signal::SIGHUP);
        rtd.line(&["ERROR", "configuration not taken", &place]);

        // Replaced by a rename, as editors do.
        let new = t.dir.join("etc/new");
        std::fs::write(&new, "log_level = \"info\"\n").unwrap();
        std::fs::rename(&new, &broken).unwrap();
        rtd.line(&["configuration read again", "applied=\"log_level\""]);

        // Asked for, although there is nothing new.
        rtd.signal(Signal::SIGHUP);
        rtd.line(&["configuration read again", "applied=\"\"", "needs_restart=\"stream_port\""]);
        rtd.version();
        let rest = rtd.stop();
        assert!(!rest.iter().any(|line| line.contains("DEBUG")), "{rest:#?}");
    });
}

/// The first one goes on; the second one has touched nothing.
#[test]
fn there_is_one_daemon() {
    config_test(|t| {
        let mut first = Daemon::with(t, "");
        first.line(&["listening on"]);
        let (code, _, told) = run(t, &["--config", file(t).to_str().unwrap()]);
        let expected = format!(
            "rtd: {}: another program listens there; stop it, or choose another socket",
            first.socket.display()
        );
        assert_eq!((code, told.lines().last()), (Some(1), Some(expected.as_str())));
        first.version();
        first.stop();
    });
}

/// A client that stays does not keep the daemon from ending well.
#[test]
fn it_ends_while_a_client_listens() {
    config_test(|t| {
        let mut rtd = Daemon::with(t, "");
        rtd.line(&["listening on"]);
        let mut client = RuntimeServiceClient::new(rtd.channel());
        let events = rtd.runtime.block_on(client.get_container_events(GetEventsRequest::default())).unwrap();
        let rest = rtd.stop();
        assert!(!rest.iter().any(|line| line.contains("panicked")), "{rest:#?}");
        drop(events);
    });
}

#[test]
fn images_are_pinned_while_it_runs() {
    config_test(|t| {
        let mut rtd = Daemon::with(t, "");
        rtd.line(&["listening on"]);
        load(t);
        let mut images = ImageServiceClient::new(rtd.channel());
        let mut pinned = |rtd: &Daemon| {
            let answer = rtd.runtime.block_on(images.list_images(ListImagesRequest::default())).unwrap().into_inner();
            answer.images.iter().map(|image| image.pinned).collect::<Vec<_>>()
        };
        assert_eq!(pinned(&rtd), [false]);
        dropin(t, "50-site.toml", "pinned_images = [\"nobody\", \"docker.io/library/busy*\"]\n");
        rtd.line(&["configuration read again", "pinned_images"]);
        assert_eq!(pinned(&rtd), [true]);
        drop(images);
        rtd.stop();
    });
}

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
fn the_service_manager_is_told() {
    config_test(|t| {
        let path = t.dir.join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = rtd(t);
        command.arg("--config").arg(file(t)).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
        let rtd = Daemon::start(t, command);
        let told = |wanted: &str| {
            let mut buffer = [0; 4096];
            loop {
                let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
                let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
                if text.contains(wanted) {
                    return text;
                }
                assert_eq!(text, "WATCHDOG=1\n", "{wanted}");
            }
        };
        let ready = told("READY=1");
        assert!(ready.contains(&format!("STATUS=serves {}", rtd.socket.display())), "{ready}");
        // It is ready when it says so, and root alone may connect.
        let mode = std::os::unix::fs::PermissionsExt::mode(&rtd.socket.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        for _ in 0..3 {
            told("WATCHDOG=1");
        }
        rtd.signal(Signal::SIGHUP);
        let reloading = told("RELOADING=1");
        let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(time.parse::<u64>().unwrap() > 0);
        told("READY=1");
        rtd.signal(Signal::SIGTERM);
        told("STOPPING=1");
        // A second one does no harm.
        rtd.stop();
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
        rtd.version();
        let rest = rtd.stop();
        let all = received.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no span: {rest:#?}"));
        let holds = |part: &str| all.windows(part.len()).any(|found| found == part.as_bytes());
        for part in ["PRI * HTTP/2.0", "service.name", "rtd", "Version", "code"] {
            assert!(holds(part), "{part}");
        }
    });
}

#[test]
fn the_process_is_settled() {
    config_test(|t| {
        let mut shell = Command::new("/bin/sh");
        let script = "ulimit -S -n 200; exec 7</dev/null; umask 022; exec \"$0\" --config \"$1\"";
        shell.args(["-c", script]).arg(program("rtd")).arg(file(t)).env("RT_TEST", t.marker()).stdin(Stdio::null());
        let rtd = Daemon::start(t, shell);
        rtd.line(&["listening on"]);
        let proc = PathBuf::from(format!("/proc/{}", rtd.pid()));
        let read = |name: &str| std::fs::read_to_string(proc.join(name)).unwrap();
        assert!(read("status").contains("\nUmask:\t0077\n"), "{}", read("status"));
        let limits = read("limits");
        let files: Vec<&str> =
            limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
        assert!(files[3] == files[4] && files[3] != "200", "{files:?}");
        // O_CLOEXEC
        assert!(read("fdinfo/7").contains("flags:\t02100000") || read("fdinfo/7").contains("flags:\t02000000"));
        let score: i32 = read("oom_score_adj").trim().parse().unwrap();
        let own: i32 = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
        assert!(score == -999 || score == own, "{score}");
        rtd.stop();
        assert!(!Path::new(&proc).join("status").is_file());
    });
}

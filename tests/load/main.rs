//! Asks a runtime for pods as a kubelet does, and measures: `cri-load SOCKET IMAGE (latency|starts|soak|logs) ...`.
//!
//! ```text
//!  latency NETWORK PODS            one pod after the other; the median of each call, in milliseconds
//!  starts NETWORK CLIENTS SECONDS  pods made, started and removed by several clients; pods a second
//!  soak PODS SECONDS CHURN         exec probes each second in all pods, while CHURN others come and go; lost answers and exits, times of
//!                                  lists, memory of the runtime
//!  logs FOLDER MEGABYTES           lines of 100 bytes from a container to its log; megabytes of lines a second
//! ```
//!
//! NETWORK is `node` or `pod`. Works with every runtime that speaks CRI v1.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use proto::v1::runtime_service_client::RuntimeServiceClient;
use proto::v1::{
    ContainerConfig, ContainerState, ContainerStatusRequest, CreateContainerRequest, ExecSyncRequest,
    ListContainersRequest, Mount, NamespaceMode, PodSandboxConfig, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StopPodSandboxRequest,
};
use tests::pods;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Client = RuntimeServiceClient<Channel>;

const USAGE: &str = "usage: cri-load SOCKET IMAGE (latency NETWORK PODS | starts NETWORK CLIENTS SECONDS | soak PODS SECONDS CHURN \
     | logs FOLDER MEGABYTES)";

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [socket, image, rest @ ..] = words.as_slice() else { return Err(USAGE.into()) };
    let client = connect(socket.into()).await?;
    match rest {
        ["latency", network, pods] => latency(client, image, mode(network)?, pods.parse()?).await,
        ["starts", network, clients, seconds] => {
            starts(client, image, mode(network)?, clients.parse()?, Duration::from_secs(seconds.parse()?)).await
        }
        ["soak", pods, seconds, churn] => {
            let time = Duration::from_secs(seconds.parse()?);
            let load = Load { pods: pods.parse()?, time, churn: churn.parse()? };
            soak(client, image, &Memory::of(socket)?, load).await
        }
        ["logs", folder, megabytes] => logs(client, image, folder.as_ref(), megabytes.parse()?).await,
        _ => Err(USAGE.into()),
    }
}

async fn connect(socket: PathBuf) -> Result<Client> {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await?;
    Ok(RuntimeServiceClient::new(channel))
}

fn mode(network: &str) -> Result<NamespaceMode> {
    match network {
        "node" => Ok(NamespaceMode::Node),
        "pod" => Ok(NamespaceMode::Pod),
        _ => Err(USAGE.into()),
    }
}

fn pod_config(name: &str, network: NamespaceMode) -> PodSandboxConfig {
    let mut config = pods::pod(name);
    pods::namespaces_of(&mut config).network = network as i32;
    config
}

fn container_config(image: &str, network: NamespaceMode) -> ContainerConfig {
    let mut config = pods::container("main", "exec sleep 100000");
    config.image.get_or_insert_default().image = image.to_owned();
    let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
    security.namespace_options.get_or_insert_default().network = network as i32;
    config
}

/// Times of the calls by which a pod comes to run.
#[derive(Default)]
struct Times {
    run: Vec<Duration>,
    create: Vec<Duration>,
    start: Vec<Duration>,
    exec: Vec<Duration>,
    stop: Vec<Duration>,
    remove: Vec<Duration>,
}

async fn up(
    client: &mut Client,
    image: &str,
    name: &str,
    network: NamespaceMode,
    times: &mut Times,
) -> Result<(String, String)> {
    let config = pod_config(name, network);
    let begin = Instant::now();
    let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
    let pod = client.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id;
    times.run.push(begin.elapsed());
    let begin = Instant::now();
    let request = CreateContainerRequest {
        pod_sandbox_id: pod.clone(),
        config: Some(container_config(image, network)),
        sandbox_config: Some(config),
    };
    let container = client.create_container(request).await?.into_inner().container_id;
    times.create.push(begin.elapsed());
    let begin = Instant::now();
    client.start_container(StartContainerRequest { container_id: container.clone() }).await?;
    times.start.push(begin.elapsed());
    Ok((pod, container))
}

async fn down(client: &mut Client, pod: &str, times: &mut Times) -> Result<()> {
    let begin = Instant::now();
    client.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod.to_owned() }).await?;
    times.stop.push(begin.elapsed());
    let begin = Instant::now();
    client.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: pod.to_owned() }).await?;
    times.remove.push(begin.elapsed());
    Ok(())
}

async fn probe(client: &mut Client, container: &str) -> Result<i32> {
    let cmd = vec!["/bin/true".to_owned()];
    let request = ExecSyncRequest { container_id: container.to_owned(), cmd, timeout: 10 };
    Ok(client.exec_sync(request).await?.into_inner().exit_code)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value below which the share `part` of all lies.
fn quantile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a small index"
    )]
    let index = (part * times.len().saturating_sub(1) as f64).round() as usize;
    times.get(index).copied().unwrap_or_default()
}

async fn latency(mut client: Client, image: &str, network: NamespaceMode, pods: usize) -> Result<()> {
    let mut times = Times::default();
    let (mut ups, mut downs) = (Vec::new(), Vec::new());
    for number in 0..pods {
        let begin = Instant::now();
        let (pod, container) = up(&mut client, image, &format!("latency-{number}"), network, &mut times).await?;
        ups.push(begin.elapsed());
        for _ in 0..3 {
            let begin = Instant::now();
            if probe(&mut client, &container).await? != 0 {
                return Err("exec: true ended with another code than 0".into());
            }
            times.exec.push(begin.elapsed());
        }
        let begin = Instant::now();
        down(&mut client, &pod, &mut times).await?;
        downs.push(begin.elapsed());
    }
    println!("{:<24}{:>9}{:>9}", "milliseconds", "median", "p90");
    for (name, list) in [
        ("RunPodSandbox", &mut times.run),
        ("CreateContainer", &mut times.create),
        ("StartContainer", &mut times.start),
        ("run + create + start", &mut ups),
        ("ExecSync true", &mut times.exec),
        ("StopPodSandbox", &mut times.stop),
        ("RemovePodSandbox", &mut times.remove),
        ("stop + remove", &mut downs),
    ] {
        println!("{name:<24}{:>9.2}{:>9.2}", milliseconds(quantile(list, 0.5)), milliseconds(quantile(list, 0.9)));
    }
    Ok(())
}

async fn starts(client: Client, image: &str, network: NamespaceMode, clients: usize, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    let mut tasks = Vec::new();
    for number in 0..clients {
        let (mut client, image) = (client.clone(), image.to_owned());
        tasks.push(tokio::spawn(async move {
            let (mut times, mut done) = (Times::default(), 0_u32);
            while Instant::now() < end {
                let name = format!("starts-{number}-{done}");
                let (pod, _) = up(&mut client, &image, &name, network, &mut times).await?;
                down(&mut client, &pod, &mut times).await?;
                done += 1;
            }
            Result::<u32>::Ok(done)
        }));
    }
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    println!(
        "{:.1} pods a second made, started, stopped and removed by {clients} clients",
        f64::from(total) / time.as_secs_f64()
    );
    Ok(())
}

/// The process that serves a socket.
struct Memory {
    pid: i32,
}

impl Memory {
    fn of(socket: &str) -> Result<Memory> {
        let peer = rustix::net::sockopt::socket_peercred(std::os::unix::net::UnixStream::connect(socket)?)?;
        Ok(Memory { pid: peer.pid.as_raw_nonzero().get() })
    }

    /// Prints what it holds. Source: proc(5), /proc/PID/status
    fn print(&self, when: &str) -> Result<()> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            value.split_whitespace().next().unwrap_or_default().to_owned()
        };
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.pid))?.count();
        let (anonymous, threads) = (field("RssAnon:"), field("Threads:"));
        println!("{when}: {anonymous} KiB of private memory, {threads} threads, {descriptors} descriptors");
        Ok(())
    }
}

/// Runs a container that ends by itself in a pod of its own. Whether its exit was told as it was.
async fn come_and_go(client: &mut Client, image: &str, name: &str) -> Result<bool> {
    let mut times = Times::default();
    let (pod, _) = up(client, image, name, NamespaceMode::Node, &mut times).await?;
    let mut wanted = container_config(image, NamespaceMode::Node);
    wanted.metadata.get_or_insert_default().name = "ends".to_owned();
    wanted.command = ["/bin/sh", "-c", "exit 7"].map(str::to_owned).to_vec();
    let config = pod_config(name, NamespaceMode::Node);
    let request =
        CreateContainerRequest { pod_sandbox_id: pod.clone(), config: Some(wanted), sandbox_config: Some(config) };
    let id = client.create_container(request).await?.into_inner().container_id;
    client.start_container(StartContainerRequest { container_id: id.clone() }).await?;
    let code = tokio::time::timeout(Duration::from_secs(10), exit_code(client, &id)).await;
    down(client, &pod, &mut times).await?;
    Ok(matches!(code, Ok(Ok(7))))
}

/// Waits for the end of a container.
async fn exit_code(client: &mut Client, id: &str) -> Result<i32> {
    loop {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let status = client.container_status(request).await?.into_inner().status.unwrap_or_default();
        if status.state == ContainerState::ContainerExited as i32 {
            return Ok(status.exit_code);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a soak is made of.
struct Load {
    pods: usize,
    time: Duration,
    churn: usize,
}

async fn soak(mut client: Client, image: &str, memory: &Memory, load: Load) -> Result<()> {
    let Load { pods, time, churn } = load;
    let mut times = Times::default();
    memory.print("before")?;
    let mut stay = Vec::new();
    for number in 0..pods {
        stay.push(up(&mut client, image, &format!("stay-{number}"), NamespaceMode::Node, &mut times).await?);
    }
    memory.print(&format!("{pods} pods run"))?;
    let begin = Instant::now();
    let end = begin + time;
    let mut probes = Vec::new();
    for (number, (_, container)) in stay.iter().enumerate() {
        let (mut client, container) = (client.clone(), container.clone());
        // Not all at the same moment: a kubelet spreads them, too.
        let first = Duration::from_secs(1).mul_f64(f64::from(u32::try_from(number)?) / f64::from(u32::try_from(pods)?));
        probes.push(tokio::spawn(async move {
            let (mut done, mut lost) = (0_u32, Vec::new());
            let mut ticks = tokio::time::interval_at((begin + first).into(), Duration::from_secs(1));
            while Instant::now() < end {
                ticks.tick().await;
                match probe(&mut client, &container).await {
                    Ok(0) => done += 1,
                    Ok(code) => lost.push(format!("exit code {code}")),
                    Err(error) => lost.push(error.to_string()),
                }
            }
            (done, lost)
        }));
    }
    let churning = tokio::spawn({
        let (mut client, image) = (client.clone(), image.to_owned());
        async move {
            let (mut done, mut lost) = (0_usize, 0_usize);
            // From the beginning to the end.
            let pause = time / u32::try_from(churn.max(1))?;
            let mut ticks = tokio::time::interval_at(begin.into(), pause);
            while done < churn {
                ticks.tick().await;
                if !come_and_go(&mut client, &image, &format!("churn-{done}")).await? {
                    lost += 1;
                }
                done += 1;
            }
            Result::<(usize, usize)>::Ok((done, lost))
        }
    });
    let (mut lists, mut minute) = (Vec::new(), 1);
    while Instant::now() < end {
        let asked = Instant::now();
        let answer = client.list_containers(ListContainersRequest::default()).await?.into_inner();
        lists.push(asked.elapsed());
        if begin.elapsed() >= Duration::from_secs(60 * minute) {
            memory.print(&format!("after {minute} min"))?;
            minute += 1;
        }
        let running = |state: i32| state == ContainerState::ContainerRunning as i32;
        let there = answer.containers.iter().filter(|container| running(container.state)).count();
        if there < pods {
            return Err(format!("{there} of {pods} containers run").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (mut done, mut lost) = (0, Vec::new());
    for probe in probes {
        let (well, ill) = probe.await?;
        done += well;
        lost.extend(ill);
    }
    let (churned, unseen) = churning.await??;
    println!("{done} probes, {} of them lost; {churned} pods came and went, {unseen} exits lost", lost.len());
    println!(
        "ListContainers: median {:.2} ms, p99 {:.2} ms",
        milliseconds(quantile(&mut lists, 0.5)),
        milliseconds(quantile(&mut lists, 0.99))
    );
    for (pod, _) in &stay {
        down(&mut client, pod, &mut times).await?;
    }
    memory.print("after")?;
    match lost.first() {
        None if unseen == 0 => Ok(()),
        None => Err("exits were lost".into()),
        Some(first) => Err(format!("lost probes, the first: {first}").into()),
    }
}

/// Bytes of a line, with its end.
const LINE: usize = 100;

async fn logs(mut client: Client, image: &str, folder: &Path, megabytes: usize) -> Result<()> {
    let (lines, directory) = (folder.join("lines"), folder.join("logs"));
    let line = format!("{}\n", "x".repeat(LINE - 1));
    let count = megabytes * 1_000_000 / LINE;
    std::fs::write(&lines, line.repeat(count))?;
    let mut config = pod_config("logs", NamespaceMode::Node);
    config.log_directory = directory.display().to_string();
    let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
    let pod = client.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id;
    let mut wanted = container_config(image, NamespaceMode::Node);
    wanted.command = ["/bin/cat", "/lines"].map(str::to_owned).to_vec();
    wanted.log_path = "0.log".to_owned();
    let host_path = lines.display().to_string();
    wanted.mounts = vec![Mount { container_path: "/lines".to_owned(), host_path, readonly: true, ..Mount::default() }];
    let request =
        CreateContainerRequest { pod_sandbox_id: pod.clone(), config: Some(wanted), sandbox_config: Some(config) };
    let id = client.create_container(request).await?.into_inner().container_id;
    let begin = Instant::now();
    client.start_container(StartContainerRequest { container_id: id.clone() }).await?;
    let code = exit_code(&mut client, &id).await?;
    let took = begin.elapsed();
    let log = std::fs::read(directory.join("0.log"))?;
    let written =
        log.split(|byte| *byte == b'\n').filter(|record| record.ends_with(&line.as_bytes()[..LINE - 1])).count();
    down(&mut client, &pod, &mut Times::default()).await?;
    std::fs::remove_dir_all(&directory)?;
    std::fs::remove_file(&lines)?;
    if (code, written) != (0, count) {
        return Err(format!("exit code {code}, {written} of {count} lines in the log").into());
    }
    println!("{:.0} MB/s of lines of {LINE} bytes", f64::from(u32::try_from(megabytes)?) / took.as_secs_f64());
    Ok(())
}

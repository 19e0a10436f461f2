//! Asks a runtime for pods as a kubelet does, and measures: `cri-load SOCKET IMAGE (latency|starts|soak) ...`.
//!
//! ```text
//!  latency NETWORK PODS            one pod after the other; the median of each call, in milliseconds
//!  starts NETWORK CLIENTS SECONDS  pods made, started and removed by several clients; pods a second
//!  soak PODS SECONDS CHURN         exec probes each second in all pods, while CHURN others come and go; lost answers, times of lists
//! ```
//!
//! NETWORK is `node` or `pod`. Works with every runtime that speaks CRI v1.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use proto::v1::runtime_service_client::RuntimeServiceClient;
use proto::v1::{
    ContainerConfig, ContainerState, CreateContainerRequest, ExecSyncRequest, ListContainersRequest, NamespaceMode,
    PodSandboxConfig, RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest, StopPodSandboxRequest,
};
use tests::pods;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Client = RuntimeServiceClient<Channel>;

const USAGE: &str =
    "usage: cri-load SOCKET IMAGE (latency NETWORK PODS | starts NETWORK CLIENTS SECONDS | soak PODS SECONDS CHURN)";

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
            soak(client, image, pods.parse()?, Duration::from_secs(seconds.parse()?), churn.parse()?).await
        }
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

async fn soak(mut client: Client, image: &str, pods: usize, time: Duration, churn: usize) -> Result<()> {
    let mut times = Times::default();
    let mut stay = Vec::new();
    for number in 0..pods {
        stay.push(up(&mut client, image, &format!("stay-{number}"), NamespaceMode::Node, &mut times).await?);
    }
    println!("{pods} pods run");
    let end = Instant::now() + time;
    let mut probes = Vec::new();
    for (_, container) in &stay {
        let (mut client, container) = (client.clone(), container.clone());
        probes.push(tokio::spawn(async move {
            let (mut done, mut lost, mut ticks) = (0_u32, Vec::new(), tokio::time::interval(Duration::from_secs(1)));
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
            let (mut times, mut done) = (Times::default(), 0_usize);
            while done < churn && Instant::now() < end {
                let (pod, _) =
                    up(&mut client, &image, &format!("churn-{done}"), NamespaceMode::Node, &mut times).await?;
                down(&mut client, &pod, &mut times).await?;
                done += 1;
            }
            Result::<usize>::Ok(done)
        }
    });
    let mut lists = Vec::new();
    while Instant::now() < end {
        let begin = Instant::now();
        let answer = client.list_containers(ListContainersRequest::default()).await?.into_inner();
        lists.push(begin.elapsed());
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
    println!("{done} probes, {} of them lost; {} pods came and went", lost.len(), churning.await??);
    println!(
        "ListContainers: median {:.2} ms, p99 {:.2} ms",
        milliseconds(quantile(&mut lists, 0.5)),
        milliseconds(quantile(&mut lists, 0.99))
    );
    for (pod, _) in &stay {
        down(&mut client, pod, &mut times).await?;
    }
    match lost.first() {
        None => Ok(()),
        Some(first) => Err(format!("lost probes, the first: {first}").into()),
    }
}

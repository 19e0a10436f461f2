//! Many streams at a time: none waits for another, memory is bounded, and when their clients are gone nothing is left of them.

use std::fs;

use cri::streaming::spdy::Fin;
use futures_util::future::join_all;
use proto::v1::{AttachRequest, ExecRequest, PortForwardRequest};
use tests::pods::{container, pod};
use tests::{Rtd, pod_test};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Socket, Spdy, warm_up};

/// Of each kind.
const EXECS: usize = 100;
const ATTACHES: usize = 50;
const FORWARDS: usize = 50;

/// Clients that do not read.
const SILENT: usize = 40;

/// What a session may cost the daemon, in KiB: most of it is the compression of SPDY.
const QUIET: usize = 512;

/// And one whose client does not read: its buffers are full.
const FULL: usize = 1536;

async fn exec_url(rtd: &mut Rtd<'_>, id: &str, script: &str) -> String {
    let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
    let request = ExecRequest { container_id: id.to_owned(), cmd, stdin: true, stdout: true, ..ExecRequest::default() };
    rtd.runtime.exec(request).await.unwrap().into_inner().url
}

async fn attach_url(rtd: &mut Rtd<'_>, id: &str) -> String {
    let request = AttachRequest { container_id: id.to_owned(), stdin: true, stdout: true, ..AttachRequest::default() };
    rtd.runtime.attach(request).await.unwrap().into_inner().url
}

async fn forward_url(rtd: &mut Rtd<'_>, id: &str) -> String {
    let request = PortForwardRequest { pod_sandbox_id: id.to_owned(), port: Vec::new() };
    rtd.runtime.port_forward(request).await.unwrap().into_inner().url
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Private memory in KiB.
fn memory(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn shim_of(rtd: &Rtd<'_>, pod: &str) -> i32 {
    let record = fs::read(rtd.state().join("pods").join(pod).join("sandbox-status.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    i32::try_from(record["shim"][0].as_i64().unwrap()).unwrap()
}

/// What the daemon and the pod's shim have open.
#[derive(Clone, Copy)]
struct Open {
    daemon: usize,
    shim: usize,
}

impl Open {
    fn now(rtd: &Rtd<'_>, pod: &str) -> Open {
        Open { daemon: descriptors(rtd.pid()), shim: descriptors(shim_of(rtd, pod)) }
    }
}

/// Waits until the container's own process is alone, and the daemon and the shim have closed what they had opened.
async fn as_before(rtd: &mut Rtd<'_>, pod: &str, container: &str, before: Open) {
    // The shell that looks is one.
    let alone = "set -- /proc/[0-9]*; while [ $# -gt 2 ]; do usleep 10000; set -- /proc/[0-9]*; done";
    assert_eq!(rtd.exec(container, alone).await.unwrap().exit_code, 0);
    loop {
        let now = Open::now(rtd, pod);
        if now.daemon <= before.daemon && now.shim <= before.shim {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// A server that says what it is told, until its clients leave.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                // A client that leaves in the middle is no failure.
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    port
}

enum Client {
    Spdy(Spdy),
    Socket(Socket),
}

impl Client {
    /// Every other one by SPDY.
    async fn connect(number: usize, url: &str) -> Client {
        match number % 2 {
            0 => Client::Spdy(Spdy::command(url, &["stdin", "stdout"]).await),
            _ => Client::Socket(Socket::connect(url, "v5.channel.k8s.io").await),
        }
    }

    async fn say(&mut self, text: &str) {
        match self {
            Client::Spdy(client) => {
                client.send("stdin", text, Fin::Open).await;
                client.until("stdout", text).await;
            }
            Client::Socket(client) => {
                client.send("stdin", text, Fin::Open).await;
                client.until("stdout", text).await;
            }
        }
    }

    async fn hear(&mut self, text: &str) {
        match self {
            Client::Spdy(client) => client.until("stdout", text).await,
            Client::Socket(client) => client.until("stdout", text).await,
        }
    }

    /// Closes the input and waits for the end of the command.
    async fn end(self) -> i32 {
        match self {
            Client::Spdy(mut client) => {
                client.send("stdin", "", Fin::Last).await;
                client.end().await.code()
            }
            Client::Socket(mut client) => {
                client.send("stdin", "", Fin::Last).await;
                client.end().await.code()
            }
        }
    }
}

#[test]
fn hundreds_at_a_time() {
    warm_up();
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let mut wanted = container("one", "exec cat");
        wanted.stdin = true;
        let one = rtd.create(&id, &wanted, &config).await.unwrap();
        rtd.start(&one).await.unwrap();
        let port = echo().await;
        rtd.exec(&one, "true").await.unwrap();
        let (before, held) = (Open::now(rtd, &id), memory(rtd.pid()));

        let (mut execs, mut attached, mut forwards) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..EXECS {
            let url = exec_url(rtd, &one, "exec cat").await;
            execs.push(Client::connect(number, &url).await);
        }
        for number in 0..ATTACHES {
            let url = attach_url(rtd, &one).await;
            attached.push(Client::connect(number, &url).await);
        }
        for number in 0..FORWARDS {
            let url = forward_url(rtd, &id).await;
            let mut client = Spdy::connect(&url, "portforward.k8s.io").await;
            let (request, port) = (number.to_string(), port.to_string());
            for kind in ["error", "data"] {
                client.open(kind, &[("port", &port), ("requestid", &request)]).await;
            }
            forwards.push((format!("data{number}"), client));
        }
        for round in 0..2 {
            join_all(execs.iter_mut().enumerate().map(async |(number, client)| {
                client.say(&format!("exec {number} {round}\n")).await;
            }))
            .await;
            join_all(forwards.iter_mut().map(async |(data, client)| {
                let text = format!("{data} {round}\n");
                client.send(data, &text, Fin::Open).await;
                client.until(data, &text).await;
            }))
            .await;
            // What one writes all of them read.
            for (number, client) in attached.iter_mut().enumerate() {
                client.say(&format!("attach {number} {round}\n")).await;
            }
            let last = format!("attach {} {round}\n", ATTACHES - 1);
            join_all(attached.iter_mut().map(async |client| client.hear(&last).await)).await;
        }
        assert_eq!(rtd.exec(&one, "echo alive").await.unwrap().stdout, b"alive\n");
        let more = memory(rtd.pid()).saturating_sub(held);
        eprintln!("{more} KiB for {} streams", EXECS + ATTACHES + FORWARDS);
        assert!(more < QUIET * (EXECS + ATTACHES + FORWARDS), "{more} KiB");

        // Half of them in peace; the others are gone at once, as when they are killed.
        let rest = execs.split_off(EXECS / 2);
        let codes = join_all(execs.into_iter().map(Client::end)).await;
        assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
        drop((rest, attached, forwards));
        as_before(rtd, &id, &one, before).await;
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// Their commands wait, and the daemon keeps no more than its buffers. When they are gone the commands go on to their ends, and nobody hears them.
#[test]
fn clients_that_do_not_read() {
    warm_up();
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "exec sleep 1000", &config).await;
        rtd.exec(&one, "true").await.unwrap();
        let (before, held) = (Open::now(rtd, &id), memory(rtd.pid()));
        let mut clients = Vec::new();
        for number in 0..SILENT {
            let url = exec_url(rtd, &one, "yes | head -c 24000000").await;
            let mut client = Client::connect(number, &url).await;
            client.hear("y\ny\n").await;
            clients.push(client);
        }
        // All of them have come to their end when none can write any more.
        let waiting = "for p in /proc/[0-9]*; do read -r name <$p/comm; [ $name = head ] || continue; \
                       until grep -q pipe_write $p/wchan; do usleep 1000; done; done";
        assert_eq!(rtd.exec(&one, waiting).await.unwrap().exit_code, 0);
        let more = memory(rtd.pid()).saturating_sub(held);
        eprintln!("{more} KiB for {SILENT} streams");
        assert!(more < FULL * SILENT, "{more} KiB");
        drop(clients);
        as_before(rtd, &id, &one, before).await;
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// An address is good for one client.
#[test]
fn an_address_is_used_once() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "exec sleep 1000", &config).await;
        // More than may wait at a time: those that were used do not count.
        for number in 0..1100 {
            let url = attach_url(rtd, &one).await;
            if number % 10 > 0 {
                assert!(answer(&url).await.starts_with("HTTP/1.1 101 "));
            } else if number % 100 == 0 {
                answer(&url).await;
                let second = answer(&url).await;
                assert!(second.starts_with("HTTP/1.1 404 "), "{second}");
            }
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// The first line of the answer to an upgrade; the client leaves then.
async fn answer(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = TcpStream::connect(host).await.unwrap();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

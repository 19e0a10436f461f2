//! A client's view of the server: requests by hand, frames by the codec.

use std::collections::HashMap;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::spdy::{Decoder, Encoder, Event, Fin, Headers, Reset, StreamId};
use super::*;

const GO_OFFER: &str = "v5.channel.k8s.io,v4.channel.k8s.io,v3.channel.k8s.io,v2.channel.k8s.io,channel.k8s.io";
const ALL: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
const TERMINAL: Wanted = Wanted { stdin: true, stdout: true, stderr: false, tty: true };

async fn serve() -> Address {
    let config = Config { address: ([127, 0, 0, 1], 0).into(), idle: Duration::from_secs(60) };
    let server = Server::bind(&config).await.unwrap();
    let address = server.address();
    tokio::spawn(server.run());
    address
}

/// Gives back its input in upper case, and ends with a code.
fn shout(code: i32) -> Run {
    Box::new(move |ends| {
        Box::pin(async move {
            let mut text = String::new();
            ends.stdin.unwrap().read_to_string(&mut text).await.unwrap();
            ends.stdout.unwrap().write_all(text.to_uppercase().as_bytes()).await.unwrap();
            if let Some(mut stderr) = ends.stderr {
                stderr.write_all(b"done").await.unwrap();
            }
            Ok(Exit { code })
        })
    })
}

/// Sends a request; the head of the answer, and the connection behind it.
async fn request(url: &str, headers: &str) -> (String, TcpStream) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut socket = TcpStream::connect(host).await.unwrap();
    let text = format!("POST /{path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    (String::from_utf8(head).unwrap().to_lowercase(), socket)
}

fn upgrade(offer: &str) -> String {
    format!("Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {offer}\r\n")
}

struct Client {
    socket: TcpStream,
    encoder: Encoder,
    decoder: Decoder,
    arrived: BytesMut,
}

impl Client {
    async fn connect(url: &str, offer: &str, version: &str) -> Client {
        let (head, socket) = request(url, &upgrade(offer)).await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(head.contains("upgrade: spdy/3.1\r\n"), "{head}");
        assert!(head.contains(&format!("x-stream-protocol-version: {version}\r\n")), "{head}");
        Client { socket, encoder: Encoder::default(), decoder: Decoder::default(), arrived: BytesMut::new() }
    }

    async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let mut bytes = BytesMut::new();
        let headers: Headers = headers.iter().copied().collect();
        self.encoder.syn_stream(&mut bytes, StreamId::new(stream).unwrap(), &headers, Fin::Open);
        self.socket.write_all(&bytes).await.unwrap();
    }

    async fn send(&mut self, stream: u32, data: &str, fin: Fin) {
        let mut bytes = BytesMut::new();
        self.encoder.data(&mut bytes, StreamId::new(stream).unwrap(), data.as_bytes(), fin);
        self.socket.write_all(&bytes).await.unwrap();
    }

    async fn hear(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.decoder.next(&mut self.arrived).unwrap() {
                return Some(event);
            }
            if self.socket.read_buf(&mut self.arrived).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// Everything until the end: the texts of the streams, and those that were reset.
    async fn rest(&mut self) -> (HashMap<u32, String>, Vec<(u32, Reset)>) {
        let (mut texts, mut resets): (HashMap<u32, String>, _) = (HashMap::new(), Vec::new());
        while let Some(event) = self.hear().await {
            match event {
                Event::Data { stream, bytes, .. } => {
                    texts.entry(stream.get()).or_default().push_str(std::str::from_utf8(&bytes).unwrap());
                }
                Event::RstStream { stream, status } => resets.push((stream.get(), status)),
                Event::SynReply { .. } | Event::GoAway { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        (texts, resets)
    }
}

#[tokio::test]
async fn exec() {
    let address = serve().await;
    for (code, reason) in [(0, None), (3, Some("NonZeroExitCode"))] {
        let url = address.exec(Command { wanted: ALL, run: shout(code) }).unwrap();
        let mut client = Client::connect(&url, GO_OFFER, "v4.channel.k8s.io").await;
        for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
            client.open(stream, &[("streamType", kind)]).await;
        }
        client.send(3, "quiet ", Fin::Open).await;
        client.send(3, "words", Fin::Last).await;
        let (texts, resets) = client.rest().await;
        assert_eq!((texts[&5].as_str(), texts[&7].as_str()), ("QUIET WORDS", "done"));
        let status: serde_json::Value = serde_json::from_str(&texts[&1]).unwrap();
        assert_eq!(status["reason"].as_str(), reason, "{status}");
        assert_eq!(resets, []);
    }
}

/// With a terminal there are sizes and no stderr; the end comes although the client keeps its input open.
#[tokio::test]
async fn terminal() {
    let address = serve().await;
    let run: Run = Box::new(|mut ends| {
        Box::pin(async move {
            assert!(ends.stderr.is_none());
            let first = ends.sizes.recv().await.unwrap();
            let second = ends.sizes.recv().await.unwrap();
            let text = format!("{}x{} {}x{}", first.width, first.height, second.width, second.height);
            ends.stdout.unwrap().write_all(text.as_bytes()).await.unwrap();
            Ok(Exit { code: 0 })
        })
    });
    let url = address.attach(Command { wanted: TERMINAL, run }).unwrap();
    let mut client = Client::connect(&url, "v3.channel.k8s.io", "v3.channel.k8s.io").await;
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "resize")] {
        client.open(stream, &[("streamtype", kind)]).await;
    }
    client.send(7, r#"{"Width":80,"Height":24}{"Width":"#, Fin::Open).await;
    client.send(7, r#"132,"Height":43}"#, Fin::Open).await;
    let (texts, _) = client.rest().await;
    assert_eq!(texts[&5], "80x24 132x43");
    // Version 3 has nothing to say about a good end.
    assert_eq!(texts[&1], "");
}

#[tokio::test]
async fn what_cannot_be_run_is_said() {
    let address = serve().await;
    let run: Run = Box::new(|_| Box::pin(async { Err("container is not running".to_owned()) }));
    let wanted = Wanted { stdin: false, stdout: true, stderr: false, tty: false };
    let url = address.exec(Command { wanted, run }).unwrap();
    let mut client = Client::connect(&url, GO_OFFER, "v4.channel.k8s.io").await;
    client.open(1, &[("streamtype", "error")]).await;
    client.open(3, &[("streamtype", "stdout")]).await;
    let (texts, _) = client.rest().await;
    let status: serde_json::Value = serde_json::from_str(&texts[&1]).unwrap();
    assert_eq!(
        (status["reason"].as_str(), status["message"].as_str()),
        (Some("InternalError"), Some("container is not running"))
    );
}

/// A stream that does not belong to what was asked for ends the connection, and nothing is run.
#[tokio::test]
async fn a_stream_too_many() {
    let address = serve().await;
    let run: Run = Box::new(|_| panic!("it was run"));
    let wanted = Wanted { stdin: false, stdout: true, stderr: false, tty: false };
    let url = address.exec(Command { wanted, run }).unwrap();
    let mut client = Client::connect(&url, GO_OFFER, "v4.channel.k8s.io").await;
    client.open(1, &[("streamtype", "error")]).await;
    client.open(3, &[("streamtype", "stdin")]).await;
    assert_eq!(client.rest().await.1, [(3, Reset::Refused)]);
}

#[tokio::test]
async fn requests_that_are_refused() {
    let address = serve().await;
    let issue = || address.exec(Command { wanted: ALL, run: shout(0) }).unwrap();
    let url = issue();
    let good = upgrade(GO_OFFER);
    for (url, headers, status, says) in [
        (issue(), String::new(), "400", ""),
        (issue(), "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n".to_owned(), "400", ""),
        (issue(), upgrade("v9.channel.k8s.io"), "403", "x-accepted-stream-protocol-versions: v4.channel.k8s.io"),
        (issue().replace("/exec/", "/portforward/"), good.clone(), "404", ""),
        (format!("{}x", issue()), good.clone(), "404", ""),
        (url.clone(), good.clone(), "101", ""),
        (url, good.clone(), "404", ""),
    ] {
        let (head, _socket) = request(&url, &headers).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{url} {headers}: {head}");
        assert!(head.contains(says), "{head}");
    }
}

#[tokio::test]
async fn ports() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let echo = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                tokio::io::copy(&mut from, &mut to).await.unwrap();
                to.write_all(b"!").await.unwrap();
                to.shutdown().await.unwrap();
            });
        }
    });
    let dial: Dial = Box::new(move |port| {
        Box::pin(async move {
            match port {
                80 => TcpStream::connect(echo).await.map_err(|error| error.to_string()),
                port => Err(format!("connect(127.0.0.1:{port}): ECONNREFUSED")),
            }
        })
    });
    let url = serve().await.port_forward(dial).unwrap();
    let mut client = Client::connect(&url, "portforward.k8s.io", "portforward.k8s.io").await;
    for (number, port) in [(0u32, "80"), (1, "81"), (2, "80"), (3, "70000")] {
        let id = number.to_string();
        for (kind, stream) in [("error", 4 * number + 1), ("data", 4 * number + 3)] {
            client.open(stream, &[("streamtype", kind), ("port", port), ("requestid", &id)]).await;
        }
    }
    client.send(3, "first", Fin::Last).await;
    client.send(11, "third", Fin::Last).await;
    let mut texts: HashMap<u32, String> = HashMap::new();
    let (mut ended, mut resets) = (Vec::new(), Vec::new());
    // Both that work end on both of their streams; both that do not say why on one and reset the other.
    while ended.len() + resets.len() < 8 {
        match client.hear().await.unwrap() {
            Event::Data { stream, bytes, fin } => {
                texts.entry(stream.get()).or_default().push_str(std::str::from_utf8(&bytes).unwrap());
                if fin == Fin::Last {
                    ended.push(stream.get());
                }
            }
            Event::RstStream { stream, .. } => resets.push(stream.get()),
            Event::SynReply { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    ended.sort_unstable();
    resets.sort_unstable();
    assert_eq!((ended, resets), (vec![1, 3, 5, 9, 11, 13], vec![7, 15]));
    assert_eq!((texts[&3].as_str(), texts[&11].as_str()), ("first!", "third!"));
    assert_eq!(texts[&5], "connect(127.0.0.1:81): ECONNREFUSED");
    assert!(texts[&13].starts_with("port: "), "{}", texts[&13]);
}

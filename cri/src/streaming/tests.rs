//! A client's view of the server: requests by hand, frames by the codec.

use std::collections::HashMap;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::spdy::{Decoder, Encoder, Event, Fin, Headers, Reset, StreamId};
use super::*;

const GO_OFFER: &str = "v5.channel.k8s.io,v4.channel.k8s.io,v3.channel.k8s.io,v2.channel.k8s.io,channel.k8s.io";
pub(super) const ALL: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
pub(super) const TERMINAL: Wanted = Wanted { stdin: true, stdout: true, stderr: false, tty: true };

pub(super) async fn serve() -> Address {
    serve_with(&Config::default()).await
}

pub(super) async fn serve_with(config: &Config) -> Address {
    let server = Server::bind(config).await.unwrap();
    let address = server.address();
    tokio::spawn(server.run());
    address
}

/// A command that the audit says nothing of.
pub(super) fn command(wanted: Wanted, run: Run) -> Command {
    Command { wanted, run, subject: Subject::default() }
}

/// Gives back its input in upper case, and ends with a code.
pub(super) fn shout(code: i32) -> Run {
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
    request_by("POST", url, headers).await
}

async fn request_by(method: &str, url: &str, headers: &str) -> (String, TcpStream) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut socket = TcpStream::connect(host).await.unwrap();
    let text = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
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
        let url = address.exec(command(ALL, shout(code))).unwrap();
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
    let url = address.attach(command(TERMINAL, run)).unwrap();
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
    let url = address.exec(command(wanted, run)).unwrap();
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
    let url = address.exec(command(wanted, run)).unwrap();
    let mut client = Client::connect(&url, GO_OFFER, "v4.channel.k8s.io").await;
    client.open(1, &[("streamtype", "error")]).await;
    client.open(3, &[("streamtype", "stdin")]).await;
    assert_eq!(client.rest().await.1, [(3, Reset::Refused)]);
}

#[tokio::test]
async fn requests_that_are_refused() {
    let address = serve().await;
    let issue = || address.exec(command(ALL, shout(0))).unwrap();
    let url = issue();
    let good = upgrade(GO_OFFER);
    for (url, headers, status, says) in [
        (issue(), String::new(), "400", ""),
        (issue(), "Connection: Upgrade\r\nUpgrade: h2c\r\n".to_owned(), "400", ""),
        (issue(), "Connection: Upgrade\r\nUpgrade: websocket\r\n".to_owned(), "400", "sec-websocket-version: 13"),
        (issue(), "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n".to_owned(), "400", ""),
        (issue(), upgrade("v9.channel.k8s.io"), "403", "x-accepted-stream-protocol-versions: v4.channel.k8s.io"),
        (issue().replace("/exec/", "/portforward/"), good.clone(), "404", ""),
        (issue().replace("/exec/", "/attach/"), good.clone(), "404", ""),
        (format!("{}x", issue()), good.clone(), "404", ""),
        (url.clone(), good.clone(), "101", ""),
        (url, good.clone(), "404", ""),
    ] {
        let (head, _socket) = request(&url, &headers).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{url} {headers}: {head}");
        assert!(head.contains(says), "{head}");
    }
}

/// Ports that the audit says nothing of.
pub(super) fn ports_of(named: &[u16], dial: Dial) -> Ports {
    Ports { named: named.to_vec(), dial, subject: Subject::default() }
}

/// Connects port 80 with a server that gives back what it is sent, and a `!`; nobody listens on others.
pub(super) async fn echo() -> Dial {
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
    Box::new(move |port| {
        Box::pin(async move {
            match port {
                80 => TcpStream::connect(echo).await.map_err(|error| error.to_string()),
                port => Err(format!("connect(127.0.0.1:{port}): ECONNREFUSED")),
            }
        })
    })
}

#[tokio::test]
async fn ports() {
    let dial = echo().await;
    let url = serve().await.port_forward(ports_of(&[], dial)).unwrap();
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

/// What is no request for streams does not use the address up; GET does as well as POST.
#[tokio::test]
async fn methods() {
    let url = serve().await.exec(command(ALL, shout(0))).unwrap();
    for (method, status) in [("HEAD", "405"), ("PUT", "405"), ("GET", "101"), ("GET", "404")] {
        let (head, _socket) = request_by(method, &url, &upgrade(GO_OFFER)).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{method}: {head}");
        assert_eq!(head.contains("allow: get, post"), status == "405", "{head}");
    }
}

/// Old clients send no request id: a data stream belongs to the error stream before it, also when several are opened at once.
#[tokio::test]
async fn ports_without_request_ids() {
    let url = serve().await.port_forward(ports_of(&[], echo().await)).unwrap();
    let mut client = Client::connect(&url, "portforward.k8s.io", "portforward.k8s.io").await;
    for (stream, kind) in [(1, "error"), (3, "data"), (5, "error"), (7, "data")] {
        client.open(stream, &[("streamtype", kind), ("port", "80")]).await;
    }
    client.send(3, "a", Fin::Last).await;
    client.send(7, "b", Fin::Last).await;
    let mut texts: HashMap<u32, String> = HashMap::new();
    let mut ended = 0;
    while ended < 4 {
        if let Event::Data { stream, bytes, fin } = client.hear().await.unwrap() {
            texts.entry(stream.get()).or_default().push_str(std::str::from_utf8(&bytes).unwrap());
            ended += usize::from(fin == Fin::Last);
        }
    }
    assert_eq!((texts[&3].as_str(), texts[&7].as_str()), ("a!", "b!"));
}

/// Two hundred connections of one client, one after the other and all at once.
#[tokio::test]
async fn many_connections() {
    let url = serve().await.port_forward(ports_of(&[], echo().await)).unwrap();
    let mut client = Client::connect(&url, "portforward.k8s.io", "portforward.k8s.io").await;
    const COUNT: u32 = 200;
    let data = |number: u32| 4 * number + 3;
    for number in 0..COUNT {
        let id = number.to_string();
        for (kind, stream) in [("error", 4 * number + 1), ("data", data(number))] {
            client.open(stream, &[("streamtype", kind), ("port", "80"), ("requestid", &id)]).await;
        }
    }
    for number in 0..COUNT {
        client.send(data(number), &format!("number {number}"), Fin::Last).await;
    }
    let mut texts: HashMap<u32, String> = HashMap::new();
    let mut ended = 0;
    while ended < 2 * COUNT {
        if let Event::Data { stream, bytes, fin } = client.hear().await.unwrap() {
            texts.entry(stream.get()).or_default().push_str(std::str::from_utf8(&bytes).unwrap());
            ended += u32::from(fin == Fin::Last);
        }
    }
    for number in 0..COUNT {
        assert_eq!(texts[&data(number)], format!("number {number}!"));
    }
}

/// A client that does not read stops the process, and gets everything when it reads again.
#[tokio::test]
async fn a_slow_reader() {
    const SIZE: usize = 8 << 20;
    let address = serve().await;
    let (told, mut written) = tokio::sync::watch::channel(0);
    let run: Run = Box::new(move |ends| {
        Box::pin(async move {
            let mut stdout = ends.stdout.unwrap();
            let piece = [b'x'; 64 << 10];
            for number in 1..=SIZE / piece.len() {
                stdout.write_all(&piece).await.unwrap();
                told.send_replace(number * piece.len());
            }
            Ok(Exit { code: 0 })
        })
    });
    let wanted = Wanted { stdin: false, stdout: true, stderr: false, tty: false };
    let url = address.exec(command(wanted, run)).unwrap();
    let mut client = Client::connect(&url, GO_OFFER, "v4.channel.k8s.io").await;
    client.open(1, &[("streamtype", "error")]).await;
    client.open(3, &[("streamtype", "stdout")]).await;
    // Until nothing moves any more.
    while tokio::time::timeout(Duration::from_millis(200), written.changed()).await.is_ok() {}
    let taken = *written.borrow();
    assert!(taken < SIZE, "{taken} bytes are under way to a client that reads nothing");
    let (texts, _) = client.rest().await;
    assert_eq!(texts[&3].len(), SIZE);
}

/// Nothing moves: the session ends, and whoever runs the process sees that its client is gone.
#[tokio::test]
async fn idle() {
    let address = serve_with(&Config { idle: Duration::from_millis(100), ..Config::default() }).await;
    let (gone, seen) = tokio::sync::oneshot::channel::<()>();
    let run: Run = Box::new(|_| {
        Box::pin(async move {
            let _gone = gone;
            std::future::pending().await
        })
    });
    let url = address.exec(command(Wanted { stderr: false, ..ALL }, run)).unwrap();
    let mut client = Client::connect(&url, GO_OFFER, "v4.channel.k8s.io").await;
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        client.open(stream, &[("streamtype", kind)]).await;
    }
    assert!(seen.await.is_err());
    // No word about an end that there was not.
    assert_eq!(client.rest().await.0.get(&1), None);
}

/// Bytes that are no frames end the connection, and nothing else.
#[tokio::test]
async fn hostile_bytes() {
    let address = serve().await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]] {
        let run: Run = Box::new(|_| panic!("it was run"));
        let url = address.exec(command(ALL, run)).unwrap();
        let mut client = Client::connect(&url, GO_OFFER, "v4.channel.k8s.io").await;
        client.socket.write_all(garbage).await.unwrap();
        assert_eq!(client.rest().await.0, HashMap::new());
    }
    let url = address.exec(command(ALL, shout(0))).unwrap();
    Client::connect(&url, GO_OFFER, "v4.channel.k8s.io").await;
}

/// Two lines for a session, with what was run and how it ended, and nothing of what went through it.
#[tokio::test]
async fn audit() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    // With a single subscriber, threads that have none would settle for all that nobody listens.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let address = serve().await;
    let argv = ["sh", "-c", "tr a-z A-Z\n"].map(str::to_owned).to_vec();
    let subject = Subject { pod: "pod1".into(), container: Some("container1".into()), command: argv };
    let url = address.exec(Command { wanted: ALL, run: shout(3), subject }).unwrap();
    let mut client = Client::connect(&url, GO_OFFER, "v4.channel.k8s.io").await;
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        client.open(stream, &[("streamType", kind)]).await;
    }
    client.send(3, "password", Fin::Last).await;
    client.rest().await;
    let token = url.rsplit('/').next().unwrap();
    let said = loop {
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        if text.contains("session ends") {
            break text;
        }
        tokio::task::yield_now().await;
    };
    assert!(!said.to_lowercase().contains("password") && !said.contains(token), "{said}");
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{said}");
    for line in &lines {
        assert_eq!(line["target"], "audit");
        let fields = &line["fields"];
        assert_eq!(
            (&fields["kind"], &fields["pod"], &fields["container"]),
            (&"exec".into(), &"pod1".into(), &"container1".into())
        );
        assert_eq!(fields["command"], r#"["sh", "-c", "tr a-z A-Z\n"]"#);
        assert!(fields["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
    assert_eq!(lines[1]["fields"]["exit"], 3);
    assert!(lines[1]["fields"]["duration_ms"].is_u64(), "{said}");
}

#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A certificate that is replaced counts for the next connection; one that cannot be used does not.
#[tokio::test]
async fn certificates_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (one, two) = (certificate(dir.path()), certificate(dir.path()));
    let write = |certificate: &str, key: &str| {
        for (name, text) in [("tls.crt", certificate), ("tls.key", key)] {
            // Replaced as a whole, as Kubernetes does.
            std::fs::write(path("new"), text).unwrap();
            std::fs::rename(path("new"), path(name)).unwrap();
        }
    };
    let files = tls::Files { certificate: path("tls.crt"), key: path("tls.key"), client_ca: None };
    let config = Config { tls: Some(files), ..Config::default() };
    write(&one[0], &two[1]);
    assert!(matches!(Server::bind(&config).await.err(), Some(BindError::Tls(tls::Error::Pair { .. }))));
    write(&one[0], &one[1]);
    let address = serve_with(&config).await;
    let url = address.exec(command(ALL, shout(0))).unwrap();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    assert_eq!(greet(&url, &one[0]).await, Ok("404"));
    assert!(greet(&url, &two[0]).await.is_err());
    write(&two[0], &two[1]);
    assert_eq!(greet(&url, &two[0]).await, Ok("404"));
    write(&two[0], "nothing");
    assert_eq!(greet(&url, &two[0]).await, Ok("404"));
}

/// Asks for what is not there, of a server that must have this certificate; the status.
async fn greet(url: &str, certificate: &str) -> Result<&'static str, String> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let host = url.strip_prefix("https://").unwrap().split('/').next().unwrap();
    let socket = TcpStream::connect(host).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = connector.connect(name, socket).await.map_err(|error| error.to_string())?;
    stream.write_all(b"GET /exec/nothing HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    if &head == b"HTTP/1.1 404" { Ok("404") } else { Err(String::from_utf8_lossy(&head).into_owned()) }
}

/// A certificate for 127.0.0.1 that is its own authority, and its key.
fn certificate(dir: &std::path::Path) -> [String; 2] {
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test \
        -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE -keyout made.key -out made.crt";
    let made =
        std::process::Command::new("openssl").args(arguments.split_whitespace()).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    ["made.crt", "made.key"].map(|name| std::fs::read_to_string(dir.join(name)).unwrap())
}

//! A kubelet's end of exec, attach and port-forward: SPDY, and WebSocket.

use std::collections::HashMap;

use bytes::BytesMut;
use cri::streaming::spdy::{Decoder, Encoder, Event, Fin, Headers, StreamId};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// What a session came to.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Bytes of each stream, by its kind: `stdout`, `stderr`, `error`.
    pub(crate) texts: HashMap<String, String>,
}

impl Session {
    pub(crate) fn text(&self, kind: &str) -> &str {
        self.texts.get(kind).map_or("", String::as_str)
    }

    /// The status of protocol version 4.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(self.text("error")).unwrap_or_else(|error| panic!("{error}: {:?}", self.texts))
    }

    /// The exit code; -1: something else went wrong.
    pub(crate) fn code(&self) -> i32 {
        let status = self.status();
        match (status["status"].as_str(), status["reason"].as_str()) {
            (Some("Success"), _) => 0,
            (_, Some("NonZeroExitCode")) => {
                status["details"]["causes"][0]["message"].as_str().unwrap().parse().unwrap()
            }
            _ => -1,
        }
    }
}

/// A client on SPDY.
pub(crate) struct Spdy {
    socket: TcpStream,
    encoder: Encoder,
    decoder: Decoder,
    arrived: BytesMut,
    kinds: HashMap<u32, String>,
    next: u32,
    /// What came so far.
    pub(crate) session: Session,
}

impl Spdy {
    /// Connects and upgrades.
    pub(crate) async fn connect(url: &str, protocol: &str) -> Spdy {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut socket = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
             X-Stream-Protocol-Version: {protocol}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let (encoder, decoder, arrived) = (Encoder::default(), Decoder::default(), BytesMut::new());
        let (kinds, session) = (HashMap::new(), Session::default());
        Spdy { socket, encoder, decoder, arrived, kinds, next: 1, session }
    }

    /// Exec or attach with these streams beside that for errors.
    pub(crate) async fn command(url: &str, kinds: &[&str]) -> Spdy {
        let mut client = Spdy::connect(url, "v4.channel.k8s.io").await;
        client.open("error", &[]).await;
        for kind in kinds {
            client.open(kind, &[]).await;
        }
        client
    }

    /// Opens a stream; its number.
    pub(crate) async fn open(&mut self, kind: &str, more: &[(&str, &str)]) -> u32 {
        let number = self.next;
        self.next += 2;
        let headers: Headers = more.iter().copied().chain([("streamtype", kind)]).collect();
        let mut bytes = BytesMut::new();
        self.encoder.syn_stream(&mut bytes, StreamId::new(number).unwrap(), &headers, Fin::Open);
        self.socket.write_all(&bytes).await.unwrap();
        let name = match more.iter().find(|(name, _)| *name == "requestid") {
            Some((_, id)) => format!("{kind}{id}"),
            None => kind.to_owned(),
        };
        self.kinds.insert(number, name);
        number
    }

    /// Sends on a stream.
    pub(crate) async fn send(&mut self, kind: &str, data: &str, fin: Fin) {
        let number = *self.kinds.iter().find(|(_, name)| *name == kind).unwrap().0;
        let mut bytes = BytesMut::new();
        self.encoder.data(&mut bytes, StreamId::new(number).unwrap(), data.as_bytes(), fin);
        self.socket.write_all(&bytes).await.unwrap();
    }

    /// Takes in one more event; `false`: the server has closed.
    async fn step(&mut self) -> bool {
        loop {
            if let Some(event) = self.decoder.next(&mut self.arrived).unwrap() {
                if let Event::Data { stream, bytes, .. } = event {
                    let text = self.session.texts.entry(self.kinds[&stream.get()].clone()).or_default();
                    text.push_str(&String::from_utf8_lossy(&bytes));
                }
                return true;
            }
            if self.socket.read_buf(&mut self.arrived).await.unwrap() == 0 {
                return false;
            }
        }
    }

    /// Waits for whatever comes next.
    pub(crate) async fn more(&mut self) {
        assert!(self.step().await, "the end: {:?}", self.session);
    }

    /// Waits until a stream has said something.
    pub(crate) async fn until(&mut self, kind: &str, wanted: &str) {
        while !self.session.text(kind).contains(wanted) {
            assert!(self.step().await, "the end, and no {wanted:?}: {:?}", self.session);
        }
    }

    /// Waits for the end.
    pub(crate) async fn end(mut self) -> Session {
        while self.step().await {}
        self.session
    }
}

/// A client on WebSocket.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// What came so far.
    pub(crate) session: Session,
}

/// A connection needs random numbers, and the first ones leave a descriptor: to be called before a test begins.
pub(crate) fn warm_up() {
    tokio_tungstenite::tungstenite::handshake::client::generate_key();
}

/// Channel numbers of exec and attach.
const CHANNELS: [&str; 5] = ["stdin", "stdout", "stderr", "error", "resize"];

impl Socket {
    /// Connects and upgrades.
    pub(crate) async fn connect(url: &str, protocol: &str) -> Socket {
        let url = url.replace("http://", "ws://");
        let host = url.strip_prefix("ws://").unwrap().split('/').next().unwrap().to_owned();
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        let (stream, _) = client_async(request, TcpStream::connect(host).await.unwrap()).await.unwrap();
        Socket { stream, session: Session::default() }
    }

    /// Sends on a channel.
    pub(crate) async fn send(&mut self, kind: &str, data: &str, fin: Fin) {
        let channel = u8::try_from(CHANNELS.iter().position(|name| *name == kind).unwrap()).unwrap();
        let message = [&[channel], data.as_bytes()].concat();
        self.stream.send(Message::Binary(message.into())).await.unwrap();
        if fin == Fin::Last {
            self.stream.send(Message::Binary(vec![255, channel].into())).await.unwrap();
        }
    }

    async fn step(&mut self) -> bool {
        match self.stream.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                let kind = CHANNELS[usize::from(bytes[0])].to_owned();
                let text = self.session.texts.entry(kind).or_default();
                text.push_str(&String::from_utf8_lossy(&bytes[1..]));
                true
            }
            Some(Ok(_)) => true,
            Some(Err(error)) => panic!("{error}"),
            None => false,
        }
    }

    /// Waits until a channel has said something.
    pub(crate) async fn until(&mut self, kind: &str, wanted: &str) {
        while !self.session.text(kind).contains(wanted) {
            assert!(self.step().await, "the end, and no {wanted:?}: {:?}", self.session);
        }
    }

    /// Waits for the end.
    pub(crate) async fn end(mut self) -> Session {
        while self.step().await {}
        self.session
    }
}

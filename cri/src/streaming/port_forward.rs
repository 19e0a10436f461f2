//! Port-forward.
//!
//! On a SPDY connection, which may itself be carried by a WebSocket, a client makes a pair of streams for each connection: `error`,
//! then `data`, both with the port and a request id. What goes wrong is said on the error stream; both are over when the connection is.
//!
//! On channels of a WebSocket there is one connection for each port that the call named: channels 2i for data and 2i+1 for what
//! goes wrong, both of which begin with the port as two bytes, the low one first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::audit::Outcome;
use super::spdy::{Connection, Reset, Stream};
use super::stream::{PIECE, Reader, Writer};
use super::websocket::{Channels, Protocol, Socket};
use super::{Dial, Ports};

/// Name of the protocol.
pub(super) const PROTOCOL: &str = "portforward.k8s.io";

/// Its name inside of a WebSocket.
pub(super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Most ports that a call may name for channels of a WebSocket.
pub(super) const NAMED_LIMIT: usize = 64;

/// Most connections at a time of one client.
const CONNECTIONS: usize = 512;

/// How long a stream waits for its other one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most pairs of which one stream is missing.
const HALVES: usize = 256;

/// A stream that waits for its other one.
enum Half {
    Error(Writer),
    Data(Reader, Writer),
}

/// Which streams belong together: by the client's name for the pair, and the port.
type Pair = (String, u16);

/// Serves a client on SPDY until it leaves, or nothing has moved for `idle`.
pub(super) async fn serve(mut connection: Connection, dial: Dial, idle: Duration) -> Outcome {
    let mut pairs = Pairs { dial: Arc::new(dial), halves: HashMap::new(), forwards: JoinSet::new() };
    let quiet = connection.activity().idle(idle);
    tokio::pin!(quiet);
    let outcome = loop {
        tokio::select! {
            stream = connection.accept() => match stream {
                Some(stream) => pairs.add(stream).await,
                None => break Outcome::Left,
            },
            Some(_) = pairs.forwards.join_next() => {}
            () = &mut quiet => break Outcome::Idle,
        }
    };
    connection.close().await;
    outcome
}

/// Connections of a client on SPDY.
struct Pairs {
    dial: Arc<Dial>,
    halves: HashMap<Pair, (Instant, Half)>,
    forwards: JoinSet<()>,
}

impl Pairs {
    /// Takes in a stream that the client has opened.
    async fn add(&mut self, stream: Stream) {
        let Stream { number, headers, reader, writer } = stream;
        let port = headers.get("port").and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        let id = headers.get("requestid");
        let (half, first) = match headers.get("streamtype") {
            Some("error") => (Half::Error(writer), number),
            // The error stream was opened just before.
            Some("data") => (Half::Data(reader, writer), number.saturating_sub(2)),
            Some(_) | None => return refuse(writer).await,
        };
        let Some(port) = port else {
            return match half {
                Half::Error(writer) => say(writer, "port: a number from 1 to 65535 is needed").await,
                Half::Data(_, writer) => refuse(writer).await,
            };
        };
        // Clients of old send no id.
        let pair = (id.map_or_else(|| first.to_string(), str::to_owned), port);
        match (self.halves.remove(&pair), half) {
            (Some((_, Half::Error(error))), Half::Data(reader, writer))
            | (Some((_, Half::Data(reader, writer))), Half::Error(error)) => {
                if self.forwards.len() >= CONNECTIONS {
                    say(error, "too many connections at a time").await;
                    return refuse(writer).await;
                }
                self.forwards.spawn(forward(Arc::clone(&self.dial), port, error, reader, writer));
            }
            (None, half) => {
                self.give_up_old().await;
                match half {
                    Half::Error(writer) | Half::Data(_, writer) if self.halves.len() >= HALVES => refuse(writer).await,
                    half => {
                        self.halves.insert(pair, (Instant::now(), half));
                    }
                }
            }
            // The same half twice.
            (Some((_, Half::Error(first) | Half::Data(_, first))), Half::Error(second) | Half::Data(_, second)) => {
                refuse(first).await;
                refuse(second).await;
            }
        }
    }

    /// Refuses streams whose other one has not come in time.
    async fn give_up_old(&mut self) {
        let old: Vec<Pair> = self
            .halves
            .iter()
            .filter(|(_, (since, _))| since.elapsed() >= PATIENCE)
            .map(|(pair, _)| pair.clone())
            .collect();
        for pair in old {
            if let Some((_, Half::Error(writer) | Half::Data(_, writer))) = self.halves.remove(&pair) {
                refuse(writer).await;
            }
        }
    }
}

/// Serves a client on channels of a WebSocket until all connections have ended, it leaves, or nothing has moved for `idle`.
pub(super) async fn serve_websocket(socket: Socket, protocol: Protocol, ports: Ports, idle: Duration) -> Outcome {
    let Ports { named, dial, .. } = ports;
    let numbers = || (0u8..).step_by(2).zip(&named);
    let incoming: Vec<u8> = numbers().map(|(channel, _)| channel).collect();
    let (mut channels, readers) = Channels::start(socket, protocol.encoding, protocol.half_close, &incoming);
    let (dial, mut forwards) = (Arc::new(dial), JoinSet::new());
    for ((channel, port), reader) in numbers().zip(readers) {
        let (data, error) = (channels.writer(channel), channels.writer(channel + 1));
        let (dial, port) = (Arc::clone(&dial), *port);
        forwards.spawn(async move {
            for writer in [&data, &error] {
                if writer.write(port.to_le_bytes().to_vec().into()).await.is_err() {
                    return;
                }
            }
            forward(dial, port, error, reader, data).await;
        });
    }
    let quiet = channels.activity().idle(idle);
    let all = async { while forwards.join_next().await.is_some() {} };
    let outcome = tokio::select! {
        () = all => Outcome::Done,
        () = channels.ended() => Outcome::Left,
        () = quiet => Outcome::Idle,
    };
    channels.close().await;
    outcome
}

async fn refuse(writer: Writer) {
    // The client may have left.
    let _ = writer.reset(Reset::Refused).await;
}

async fn say(error: Writer, message: &str) {
    if error.write(message.to_owned().into()).await.is_ok() {
        let _ = error.finish().await;
    }
}

/// One connection.
async fn forward(dial: Arc<Dial>, port: u16, error: Writer, reader: Reader, writer: Writer) {
    match dial(port).await {
        Ok(socket) => {
            carry(socket, reader, writer).await;
            let _ = error.finish().await;
        }
        Err(message) => {
            say(error, &message).await;
            let _ = writer.reset(Reset::InternalError).await;
        }
    }
}

/// Both directions, each until its end; a client that gives up ends both.
async fn carry(socket: TcpStream, mut reader: Reader, writer: Writer) {
    let (mut from, mut to) = socket.into_split();
    let up = async move {
        loop {
            match reader.next().await {
                Some(Ok(bytes)) => {
                    if to.write_all(&bytes).await.is_err() {
                        return true;
                    }
                }
                // Half-closed: the server may still have much to say.
                None => return to.shutdown().await.is_ok(),
                Some(Err(_)) => return false,
            }
        }
    };
    let down = async move {
        let mut bytes = BytesMut::new();
        loop {
            bytes.reserve(PIECE);
            match from.read_buf(&mut bytes).await {
                Ok(1..) => {
                    if writer.write(bytes.split().freeze()).await.is_err() {
                        return;
                    }
                }
                Ok(0) => break,
                Err(_) => {
                    let _ = writer.reset(Reset::Cancel).await;
                    return;
                }
            }
        }
        let _ = writer.finish().await;
    };
    tokio::pin!(up, down);
    tokio::select! {
        () = &mut down => {}
        goes_on = &mut up => {
            if goes_on {
                down.await;
            }
        }
    }
}

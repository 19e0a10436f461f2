//! Port-forward on a SPDY connection.
//!
//! A client makes a pair of streams for each connection: `error`, then `data`, both with the port and a request id. What goes wrong is
//! said on the error stream; both are over when the connection is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Dial;
use super::spdy::{Connection, Reader, Reset, Stream, Writer};

/// Name of the protocol.
pub(super) const PROTOCOL: &str = "portforward.k8s.io";

/// Largest piece of data, in bytes.
const PIECE: usize = 32 << 10;

/// Most pairs of which one stream is missing.
const HALVES: usize = 256;

/// A stream that waits for its other one.
enum Half {
    Error(Writer),
    Data(Reader, Writer),
}

/// Serves a client until it leaves, or nothing has moved for `idle`.
pub(super) async fn serve(mut connection: Connection, dial: Dial, idle: Duration) {
    let dial = Arc::new(dial);
    let mut halves: HashMap<(String, u16), Half> = HashMap::new();
    let mut forwards = JoinSet::new();
    let quiet = connection.activity().idle(idle);
    tokio::pin!(quiet);
    loop {
        let stream = tokio::select! {
            stream = connection.accept() => stream,
            Some(_) = forwards.join_next() => continue,
            () = &mut quiet => None,
        };
        let Some(Stream { headers, reader, writer }) = stream else { break };
        let port = headers.get("port").and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        // Clients of old send no id; they have one pair of each port at a time.
        let id = headers.get("requestid").unwrap_or_default().to_owned();
        let half = match headers.get("streamtype") {
            Some("error") => Half::Error(writer),
            Some("data") => Half::Data(reader, writer),
            Some(_) | None => {
                refuse(writer).await;
                continue;
            }
        };
        let Some(port) = port else {
            match half {
                Half::Error(writer) => say(writer, "port: a number from 1 to 65535 is needed").await,
                Half::Data(_, writer) => refuse(writer).await,
            }
            continue;
        };
        match (halves.remove(&(id.clone(), port)), half) {
            (Some(Half::Error(error)), Half::Data(reader, writer))
            | (Some(Half::Data(reader, writer)), Half::Error(error)) => {
                forwards.spawn(forward(Arc::clone(&dial), port, error, reader, writer));
            }
            (None, half) if halves.len() < HALVES => {
                halves.insert((id, port), half);
            }
            (_, Half::Error(writer) | Half::Data(_, writer)) => refuse(writer).await,
        }
    }
    connection.close().await;
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

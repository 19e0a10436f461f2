//! Exec and attach.
//!
//! ```text
//!  client opens:  error, and of stdin stdout stderr those it asked for, and resize with a terminal
//!                   ▲      │       ▲      ▲                                  │
//!                   │      ▼       │      │                                  ▼
//!                 status  pipe    pipe   pipe                              sizes
//! ```
//!
//! On a WebSocket the streams are channels, and need not be opened.

use runtime::json::Part;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::audit::Outcome;
use super::spdy::{Connection, Reset, Stream};
use super::status::Version;
use super::stream::{PIECE, Reader, Writer};
use super::websocket::{Channels, Protocol, Socket};
use super::{Command, Ends, Exit, Run, Size, Wanted};

/// How long a client may take to open its streams.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest text of a size, in bytes.
const SIZE_LIMIT: usize = 1024;

/// Channels of a WebSocket.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const SIZES: u8 = 4;

/// The streams of a client.
#[derive(Default)]
struct Streams {
    error: Option<Writer>,
    stdin: Option<Reader>,
    stdout: Option<Writer>,
    stderr: Option<Writer>,
    sizes: Option<Reader>,
}

/// Serves a client on SPDY until the process has ended, or nothing has moved for `idle`.
pub(super) async fn serve(mut connection: Connection, version: Version, command: Command, idle: Duration) -> Outcome {
    let Command { wanted, run, .. } = command;
    let outcome = match timeout(PATIENCE, gather(&mut connection, wanted, version)).await {
        Ok(Some(streams)) => {
            let quiet = connection.activity().idle(idle);
            tokio::select! {
                outcome = relay(streams, version, run) => outcome,
                () = refuse(&mut connection) => Outcome::Left,
                () = quiet => Outcome::Idle,
            }
        }
        // Without its streams there is nowhere to say what is missing.
        Ok(None) | Err(_) => Outcome::NoStreams,
    };
    connection.close().await;
    outcome
}

/// The same on a WebSocket, where all channels are there from the beginning.
pub(super) async fn serve_websocket(socket: Socket, protocol: Protocol, command: Command, idle: Duration) -> Outcome {
    let Command { wanted, run, .. } = command;
    let incoming: Vec<u8> = [(wanted.stdin, STDIN), (wanted.tty, SIZES)]
        .into_iter()
        .filter_map(|(wanted, channel)| wanted.then_some(channel))
        .collect();
    let (mut channels, readers) = Channels::start(socket, protocol.encoding, protocol.half_close, &incoming);
    let mut readers = readers.into_iter();
    let streams = Streams {
        stdin: wanted.stdin.then(|| readers.next()).flatten(),
        sizes: wanted.tty.then(|| readers.next()).flatten(),
        stdout: wanted.stdout.then(|| channels.writer(STDOUT)),
        stderr: wanted.stderr.then(|| channels.writer(STDERR)),
        error: Some(channels.writer(ERROR)),
    };
    // An empty message tells the client that it is connected.
    let greeting = [&streams.stdout, &streams.stderr, &streams.error].into_iter().flatten().next();
    if let Some(first) = greeting {
        // A client that has gone already is seen below.
        let _ = first.write(Bytes::new()).await;
    }
    let quiet = channels.activity().idle(idle);
    let outcome = tokio::select! {
        outcome = relay(streams, protocol.version, run) => outcome,
        () = channels.ended() => Outcome::Left,
        () = quiet => Outcome::Idle,
    };
    channels.close().await;
    outcome
}

/// Waits for all streams that belong to what was asked for; `None`: the client left, or opened another one.
async fn gather(connection: &mut Connection, wanted: Wanted, version: Version) -> Option<Streams> {
    let mut streams = Streams::default();
    loop {
        let complete = streams.error.is_some()
            && streams.stdin.is_some() == wanted.stdin
            && streams.stdout.is_some() == wanted.stdout
            && streams.stderr.is_some() == wanted.stderr
            && (streams.sizes.is_some() || !(wanted.tty && version.has_sizes()));
        if complete {
            return Some(streams);
        }
        let Stream { headers, reader, writer, .. } = connection.accept().await?;
        match headers.get("streamtype") {
            Some("error") if streams.error.is_none() => streams.error = Some(writer),
            Some("stdin") if wanted.stdin && streams.stdin.is_none() => streams.stdin = Some(reader),
            Some("stdout") if wanted.stdout && streams.stdout.is_none() => streams.stdout = Some(writer),
            Some("stderr") if wanted.stderr && streams.stderr.is_none() => streams.stderr = Some(writer),
            Some("resize") if wanted.tty && streams.sizes.is_none() => streams.sizes = Some(reader),
            Some(_) | None => {
                // The connection ends: that the stream could not be refused any more does not matter.
                let _ = writer.reset(Reset::Refused).await;
                return None;
            }
        }
    }
}

/// Refuses every further stream; ends with the connection.
async fn refuse(connection: &mut Connection) {
    while let Some(stream) = connection.accept().await {
        if stream.writer.reset(Reset::Refused).await.is_err() {
            return;
        }
    }
}

/// Carries bytes until the process has ended, and says how.
async fn relay(streams: Streams, version: Version, run: Run) -> Outcome {
    let result = match carry(streams.stdin, streams.stdout, streams.stderr, streams.sizes, run).await {
        Ok(result) => result,
        Err(error) => Err(format!("pipe: {error}")),
    };
    if let Some(error) = streams.error {
        let status = version.status(&result);
        // A client that has left is told nothing.
        if status.is_empty() || error.write(status.into()).await.is_ok() {
            let _ = error.finish().await;
        }
    }
    match result {
        Ok(Exit { code }) => Outcome::Exited(code),
        Err(message) => Outcome::Failed(message),
    }
}

async fn carry(
    stdin: Option<Reader>,
    stdout: Option<Writer>,
    stderr: Option<Writer>,
    sizes: Option<Reader>,
    run: Run,
) -> std::io::Result<Result<Exit, String>> {
    let mut inputs = JoinSet::new();
    let mut outputs = JoinSet::new();
    let mut ends = Ends { stdin: None, stdout: None, stderr: None, sizes: mpsc::channel(1).1 };
    if let Some(reader) = stdin {
        let (ours, theirs) = pipe::pipe()?;
        inputs.spawn(input(reader, ours));
        ends.stdin = Some(theirs);
    }
    for (writer, end) in [(stdout, &mut ends.stdout), (stderr, &mut ends.stderr)] {
        if let Some(writer) = writer {
            let (theirs, ours) = pipe::pipe()?;
            outputs.spawn(output(ours, writer));
            *end = Some(theirs);
        }
    }
    if let Some(reader) = sizes {
        let (sender, receiver) = mpsc::channel(16);
        inputs.spawn(resize(reader, sender));
        ends.sizes = receiver;
    }
    let result = run(ends).await;
    // All output goes out before the end is told; input that is left over does not matter any more.
    while outputs.join_next().await.is_some() {}
    Ok(result)
}

/// From the client to the process; the pipe ends with the stream.
async fn input(mut reader: Reader, mut pipe: pipe::Sender) {
    while let Some(Ok(bytes)) = reader.next().await {
        if pipe.write_all(&bytes).await.is_err() {
            // The process reads no more: what the client still sends is dropped, and does not stop its other streams.
            while let Some(Ok(_)) = reader.next().await {}
        }
    }
}

/// From the process to the client. A client that has left does not stop the process: whoever runs it sees the broken pipe.
async fn output(mut pipe: pipe::Receiver, writer: Writer) {
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(PIECE);
        match pipe.read_buf(&mut bytes).await {
            Ok(1..) => {
                if writer.write(bytes.split().freeze()).await.is_err() {
                    return;
                }
            }
            Ok(0) | Err(_) => break,
        }
    }
    let _ = writer.finish().await;
}

/// Sizes as the client sends them: JSON objects one after the other. What is no size ends it.
async fn resize(mut reader: Reader, sizes: mpsc::Sender<Size>) {
    let mut text = BytesMut::new();
    while let Some(Ok(bytes)) = reader.next().await {
        text.extend_from_slice(&bytes);
        while let Some(size) = take_size(&mut text) {
            if sizes.send(size).await.is_err() {
                return;
            }
        }
        if text.len() > SIZE_LIMIT {
            return;
        }
    }
}

/// Takes the first size off the text; `None`: it is not complete.
fn take_size(text: &mut BytesMut) -> Option<Size> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Part<Size>>();
    let Part(size) = values.next()?.ok()?;
    let taken = values.byte_offset();
    text.advance(taken);
    Some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let mut text = BytesMut::from(r#"{"Width":80,"Height":24}{"Width":100,"#);
        assert_eq!(take_size(&mut text), Some(Size { width: 80, height: 24 }));
        assert_eq!(take_size(&mut text), None);
        text.extend_from_slice(b"\"Height\":50}\n");
        assert_eq!(take_size(&mut text), Some(Size { width: 100, height: 50 }));
        assert_eq!(take_size(&mut text), None);
    }
}

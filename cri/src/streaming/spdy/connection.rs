//! A connection that a client opens streams on.
//!
//! ```text
//!  socket ──▶ reader task ──▶ accept queue: new streams
//!                    └──────▶ each stream's queue of pieces (bounded)
//!  socket ◀── writer task ◀── one queue of frames (bounded), from all streams
//! ```
//!
//! There are no windows (see the module above): a stream whose pieces nobody takes stops the reading of the whole connection once its
//! queue is full. That bounds the memory of a connection whatever the client sends: [`PIECE`] × [`PIECES`] for each stream.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Decoder, Encoder, Error, Event, Fin, Headers, Reset, StreamId};

/// Largest piece of data, in bytes.
const PIECE: usize = 32 << 10;

/// Most pieces that wait for their stream's reader.
const PIECES: usize = 8;

/// Most frames that wait to be written.
const FRAMES: usize = 16;

/// Most streams that are open at a time.
const STREAMS: usize = 1024;

/// Most new streams that nobody has accepted yet.
const UNACCEPTED: usize = 64;

/// How long the rest of what the client sends is read after we have said all. A socket that is closed with bytes unread resets the
/// connection, and the client may lose what we said last.
const LINGER: Duration = Duration::from_secs(2);

/// Why a connection or a stream of it can be used no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The client closed the connection.
    #[error("the client closed the connection")]
    ByClient,
    /// The client reset the stream.
    #[error("the client reset the stream ({0:?})")]
    Reset(Reset),
    /// The client broke the protocol.
    #[error(transparent)]
    Protocol(#[from] Error),
    /// A stream with a number that cannot be the next one.
    #[error("spdy: new stream {0}: numbers must be odd and grow")]
    Number(u32),
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(std::io::ErrorKind),
}

/// A stream that the client opened. It has been answered.
#[derive(Debug)]
pub struct Stream {
    /// What it is for.
    pub headers: Headers,
    /// What the client sends.
    pub reader: Reader,
    /// What is sent to it.
    pub writer: Writer,
}

/// The client's half of a stream.
#[derive(Debug)]
pub struct Reader {
    pieces: mpsc::Receiver<Result<Bytes, Closed>>,
    ended: bool,
}

/// Our half of a stream.
#[derive(Debug)]
pub struct Writer {
    stream: StreamId,
    frames: mpsc::Sender<Frame>,
}

/// A connection. Dropped, it is closed at once; see [`Connection::close`].
#[derive(Debug)]
pub struct Connection {
    streams: mpsc::Receiver<Stream>,
    frames: mpsc::Sender<Frame>,
    activity: watch::Receiver<Instant>,
    reader: Option<JoinHandle<Closed>>,
    writer: Option<JoinHandle<()>>,
}

/// When something last moved on a connection.
#[derive(Debug, Clone)]
pub struct Activity(watch::Receiver<Instant>);

#[derive(Debug)]
enum Frame {
    Reply(StreamId),
    Data(StreamId, Bytes, Fin),
    Reset(StreamId, Reset),
    Pong(u32),
    GoAway,
}

impl Connection {
    /// Serves a connection from its first byte on, of which `arrived` has been read already.
    pub fn start<S>(socket: S, arrived: BytesMut) -> Connection
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (input, output) = split(socket);
        let (frames, outgoing) = mpsc::channel(FRAMES);
        let (accepted, streams) = mpsc::channel(UNACCEPTED);
        let (moved, activity) = watch::channel(Instant::now());
        let reading = Reading { frames: frames.clone(), accepted, open: HashMap::new(), last: 0, moved: moved.clone() };
        let reader = tokio::spawn(read(input, arrived, reading));
        let writer = tokio::spawn(write(output, outgoing, moved));
        Connection { streams, frames, activity, reader: Some(reader), writer: Some(writer) }
    }

    /// The next stream that the client opens; `None`: it opens no more.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// What tells whether anything moves.
    pub fn activity(&self) -> Activity {
        Activity(self.activity.clone())
    }

    /// Sends what was written, says goodbye and closes; what the client still sends is dropped.
    pub async fn close(mut self) {
        // A writer that is gone has nothing left to send.
        let _ = self.frames.send(Frame::GoAway).await;
        self.streams.close();
        if let Some(writer) = &mut self.writer {
            // Bounded, as a client that takes nothing must not hold us.
            let _ = timeout(LINGER, writer).await;
        }
        if let Some(reader) = &mut self.reader {
            let _ = timeout(LINGER, reader).await;
        }
    }
}

impl Activity {
    /// Waits until no frame has gone in either direction for that long.
    pub async fn idle(self, limit: Duration) {
        loop {
            let until = *self.0.borrow() + limit;
            tokio::time::sleep_until(until).await;
            if *self.0.borrow() + limit <= Instant::now() {
                return;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(task) = &self.reader {
            task.abort();
        }
        if let Some(task) = &self.writer {
            task.abort();
        }
    }
}

impl Reader {
    /// The next piece of data; `None`: the client sends no more.
    ///
    /// # Errors
    /// The stream was reset, or the connection ended before the stream did.
    pub async fn next(&mut self) -> Option<Result<Bytes, Closed>> {
        if self.ended {
            return None;
        }
        let piece = self.pieces.recv().await;
        self.ended = !matches!(piece, Some(Ok(_)));
        piece
    }
}

impl Writer {
    /// Sends data; waits while the connection is busy.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn write(&self, bytes: Bytes) -> Result<(), Closed> {
        self.send(Frame::Data(self.stream, bytes, Fin::Open)).await
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn finish(self) -> Result<(), Closed> {
        self.send(Frame::Data(self.stream, Bytes::new(), Fin::Last)).await
    }

    /// Gives the stream up.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn reset(self, status: Reset) -> Result<(), Closed> {
        self.send(Frame::Reset(self.stream, status)).await
    }

    async fn send(&self, frame: Frame) -> Result<(), Closed> {
        self.frames.send(frame).await.map_err(|_| Closed::ByClient)
    }
}

/// What the reader task keeps.
struct Reading {
    frames: mpsc::Sender<Frame>,
    accepted: mpsc::Sender<Stream>,
    /// Streams whose client half is open.
    open: HashMap<StreamId, mpsc::Sender<Result<Bytes, Closed>>>,
    /// The greatest number so far.
    last: u32,
    moved: watch::Sender<Instant>,
}

async fn read<I: AsyncRead + Unpin>(mut input: I, mut arrived: BytesMut, mut reading: Reading) -> Closed {
    let mut decoder = Decoder::default();
    let why = 'connection: loop {
        loop {
            match decoder.next(&mut arrived) {
                Ok(Some(event)) => {
                    if let Err(why) = reading.event(event).await {
                        break 'connection why;
                    }
                }
                Ok(None) => break,
                Err(error) => break 'connection error.into(),
            }
        }
        arrived.reserve(PIECE);
        match (&mut input).take(PIECE as u64).read_buf(&mut arrived).await {
            Ok(0) => break Closed::ByClient,
            Ok(_) => {
                reading.moved.send_replace(Instant::now());
            }
            Err(error) => break Closed::Socket(error.kind()),
        }
    };
    for pieces in std::mem::take(&mut reading.open).into_values() {
        // Without waiting: who does not read its pieces learns of the end when it has read them.
        let _ = pieces.try_send(Err(why.clone()));
    }
    drop(reading);
    // The rest is read and dropped, so that closing does not reset the connection; the other end closes it, or Connection does.
    let mut rest = [0; 4096];
    let until = Instant::now() + LINGER;
    while let Ok(Ok(1..)) = timeout_at(until, input.read(&mut rest)).await {}
    why
}

impl Reading {
    async fn event(&mut self, event: Event) -> Result<(), Closed> {
        match event {
            Event::SynStream { stream, headers, fin, .. } => self.open(stream, headers, fin).await,
            Event::Data { stream, bytes, fin } => {
                let Some(pieces) = self.open.get(&stream) else {
                    // Bytes under way to a stream that we have given up are nobody's fault.
                    return if stream.get() <= self.last { Ok(()) } else { self.unknown(stream).await };
                };
                let gone = !bytes.is_empty() && pieces.send(Ok(bytes)).await.is_err();
                if gone || fin == Fin::Last {
                    self.open.remove(&stream);
                }
                Ok(())
            }
            Event::Headers { stream, fin: Fin::Last, .. } => {
                self.open.remove(&stream);
                Ok(())
            }
            Event::RstStream { stream, status } => {
                if let Some(pieces) = self.open.remove(&stream) {
                    let _ = pieces.send(Err(Closed::Reset(status))).await;
                }
                Ok(())
            }
            // We send no pings: each one is the client's.
            Event::Ping(id) => self.frame(Frame::Pong(id)).await,
            Event::SynReply { .. }
            | Event::Headers { .. }
            | Event::GoAway { .. }
            | Event::WindowUpdate { .. }
            | Event::Settings => Ok(()),
        }
    }

    async fn open(&mut self, stream: StreamId, headers: Headers, fin: Fin) -> Result<(), Closed> {
        let number = stream.get();
        if number.is_multiple_of(2) || number <= self.last {
            return Err(Closed::Number(number));
        }
        self.last = number;
        self.open.retain(|_, pieces| !pieces.is_closed());
        if self.open.len() >= STREAMS {
            return self.frame(Frame::Reset(stream, Reset::Refused)).await;
        }
        let (sender, pieces) = mpsc::channel(PIECES);
        if fin == Fin::Open {
            self.open.insert(stream, sender);
        }
        // The client opens its next stream only after the answer to this one.
        self.frame(Frame::Reply(stream)).await?;
        let reader = Reader { pieces, ended: false };
        let writer = Writer { stream, frames: self.frames.clone() };
        if self.accepted.send(Stream { headers, reader, writer }).await.is_err() {
            // Nobody accepts any more.
            self.open.remove(&stream);
            return self.frame(Frame::Reset(stream, Reset::Refused)).await;
        }
        Ok(())
    }

    async fn unknown(&self, stream: StreamId) -> Result<(), Closed> {
        self.frame(Frame::Reset(stream, Reset::InvalidStream)).await
    }

    async fn frame(&self, frame: Frame) -> Result<(), Closed> {
        self.frames.send(frame).await.map_err(|_| Closed::ByClient)
    }
}

async fn write<O: AsyncWrite + Unpin>(mut output: O, mut frames: mpsc::Receiver<Frame>, moved: watch::Sender<Instant>) {
    let mut encoder = Encoder::default();
    let mut bytes = BytesMut::new();
    let mut waiting = Vec::with_capacity(FRAMES);
    let mut last = None;
    while frames.recv_many(&mut waiting, FRAMES).await > 0 {
        let mut goodbye = false;
        for frame in waiting.drain(..) {
            match frame {
                Frame::Reply(stream) => {
                    last = Some(stream);
                    encoder.syn_reply(&mut bytes, stream, &Headers::default(), Fin::Open);
                }
                Frame::Data(stream, data, fin) => encoder.data(&mut bytes, stream, &data, fin),
                Frame::Reset(stream, status) => encoder.rst_stream(&mut bytes, stream, status),
                Frame::Pong(id) => encoder.ping(&mut bytes, id),
                Frame::GoAway => {
                    encoder.go_away(&mut bytes, last);
                    goodbye = true;
                }
            }
        }
        // A client that is gone is seen by the reader; nobody else needs to know that it could not be told.
        if output.write_all_buf(&mut bytes).await.is_err() {
            return;
        }
        moved.send_replace(Instant::now());
        if goodbye {
            break;
        }
    }
    // Likewise.
    let _ = output.shutdown().await;
}

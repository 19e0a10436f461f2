//! A connection that a client opens streams on.
//!
//! ```text
//!  socket ──▶ reader task ──▶ accept queue: new streams
//!                    └──────▶ each stream's queue of pieces (bounded)
//!  socket ◀── writer task ◀── one queue of frames (bounded), from all streams
//! ```
//!
//! There are no windows (see the module above): a stream whose pieces nobody takes stops the reading of the whole connection once its
//! queue is full, or all queues together hold as much as a connection may make us keep.

use std::collections::HashMap;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::stream::{Activity, Closed, FRAMES, Frame, LINGER, PIECE, Pieces, Reader, Room, Writer};
use super::{Decoder, Encoder, Event, Fin, Headers, Reset, StreamId};

/// Most streams that are open at a time.
const STREAMS: usize = 1024;

/// Most new streams that nobody has accepted yet.
const UNACCEPTED: usize = 64;

/// A stream that the client opened. It has been answered.
#[derive(Debug)]
pub struct Stream {
    /// Its number.
    pub number: u32,
    /// What it is for.
    pub headers: Headers,
    /// What the client sends.
    pub reader: Reader,
    /// What is sent to it.
    pub writer: Writer,
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
        let reading = Reading {
            frames: frames.clone(),
            accepted,
            open: HashMap::new(),
            room: Room::new(),
            last: 0,
            moved: moved.clone(),
        };
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
        Activity::new(self.activity.clone())
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

/// What the reader task keeps.
struct Reading {
    frames: mpsc::Sender<Frame>,
    accepted: mpsc::Sender<Stream>,
    /// Streams whose client half is open.
    open: HashMap<StreamId, Pieces>,
    room: Room,
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
        pieces.fail_now(why.clone());
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
                let gone = !pieces.put(bytes).await;
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
                    pieces.fail(Closed::Reset(status)).await;
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
            return self.frame(Frame::Reset(number, Reset::Refused)).await;
        }
        let (sender, reader) = Reader::new(&self.room);
        if fin == Fin::Open {
            self.open.insert(stream, sender);
        }
        // The client opens its next stream only after the answer to this one.
        self.frame(Frame::Reply(number)).await?;
        let writer = Writer::new(number, self.frames.clone());
        if self.accepted.send(Stream { number, headers, reader, writer }).await.is_err() {
            // Nobody accepts any more.
            self.open.remove(&stream);
            return self.frame(Frame::Reset(number, Reset::Refused)).await;
        }
        Ok(())
    }

    async fn unknown(&self, stream: StreamId) -> Result<(), Closed> {
        self.frame(Frame::Reset(stream.get(), Reset::InvalidStream)).await
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
                    last = Some(StreamId(stream));
                    encoder.syn_reply(&mut bytes, StreamId(stream), &Headers::default(), Fin::Open);
                }
                Frame::Data(stream, data, fin) => encoder.data(&mut bytes, StreamId(stream), &data, fin),
                Frame::Reset(stream, status) => encoder.rst_stream(&mut bytes, StreamId(stream), status),
                Frame::Pong(id) => encoder.ping(&mut bytes, id),
                Frame::GoAway => {
                    encoder.go_away(&mut bytes, last);
                    goodbye = true;
                }
            }
        }
        // A client that is gone is seen by the reader; nobody else needs to know that it could not be told.
        if output.write_all_buf(&mut bytes).await.is_err() || output.flush().await.is_err() {
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

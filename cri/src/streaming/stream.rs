//! A stream between a client and us, whatever connection it is on: SPDY's streams and the channels of a WebSocket.
//!
//! ```text
//!  connection's reader task ──▶ a queue of pieces for each stream (bounded) ──▶ Reader
//!  connection's writer task ◀── one queue of frames (bounded), from all streams ◀── Writer
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::spdy::{Error, Fin, Reset};

/// Most bytes of a connection that wait for the readers of its streams.
const WAITING: usize = 4 << 20;

/// Largest piece of data, in bytes.
pub(super) const PIECE: usize = 32 << 10;

/// Most pieces that wait for their stream's reader.
const PIECES: usize = 8;

/// Most frames that wait to be written.
pub(super) const FRAMES: usize = 16;

/// How long the rest of what the client sends is read after we have said all. A socket that is closed with bytes unread resets the
/// connection, and the client may lose what we said last.
pub(super) const LINGER: Duration = Duration::from_secs(2);

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
    /// The client broke WebSocket's protocol, or sent a message that is none of ours.
    #[error("websocket: {0}")]
    Message(String),
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(std::io::ErrorKind),
}

/// The client's half of a stream.
#[derive(Debug)]
pub struct Reader {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

/// Room for what waits on a connection: the memory that a client can make us use, however many streams it opens.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// Where a connection's reader task puts what comes for a stream.
#[derive(Debug)]
pub(super) struct Pieces {
    sender: mpsc::Sender<Piece>,
    room: Room,
}

/// Data, with the room that it takes; or why there is no more.
type Piece = Result<(Bytes, OwnedSemaphorePermit), Closed>;

/// Our half of a stream.
#[derive(Debug)]
pub struct Writer {
    stream: u32,
    frames: mpsc::Sender<Frame>,
}

/// What a connection's writer task writes.
#[derive(Debug)]
pub(super) enum Frame {
    Reply(u32),
    Data(u32, Bytes, Fin),
    Reset(u32, Reset),
    Pong(u32),
    GoAway,
}

/// When something last moved on a connection.
#[derive(Debug, Clone)]
pub struct Activity(watch::Receiver<Instant>);

impl Room {
    /// That of a new connection.
    pub(super) fn new() -> Room {
        Room(Arc::new(Semaphore::new(WAITING)))
    }
}

impl Pieces {
    /// Queues data, in pieces of at most [`PIECE`] bytes, once there is room; `false`: nobody reads the stream any more.
    pub(super) async fn put(&self, mut bytes: Bytes) -> bool {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let size = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            tokio::select! {
                // Never closed.
                Ok(permit) = Arc::clone(&self.room.0).acquire_many_owned(size) => {
                    if self.sender.send(Ok((piece, permit))).await.is_err() {
                        return false;
                    }
                }
                () = self.sender.closed() => return false,
            }
        }
        true
    }

    /// Says that the stream has not ended well. Who does not read its pieces learns of it when it has read them.
    pub(super) async fn fail(self, why: Closed) {
        // Nobody reads it: nobody needs to know.
        let _ = self.sender.send(Err(why)).await;
    }

    /// The same without waiting.
    pub(super) fn fail_now(self, why: Closed) {
        // A full queue ends with its last piece then.
        let _ = self.sender.try_send(Err(why));
    }

    /// Whether nobody reads the stream any more.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Reader {
    /// A reader and its queue, on a connection that has `room`.
    pub(super) fn new(room: &Room) -> (Pieces, Reader) {
        let (sender, pieces) = mpsc::channel(PIECES);
        (Pieces { sender, room: room.clone() }, Reader { pieces, ended: false })
    }

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
        piece.map(|piece| piece.map(|(bytes, _)| bytes))
    }
}

impl Writer {
    /// The writer of stream `stream` on the connection behind `frames`.
    pub(super) fn new(stream: u32, frames: mpsc::Sender<Frame>) -> Writer {
        Writer { stream, frames }
    }

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

impl Activity {
    /// What follows `moved`.
    pub(super) fn new(moved: watch::Receiver<Instant>) -> Activity {
        Activity(moved)
    }

    /// Waits until no frame has gone in either direction for that long.
    pub async fn idle(self, limit: Duration) {
        loop {
            let last = *self.0.borrow();
            // A limit of centuries is none at all.
            let Some(until) = last.checked_add(limit) else { return std::future::pending().await };
            tokio::time::sleep_until(until).await;
            if *self.0.borrow() == last {
                return;
            }
        }
    }
}

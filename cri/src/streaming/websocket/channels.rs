//! Channels of a WebSocket as streams.
//!
//! ```text
//!  socket ──▶ reader task ──▶ each channel's queue of pieces (bounded)
//!  socket ◀── writer task ◀── one queue of frames (bounded), from all channels
//! ```
//!
//! As with SPDY there are no windows: a channel that nobody reads stops the reading of the connection once its queue is full.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::message::{Encoding, HalfClose, Said};
use crate::streaming::stream::{Activity, Closed, FRAMES, Frame, LINGER, Pieces, Reader, Room, Writer};

/// A WebSocket with channels. Dropped, it is closed at once; see [`Channels::close`].
#[derive(Debug)]
pub(in super::super) struct Channels {
    frames: mpsc::Sender<Frame>,
    activity: watch::Receiver<Instant>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Channels {
    /// Serves a WebSocket on which the client may send on the channels `incoming`. Gives their readers, in the same order.
    pub(in super::super) fn start<S>(
        socket: WebSocketStream<S>,
        encoding: Encoding,
        half_close: HalfClose,
        incoming: &[u8],
    ) -> (Channels, Vec<Reader>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (output, input) = socket.split();
        let (frames, outgoing) = mpsc::channel(FRAMES);
        let (moved, activity) = watch::channel(Instant::now());
        let room = Room::new();
        let (mut open, mut readers) = (HashMap::new(), Vec::new());
        for channel in incoming {
            let (pieces, reader) = Reader::new(&room);
            open.insert(*channel, pieces);
            readers.push(reader);
        }
        let reading = Reading { encoding, half_close, open, moved: moved.clone() };
        let reader = tokio::spawn(reading.read(input));
        let writer = tokio::spawn(write(output, outgoing, encoding, moved));
        (Channels { frames, activity, reader, writer }, readers)
    }

    /// What is sent on a channel.
    pub(in super::super) fn writer(&self, channel: u8) -> Writer {
        Writer::new(channel.into(), self.frames.clone())
    }

    /// What tells whether anything moves.
    pub(in super::super) fn activity(&self) -> Activity {
        Activity::new(self.activity.clone())
    }

    /// Waits until the client has closed the connection, or broken it.
    pub(in super::super) async fn ended(&mut self) {
        // The task has no other end.
        let _ = (&mut self.reader).await;
    }

    /// Sends what was written, says goodbye and closes; what the client still sends is dropped.
    pub(in super::super) async fn close(mut self) {
        // Bounded, as a client that takes nothing must not hold us. A writer that is gone has nothing left to send.
        let goodbye = async {
            let _ = self.frames.send(Frame::GoAway).await;
            let _ = (&mut self.writer).await;
        };
        if timeout(LINGER, goodbye).await.is_ok() && !self.reader.is_finished() {
            // The client's own goodbye.
            let _ = timeout(LINGER, &mut self.reader).await;
        }
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

/// What the reader task keeps.
struct Reading {
    encoding: Encoding,
    half_close: HalfClose,
    /// Channels on which the client may still send.
    open: HashMap<u8, Pieces>,
    moved: watch::Sender<Instant>,
}

impl Reading {
    async fn read<S>(mut self, mut input: SplitStream<WebSocketStream<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let why = loop {
            let message = match input.next().await {
                Some(Ok(message)) => message,
                None => break Closed::ByClient,
                Some(Err(error)) => break closed(&error),
            };
            self.moved.send_replace(Instant::now());
            let payload: Bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                // Pings are answered by the library; a close is, too, and the end follows it.
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => continue,
            };
            match self.encoding.decode(payload, self.half_close) {
                // Data for a channel that has ended, or that was never there, is nobody's.
                Ok(Said::Data(channel, bytes)) => {
                    if let Some(pieces) = self.open.get(&channel)
                        && !pieces.put(bytes).await
                    {
                        self.open.remove(&channel);
                    }
                }
                Ok(Said::End(channel)) => {
                    self.open.remove(&channel);
                }
                Err(wrong) => break Closed::Message(wrong.to_string()),
            }
        };
        for pieces in self.open.into_values() {
            pieces.fail_now(why.clone());
        }
    }
}

fn closed(error: &Error) -> Closed {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Closed::ByClient,
        Error::Io(error) => Closed::Socket(error.kind()),
        other => Closed::Message(other.to_string()),
    }
}

async fn write<S>(
    mut output: SplitSink<WebSocketStream<S>, Message>,
    mut frames: mpsc::Receiver<Frame>,
    encoding: Encoding,
    moved: watch::Sender<Instant>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut waiting = Vec::with_capacity(FRAMES);
    while frames.recv_many(&mut waiting, FRAMES).await > 0 {
        let mut goodbye = false;
        for frame in waiting.drain(..) {
            let message = match frame {
                Frame::Data(channel, bytes, super::super::spdy::Fin::Open) => {
                    let channel = u8::try_from(channel).expect("channels are bytes");
                    encoding.encode(channel, &bytes)
                }
                Frame::GoAway => {
                    goodbye = true;
                    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
                }
                // Our channels end with the connection only.
                Frame::Data(..) | Frame::Reset(..) | Frame::Reply(_) | Frame::Pong(_) => continue,
            };
            // A client that is gone is seen by the reader; nobody else needs to know that it could not be told.
            if output.feed(message).await.is_err() {
                return;
            }
            if goodbye {
                break;
            }
        }
        if output.flush().await.is_err() || goodbye {
            return;
        }
        moved.send_replace(Instant::now());
    }
}

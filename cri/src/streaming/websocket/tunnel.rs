//! A SPDY connection inside of a WebSocket: the bytes of its binary messages.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, future};
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// The bytes that are carried by a WebSocket.
pub(in super::super) fn tunnel<S>(socket: WebSocketStream<S>) -> impl AsyncRead + AsyncWrite + Send + 'static
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (output, input) = socket.split();
    let input = input.filter_map(|message| future::ready(bytes(message).transpose()));
    let output =
        output.sink_map_err(io_error).with(|bytes: Bytes| future::ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    tokio::io::join(StreamReader::new(input), SinkWriter::new(CopyToBytes::new(output)))
}

/// The bytes of a message, if it has any: a stream of bytes must not seem to end at an empty one.
fn bytes(message: Result<Message, Error>) -> io::Result<Option<Bytes>> {
    match message {
        Ok(Message::Binary(bytes)) if !bytes.is_empty() => Ok(Some(bytes)),
        Ok(Message::Text(_)) => Err(io::Error::new(io::ErrorKind::InvalidData, "a text message in a tunnel")),
        Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
            Ok(None)
        }
        Err(error) => Err(io_error(error)),
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

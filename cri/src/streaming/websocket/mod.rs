//! Streams over WebSocket.
//!
//! ```text
//!  message  channel 1 byte │ bytes          channels: 0 stdin  1 stdout  2 stderr  3 error  4 sizes
//!  message  255 │ channel                   version 5: the client sends no more on that channel
//!  base64   channel '0'..'4' │ base64       text messages, for clients that cannot send bytes
//!  tunnel   bytes of a SPDY/3.1 connection, cut anywhere
//! ```
//!
//! Source: RFC 6455 for the messages; Kubernetes' documents for the channels: `remotecommand` of apimachinery, KEP-4006.

mod channels;
mod message;
mod protocol;
mod tunnel;

#[cfg(test)]
mod tests;

pub(super) use channels::Channels;
pub(super) use protocol::{PROTOCOL, Protocol, accept};
pub(super) use tunnel::tunnel;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Largest message and largest frame that a client may send, in bytes. Go's clients send 32 KiB, those of other languages what their
/// caller gives them at once.
const MESSAGE_LIMIT: usize = 1 << 20;

/// Size of the buffers of a connection, in bytes.
const BUFFER: usize = 32 << 10;

/// A connection that has been upgraded to WebSocket.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Speaks WebSocket on an upgraded connection.
pub(super) async fn socket(upgraded: Upgraded) -> Socket {
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config())).await
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT))
}

//! SPDY/3.1 framing, as kubelets speak it to a runtime.
//!
//! ```text
//!  control  1 │ version 15 │ type 16 ││ flags 8 │ length 24 ││ payload     type: SYN_STREAM SYN_REPLY RST_STREAM PING ...
//!  data     0 │ stream id 31         ││ flags 8 │ length 24 ││ bytes
//! ```
//!
//! [`Decoder`] turns bytes into [`Event`]s, [`Encoder`] turns what we say into bytes; neither knows sockets. A [`Connection`] is
//! both of them on a socket, with streams to read and write. Header blocks are
//! compressed by one zlib stream in each direction, with a dictionary that the protocol fixes.
//!
//! What matters here and is not in the text of the protocol: the other side (moby/spdystream) neither sends nor heeds window
//! updates, sends data frames of any size, and pings. So data is passed on in the pieces in which it arrives, whatever its
//! frame's length; only control frames are kept until they are whole, and those are bounded.
//!
//! Source: "SPDY Protocol - Draft 3.1", sections 2.2 to 2.7.

mod connection;
mod decode;
mod dictionary;
mod encode;
mod error;
mod headers;
#[cfg(test)]
mod tests;

pub use super::stream::{Activity, Closed, Reader, Writer};
pub use connection::{Connection, Stream};
pub use decode::{Decoder, Event};
pub use encode::Encoder;
pub use error::Error;
pub use headers::Headers;

use bytes::BytesMut;

/// Version number in control frames.
const VERSION: u16 = 3;

/// Length of the part that all frames begin with, in bytes.
const HEAD: usize = 8;

/// Largest payload of a control frame, in bytes; headers of streams take some hundred.
const CONTROL_LIMIT: usize = 64 << 10;

/// Largest header block when decompressed, in bytes.
const HEADERS_LIMIT: usize = 64 << 10;

/// Largest length that a frame can have.
const LENGTH_LIMIT: usize = (1 << 24) - 1;

const FLAG_FIN: u8 = 0x01;
const FLAG_UNIDIRECTIONAL: u8 = 0x02;

/// Number of a stream: 31 bits, not 0; odd when the client opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u32);

impl StreamId {
    /// `None`: 0 or more than 31 bits.
    pub fn new(number: u32) -> Option<StreamId> {
        (1..1 << 31).contains(&number).then_some(StreamId(number))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Whether a frame is its stream's last one in its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fin {
    /// More may follow.
    Open,
    /// The sender half-closes the stream.
    Last,
}

impl Fin {
    fn of(flags: u8) -> Fin {
        if flags & FLAG_FIN != 0 { Fin::Last } else { Fin::Open }
    }

    fn flag(self) -> u8 {
        match self {
            Fin::Open => 0,
            Fin::Last => FLAG_FIN,
        }
    }
}

/// Why a stream was reset. Section 2.6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The peer broke the protocol.
    ProtocolError,
    /// No such stream.
    InvalidStream,
    /// The stream is not wanted.
    Refused,
    /// Its creator needs it no more.
    Cancel,
    /// The sender failed.
    InternalError,
    /// Any other number.
    Other(u32),
}

impl Reset {
    fn of(number: u32) -> Reset {
        match number {
            1 => Reset::ProtocolError,
            2 => Reset::InvalidStream,
            3 => Reset::Refused,
            5 => Reset::Cancel,
            6 => Reset::InternalError,
            other => Reset::Other(other),
        }
    }

    fn number(self) -> u32 {
        match self {
            Reset::ProtocolError => 1,
            Reset::InvalidStream => 2,
            Reset::Refused => 3,
            Reset::Cancel => 5,
            Reset::InternalError => 6,
            Reset::Other(number) => number,
        }
    }
}

/// The 32 bits at the start of a payload that must have them.
fn take_u32(payload: &mut BytesMut) -> Option<u32> {
    use bytes::Buf;
    payload.try_get_u32().ok()
}

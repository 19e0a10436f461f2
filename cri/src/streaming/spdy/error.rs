//! What is wrong with a peer's bytes. After any of these the connection is of no use: the compression state is lost.

/// Why a connection must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A control frame of another version.
    #[error("spdy: version {0}, spoken is 3")]
    Version(u16),
    /// A control frame that is too large to be one of ours.
    #[error("spdy: control frame of {length} bytes, allowed are {allowed}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The limit.
        allowed: usize,
    },
    /// A control frame that ends too early or goes on too long.
    #[error("spdy: {frame}: {length} bytes make no such frame")]
    Length {
        /// Name of the frame.
        frame: &'static str,
        /// Length of its payload.
        length: usize,
    },
    /// A frame for stream 0.
    #[error("spdy: {frame} for stream 0")]
    Stream {
        /// Name of the frame.
        frame: &'static str,
    },
    /// Header blocks that zlib cannot decompress.
    #[error("spdy: header block: {0}")]
    Compression(String),
    /// A header block that decompresses to too much.
    #[error("spdy: header block of more than {0} bytes")]
    HeadersTooLong(usize),
    /// A header block whose names and values are not well-formed.
    #[error("spdy: header block: {0}")]
    Headers(&'static str),
}

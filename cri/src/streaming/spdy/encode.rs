//! What we say, as bytes.

use bytes::{BufMut, BytesMut};

use super::headers::Deflater;
use super::{Fin, HEAD, Headers, LENGTH_LIMIT, Reset, StreamId, VERSION};

/// The writing end of a connection. Frames with headers must be sent in the order in which they were made.
pub struct Encoder {
    deflater: Deflater,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder { deflater: Deflater::new() }
    }
}

impl Encoder {
    /// Opens a stream.
    pub fn syn_stream(&mut self, output: &mut BytesMut, stream: StreamId, headers: &Headers, fin: Fin) {
        let block = self.deflater.block(headers);
        control(output, 1, fin.flag(), 10 + block.len());
        output.put_u32(stream.get());
        output.put_u32(0);
        output.put_u16(0);
        output.put_slice(&block);
    }

    /// Accepts a stream.
    pub fn syn_reply(&mut self, output: &mut BytesMut, stream: StreamId, headers: &Headers, fin: Fin) {
        let block = self.deflater.block(headers);
        control(output, 2, fin.flag(), 4 + block.len());
        output.put_u32(stream.get());
        output.put_slice(&block);
    }

    /// Sends data; more than a frame can hold goes into several.
    pub fn data(&self, output: &mut BytesMut, stream: StreamId, bytes: &[u8], fin: Fin) {
        let mut rest = bytes;
        loop {
            let (piece, more) = rest.split_at(rest.len().min(LENGTH_LIMIT));
            rest = more;
            let flags = if rest.is_empty() { fin.flag() } else { 0 };
            output.reserve(HEAD + piece.len());
            output.put_u32(stream.get());
            output.put_u8(flags);
            put_length(output, piece.len());
            output.put_slice(piece);
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Gives a stream up.
    pub fn rst_stream(&self, output: &mut BytesMut, stream: StreamId, status: Reset) {
        control(output, 3, 0, 8);
        output.put_u32(stream.get());
        output.put_u32(status.number());
    }

    /// Sends a ping, or answers one.
    pub fn ping(&self, output: &mut BytesMut, id: u32) {
        control(output, 6, 0, 4);
        output.put_u32(id);
    }

    /// Says that no more streams are accepted after `last`.
    pub fn go_away(&self, output: &mut BytesMut, last: Option<StreamId>) {
        control(output, 7, 0, 8);
        output.put_u32(last.map_or(0, StreamId::get));
        output.put_u32(0);
    }
}

fn control(output: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    output.reserve(HEAD + length);
    output.put_u16(0x8000 | VERSION);
    output.put_u16(kind);
    output.put_u8(flags);
    put_length(output, length);
}

fn put_length(output: &mut BytesMut, length: usize) {
    debug_assert!(length <= LENGTH_LIMIT);
    output.put_uint(length as u64, 3);
}

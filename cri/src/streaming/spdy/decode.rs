//! Bytes to events.

use bytes::{Buf, Bytes, BytesMut};

use super::headers::Inflater;
use super::{
    CONTROL_LIMIT, Error, FLAG_UNIDIRECTIONAL, Fin, HEAD, Headers, LENGTH_LIMIT, Reset, StreamId, VERSION, take_u32,
};

/// What the peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It opens a stream.
    SynStream {
        /// The new stream.
        stream: StreamId,
        /// What it is for.
        headers: Headers,
        /// Whether it will send nothing on it.
        fin: Fin,
        /// Whether it wants nothing to be sent on it.
        unidirectional: bool,
    },
    /// It accepts a stream of ours.
    SynReply {
        /// The stream.
        stream: StreamId,
        /// Its answer.
        headers: Headers,
        /// Whether it will send nothing on it.
        fin: Fin,
    },
    /// More headers of a stream.
    Headers {
        /// The stream.
        stream: StreamId,
        /// What they are.
        headers: Headers,
        /// Whether it will send no more.
        fin: Fin,
    },
    /// A piece of a stream's data; it may be empty when `fin` is the message.
    Data {
        /// The stream.
        stream: StreamId,
        /// The bytes.
        bytes: Bytes,
        /// Whether they are the last ones.
        fin: Fin,
    },
    /// It gives a stream up.
    RstStream {
        /// The stream.
        stream: StreamId,
        /// Why.
        status: Reset,
    },
    /// It wants the same number back, if it was the one who thought of it.
    Ping(u32),
    /// It will open no more streams.
    GoAway {
        /// The last stream of ours that it accepted; `None`: none of them.
        last: Option<StreamId>,
    },
    /// It takes more data. Nobody who speaks to a runtime depends on this.
    WindowUpdate {
        /// The stream; `None`: the connection.
        stream: Option<StreamId>,
        /// How many bytes more.
        delta: u32,
    },
    /// Parameters, all of them about windows and limits that we do not have.
    Settings,
}

/// What is left of the data frame that is being passed on.
#[derive(Debug, Clone, Copy)]
struct Rest {
    stream: StreamId,
    length: usize,
    fin: Fin,
}

/// The reading end of a connection.
pub struct Decoder {
    inflater: Inflater,
    rest: Option<Rest>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { inflater: Inflater::new(), rest: None }
    }
}

impl Decoder {
    /// Takes the next event off what has arrived; `None`: more must arrive first. `input` never needs to hold more than
    /// a control frame, 64 KiB and 8 bytes.
    ///
    /// # Errors
    /// The peer broke the protocol; the connection must end.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        loop {
            if let Some(rest) = self.rest {
                return Ok(self.data(rest, input));
            }
            let Some(head) = input.first_chunk::<HEAD>() else { return Ok(None) };
            let [first @ .., _, _, _, _] = *head;
            let [_, _, _, _, flags, length @ ..] = *head;
            let (first, length) = (u32::from_be_bytes(first), length_of(length));
            if first >> 31 == 0 {
                let stream = StreamId::new(first).ok_or(Error::Stream { frame: "DATA" })?;
                input.advance(HEAD);
                self.rest = Some(Rest { stream, length, fin: Fin::of(flags) });
                continue;
            }
            let [version @ .., _, _] = first.to_be_bytes();
            let version = u16::from_be_bytes(version) & 0x7fff;
            if version != VERSION {
                return Err(Error::Version(version));
            }
            if length > CONTROL_LIMIT {
                return Err(Error::TooLong { length, allowed: CONTROL_LIMIT });
            }
            if input.len() < HEAD + length {
                return Ok(None);
            }
            input.advance(HEAD);
            let payload = input.split_to(length);
            if let Some(event) = self.control(first & 0xffff, flags, payload)? {
                return Ok(Some(event));
            }
        }
    }

    fn data(&mut self, rest: Rest, input: &mut BytesMut) -> Option<Event> {
        let piece = rest.length.min(input.len());
        if piece == 0 && rest.length > 0 {
            return None;
        }
        let left = rest.length - piece;
        self.rest = (left > 0).then_some(Rest { length: left, ..rest });
        let fin = if left == 0 { rest.fin } else { Fin::Open };
        Some(Event::Data { stream: rest.stream, bytes: input.split_to(piece).freeze(), fin })
    }

    fn control(&mut self, kind: u32, flags: u8, mut payload: BytesMut) -> Result<Option<Event>, Error> {
        let length = payload.len();
        let fin = Fin::of(flags);
        let event = match kind {
            1 => {
                let frame = "SYN_STREAM";
                let stream = stream(frame, &mut payload)?;
                // The stream it belongs to, its priority and its slot: nobody uses them.
                if payload.len() < 6 {
                    return Err(Error::Length { frame, length });
                }
                payload.advance(6);
                let headers = self.inflater.headers(&payload)?;
                Event::SynStream { stream, headers, fin, unidirectional: flags & FLAG_UNIDIRECTIONAL != 0 }
            }
            2 => {
                let stream = stream("SYN_REPLY", &mut payload)?;
                Event::SynReply { stream, headers: self.inflater.headers(&payload)?, fin }
            }
            3 => {
                let frame = "RST_STREAM";
                let stream = stream(frame, &mut payload)?;
                let status = take_u32(&mut payload).ok_or(Error::Length { frame, length })?;
                whole(frame, length, &payload)?;
                Event::RstStream { stream, status: Reset::of(status) }
            }
            4 => Event::Settings,
            6 => {
                let frame = "PING";
                let id = take_u32(&mut payload).ok_or(Error::Length { frame, length })?;
                whole(frame, length, &payload)?;
                Event::Ping(id)
            }
            7 => {
                let frame = "GOAWAY";
                let last = take_u32(&mut payload).ok_or(Error::Length { frame, length })?;
                take_u32(&mut payload).ok_or(Error::Length { frame, length })?;
                whole(frame, length, &payload)?;
                Event::GoAway { last: StreamId::new(last & 0x7fff_ffff) }
            }
            8 => {
                let stream = stream("HEADERS", &mut payload)?;
                Event::Headers { stream, headers: self.inflater.headers(&payload)?, fin }
            }
            9 => {
                let frame = "WINDOW_UPDATE";
                let id = take_u32(&mut payload).ok_or(Error::Length { frame, length })?;
                let delta = take_u32(&mut payload).ok_or(Error::Length { frame, length })?;
                whole(frame, length, &payload)?;
                Event::WindowUpdate { stream: StreamId::new(id & 0x7fff_ffff), delta: delta & 0x7fff_ffff }
            }
            // Section 2.2.1: control frames of unknown types are ignored.
            _ => return Ok(None),
        };
        Ok(Some(event))
    }
}

fn length_of(bytes: [u8; 3]) -> usize {
    let [high, middle, low] = bytes.map(usize::from);
    let length = high << 16 | middle << 8 | low;
    debug_assert!(length <= LENGTH_LIMIT);
    length
}

fn stream(frame: &'static str, payload: &mut BytesMut) -> Result<StreamId, Error> {
    let length = payload.len();
    let id = take_u32(payload).ok_or(Error::Length { frame, length })?;
    StreamId::new(id & 0x7fff_ffff).ok_or(Error::Stream { frame })
}

fn whole(frame: &'static str, length: usize, rest: &BytesMut) -> Result<(), Error> {
    if rest.is_empty() { Ok(()) } else { Err(Error::Length { frame, length }) }
}

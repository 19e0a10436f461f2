//! Messages of channels.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;

/// What a message on this channel means: the next byte names a channel on which the client sends no more.
const CLOSE: u8 = 255;

/// How bytes of channels are put into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Encoding {
    /// The channel's number, then bytes.
    Binary,
    /// The channel's number as a digit, then base64.
    Base64,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Bytes for a channel.
    Data(u8, Bytes),
    /// It sends no more on a channel.
    End(u8),
}

/// Whether the client can close a channel of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum HalfClose {
    /// By a message: version 5.
    Message,
    /// Not at all.
    Never,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    /// It names no channel.
    #[error("a message without a channel")]
    NoChannel,
    /// It is not base64.
    #[error("a message that is not base64")]
    NotBase64,
}

impl Encoding {
    /// What the payload of a message says.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn decode(self, mut payload: Bytes, half_close: HalfClose) -> Result<Said, Wrong> {
        let Some(first) = payload.first().copied() else { return Err(Wrong::NoChannel) };
        let rest = payload.split_off(1);
        match self {
            Encoding::Binary if first == CLOSE && half_close == HalfClose::Message => {
                rest.first().map(|channel| Said::End(*channel)).ok_or(Wrong::NoChannel)
            }
            Encoding::Binary => Ok(Said::Data(first, rest)),
            Encoding::Base64 => {
                let channel = first.checked_sub(b'0').ok_or(Wrong::NoChannel)?;
                let bytes = STANDARD.decode(&rest).map_err(|_| Wrong::NotBase64)?;
                Ok(Said::Data(channel, bytes.into()))
            }
        }
    }

    /// A message with bytes for a channel.
    pub(super) fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        match self {
            Encoding::Binary => {
                let mut message = BytesMut::with_capacity(bytes.len() + 1);
                message.put_u8(channel);
                message.put_slice(bytes);
                Message::Binary(message.freeze())
            }
            Encoding::Base64 => {
                let mut text = String::with_capacity(bytes.len() / 3 * 4 + 5);
                text.push(char::from(b'0'.wrapping_add(channel)));
                STANDARD.encode_string(bytes, &mut text);
                Message::Text(text.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_said() {
        use Encoding::{Base64, Binary};
        use HalfClose::{Message, Never};
        let data = |channel, bytes: &'static [u8]| Ok(Said::Data(channel, bytes.into()));
        for (encoding, half_close, payload, expected) in [
            (Binary, Message, &b"\x00abc"[..], data(0, b"abc")),
            (Binary, Message, b"\x04", data(4, b"")),
            (Binary, Message, b"\xff\x00", Ok(Said::End(0))),
            (Binary, Message, b"\xff", Err(Wrong::NoChannel)),
            (Binary, Never, b"\xff\x00", data(255, b"\x00")),
            (Binary, Never, b"", Err(Wrong::NoChannel)),
            (Base64, Never, b"0YWJj", data(0, b"abc")),
            (Base64, Never, b"0", data(0, b"")),
            (Base64, Never, b"0YWJ", Err(Wrong::NotBase64)),
            (Base64, Never, b"\x01YWJj", Err(Wrong::NoChannel)),
            (Base64, Never, b"", Err(Wrong::NoChannel)),
        ] {
            assert_eq!(encoding.decode(payload.into(), half_close), expected, "{encoding:?} {payload:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(channel in 0u8..64, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for encoding in [Encoding::Binary, Encoding::Base64] {
                let payload = encoding.encode(channel, &bytes).into_data();
                prop_assert_eq!(encoding.decode(payload, HalfClose::Message), Ok(Said::Data(channel, bytes.clone().into())));
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for encoding in [Encoding::Binary, Encoding::Base64] {
                let _ = encoding.decode(bytes.clone().into(), HalfClose::Message);
                let _ = encoding.decode(bytes.clone().into(), HalfClose::Never);
            }
        }
    }
}

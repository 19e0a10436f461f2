//! Messages of D-Bus, as far as calls on systemd have them: little-endian, aligned. Pure.
//!
//! Source: D-Bus Specification, "Type System" and "Message Protocol".

/// Largest message that is taken, in bytes; systemd's answers are short.
pub(super) const LIMIT: usize = 1 << 20;

/// Bytes of a message before its header fields.
pub(super) const FIXED: usize = 16;

/// A value that is being written.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(super) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// `s` and `o`.
    pub(super) fn string(&mut self, value: &str) {
        self.u32(u32::try_from(value.len()).expect("names and paths are short"));
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
    }

    /// `g`
    pub(super) fn signature(&mut self, value: &str) {
        self.0.push(u8::try_from(value.len()).expect("signatures are short"));
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
    }

    /// An array whose elements are aligned to `to`.
    pub(super) fn array(&mut self, to: usize, fill: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length = self.0.len() - 4;
        self.align(to);
        let first = self.0.len();
        fill(self);
        let size = u32::try_from(self.0.len() - first).expect("arrays are short");
        self.0[length..length + 4].copy_from_slice(&size.to_le_bytes());
    }

    /// A struct or dictionary entry.
    pub(super) fn structure(&mut self, fill: impl FnOnce(&mut Self)) {
        self.align(8);
        fill(self);
    }
}

/// A call to be made.
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) signature: &'a str,
    pub(super) body: &'a [u8],
    /// Whether an answer is wanted.
    pub(super) answered: bool,
}

/// A call as bytes.
pub(super) fn call(serial: u32, call: &Call<'_>) -> Vec<u8> {
    const METHOD_CALL: u8 = 1;
    const NO_REPLY_EXPECTED: u8 = 1;
    let mut out = Writer::default();
    out.byte(b'l');
    out.byte(METHOD_CALL);
    out.byte(if call.answered { 0 } else { NO_REPLY_EXPECTED });
    out.byte(1);
    out.u32(u32::try_from(call.body.len()).expect("calls are short"));
    out.u32(serial);
    out.array(8, |out| {
        for (code, kind, value) in [
            (1, "o", call.path),
            (2, "s", call.interface),
            (3, "s", call.member),
            (6, "s", call.destination),
            (8, "g", call.signature),
        ] {
            if value.is_empty() {
                continue;
            }
            out.structure(|out| {
                out.byte(code);
                out.signature(kind);
                if kind == "g" { out.signature(value) } else { out.string(value) }
            });
        }
    });
    out.align(8);
    out.0.extend_from_slice(call.body);
    out.0
}

/// Length of the whole message that begins with these bytes; `None`: it is no message of ours.
pub(super) fn length(fixed: &[u8; FIXED]) -> Option<usize> {
    if fixed[0] != b'l' || fixed[3] != 1 {
        return None;
    }
    let number = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let (body, fields) = (usize::try_from(number(4)).ok()?, usize::try_from(number(12)).ok()?);
    let all = (FIXED + fields.min(LIMIT)).next_multiple_of(8) + body.min(LIMIT);
    Some(all).filter(|all| *all <= LIMIT)
}

/// A message that came in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// What it answers.
    pub(super) reply_to: Option<u32>,
    /// Name of an error.
    pub(super) error: Option<String>,
    /// Name of a signal.
    pub(super) signal: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Reads a whole message; `None`: it is malformed.
pub(super) fn message(bytes: &[u8]) -> Option<Message> {
    const SIGNAL: u8 = 4;
    let mut reader = Reader { bytes, at: 4 };
    let body = usize::try_from(reader.u32()?).ok()?;
    reader.at = 12;
    let fields = usize::try_from(reader.u32()?).ok()?;
    let end = FIXED.checked_add(fields)?;
    let mut message = Message { body: bytes.get(bytes.len().checked_sub(body)?..)?.to_owned(), ..Message::default() };
    while reader.at < end {
        reader.align(8);
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (3, "s") => {
                let member = reader.string()?;
                message.signal = (bytes[1] == SIGNAL).then(|| member.to_owned());
            }
            (4, "s") => message.error = Some(reader.string()?.to_owned()),
            (5, "u") => message.reply_to = Some(reader.u32()?),
            (_, "s" | "o") => {
                reader.string()?;
            }
            (_, "g") => {
                reader.signature()?;
            }
            (_, "u") => {
                reader.u32()?;
            }
            _ => return None,
        }
    }
    Some(message)
}

/// A value that is being read.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn string(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.byte()?;
        Some(text)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.byte()?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_call_is_as_the_specification_says() {
        let hello = Call {
            destination: "a.b",
            path: "/",
            interface: "i",
            member: "m",
            signature: "s",
            body: &[1, 0, 0, 0, b'x', 0],
            answered: true,
        };
        let bytes = call(7, &hello);
        assert_eq!(bytes[..12], [b'l', 1, 0, 1, 6, 0, 0, 0, 7, 0, 0, 0]);
        // The first field: path.
        assert_eq!(bytes[16..26], [1, 1, b'o', 0, 1, 0, 0, 0, b'/', 0]);
        assert_eq!(length(bytes[..16].try_into().unwrap()), Some(bytes.len()));
        let read = message(&bytes).unwrap();
        assert_eq!(Reader { bytes: &read.body, at: 0 }.string(), Some("x"));
        assert_eq!((read.reply_to, read.error, read.signal), (None, None, None));
    }

    #[test]
    fn arrays_count_from_their_first_element() {
        let mut out = Writer::default();
        out.array(8, |out| out.structure(|out| out.u64(1)));
        assert_eq!(out.0, [8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 16..200)) {
            let _ = length(bytes[..16].try_into().unwrap());
            let _ = message(&bytes);
        }
    }
}

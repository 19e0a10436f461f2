//! Records in the format of docker's `json-file` driver (pure).
//!
//! `{"log":"text\\n","stream":"stdout","attrs":{..},"time":"2026-11-22T05:11:51.000000042Z"}`: a part of a line has no `\\n`.

use std::collections::BTreeMap;

use super::line::{Stream, Tag};
use super::time::{TIME_LENGTH, rfc3339};

/// What records of one stream made at one moment end with.
pub(super) struct Tail<'a> {
    stream: Stream,
    attrs: &'a [u8],
    time: [u8; TIME_LENGTH],
    /// Its length without the zeros at its end.
    time_length: usize,
}

impl<'a> Tail<'a> {
    /// For records of `stream` at `now`, nanoseconds since the epoch; `attrs` is the text of [`attrs`].
    pub(super) fn new(stream: Stream, attrs: &'a [u8], now: u64) -> Self {
        let mut time = rfc3339(now);
        // Go's RFC3339Nano: no zeros at the end of the fraction, and no point without one.
        let digits = time[..TIME_LENGTH - 1].iter().rposition(|byte| *byte != b'0').unwrap_or(0);
        let end = if time[digits] == b'.' { digits } else { digits + 1 };
        time[end] = b'Z';
        Self { stream, attrs, time, time_length: end + 1 }
    }

    /// Appends a record to `out`.
    pub(super) fn append(&self, out: &mut Vec<u8>, text: &[u8], tag: Tag) {
        out.extend_from_slice(b"{\"log\":\"");
        escape(out, text);
        out.extend_from_slice(match tag {
            Tag::Full => b"\\n\",\"stream\":\"std",
            Tag::Partial => b"\",\"stream\":\"std",
        });
        out.extend_from_slice(match self.stream {
            Stream::Stdout => b"out\"",
            Stream::Stderr => b"err\"",
        });
        out.extend_from_slice(self.attrs);
        out.extend_from_slice(b",\"time\":\"");
        out.extend_from_slice(&self.time[..self.time_length]);
        out.extend_from_slice(b"\"}\n");
    }
}

/// The member `attrs` with a comma before it; nothing without attributes.
pub(super) fn attrs(attributes: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    if !attributes.is_empty() {
        out.extend_from_slice(b",\"attrs\":");
        object(&mut out, attributes);
    }
    out
}

/// Appends a JSON object of strings.
pub(crate) fn object(out: &mut Vec<u8>, members: &BTreeMap<String, String>) {
    out.push(b'{');
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

/// Appends a JSON string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text.as_bytes());
    out.push(b'"');
}

/// Appends the inside of a JSON string as docker writes it: `<`, `>`, `&` and the separators U+2028 and U+2029 escaped, each
/// byte that is no UTF-8 as U+FFFD.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    if text.is_ascii() {
        return escape_valid(out, text);
    }
    for chunk in text.utf8_chunks() {
        escape_valid(out, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Bytes that cannot stand as they are; of U+2028 and U+2029 the first.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special[b'<' as usize] = true;
    special[b'>' as usize] = true;
    special[b'&' as usize] = true;
    special[0xe2] = true;
    special
};

fn escape_valid(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = text.iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let (plain, rest) = text.split_at(at);
        out.extend_from_slice(plain);
        let mut taken = 1;
        match rest {
            [b'"', ..] => out.extend_from_slice(b"\\\""),
            [b'\\', ..] => out.extend_from_slice(b"\\\\"),
            [b'\n', ..] => out.extend_from_slice(b"\\n"),
            [b'\r', ..] => out.extend_from_slice(b"\\r"),
            [0xe2, 0x80, last @ (0xa8 | 0xa9), ..] => {
                out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                taken = 3;
            }
            [byte, ..] if *byte >= 0x80 => out.push(*byte),
            [byte, ..] => {
                let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            [] => {}
        }
        text = &rest[taken..];
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn as_docker_escapes() {
        for (text, expected) in [
            (&b""[..], ""),
            (b"plain \x7f text", "plain \x7f text"),
            (b"a\"b\\c", r#"a\"b\\c"#),
            (b"\n\r\t\0\x1b[0m", r"\n\r\u0009\u0000\u001b[0m"),
            (b"<a href=x>&", r"\u003ca href=x\u003e\u0026"),
            ("gr\u{fc}n \u{20ac} \u{1f600}".as_bytes(), "gr\u{fc}n \u{20ac} \u{1f600}"),
            ("\u{2028}\u{2029}\u{202a}".as_bytes(), "\\u2028\\u2029\u{202a}"),
            (b"\xff", r"\ufffd"),
            // Each byte of a character that is cut off.
            (b"\xe2\x82x\xe2", r"\ufffd\ufffdx\ufffd"),
            (b"\xed\xa0\x80", r"\ufffd\ufffd\ufffd"),
        ] {
            assert_eq!(escaped(text), expected, "{text:?}");
        }
    }

    #[test]
    fn records_look_as_docker_writes_them() {
        let mut out = Vec::new();
        Tail::new(Stream::Stdout, b"", 1_500_000_000).append(&mut out, b"hello", Tag::Full);
        Tail::new(Stream::Stderr, b"", 10_000_000_000).append(&mut out, b"half", Tag::Partial);
        let attributes = [("env".to_owned(), "a\"b".to_owned()), ("tag".to_owned(), "x".to_owned())].into();
        Tail::new(Stream::Stderr, &attrs(&attributes), 42).append(&mut out, b"", Tag::Full);
        let expected = concat!(
            r#"{"log":"hello\n","stream":"stdout","time":"1970-01-01T00:00:01.5Z"}"#,
            "\n",
            r#"{"log":"half","stream":"stderr","time":"1970-01-01T00:00:10Z"}"#,
            "\n",
            r#"{"log":"\n","stream":"stderr","attrs":{"env":"a\"b","tag":"x"},"time":"1970-01-01T00:00:00.000000042Z"}"#,
            "\n",
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(text in proptest::collection::vec(any::<u8>(), 0..200), now in any::<u64>()) {
            let mut out = Vec::new();
            Tail::new(Stream::Stdout, b"", now).append(&mut out, &text, Tag::Partial);
            let record: Value = serde_json::from_slice(&out).unwrap();
            let mut expected = String::new();
            for chunk in text.utf8_chunks() {
                expected.push_str(chunk.valid());
                expected.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
            }
            prop_assert_eq!(record["log"].as_str(), Some(expected.as_str()));
            prop_assert!(!out[..out.len() - 1].contains(&b'\n'));
        }
    }
}

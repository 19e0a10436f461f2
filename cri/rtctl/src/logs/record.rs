//! One record of a log file.
//!
//! | format | line |
//! |---|---|
//! | CRI | `<time> <stdout\|stderr> <F\|P> <text>`: `F` ends a line, after `P` it goes on in the next record of the stream |
//! | docker | `{"log":"text\\n","stream":"stdout","attrs":{},"time":".."}`: the newline ends a line |

use runtime::json;
use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::flag::time;

/// A record; borrows the line where it can.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// As written: RFC 3339.
    pub(crate) time: Cow<'a, str>,
    pub(crate) stream: Stream,
    /// Whether it ends a line of the program.
    pub(crate) full: bool,
    pub(crate) text: Cow<'a, [u8]>,
    /// What docker's format says beside.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Where the text went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Format of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Cri,
    Docker,
}

impl Format {
    /// Reads a line without its newline; `None` when it is no record.
    pub(crate) fn parse(self, line: &[u8]) -> Option<Record<'_>> {
        match self {
            Format::Cri => cri(line),
            Format::Docker => docker(line),
        }
    }
}

fn docker(line: &[u8]) -> Option<Record<'_>> {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(borrow, default)]
        log: Cow<'a, str>,
        stream: Cow<'a, str>,
        #[serde(default)]
        attrs: BTreeMap<String, String>,
        #[serde(borrow)]
        time: Cow<'a, str>,
    }
    let Document { log, stream, attrs, time } = json::from_slice(line).ok()?;
    let stream = match &*stream {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    let mut text = log.into_owned().into_bytes();
    let full = text.last() == Some(&b'\n');
    text.truncate(text.len() - usize::from(full));
    Some(Record { time, stream, full, text: Cow::Owned(text), attributes: attrs })
}

fn cri(line: &[u8]) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = Cow::Borrowed(std::str::from_utf8(parts.next()?).ok()?);
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // Tags are separated by colons; the first one says whether more follows.
    let full = match parts.next()?.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let text = Cow::Borrowed(parts.next().unwrap_or_default());
    Some(Record { time, stream, full, text, attributes: BTreeMap::new() })
}

impl Record<'_> {
    /// Nanoseconds since the epoch.
    pub(crate) fn nanos(&self) -> Option<u64> {
        time::date(&self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        let good = |line: &'static str| cri(line.as_bytes()).unwrap();
        let record = good("2016-10-06T00:17:09.669794202Z stdout F hello  world");
        assert_eq!((record.stream, record.full, &*record.text), (Stream::Stdout, true, &b"hello  world"[..]));
        assert_eq!(record.nanos(), Some(1_475_713_029_669_794_202));
        let record = good("2016-10-06T00:17:09Z stderr P:x ");
        assert_eq!((record.stream, record.full, &*record.text), (Stream::Stderr, false, &b""[..]));
        assert_eq!(&*good("t stdout F").text, b"");
        for line in ["", "t", "t stdin F x", "t stdout X x", "t stdout", "\u{1}"] {
            assert_eq!(cri(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn of_docker() {
        let line = br#"{"log":"a\u003cb\n","stream":"stderr","attrs":{"tag":"x"},"time":"1970-01-01T00:00:01.5Z"}"#;
        let record = docker(line).unwrap();
        assert_eq!((record.stream, record.full, &*record.text), (Stream::Stderr, true, &b"a<b"[..]));
        assert_eq!((record.nanos(), record.attributes["tag"].as_str()), (Some(1_500_000_000), "x"));
        assert!(!docker(br#"{"log":"half","stream":"stdout","time":"t"}"#).unwrap().full);
        for line in ["", "{}", r#"{"log":"x","stream":"stdin","time":"t"}"#, r#"{"log":"x","stream":"stdout","ti"#] {
            assert_eq!(docker(line.as_bytes()), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in prop::collection::vec(any::<u8>(), 0..100)) {
            for format in [Format::Cri, Format::Docker] {
                if let Some(record) = format.parse(&line) {
                    let _ = record.nanos();
                }
            }
        }
    }
}

//! One record of a log.

use crate::flag::time;

/// A record; borrows the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// As written: RFC 3339.
    pub(crate) time: &'a str,
    pub(crate) stream: Stream,
    /// Whether it ends a line of the program.
    pub(crate) full: bool,
    pub(crate) text: &'a [u8],
}

/// Where the text went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Reads a line without its newline; `None` when it is no record.
pub(crate) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
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
    Some(Record { time, stream, full, text: parts.next().unwrap_or_default() })
}

impl Record<'_> {
    /// Nanoseconds since the epoch.
    pub(crate) fn nanos(&self) -> Option<u64> {
        time::date(self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        let good = |line: &'static str| parse(line.as_bytes()).unwrap();
        let record = good("2016-10-06T00:17:09.669794202Z stdout F hello  world");
        assert_eq!((record.stream, record.full, record.text), (Stream::Stdout, true, &b"hello  world"[..]));
        assert_eq!(record.nanos(), Some(1_475_713_029_669_794_202));
        let record = good("2016-10-06T00:17:09Z stderr P:x ");
        assert_eq!((record.stream, record.full, record.text), (Stream::Stderr, false, &b""[..]));
        assert_eq!(good("t stdout F").text, b"");
        for line in ["", "t", "t stdin F x", "t stdout X x", "t stdout", "\u{1}"] {
            assert_eq!(parse(line.as_bytes()), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(record) = parse(&line) {
                let _ = record.nanos();
            }
        }
    }
}

//! Output cut into lines and lines into records (pure).
//!
//! In CRI log format a record is `<time> <stream> <tag> <text>\n`. A line longer than the limit becomes several records
//! tagged `P`, the last of them `F`. Output that ends without a newline ends in a `P`.

use memchr::memchr;

use super::time::rfc3339;

/// Most bytes of text in a record, where nothing else is said.
pub const TEXT_LIMIT: usize = 16 << 10;

/// Bytes that a record in CRI format has beside its text.
pub(super) const RECORD_OVERHEAD: usize = super::time::TIME_LENGTH + " stdout F \n".len();

/// A standard output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1, or the terminal.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// What a record's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// The end of a line, or a whole line.
    Full,
    /// A part of a line; more follows.
    Partial,
}

/// Cuts one stream into records.
#[derive(Debug)]
pub(super) struct Lines {
    /// The beginning of a line whose end has not come; at most `limit` bytes.
    held: Vec<u8>,
    /// Most bytes of text in a record.
    limit: usize,
}

impl Lines {
    /// Nothing has come; no record will have more text than `limit`.
    pub(super) fn new(limit: usize) -> Self {
        Self { held: Vec::new(), limit }
    }

    /// Takes the next bytes of the stream and hands out records.
    pub(super) fn push(&mut self, mut data: &[u8], mut record: impl FnMut(&[u8], Tag)) {
        while !data.is_empty() {
            let room = self.limit - self.held.len();
            // One byte more, as a newline after exactly `limit` bytes still ends this record.
            let window = &data[..data.len().min(room + 1)];
            let (text, tag) = match memchr(b'\n', window) {
                Some(end) => (&data[..end], Tag::Full),
                None if window.len() > room => (&data[..room], Tag::Partial),
                None => {
                    self.held.extend_from_slice(data);
                    return;
                }
            };
            if self.held.is_empty() {
                record(text, tag);
            } else {
                self.held.extend_from_slice(text);
                record(&self.held, tag);
                self.held.clear();
            }
            data = &data[text.len() + usize::from(tag == Tag::Full)..];
        }
    }

    /// The stream has ended: hands out what is held.
    pub(super) fn finish(&mut self, mut record: impl FnMut(&[u8], Tag)) {
        if !self.held.is_empty() {
            record(&self.held, Tag::Partial);
        }
        self.held = Vec::new();
    }
}

/// What records made at one moment begin with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head([u8; RECORD_OVERHEAD - 1]);

impl Head {
    /// For records of `stream` at `now`, nanoseconds since the epoch.
    #[must_use]
    pub(super) fn new(stream: Stream, now: u64) -> Self {
        let mut text = *b"0000-00-00T00:00:00.000000000Z stdout F ";
        let time = rfc3339(now);
        text[..time.len()].copy_from_slice(&time);
        if stream == Stream::Stderr {
            text[time.len() + 1..time.len() + 7].copy_from_slice(b"stderr");
        }
        Self(text)
    }

    /// Appends a record to `out`.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, text: &[u8], tag: Tag) {
        let place = self.0.len() - 2;
        self.0[place] = match tag {
            Tag::Full => b'F',
            Tag::Partial => b'P',
        };
        out.extend_from_slice(&self.0);
        out.extend_from_slice(text);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(chunks: &[&[u8]]) -> Vec<(Vec<u8>, Tag)> {
        records_of(TEXT_LIMIT, chunks)
    }

    fn records_of(limit: usize, chunks: &[&[u8]]) -> Vec<(Vec<u8>, Tag)> {
        let mut lines = Lines::new(limit);
        let mut records = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |text, tag| records.push((text.to_vec(), tag)));
        }
        lines.finish(|text, tag| records.push((text.to_vec(), tag)));
        records
    }

    fn full(text: &[u8]) -> (Vec<u8>, Tag) {
        (text.to_vec(), Tag::Full)
    }

    fn partial(text: &[u8]) -> (Vec<u8>, Tag) {
        (text.to_vec(), Tag::Partial)
    }

    #[test]
    fn lines_become_records() {
        let limit = vec![b'x'; TEXT_LIMIT];
        for (chunks, expected) in [
            (vec![&b""[..]], vec![]),
            (vec![b"a\n"], vec![full(b"a")]),
            (vec![b"\n\n"], vec![full(b""), full(b"")]),
            (vec![b"a\nb"], vec![full(b"a"), partial(b"b")]),
            (vec![b"a", b"b\nc", b"\n"], vec![full(b"ab"), full(b"c")]),
            (vec![b"\xff\0\r\n"], vec![full(b"\xff\0\r")]),
            (vec![&limit, b"\n"], vec![full(&limit)]),
            (vec![&limit, b"y\n"], vec![partial(&limit), full(b"y")]),
            (vec![&limit, &limit, b"z"], vec![partial(&limit), partial(&limit), partial(b"z")]),
            (vec![&limit[1..], b"yz\n"], vec![partial(&[&limit[1..], b"y"].concat()), full(b"z")]),
        ] {
            assert!(records(&chunks) == expected, "{} chunks", chunks.len());
        }
    }

    #[test]
    fn another_limit() {
        assert_eq!(
            records_of(4, &[b"abcd\nabcde", b"fghi\n"]),
            [full(b"abcd"), partial(b"abcd"), partial(b"efgh"), full(b"i")]
        );
    }

    #[test]
    fn records_look_as_the_kubelet_wants_them() {
        let mut out = Vec::new();
        Head::new(Stream::Stdout, 1).append(&mut out, b"hello", Tag::Full);
        Head::new(Stream::Stderr, 0).append(&mut out, b"", Tag::Partial);
        let expected = "1970-01-01T00:00:00.000000001Z stdout F hello\n1970-01-01T00:00:00.000000000Z stderr P \n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_and_no_record_too_long(
            parts in proptest::collection::vec((0..3_usize, 0..40_000_usize), 0..12),
            cuts in proptest::collection::vec(1..20_000_usize, 1..8),
        ) {
            let mut stream = Vec::new();
            for (kind, length) in parts {
                match kind {
                    0 => stream.push(b'\n'),
                    1 => stream.extend(std::iter::repeat_n(b'a', length)),
                    _ => stream.extend(std::iter::repeat_n(b'b', length % 7)),
                }
            }
            let mut chunks = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            let mut back = Vec::new();
            for (text, tag) in records(&chunks) {
                prop_assert!(text.len() <= TEXT_LIMIT);
                prop_assert!(!text.contains(&b'\n'));
                back.extend_from_slice(&text);
                if tag == Tag::Full {
                    back.push(b'\n');
                }
            }
            prop_assert!(back == stream);
        }
    }
}

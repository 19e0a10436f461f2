//! A container's log: files in CRI's or docker's format, or the journal.
//!
//! ```text
//!  output ─▶ lines ─▶ records ─┬▶ cri, json ─▶ file (rotation)
//!                              └▶ journal: datagrams, kept a while when it is behind
//! ```
//!
//! The records of one read from the container share its time and are written together. A log that cannot be written (full
//! disk) loses records, whole ones, and counts their bytes; it never stops the container.

mod file;
mod journal;
pub(crate) mod json;
mod line;
mod time;

use runtime::sys::CallError;

use crate::layout::LogTarget;
use file::Writer;
pub use file::rotated;
use journal::Journal;
use line::{Head, Lines, Tag};
pub use line::{Stream, TEXT_LIMIT};
pub use time::{TIME_LENGTH, rfc3339};

/// Size in which records are gathered before they are written.
const GATHER: usize = 64 << 10;

/// An open log.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    lines: [Lines; 2],
}

/// Where records go.
#[derive(Debug)]
enum Sink {
    Cri(Writer),
    /// With the text of the member `attrs`.
    Json(Writer, Vec<u8>),
    Journal(Journal),
}

impl Log {
    /// Opens a log; makes the file (0640), but no directory.
    ///
    /// # Errors
    /// open(2)'s; `ENOTSUP` for anything but a regular file; connect(2)'s when there is no journal.
    pub fn open(target: &LogTarget) -> Result<Self, CallError> {
        let sink = match target {
            LogTarget::K8sFile(file) => Sink::Cri(Writer::open(file.clone())?),
            LogTarget::JsonFile { file, attributes } => {
                Sink::Json(Writer::open(file.clone())?, json::attrs(attributes))
            }
            LogTarget::Journald { socket, fields } => Sink::Journal(Journal::open(socket, fields)?),
        };
        let limit = target.file().and_then(|file| file.max_line);
        let limit = limit.map_or(TEXT_LIMIT, |limit| limit.get() as usize);
        Ok(Self { sink, lines: [Lines::new(limit), Lines::new(limit)] })
    }

    /// Opens the file again, after somebody has moved it away. On an error the old one stays in use.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn reopen(&mut self) -> Result<(), CallError> {
        match &mut self.sink {
            Sink::Cri(writer) | Sink::Json(writer, _) => writer.reopen(),
            Sink::Journal(_) => Ok(()),
        }
    }

    /// Writes output that came at `now` (nanoseconds since the epoch). A line whose end has not come is held back. `gather` is
    /// a buffer to work in, left empty.
    pub fn append(&mut self, stream: Stream, data: &[u8], now: u64, gather: &mut Vec<u8>) {
        let Self { sink, lines } = self;
        sink.records(stream, now, gather, |record| lines[stream as usize].push(data, record));
    }

    /// Both streams have ended: writes what was held back.
    pub fn finish(&mut self, now: u64, gather: &mut Vec<u8>) {
        let Self { sink, lines } = self;
        for stream in [Stream::Stdout, Stream::Stderr] {
            sink.records(stream, now, gather, |record| lines[stream as usize].finish(record));
        }
    }

    /// Bytes of output that could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match &self.sink {
            Sink::Cri(writer) | Sink::Json(writer, _) => writer.dropped,
            Sink::Journal(journal) => journal.dropped(),
        }
    }

    /// The first error of writing.
    #[must_use]
    pub fn problem(&self) -> Option<&CallError> {
        match &self.sink {
            Sink::Cri(writer) | Sink::Json(writer, _) => writer.problem.as_ref(),
            Sink::Journal(journal) => journal.problem(),
        }
    }

    /// The journal's socket.
    pub(crate) fn socket(&self) -> Option<&std::os::fd::OwnedFd> {
        match &self.sink {
            Sink::Cri(_) | Sink::Json(..) => None,
            Sink::Journal(journal) => Some(journal.socket()),
        }
    }

    /// Whether records wait for room in the journal.
    pub(crate) fn is_behind(&self) -> bool {
        match &self.sink {
            Sink::Cri(_) | Sink::Json(..) => false,
            Sink::Journal(journal) => journal.is_behind(),
        }
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) {
        if let Sink::Journal(journal) = &mut self.sink {
            journal.flush();
        }
    }

    /// Gives up what waits.
    pub(crate) fn abandon(&mut self) {
        if let Sink::Journal(journal) = &mut self.sink {
            journal.abandon();
        }
    }
}

impl Sink {
    /// Writes the records that `feed` hands out.
    fn records(
        &mut self,
        stream: Stream,
        now: u64,
        gather: &mut Vec<u8>,
        feed: impl FnOnce(&mut dyn FnMut(&[u8], Tag)),
    ) {
        match self {
            Self::Cri(writer) => {
                let mut head = Head::new(stream, now);
                feed(&mut |text, tag| {
                    let start = gather.len();
                    head.append(gather, text, tag);
                    writer.gathered(gather, start);
                });
                writer.write(gather);
            }
            Self::Json(writer, attrs) => {
                let tail = json::Tail::new(stream, attrs, now);
                feed(&mut |text, tag| {
                    let start = gather.len();
                    tail.append(gather, text, tag);
                    writer.gathered(gather, start);
                });
                writer.write(gather);
            }
            Self::Journal(journal) => feed(&mut |text, tag| journal.send(stream, now, text, tag)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use nix::errno::Errno;

    use super::*;
    use crate::layout::LogFile;

    fn cri(path: &Path) -> LogTarget {
        LogTarget::K8sFile(LogFile {
            path: path.to_owned(),
            max_size: None,
            max_files: 1,
            max_line: None,
            within: None,
        })
    }

    #[test]
    fn output_is_appended_and_the_end_is_partial() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut gather = Vec::new();
        for _ in 0..2 {
            let mut log = Log::open(&cri(&path)).unwrap();
            log.append(Stream::Stdout, b"one\ntw", 0, &mut gather);
            log.append(Stream::Stderr, b"err\n", 1, &mut gather);
            log.append(Stream::Stdout, b"o\nthree", 2, &mut gather);
            log.finish(3, &mut gather);
        }
        let run = "1970-01-01T00:00:00.000000000Z stdout F one\n1970-01-01T00:00:00.000000001Z stderr F err\n\
                   1970-01-01T00:00:00.000000002Z stdout F two\n1970-01-01T00:00:00.000000003Z stdout P three\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{run}{run}"));
    }

    #[test]
    fn a_character_that_comes_in_two_reads_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = LogFile { path: path.clone(), max_size: None, max_files: 1, max_line: None, within: None };
        let mut log = Log::open(&LogTarget::JsonFile { file, attributes: Default::default() }).unwrap();
        let mut gather = Vec::new();
        log.append(Stream::Stdout, b"gr\xc3", 0, &mut gather);
        log.append(Stream::Stdout, b"\xbcn\n", 0, &mut gather);
        let expected = "{\"log\":\"gr\u{fc}n\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn a_moved_file_stops_growing_after_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut gather = Vec::new();
        let mut log = Log::open(&cri(&path)).unwrap();
        log.append(Stream::Stdout, b"a\nb", 0, &mut gather);
        fs::rename(&path, &old).unwrap();
        log.reopen().unwrap();
        log.append(Stream::Stdout, b"c\n", 0, &mut gather);
        assert_eq!(fs::read_to_string(&old).unwrap(), "1970-01-01T00:00:00.000000000Z stdout F a\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "1970-01-01T00:00:00.000000000Z stdout F bc\n");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = log.reopen().unwrap_err();
        assert_eq!(error.errno, Errno::EISDIR);
        assert!(error.to_string().starts_with("open(\""), "{error}");
    }
}

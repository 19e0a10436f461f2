//! A container's log file in CRI format.
//!
//! The records of one read from the container share its time and are written together. A log that cannot be written (full
//! disk) loses records, whole ones, and counts their bytes; it never stops the container.

mod line;
mod time;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Whence, ftruncate, lseek, write};
use runtime::sys::{Call, CallError};

use line::{Head, Lines, RECORD_OVERHEAD};
pub use line::{Stream, TEXT_LIMIT};
pub use time::{TIME_LENGTH, rfc3339};

/// Size in which records are gathered before they are written.
const GATHER: usize = 64 << 10;

/// An open log file.
#[derive(Debug)]
pub struct Log {
    file: OwnedFd,
    path: PathBuf,
    lines: [Lines; 2],
    dropped: u64,
    problem: Option<CallError>,
}

impl Log {
    /// Opens the log at `path` for appending; makes the file (0640), but no directory.
    ///
    /// # Errors
    /// open(2)'s; `ENOTSUP` for anything but a regular file.
    pub fn open(path: &Path) -> Result<Self, CallError> {
        let file = open_file(path)?;
        Ok(Self { file, path: path.to_owned(), lines: Default::default(), dropped: 0, problem: None })
    }

    /// Opens the file again, after somebody has moved it away. On an error the old one stays in use.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn reopen(&mut self) -> Result<(), CallError> {
        self.file = open_file(&self.path)?;
        Ok(())
    }

    /// Writes output that came at `now` (nanoseconds since the epoch). A line whose end has not come is held back. `gather` is
    /// a buffer to work in, left empty.
    pub fn append(&mut self, stream: Stream, data: &[u8], now: u64, gather: &mut Vec<u8>) {
        let mut head = Head::new(stream, now);
        let mut lines = std::mem::take(&mut self.lines[stream as usize]);
        lines.push(data, |held, text, tag| {
            if gather.len() + held.len() + text.len() + RECORD_OVERHEAD > GATHER {
                self.write(gather);
            }
            head.append(gather, held, text, tag);
        });
        self.lines[stream as usize] = lines;
        self.write(gather);
    }

    /// Both streams have ended: writes what was held back.
    pub fn finish(&mut self, now: u64, gather: &mut Vec<u8>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.lines[stream as usize].finish(|held, tag| Head::new(stream, now).append(gather, held, b"", tag));
        }
        self.write(gather);
    }

    /// Bytes of records that could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The first error of writing.
    #[must_use]
    pub fn problem(&self) -> Option<&CallError> {
        self.problem.as_ref()
    }

    fn write(&mut self, gather: &mut Vec<u8>) {
        let mut done = 0;
        while done < gather.len() {
            match write(&self.file, &gather[done..]) {
                Ok(size) => done += size,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.give_up(&gather[..], done, errno);
                    break;
                }
            }
        }
        gather.clear();
    }

    /// Counts what was not written and takes back the torn record at the end of the file.
    fn give_up(&mut self, records: &[u8], done: usize, errno: Errno) {
        let whole = memchr::memrchr(b'\n', &records[..done]).map_or(0, |end| end + 1);
        if whole < done
            && let Ok(end) = lseek(&self.file, 0, Whence::SeekCur)
        {
            // When this fails, too, a reader sees one record without its end.
            let _ = ftruncate(&self.file, end - i64::try_from(done - whole).unwrap_or(0));
        }
        self.dropped += (records.len() - whole) as u64;
        if self.problem.is_none() {
            self.problem = Some(CallError { call: format!("write({:?})", self.path), errno });
        }
    }
}

fn open_file(path: &Path) -> Result<OwnedFd, CallError> {
    // Without O_NONBLOCK a FIFO in its place would stop the shim.
    let flags = OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_CLOEXEC
        | OFlag::O_NOCTTY
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK;
    let name = || format!("open({path:?}, O_WRONLY|O_APPEND|O_CREAT|O_NOFOLLOW)");
    let file = open(path, flags, Mode::from_bits_truncate(0o640)).call(name)?;
    let kind = fstat(&file).call(|| format!("fstat({path:?})"))?.st_mode & SFlag::S_IFMT.bits();
    if kind != SFlag::S_IFREG.bits() {
        return Err(CallError { call: format!("{}, not a regular file", name()), errno: Errno::ENOTSUP });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn output_is_appended_and_the_end_is_partial() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut gather = Vec::new();
        for _ in 0..2 {
            let mut log = Log::open(&path).unwrap();
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
    fn a_moved_file_stops_growing_after_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut gather = Vec::new();
        let mut log = Log::open(&path).unwrap();
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

    #[test]
    fn a_full_disk_drops_whole_records_and_says_so() {
        let mut log = Log {
            file: nix::fcntl::open("/dev/full", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap(),
            path: "/log".into(),
            lines: Default::default(),
            dropped: 0,
            problem: None,
        };
        let mut gather = Vec::new();
        log.append(Stream::Stdout, b"0123456789\n", 0, &mut gather);
        let record = (RECORD_OVERHEAD + 10) as u64;
        assert_eq!(log.dropped(), record);
        assert_eq!(log.problem().unwrap().to_string(), "write(\"/log\"): ENOSPC: No space left on device");
        log.append(Stream::Stdout, b"0123456789\n0123456789\n", 0, &mut gather);
        assert_eq!(log.dropped(), 3 * record);
        assert!(gather.is_empty());
    }

    #[test]
    fn a_torn_record_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(&path).unwrap();
        let records = b"first\nsecond\n";
        write(&log.file, &records[..9]).unwrap();
        log.give_up(records, 9, Errno::ENOSPC);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
        assert_eq!(log.dropped(), 7);
    }

    #[test]
    fn only_a_regular_file_is_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        // Nobody reads it: O_NONBLOCK makes open(2) say so instead of waiting.
        assert_eq!(Log::open(&path).unwrap_err().errno, Errno::ENXIO);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert_eq!(Log::open(&link).unwrap_err().errno, Errno::ELOOP);
        assert_eq!(Log::open(Path::new("/dev/null")).unwrap_err().errno, Errno::ENOTSUP);
    }
}

//! A log file and those that it replaces.
//!
//! ```text
//!  log.2 removed,  log.1 ─▶ log.2,  log ─▶ log.1,  log made anew
//! ```
//!
//! Whoever ends between two of these steps leaves a gap in the numbers, and no file is in two places: readers take what is
//! there in the order of the numbers. A file never ends within a record.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, renameat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, Whence, ftruncate, lseek, unlinkat, write};
use runtime::rooted;
use runtime::sys::{Call, CallError};

use super::GATHER;
use crate::layout::LogFile;

/// An open log file.
#[derive(Debug)]
pub(super) struct Writer {
    file: OwnedFd,
    target: LogFile,
    /// Its size, as far as we wrote it.
    size: u64,
    pub(super) dropped: u64,
    pub(super) problem: Option<CallError>,
}

impl Writer {
    /// # Errors
    /// open(2)'s; `ENOTSUP` for anything but a regular file.
    pub(super) fn open(target: LogFile) -> Result<Self, CallError> {
        let (file, size) = open_file(&target)?;
        Ok(Self { file, target, size, dropped: 0, problem: None })
    }

    /// Opens the file again. On an error the old one stays in use.
    pub(super) fn reopen(&mut self) -> Result<(), CallError> {
        (self.file, self.size) = open_file(&self.target)?;
        Ok(())
    }

    /// `gather` has got a record, from `start` on: writes what there is once it is enough, and begins a new file when this one
    /// has no room.
    pub(super) fn gathered(&mut self, gather: &mut Vec<u8>, start: usize) {
        let over = |end: usize| self.target.max_size.is_some_and(|max| self.size + end as u64 > max);
        if over(gather.len()) && self.size + start as u64 > 0 {
            let record = gather.split_off(start);
            self.write(gather);
            self.rotate();
            gather.extend_from_slice(&record);
        } else if gather.len() >= GATHER {
            self.write(gather);
        }
    }

    /// Writes records and empties `gather`.
    pub(super) fn write(&mut self, gather: &mut Vec<u8>) {
        let mut done = 0;
        while done < gather.len() {
            match write(&self.file, &gather[done..]) {
                Ok(size) => done += size,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    done = self.give_up(&gather[..], done, errno);
                    break;
                }
            }
        }
        self.size += done as u64;
        gather.clear();
        gather.shrink_to(2 * GATHER);
    }

    /// Counts what was not written and takes back the torn record at the end of the file. What is written for good.
    fn give_up(&mut self, records: &[u8], done: usize, errno: Errno) -> usize {
        let whole = memchr::memrchr(b'\n', &records[..done]).map_or(0, |end| end + 1);
        if whole < done
            && let Ok(end) = lseek(&self.file, 0, Whence::SeekCur)
        {
            // When this fails, too, a reader sees one record without its end.
            let _ = ftruncate(&self.file, end - i64::try_from(done - whole).unwrap_or(0));
        }
        self.dropped += (records.len() - whole) as u64;
        let call = format!("write({:?})", self.target.path);
        self.problem.get_or_insert(CallError { call, errno });
        whole
    }

    /// Moves the file and its predecessors on by one and begins a new one. When that fails, the old one goes on for as long again.
    fn rotate(&mut self) {
        self.size = 0;
        let path = &self.target.path;
        let moved = match self.target.max_files {
            0 | 1 => unlinkat(AT_FDCWD, path, UnlinkatFlags::NoRemoveDir).call(|| format!("unlink({path:?})")),
            count => (1..count).rev().try_for_each(|number| {
                let (old, new) = (rotated(path, number - 1), rotated(path, number));
                match renameat(AT_FDCWD, &old, AT_FDCWD, &new) {
                    Ok(()) | Err(Errno::ENOENT) => Ok(()),
                    Err(errno) => Err(CallError { call: format!("rename({old:?}, {new:?})"), errno }),
                }
            }),
        };
        if let Err(error) = moved.and_then(|()| self.reopen()) {
            self.problem.get_or_insert(error);
        }
    }
}

/// Path of the file that was replaced `number` rotations ago; 0 is the log itself.
#[must_use]
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    if number == 0 { path.to_owned() } else { path.with_added_extension(number.to_string()) }
}

fn open_file(target: &LogFile) -> Result<(OwnedFd, u64), CallError> {
    let path = &target.path;
    // Without O_NONBLOCK a FIFO in its place would stop the shim.
    let flags = OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_CLOEXEC
        | OFlag::O_NOCTTY
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK;
    let name = || format!("open({path:?}, O_WRONLY|O_APPEND|O_CREAT|O_NOFOLLOW)");
    let mode = Mode::from_bits_truncate(0o640);
    let file = match target.within.as_ref().and_then(|dir| Some((dir, path.strip_prefix(dir).ok()?))) {
        None => open(path, flags, mode).call(name)?,
        Some((dir, rest)) => {
            let flags_of_dir = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let dir = open(dir, flags_of_dir, Mode::empty()).call(|| format!("open({dir:?}, O_PATH|O_DIRECTORY)"))?;
            rooted::open(dir, rest.as_os_str().as_bytes(), flags, mode)?
        }
    };
    let stat = fstat(&file).call(|| format!("fstat({path:?})"))?;
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(CallError { call: format!("{}, not a regular file", name()), errno: Errno::ENOTSUP });
    }
    Ok((file, u64::try_from(stat.st_size).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn writer(path: &Path, max_size: Option<u64>, max_files: u32) -> Writer {
        Writer::open(LogFile { path: path.to_owned(), max_size, max_files, max_line: None, within: None }).unwrap()
    }

    /// Ten records of ten bytes.
    fn fill(writer: &mut Writer) {
        let mut gather = Vec::new();
        for number in 0..10 {
            let start = gather.len();
            gather.extend_from_slice(format!("record  {number}\n").as_bytes());
            writer.gathered(&mut gather, start);
        }
        writer.write(&mut gather);
    }

    #[test]
    fn files_end_between_records() {
        for (max_size, max_files, expected) in [
            (None, 3, &["0123456789", "", ""][..]),
            (Some(100), 3, &["0123456789", "", ""]),
            (Some(99), 3, &["9", "012345678", ""]),
            (Some(35), 3, &["9", "678", "345", ""]),
            (Some(35), 9, &["9", "678", "345", "012", ""]),
            (Some(35), 1, &["9", ""]),
            // Smaller than a record: one each.
            (Some(1), 2, &["9", "8", ""]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            fill(&mut writer(&path, max_size, max_files));
            for (number, digits) in (0..).zip(expected) {
                let text = fs::read_to_string(rotated(&path, number)).unwrap_or_default();
                let found: String = text.lines().map(|line| line.strip_prefix("record  ").unwrap()).collect();
                assert_eq!(found, *digits, "{max_size:?} {max_files} {number}");
            }
        }
    }

    #[test]
    fn a_file_that_was_there_counts_and_gaps_close() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "x".repeat(90) + "\n").unwrap();
        fs::write(rotated(&path, 2), "older\n").unwrap();
        let mut writer = writer(&path, Some(100), 5);
        fill(&mut writer);
        assert_eq!(fs::read_to_string(&path).unwrap().len(), 100);
        assert!(fs::read_to_string(rotated(&path, 1)).unwrap().starts_with("xxx"));
        assert_eq!(fs::read_to_string(rotated(&path, 3)).unwrap(), "older\n");
        assert!(!rotated(&path, 2).try_exists().unwrap());
    }

    #[test]
    fn a_rotation_that_fails_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        // A directory that is not empty cannot be replaced.
        fs::create_dir_all(rotated(&path, 1).join("x")).unwrap();
        let mut writer = writer(&path, Some(35), 2);
        fill(&mut writer);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 10);
        assert!(writer.problem.unwrap().to_string().starts_with("rename("));
    }

    #[test]
    fn a_full_disk_drops_whole_records_and_says_so() {
        let target = LogFile { path: "/log".into(), max_size: None, max_files: 1, max_line: None, within: None };
        let file = open("/dev/full", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let mut writer = Writer { file, target, size: 0, dropped: 0, problem: None };
        fill(&mut writer);
        assert_eq!(writer.dropped, 100);
        assert_eq!(writer.problem.as_ref().unwrap().to_string(), "write(\"/log\"): ENOSPC: No space left on device");
        fill(&mut writer);
        assert_eq!(writer.dropped, 200);
    }

    #[test]
    fn a_torn_record_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = writer(&path, None, 1);
        let records = b"first\nsecond\n";
        write(&writer.file, &records[..9]).unwrap();
        assert_eq!(writer.give_up(records, 9, Errno::ENOSPC), 6);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
        assert_eq!(writer.dropped, 7);
    }

    #[test]
    fn only_a_regular_file_is_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        // Nobody reads it: O_NONBLOCK makes open(2) say so instead of waiting.
        assert_eq!(open_file(&path).unwrap_err().errno, Errno::ENXIO);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert_eq!(open_file(&link).unwrap_err().errno, Errno::ELOOP);
        assert_eq!(open_file(Path::new("/dev/null")).unwrap_err().errno, Errno::ENOTSUP);
    }
}

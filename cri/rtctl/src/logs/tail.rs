//! Where the last lines of a log begin.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::record::Format;

/// Bytes read at once, from the end towards the beginning.
const BLOCK: u64 = 64 << 10;

/// Lines of the program counted from the end of a log, where a line may be several records.
#[derive(Debug)]
pub(crate) struct Count {
    format: Format,
    wanted: u64,
    found: u64,
    /// The last record ends a line in any case: the program may not have finished it.
    last: bool,
}

impl Count {
    pub(crate) fn new(format: Format, wanted: u64) -> Count {
        Count { format, wanted, found: 0, last: true }
    }

    /// Goes through one more file, the newest first: where in it the wanted lines begin, `None` when that is in an older one.
    pub(crate) fn offset(&mut self, file: &File) -> io::Result<Option<u64>> {
        let end = file.metadata()?.len();
        if self.wanted == 0 {
            return Ok(Some(end));
        }
        // What is known of the log from `start` on, newest bytes last; only up to the first newline of it is kept.
        let mut start = end;
        let mut rest: Vec<u8> = Vec::new();
        while start > 0 {
            let size = start.min(BLOCK);
            let mut block = vec![0; usize::try_from(size).unwrap_or(0)];
            file.read_exact_at(&mut block, start - size)?;
            start -= size;
            block.append(&mut rest);
            // Whole records in the block, the last first; the first may have begun before it.
            let mut record_end = block.len();
            while let Some(newline) = block[..record_end.saturating_sub(1)].iter().rposition(|byte| *byte == b'\n') {
                if self.is_before(&block[newline + 1..record_end]) {
                    return Ok(Some(start + record_end as u64));
                }
                record_end = newline + 1;
            }
            block.truncate(record_end);
            rest = block;
        }
        // The very first record.
        Ok((!rest.is_empty() && self.is_before(&rest)).then_some(rest.len() as u64))
    }

    /// Counts a record; whether it is older than what is wanted.
    fn is_before(&mut self, record: &[u8]) -> bool {
        let line = record.strip_suffix(b"\n").unwrap_or(record);
        // What is no record counts as a line.
        let ends = self.format.parse(line).is_none_or(|record| record.full);
        self.found += u64::from(ends || self.last);
        self.last = false;
        self.found > self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> File {
        let fd = nix::sys::memfd::memfd_create("log", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        let mut file = File::from(fd);
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn shown(text: &str, lines: u64) -> String {
        let offset = Count::new(Format::Cri, lines).offset(&file(text)).unwrap().unwrap_or(0);
        text[usize::try_from(offset).unwrap()..].to_owned()
    }

    #[test]
    fn over_files() {
        let files = ["t stdout F 1\nt stdout P 2\n", "t stdout F 2\n", "", "t stdout F 3\nt stdout P 4\n"];
        // Two lines: the end of the file before shows that no more is needed of it.
        for (lines, expected) in [(1, [None, None, None, Some(13)]), (2, [None, Some(13), None, None])] {
            let mut count = Count::new(Format::Cri, lines);
            let mut offsets = [None; 4];
            for (place, text) in files.iter().enumerate().rev() {
                offsets[place] = count.offset(&file(text)).unwrap();
                if offsets[place].is_some() {
                    break;
                }
            }
            assert_eq!(offsets, expected, "{lines}");
        }
        let mut count = Count::new(Format::Cri, 3);
        let offsets: Vec<_> = files.iter().rev().map(|text| count.offset(&file(text)).unwrap()).collect();
        assert_eq!(offsets, [None, None, None, Some(13)]);
    }

    #[test]
    fn lines() {
        let log = "t stdout F 1\nt stdout P 2\nt stdout F 2\nt stderr F 3\n";
        assert_eq!(shown(log, 0), "");
        assert_eq!(shown(log, 1), "t stderr F 3\n");
        assert_eq!(shown(log, 2), "t stdout P 2\nt stdout F 2\nt stderr F 3\n");
        assert_eq!(shown(log, 3), log);
        assert_eq!(shown(log, 99), log);
        assert_eq!(shown("t stdout F 1\nt stdout F 2\nt stdout P 3\n", 2), "t stdout F 2\nt stdout P 3\n");
        assert_eq!(shown("", 5), "");
        assert_eq!(shown("t stdout F 1\n", 1), "t stdout F 1\n");
    }

    #[test]
    fn over_blocks() {
        let long = "x".repeat(usize::try_from(BLOCK).unwrap() + 7);
        let log: String = (0..5).map(|n| format!("t stdout F {n}{long}\n")).collect();
        let last: String = (3..5).map(|n| format!("t stdout F {n}{long}\n")).collect();
        assert!(shown(&log, 2) == last);
        let many: String = (0..20_000).map(|n| format!("t stdout F {n:06}\n")).collect();
        assert_eq!(shown(&many, 7000).len(), 7000 * "t stdout F 000000\n".len());
    }
}

//! Where the last lines of a log begin.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::record;

/// Bytes read at once, from the end towards the beginning.
const BLOCK: u64 = 64 << 10;

/// Offset of the last `lines` lines of the program, where a line may be several records of the log.
pub(crate) fn offset(file: &File, lines: u64) -> io::Result<u64> {
    let end = file.metadata()?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut found = 0;
    // What is known of the log from `start` on, newest bytes last; only up to the first newline of it is kept.
    let mut start = end;
    let mut rest: Vec<u8> = Vec::new();
    // The last record ends a line in any case: the program may not have finished it.
    let mut last = true;
    while start > 0 {
        let size = start.min(BLOCK);
        let mut block = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_exact_at(&mut block, start - size)?;
        start -= size;
        block.append(&mut rest);
        // Whole records in the block, the last first; the first may have begun before it.
        let mut record_end = block.len();
        while let Some(newline) = block[..record_end.saturating_sub(1)].iter().rposition(|byte| *byte == b'\n') {
            let line = trim(&block[newline + 1..record_end]);
            if is_end(line) || last {
                found += 1;
                if found > lines {
                    return Ok(start + record_end as u64);
                }
            }
            last = false;
            record_end = newline + 1;
        }
        block.truncate(record_end);
        rest = block;
    }
    // The very first record.
    if is_end(trim(&rest)) && found + 1 > lines {
        return Ok(rest.len() as u64);
    }
    Ok(0)
}

fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Whether a record ends a line of the program; what is no record counts as a line.
fn is_end(line: &[u8]) -> bool {
    record::parse(line).is_none_or(|record| record.full)
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
        text[usize::try_from(offset(&file(text), lines).unwrap()).unwrap()..].to_owned()
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

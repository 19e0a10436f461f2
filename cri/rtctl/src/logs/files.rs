//! The files of a log, oldest first, while the shim rotates them.
//!
//! A rotation moves each file to the next higher number. They are opened from the newest on, the way they move: a file that
//! moves meanwhile is met twice, which is seen by its inode, and none is missed.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Result};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use shim::layout::LogFile;

/// One file of a log.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) file: File,
    /// Device and inode: nobody else's as long as the file is open.
    identity: (u64, u64),
}

/// Opens all files that there are.
pub(crate) fn open(log: &LogFile) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    for number in 0..log.max_files.max(1) {
        let Some(part) = one(&shim::log::rotated(&log.path, number))? else { continue };
        if parts.iter().all(|other| other.identity != part.identity) {
            parts.push(part);
        }
    }
    parts.reverse();
    Ok(parts)
}

/// The files that have come after `last`.
pub(crate) fn newer(log: &LogFile, last: Option<&Part>) -> Result<Vec<Part>> {
    let Some(last) = last else { return open(log) };
    // Most of the time there is none.
    if one(&log.path)?.is_some_and(|newest| newest.identity == last.identity) {
        return Ok(Vec::new());
    }
    let mut parts = open(log)?;
    // When it has been removed already, all are newer.
    if let Some(place) = parts.iter().position(|part| part.identity == last.identity) {
        parts.drain(..=place);
    }
    Ok(parts)
}

/// Hands out the lines, without their ends, from where the file was last read; `held` keeps what has no end yet.
pub(crate) fn read_lines(
    part: &Part,
    held: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<ControlFlow<()>> {
    let mut reader = BufReader::with_capacity(64 << 10, &part.file);
    loop {
        reader.read_until(b'\n', held)?;
        if held.last() != Some(&b'\n') {
            return Ok(ControlFlow::Continue(()));
        }
        held.pop();
        let flow = each(held)?;
        held.clear();
        if flow.is_break() {
            return Ok(flow);
        }
    }
}

fn one(path: &Path) -> Result<Option<Part>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let meta = file.metadata()?;
    Ok(Some(Part { file, identity: (meta.dev(), meta.ino()) }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;

    fn texts(parts: &[Part]) -> Vec<String> {
        let read = |part: &Part| {
            let mut text = String::new();
            (&part.file).read_to_string(&mut text).unwrap();
            text
        };
        parts.iter().map(read).collect()
    }

    #[test]
    fn in_order_with_gaps_and_after_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = LogFile { path: path.clone(), max_size: None, max_files: 5, max_line: None, within: None };
        assert!(open(&log).unwrap().is_empty());
        let number = |number: u32| shim::log::rotated(&path, number);
        fs::write(number(3), "1").unwrap();
        fs::write(number(1), "2").unwrap();
        fs::write(number(7), "not ours").unwrap();
        // A shim that was killed has not made the newest again.
        assert_eq!(texts(&open(&log).unwrap()), ["1", "2"]);
        fs::write(&path, "3").unwrap();
        let mut parts = open(&log).unwrap();
        assert_eq!(texts(&parts), ["1", "2", "3"]);
        let last = parts.pop().unwrap();
        assert!(newer(&log, Some(&last)).unwrap().is_empty());
        fs::rename(number(1), number(2)).unwrap();
        fs::rename(&path, number(1)).unwrap();
        assert!(newer(&log, Some(&last)).unwrap().is_empty());
        fs::write(&path, "4").unwrap();
        assert_eq!(texts(&newer(&log, Some(&last)).unwrap()), ["4"]);
        fs::remove_file(number(1)).unwrap();
        assert_eq!(texts(&newer(&log, Some(&last)).unwrap()), ["1", "2", "4"]);
    }
}

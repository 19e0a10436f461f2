//! What becomes of the contents of files: they are written, or only noted, to compare an unpacked layer with.
//!
//! A noted file is as long as the number of its record: it needs no space for contents, and its other names find the
//! same record.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use runtime::rooted::Shown;
use runtime::sys::{Call, CallError};
use sha2::{Digest as _, Sha256};

const BLOCK: usize = 4096;

/// What is done with the contents of files.
#[derive(Clone, Copy)]
pub(crate) enum Contents<'a> {
    /// They are written.
    Written,
    /// They are noted.
    Recorded(&'a Records),
}

/// A hash of contents that does not depend on where the holes are: all blocks that are not zero, with their numbers.
pub(crate) struct ContentHash {
    hasher: Sha256,
    block: Box<[u8; BLOCK]>,
    number: u64,
    /// Bytes of the block in use; nothing behind them was set.
    used: usize,
}

impl ContentHash {
    /// The hash of nothing, or of zeros.
    pub(crate) fn new() -> ContentHash {
        ContentHash { hasher: Sha256::new(), block: Box::new([0; BLOCK]), number: 0, used: 0 }
    }

    /// Takes in bytes; `offset` never goes back.
    pub(crate) fn add(&mut self, offset: u64, bytes: &[u8]) {
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let number = offset / BLOCK as u64;
            if number != self.number {
                self.flush();
                self.number = number;
            }
            let start = usize::try_from(offset % BLOCK as u64).expect("less than a block");
            let length = rest.len().min(BLOCK - start);
            self.block[start..start + length].copy_from_slice(&rest[..length]);
            self.used = start + length;
            offset += length as u64;
            rest = &rest[length..];
        }
    }

    fn flush(&mut self) {
        if self.block[..self.used].iter().any(|byte| *byte != 0) {
            self.hasher.update(self.number.to_le_bytes());
            self.hasher.update(&self.block[..]);
        }
        self.block[..self.used].fill(0);
        self.used = 0;
    }

    /// The hash of all that was taken in.
    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.flush();
        self.hasher.finalize().into()
    }
}

/// What is noted about one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its size.
    pub(crate) size: u64,
    /// The [`ContentHash`] of its contents.
    pub(crate) hash: [u8; 32],
    /// The inode number of its counterpart, once it is known.
    pub(crate) inode: u64,
    /// How many of its names were compared.
    pub(crate) names: u64,
}

const RECORD: usize = 56;

/// A file of records, numbered from 1.
pub(crate) struct Records {
    file: File,
    count: Cell<u64>,
}

impl Records {
    /// Keeps them in a new file.
    pub(crate) fn new(file: File) -> Records {
        Records { file, count: Cell::new(0) }
    }

    /// Notes a file; gives its number.
    pub(crate) fn add(&self, size: u64, hash: &[u8; 32]) -> Result<u64, CallError> {
        let number = self.count.get() + 1;
        self.count.set(number);
        self.put(number, &Record { size, hash: *hash, inode: 0, names: 0 })?;
        Ok(number)
    }

    /// Replaces a record.
    pub(crate) fn put(&self, number: u64, record: &Record) -> Result<(), CallError> {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&record.size.to_le_bytes());
        bytes[8..16].copy_from_slice(&record.inode.to_le_bytes());
        bytes[16..24].copy_from_slice(&record.names.to_le_bytes());
        bytes[24..].copy_from_slice(&record.hash);
        let call = || format!("pwrite64({})", Shown(&self.file));
        self.file.write_all_at(&bytes, (number - 1) * RECORD as u64).call(call)
    }

    /// Reads a record.
    pub(crate) fn get(&self, number: u64) -> Result<Record, CallError> {
        let call = || format!("pread64({})", Shown(&self.file));
        let place = number.checked_sub(1).ok_or_else(|| CallError { call: call(), errno: Errno::ERANGE })?;
        let mut bytes = [0; RECORD];
        self.file.read_exact_at(&mut bytes, place * RECORD as u64).call(call)?;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let hash = bytes[24..].try_into().expect("32 bytes");
        Ok(Record { size: number(0), hash, inode: number(8), names: number(16) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(pieces: &[(u64, &[u8])]) -> [u8; 32] {
        let mut hash = ContentHash::new();
        for (offset, bytes) in pieces {
            hash.add(*offset, bytes);
        }
        hash.finish()
    }

    #[test]
    fn holes_are_zeros_and_places_matter() {
        let zeros = vec![0; 3 * BLOCK];
        assert_eq!(hash(&[]), hash(&[(0, &zeros)]));
        assert_eq!(hash(&[(5000, b"x")]), hash(&[(0, &zeros[..5000]), (5000, b"x"), (5001, &zeros)]));
        assert_ne!(hash(&[(5000, b"x")]), hash(&[(5001, b"x")]));
        assert_ne!(hash(&[(0, b"x")]), hash(&[(4096, b"x")]));
    }

    #[test]
    fn records_are_found_again() {
        let records = Records::new(tempfile::tempfile().unwrap());
        assert_eq!(records.add(5, &[1; 32]).unwrap(), 1);
        assert_eq!(records.add(6, &[2; 32]).unwrap(), 2);
        let changed = Record { inode: 9, names: 3, ..records.get(1).unwrap() };
        records.put(1, &changed).unwrap();
        assert_eq!(records.get(1).unwrap(), Record { size: 5, hash: [1; 32], inode: 9, names: 3 });
        assert_eq!(records.get(2).unwrap(), Record { size: 6, hash: [2; 32], inode: 0, names: 0 });
        assert_eq!(records.get(0).unwrap_err().errno, Errno::ERANGE);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(0u8..2, 0..10_000), cut in 0usize..10_000) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(hash(&[(0, &bytes)]), hash(&[(0, &bytes[..cut]), (cut as u64, &bytes[cut..])]));
        }
    }
}

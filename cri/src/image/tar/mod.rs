//! Reads tar streams entry by entry, within bounds, without looking at the file system.
//!
//! ```text
//!  512-byte header ─┬─ 'L' 'K' long name ──┐
//!                   ├─ 'x' 'g' PAX ────────┤ collected, each bounded
//!                   └─ entry ◀─────────────┘ + sparse map ──▶ Entry, then its data
//! ```
//!
//! Known: V7, ustar, GNU and PAX. The `tar` crate gives the raw header; numbers, names, extended headers and sparse maps
//! are ours, because each needs a bound (Go's CVE-2025-58183 was a sparse map without one).
//! Source: POSIX.1-2017 pax; GNU tar manual, "Basic Tar Format" and "Sparse Formats".

mod number;
mod pax;
mod sparse;

use std::io::{self, Read, Seek, SeekFrom};

use ::tar::{EntryType, Header};

pub(crate) use self::number::Time;
pub(crate) use self::sparse::Piece;

use self::number::{signed, unsigned};
use self::pax::{Scope, Values};

const BLOCK: usize = 512;
/// Longest name, link target or extended header that is kept in memory.
const NAME_MAX: u64 = 64 << 10;
const PAX_MAX: u64 = 1 << 20;

/// What is wrong with a tar stream.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum TarError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    #[error("the header's checksum is wrong")]
    Checksum,
    #[error("the header's {0} is no number or does not fit")]
    Number(&'static str),
    #[error("a record of an extended header is malformed")]
    PaxRecord,
    #[error("{0} in an extended header is no number or does not fit")]
    PaxNumber(&'static str),
    #[error("{0} stands in a global extended header, where it would be meant for every entry")]
    GlobalKey(&'static str),
    #[error("an extended header or long name has more than {0} bytes")]
    LongHeader(u64),
    #[error("has more than {0} extended attributes, or more than a megabyte of them")]
    Xattrs(usize),
    #[error("an extended header or long name belongs to no entry")]
    Dangling,
    #[error("the sparse map is malformed or too long")]
    SparseMap,
    #[error("entries of type {} are not supported", char::from(*.0).escape_default())]
    Type(u8),
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A regular file; its data follows, in one piece or, with holes, in several.
    File {
        /// The size of the file.
        size: u64,
        /// Where the data belongs, in ascending order; `None`: it is the whole file.
        pieces: Option<Vec<Piece>>,
    },
    /// A further name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharacterDevice(u64, u64),
    /// A block device.
    BlockDevice(u64, u64),
    /// A folder.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One entry; nothing in it has been checked against the file system.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The name as the archive has it.
    pub(crate) path: Vec<u8>,
    /// The target of a link.
    pub(crate) link: Option<Vec<u8>>,
    /// What it is.
    pub(crate) kind: Kind,
    /// Permissions with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    /// The owner.
    pub(crate) uid: u64,
    /// The group.
    pub(crate) gid: u64,
    /// The time of the last change.
    pub(crate) mtime: Time,
    /// Extended attributes: name and value.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads a tar stream.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: R,
    position: u64,
    /// Bytes of data of the present entry that were not read yet, and the padding behind them.
    left: u64,
    padding: u64,
    global: Values,
}

impl<R: Read> Reader<R> {
    /// Starts at the present position of `input`.
    pub(crate) fn new(input: R) -> Reader<R> {
        Reader { input, position: 0, left: 0, padding: 0, global: Values::default() }
    }

    /// How many bytes of the stream were taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next entry; what is left of the data of the one before is skipped.
    ///
    /// # Errors
    /// [`TarError`]; the reader is of no use afterwards.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_data()?;
        let mut own = Values::default();
        let (mut long_path, mut long_link) = (None, None);
        let mut pending = false;
        loop {
            let Some(block) = self.header()? else {
                return if pending { Err(TarError::Dangling) } else { Ok(None) };
            };
            let header = Header::from_byte_slice(&block);
            let kind = header.entry_type();
            match kind {
                EntryType::GNULongName => long_path = Some(self.long_name(header)?),
                EntryType::GNULongLink => long_link = Some(self.long_name(header)?),
                EntryType::XHeader => {
                    let bytes = self.meta(header, PAX_MAX)?;
                    pax::parse(&bytes, Scope::Entry, &mut own)?;
                }
                EntryType::XGlobalHeader => {
                    let bytes = self.meta(header, PAX_MAX)?;
                    pax::parse(&bytes, Scope::Global, &mut self.global)?;
                    continue;
                }
                _ => return self.entry(header, own, long_path, long_link).map(Some),
            }
            pending = true;
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        own: Values,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, TarError> {
        let old = header.as_old();
        let stored = match own.size {
            Some(size) => size,
            None => unsigned(&old.size, "size")?,
        };
        let header_path = || header.path_bytes().into_owned();
        let path = own.sparse.name.clone().or(own.path).or(long_path).unwrap_or_else(header_path);
        let link = own.link.or(long_link).or_else(|| header.link_name_bytes().map(Into::into));
        let mut xattrs = own.xattrs;
        for (name, value) in &self.global.xattrs {
            if !xattrs.iter().any(|(other, _)| other == name) {
                xattrs.push((name.clone(), value.clone()));
            }
        }
        let id = |own: Option<u64>, global: Option<u64>, field: &[u8], name| match own.or(global) {
            Some(value) => Ok(value),
            None => unsigned(field, name),
        };
        let mtime = match own.mtime.or(self.global.mtime) {
            Some(time) => time,
            None => Time { seconds: signed(&old.mtime, "mtime")?, nanoseconds: 0 },
        };
        let mode = unsigned(&old.mode, "mode")? & 0o7777;
        let mode = u32::try_from(mode).map_err(|_| TarError::Number("mode"))?;
        let (uid, gid) =
            (id(own.uid, self.global.uid, &old.uid, "uid")?, id(own.gid, self.global.gid, &old.gid, "gid")?);
        let device = || {
            let ustar = &header.as_bytes()[329..345];
            Ok::<_, TarError>((unsigned(&ustar[..8], "device major")?, unsigned(&ustar[8..], "device minor")?))
        };
        let kind = match header.entry_type() {
            // Before ustar a folder was a file whose name ends in a slash.
            EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => {
                self.data(stored)?;
                match sparse::map(&own.sparse, || self.number_of_sparse_map())? {
                    Some((size, pieces)) => {
                        // A map that stood in the data is padded to a whole block.
                        let map_end = (stored - self.left) % BLOCK as u64;
                        let padding = if map_end == 0 { 0 } else { BLOCK as u64 - map_end };
                        if io::copy(&mut Read::by_ref(self).take(padding), &mut io::sink())? < padding {
                            return Err(TarError::SparseMap);
                        }
                        Kind::File { size, pieces: Some(self.fitting(size, pieces)?) }
                    }
                    None => Kind::File { size: stored, pieces: None },
                }
            }
            EntryType::GNUSparse => {
                let gnu = header.as_gnu().ok_or(TarError::SparseMap)?;
                let size = unsigned(&gnu.realsize, "real size")?;
                let pieces = sparse::old_gnu(gnu, || self.block())?;
                self.data(stored)?;
                Kind::File { size, pieces: Some(self.fitting(size, pieces)?) }
            }
            EntryType::Link => Kind::HardLink,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Char => {
                let (major, minor) = device()?;
                Kind::CharacterDevice(major, minor)
            }
            EntryType::Block => {
                let (major, minor) = device()?;
                Kind::BlockDevice(major, minor)
            }
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            other => return Err(TarError::Type(other.as_byte())),
        };
        Ok(Entry { path, link, kind, mode, uid, gid, mtime, xattrs })
    }

    /// Checks that the pieces are as long as the data that follows, ascending and within the file.
    fn fitting(&self, size: u64, pieces: Vec<Piece>) -> Result<Vec<Piece>, TarError> {
        let mut end = 0u64;
        let mut total = 0u64;
        for piece in &pieces {
            let piece_end = piece.offset.checked_add(piece.length).ok_or(TarError::SparseMap)?;
            if piece.offset < end || piece_end > size {
                return Err(TarError::SparseMap);
            }
            end = piece_end;
            total += piece.length;
        }
        if total != self.left { Err(TarError::SparseMap) } else { Ok(pieces) }
    }

    /// Announces the data of an entry: `size` bytes and padding to a whole block.
    fn data(&mut self, size: u64) -> Result<(), TarError> {
        let block = BLOCK as u64;
        // Also keeps position arithmetic far from overflow.
        if size > i64::MAX as u64 {
            return Err(TarError::Number("size"));
        }
        self.left = size;
        self.padding = (block - size % block) % block;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        let rest = self.left + self.padding;
        let skipped = io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        self.position += skipped;
        self.left = 0;
        self.padding = 0;
        if skipped < rest { Err(TarError::Truncated) } else { Ok(()) }
    }

    /// The next header, or `None` at the end: a block of zeros, or no more bytes.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Truncated),
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.position += BLOCK as u64;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sums = |from: fn(u8) -> i64| -> i64 {
            let field = 148..156;
            block.iter().enumerate().map(|(at, byte)| if field.contains(&at) { 32 } else { from(*byte) }).sum()
        };
        let stated = signed(&block[148..156], "checksum")?;
        // Some old programs summed signed bytes.
        if stated != sums(i64::from) && stated != sums(|byte| i64::from(byte.cast_signed())) {
            return Err(TarError::Checksum);
        }
        Ok(Some(block))
    }

    /// A whole block of the present entry's header part.
    fn block(&mut self) -> Result<[u8; BLOCK], TarError> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block).map_err(truncated)?;
        self.position += BLOCK as u64;
        Ok(block)
    }

    fn meta(&mut self, header: &Header, bound: u64) -> Result<Vec<u8>, TarError> {
        let size = unsigned(&header.as_old().size, "size")?;
        if size > bound {
            return Err(TarError::LongHeader(bound));
        }
        self.data(size)?;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(TarError::Truncated);
        }
        self.skip_data()?;
        Ok(bytes)
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let mut bytes = self.meta(header, NAME_MAX)?;
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            bytes.truncate(end);
        }
        Ok(bytes)
    }

    /// A decimal number and a newline from the start of the data: sparse format 1.0 keeps its map there.
    fn number_of_sparse_map(&mut self) -> Result<u64, TarError> {
        let mut digits = Vec::new();
        loop {
            let mut byte = [0];
            if self.read(&mut byte)? == 0 || digits.len() > 20 {
                return Err(TarError::SparseMap);
            }
            match byte[0] {
                b'\n' => return pax::decimal(&digits).ok_or(TarError::SparseMap),
                digit => digits.push(digit),
            }
        }
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Goes on behind the data of the present entry without reading it.
    ///
    /// # Errors
    /// The input cannot seek.
    pub(crate) fn seek_past_data(&mut self) -> Result<(), TarError> {
        let rest = self.left + self.padding;
        self.input.seek(SeekFrom::Current(rest.cast_signed()))?;
        self.position += rest;
        self.left = 0;
        self.padding = 0;
        Ok(())
    }
}

/// Reads the data of the present entry, then ends.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let length = self.input.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, TarError::Truncated));
        }
        self.left -= length as u64;
        self.position += length as u64;
        Ok(length)
    }
}

fn truncated(error: io::Error) -> TarError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => TarError::Truncated,
        _ => TarError::Read(error),
    }
}

#[cfg(test)]
mod tests;

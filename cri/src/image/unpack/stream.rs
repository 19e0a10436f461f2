//! The stream of one layer: hashed, decompressed and bounded in one pass.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::super::cancel::Cancel;
use super::super::digest::{Algorithm, Digest, Hasher, HashingReader};
use super::super::error::Error;
use super::super::limits::Limits;

/// How a layer or archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What the first bytes say; a zstd stream may begin with a skippable frame.
    pub(crate) fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// Reads a blob: counts and hashes its bytes, copies them to a file, reports progress.
struct Blob<'a> {
    input: &'a mut dyn Read,
    hasher: Hasher,
    count: Rc<Cell<u64>>,
    /// Most bytes the blob may have.
    bound: u64,
    copy: Option<&'a File>,
    stop: &'a Cancel,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other(Error::Cancelled));
        }
        let length = self.input.read(buffer)?;
        let bytes = &buffer[..length];
        self.hasher.update(bytes);
        let count = self.count.get() + length as u64;
        self.count.set(count);
        if count > self.bound {
            let expected = format!("{} bytes", self.bound);
            let error = Error::Mismatch { what: "blob".into(), field: "size", expected, found: "more".into() };
            return Err(io::Error::other(error));
        }
        if let Some(mut copy) = self.copy {
            copy.write_all(bytes)?;
        }
        (self.progress)(length as u64);
        Ok(length)
    }
}

/// Where the bytes of a layer come from and what they must be.
pub(crate) struct Stream<'a> {
    /// The compressed bytes.
    pub(crate) input: &'a mut dyn Read,
    /// The hash function of the blob's digest.
    pub(crate) algorithm: Algorithm,
    /// The hash function of the diffID.
    pub(crate) diff_algorithm: Algorithm,
    /// The size of the blob.
    pub(crate) size: u64,
    /// Where the bytes are kept as they are.
    pub(crate) copy: Option<&'a File>,
    /// Called with the number of further bytes read.
    pub(crate) progress: &'a mut dyn FnMut(u64),
    /// Ends the operation from outside.
    pub(crate) stop: &'a Cancel,
}

/// What a stream turned out to be.
pub(crate) struct Found {
    pub(crate) digest: Digest,
    pub(crate) compression: Compression,
    pub(crate) size: u64,
    pub(crate) diff_id: Digest,
}

impl Stream<'_> {
    /// Passes the uncompressed bytes to `take`, then reads the rest to the end and gives the hashes.
    ///
    /// # Errors
    /// What `take` returns, and what goes wrong while reading or decompressing.
    pub(crate) fn run<T>(
        self,
        limits: &Limits,
        take: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<(T, Found), Error> {
        let count = Rc::new(Cell::new(0));
        let mut blob = Blob {
            input: self.input,
            hasher: Hasher::new(self.algorithm),
            count: Rc::clone(&count),
            bound: self.size,
            copy: self.copy,
            stop: self.stop,
            progress: self.progress,
        };
        let failed =
            |source| own_error(source).unwrap_or_else(|source| Error::Io { what: "layer data".into(), source });
        let (compression, decoder) = bounded_decoder(&mut blob, count, limits).map_err(failed)?;
        let mut plain = HashingReader::new(decoder, self.diff_algorithm);
        let taken = take(&mut plain)?;
        io::copy(&mut plain, &mut io::sink()).map_err(failed)?;
        let (diff_id, _) = plain.finish();
        io::copy(&mut blob, &mut io::sink()).map_err(failed)?;
        Ok((taken, Found { digest: blob.hasher.finish(), compression, size: blob.count.get(), diff_id }))
    }
}

/// Decompresses `input` by what its first bytes say (gzip, zstd, or nothing) and bounds what comes out.
///
/// `count` holds the number of bytes that were read from `input`. Like every client we trust the bytes, not the media
/// type: real images mix them up, and the digests are checked either way.
pub(crate) fn bounded_decoder<'a>(
    input: impl Read + 'a,
    count: Rc<Cell<u64>>,
    limits: &Limits,
) -> io::Result<(Compression, Box<dyn Read + 'a>)> {
    let mut input = input;
    let start = first_bytes(&mut input)?;
    let compression = Compression::of(&start);
    let input = BufReader::with_capacity(128 << 10, io::Cursor::new(start).chain(input));
    let bound = Bound { count, floor: limits.ratio_floor_bytes, ratio: limits.ratio, total: limits.unpacked_bytes };
    let inner: Box<dyn Read + 'a> = match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::None => Box::new(input),
    };
    Ok((compression, Box::new(Bounded { inner, bound, produced: 0 })))
}

/// 128 MiB, what zstd's own tools accept without being asked for more.
const WINDOW_LOG_MAX: u32 = 27;

/// Up to four bytes from the start; a pipe may give them one by one.
fn first_bytes(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(4);
    input.take(4).read_to_end(&mut start)?;
    Ok(start)
}

struct Bound {
    count: Rc<Cell<u64>>,
    floor: u64,
    ratio: u64,
    total: u64,
}

struct Bounded<R> {
    inner: R,
    bound: Bound,
    produced: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.produced += length as u64;
        let bound = &self.bound;
        let by_ratio = bound.count.get().saturating_mul(bound.ratio).saturating_add(bound.floor);
        let allowed = bound.total.min(by_ratio);
        if self.produced > allowed {
            let what = format!("uncompressed data of {} compressed bytes", bound.count.get());
            return Err(io::Error::other(Error::Limit { what, allowed, unit: "bytes" }));
        }
        Ok(length)
    }
}

/// Takes our own error back out of an [`io::Error`] in which a reader had to wrap it.
pub(crate) fn own_error(error: io::Error) -> Result<Error, io::Error> {
    error.downcast::<Error>()
}

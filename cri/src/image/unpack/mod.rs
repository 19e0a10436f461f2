//! Unpacks one layer into an empty folder that overlayfs can stack.
//!
//! ```text
//!  bytes ─▶ hash (digest) ─▶ decompress ─▶ bound ─▶ hash (diffID) ─▶ tar ─▶ tree
//! ```
//!
//! Invariants:
//! * nothing outside the folder is touched: every name is resolved beneath its handle without following links, and an
//!   object is made only where there was none;
//! * the archive controls contents, never the overlay: raw whiteouts and overlay's own attributes are not taken over;
//! * memory does not grow with the archive.
//!
//! Source: OCI image-spec layer.md; CVE-2021-32760, CVE-2025-47290.

mod attributes;
mod contents;
mod path;
mod stream;
mod tree;

use std::io::{BufReader, Read};
use std::os::fd::BorrowedFd;

use super::dir::Dir;
use super::error::Error;
use super::limits::Limits;
use super::tar::{Reader, TarError};

pub(crate) use attributes::{OPAQUE, is_taken};
pub(crate) use contents::{ContentHash, Contents, Record, Records};
pub(crate) use stream::{Compression, Found, Stop, Stream, bounded_decoder, own_error};

use tree::Tree;

/// What came out of unpacking a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Entries of the archive and folders made without one.
    pub(crate) entries: u64,
    /// Bytes of file contents.
    pub(crate) bytes: u64,
    /// Folders that exist only because something lies in them, sorted: a lower layer may describe them.
    pub(crate) implied: Vec<Vec<u8>>,
    /// The root of the layer hides everything below it.
    pub(crate) opaque_root: bool,
    /// Extended attributes that were left out, because they steer the host or its file system has no room for them.
    pub(crate) dropped_xattrs: u64,
}

/// Unpacks a tar stream into the empty folder `fs`; `trash` is a folder of the same file system.
///
/// # Errors
/// Which entry, or which byte of the archive, and what is allowed. The folder is of no use then.
pub(crate) fn unpack(
    input: impl Read,
    fs: BorrowedFd<'_>,
    trash: &Dir,
    limits: &Limits,
    contents: Contents<'_>,
) -> Result<Unpacked, Error> {
    let mut reader = Reader::new(BufReader::with_capacity(64 << 10, input));
    let mut tree = Tree::new(fs, trash, limits, contents)?;
    loop {
        let offset = reader.position();
        match reader.next_entry() {
            Ok(Some(entry)) => tree.add(entry, &mut reader)?,
            Ok(None) => return tree.finish(),
            Err(fault) => return Err(tar_error(offset, fault)),
        }
    }
}

/// An error of the tar reader; what a reader below it reported comes out as itself.
pub(crate) fn tar_error(offset: u64, fault: TarError) -> Error {
    match fault {
        TarError::Read(error) => match stream::own_error(error) {
            Ok(own) => own,
            Err(error) => Error::Tar { offset, fault: TarError::Read(error) },
        },
        fault => Error::Tar { offset, fault },
    }
}

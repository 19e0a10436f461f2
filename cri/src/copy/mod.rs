//! Copying trees: host to container, container to host, image to volume, and tar streams of either.
//!
//! ```text
//!  tree::read ────┐             ┌──▶ place::Place (a directory)
//!                 ├─▶ Entry ──▶─┤
//!  a tar stream ──┘             └──▶ a tar stream
//! ```
//!
//! A container may change its files while they are copied. So nothing is looked up by a path string twice: trees are
//! walked from directory descriptor to directory descriptor without following links, entries are made below a descriptor
//! with lookups that refuse links and cannot leave it, and programs of the container are never run (CVE-2018-15664,
//! CVE-2019-14271).

pub mod place;
pub mod tree;

use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};

use runtime::sys::CallError;

/// Why a file was not copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Which file.
    #[error("{}: {source}", path.display())]
    At {
        /// Its path below the top.
        path: PathBuf,
        /// Why.
        source: Box<Error>,
    },
    /// The kernel refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Its content could not be read or written.
    #[error(transparent)]
    Content(#[from] std::io::Error),
    /// It cannot be.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    fn refused(problem: &str) -> Error {
        Error::Refused(problem.to_owned())
    }

    fn at(self, path: &Path) -> Error {
        Error::At { path: path.to_owned(), source: Box::new(self) }
    }
}

/// One file of a tree.
pub struct Entry {
    /// Where, relative to the top; empty is the top itself.
    pub path: PathBuf,
    /// What.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits included.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of content: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Extended attributes.
    pub xattrs: Vec<(CString, Vec<u8>)>,
}

/// What a file is.
pub enum Kind {
    /// A directory.
    Directory,
    /// A file of this many bytes, and where they come from.
    File {
        /// How many.
        size: u64,
        /// From where.
        content: Content,
    },
    /// A symbolic link.
    Symlink(PathBuf),
    /// Another name of a file that came before, relative to the top.
    HardLink(PathBuf),
    /// Character device.
    Char(u64),
    /// Block device.
    Block(u64),
    /// Named pipe.
    Fifo,
}

/// Content of a file.
pub enum Content {
    /// An open file.
    File(File),
    /// What is next in the archive that is being read.
    Archive,
}

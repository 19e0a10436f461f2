//! Copying trees: host to container, container to host, image to volume, and tar streams of either.
//!
//! ```text
//!  tree::read ──┐             ┌──▶ place::Place (a directory)
//!               ├─▶ Entry ──▶─┤
//!  archive::read┘             └──▶ archive::Writer (a tar stream)
//! ```
//!
//! A container may change its files while they are copied. So nothing is looked up by a path string twice: trees are
//! walked from directory descriptor to directory descriptor without following links, entries are made below a descriptor
//! with lookups that refuse links and cannot leave it, and programs of the container are never run (CVE-2018-15664,
//! CVE-2019-14271).

pub(crate) mod archive;
pub(crate) mod place;
pub(crate) mod tree;

use std::ffi::CString;
use std::fs::File;
use std::path::PathBuf;

/// One file of a tree.
pub(crate) struct Entry {
    /// Where, relative to the top; empty is the top itself.
    pub(crate) path: PathBuf,
    /// What.
    pub(crate) kind: Kind,
    /// Permission bits, set-id and sticky bits included.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Time of the last change of content: seconds and nanoseconds.
    pub(crate) mtime: (i64, i64),
    /// Extended attributes.
    pub(crate) xattrs: Vec<(CString, Vec<u8>)>,
}

/// What a file is.
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// A file of this many bytes, and where they come from.
    File { size: u64, content: Content },
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
pub(crate) enum Content {
    /// An open file.
    File(File),
    /// What is next in the archive that is being read.
    Archive,
}

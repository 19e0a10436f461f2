//! Ways in for the fuzz targets, to what is nobody else's business.

use std::path::Path;

use super::dir::Dir;
use super::document::{parse_index, parse_manifest};
use super::limits::Limits;
use super::tar::Reader;
use super::unpack::{Contents, unpack};

/// Reads a manifest; whether it is one.
pub fn manifest(bytes: &[u8]) -> bool {
    parse_manifest(bytes, "manifest", &Limits::default()).is_ok()
}

/// Reads an index; whether it is one.
pub fn index(bytes: &[u8]) -> bool {
    parse_index(bytes, "index", &Limits::default()).is_ok()
}

/// Reads an archive with all data; how many entries it has. `None`: it is malformed.
pub fn archive(bytes: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(bytes);
    let mut entries = 0;
    while reader.next_entry().ok()?.is_some() {
        // Sizes are what the archive says: what is not there must not be waited or allocated for.
        std::io::copy(&mut reader, &mut std::io::sink()).ok()?;
        entries += 1;
    }
    assert!(reader.position() <= bytes.len() as u64, "read beyond the end");
    Some(entries)
}

/// Unpacks an archive into new folders of `base`, and removes them.
///
/// # Panics
/// When the folders cannot be made or removed.
pub fn layer(bytes: &[u8], base: &Path) {
    let base = Dir::open_path(base).expect("the folder is there");
    let fs = base.make("fs").expect("a new folder");
    let trash = base.make("trash").expect("a new folder");
    let limits = Limits { entries: 200, unpacked_bytes: 1 << 20, ..Limits::default() };
    use std::os::fd::AsFd;
    // What it answers is the archive's business; what it leaves outside is seen by whoever looks at `base`.
    let _ = unpack(bytes, fs.as_fd(), &trash, &limits, Contents::Written);
    base.remove_tree("fs").expect("whatever was unpacked can be removed");
    base.remove_tree("trash").expect("whatever was moved away can be removed");
}

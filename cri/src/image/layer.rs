//! Sealed layers: `layers/HEX/{fs/,seal.json}`, HEX of the diffID.
//!
//! The seal is written after the layer's data reached the disk, and the folder gets its name after the seal. So a layer
//! that is there is whole; one without a valid seal is never used.

use nix::errno::Errno;
use runtime::json;
use runtime::sys::CallError;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::dir::{Dir, is_dir};
use super::error::Error;
use super::unpack::Unpacked;
use crate::disk::Usage;

/// Version of the record; another one is not read.
const VERSION: u32 = 1;
pub(crate) const SEAL: &str = "seal.json";
/// The folder that overlayfs stacks.
pub(crate) const TREE: &str = "fs";
/// Largest record: the bound on names of implied folders, escaped, and room for the rest.
const SEAL_MAX: u64 = 64 << 20;

/// What is known about a layer whose data is on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Seal {
    version: u32,
    /// The layer's diffID; for the extra layer of an image its chainID.
    pub(crate) id: Digest,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// Folders without an entry of their own, names escaped; see [`Unpacked::implied`].
    implied: Vec<String>,
    pub(crate) opaque_root: bool,
    pub(crate) dropped_xattrs: u64,
    /// What the folder took on the disk before it had its seal; absent in seals of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<Usage>,
}

impl Seal {
    pub(crate) fn new(id: Digest, unpacked: &Unpacked, disk: Option<Usage>) -> Seal {
        Seal {
            version: VERSION,
            id,
            entries: unpacked.entries,
            bytes: unpacked.bytes,
            implied: unpacked.implied.iter().map(|path| escape(path)).collect(),
            opaque_root: unpacked.opaque_root,
            dropped_xattrs: unpacked.dropped_xattrs,
            disk,
        }
    }

    /// Whether both are of the same contents; how many blocks these take depends on the file system.
    pub(crate) fn is_same(&self, other: &Seal) -> bool {
        *self == Seal { disk: self.disk, ..other.clone() }
    }

    /// The names of folders without an entry of their own, sorted; the root is the empty name.
    pub(crate) fn implied(&self) -> impl Iterator<Item = Vec<u8>> {
        self.implied.iter().filter_map(|text| unescape(text))
    }

    /// Writes the record into the layer's folder and waits until it is on the disk.
    pub(crate) fn write(&self, layer: &Dir) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self).expect("a plain structure can be written as JSON");
        layer.write_durably(SEAL, &bytes)?;
        Ok(layer.sync()?)
    }
}

/// Reads the seal of the layer `name`; `None`: the layer is not there or not whole.
pub(crate) fn sealed(layers: &Dir, name: &str, id: &Digest) -> Result<Option<(Dir, Seal)>, Error> {
    let dir = match layers.sub(name) {
        Ok(dir) => dir,
        Err(CallError { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let bytes = match dir.read(SEAL, SEAL_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) | Err(Error::Limit { .. } | Error::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(seal) = json::from_slice::<Seal>(&bytes) else { return Ok(None) };
    let names_valid = seal.implied.iter().all(|text| unescape(text).is_some());
    let has_tree = dir.stat_of(TREE.as_bytes())?.is_some_and(|stat| is_dir(&stat));
    let whole = seal.version == VERSION && seal.id == *id && names_valid && has_tree;
    Ok(whole.then_some((dir, seal)))
}

/// Any bytes as JSON text: `%` and what is not printable ASCII become `%XX`.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'%' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(rest.next()?)? << 4 | digit(rest.next()?)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_survive(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(unescape(&escape(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn only_a_whole_layer_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let layers = Dir::open_path(scratch.path()).unwrap();
        let id = Digest::of(b"layer");
        let found = || sealed(&layers, "x", &id).unwrap().map(|(_, seal)| seal);
        assert_eq!(found(), None);
        let layer = layers.make("x").unwrap();
        assert_eq!(found(), None);
        let seal = Seal::new(id.clone(), &Unpacked { implied: vec![b"\xff%".to_vec()], ..Unpacked::default() }, None);
        seal.write(&layer).unwrap();
        assert_eq!(found(), None, "no tree");
        layer.make(TREE).unwrap();
        assert_eq!(found().unwrap().implied().collect::<Vec<_>>(), vec![b"\xff%".to_vec()]);
        assert!(sealed(&layers, "x", &Digest::of(b"other")).unwrap().is_none());

        let text = std::fs::read_to_string(scratch.path().join("x/seal.json")).unwrap();
        for damaged in [
            "",
            "{}",
            &text[..text.len() - 2],
            &text.replace("\"version\":1", "\"version\":2"),
            &text.replace("%25", "%2"),
        ] {
            std::fs::write(scratch.path().join("x/seal.json"), damaged).unwrap();
            assert_eq!(found(), None, "{damaged}");
        }
    }
}

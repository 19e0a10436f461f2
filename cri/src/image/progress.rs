//! What a person may want to see while layers arrive.

use super::digest::Digest;

/// A step forward; `layer` is the diffID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The layer is there already.
    Exists {
        /// The layer.
        layer: Digest,
    },
    /// More of the layer was read.
    Bytes {
        /// The layer.
        layer: Digest,
        /// Compressed bytes so far.
        done: u64,
        /// Compressed bytes in all.
        total: u64,
    },
    /// The layer is unpacked and its digests are right.
    Unpacked {
        /// The layer.
        layer: Digest,
    },
    /// All data is being written to the disk.
    Syncing,
}

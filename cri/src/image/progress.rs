//! What a person may want to see while layers arrive.

use super::digest::Digest;

/// How a blob came to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was there.
    There,
    /// It was taken over from another repository of the registry.
    Mounted,
    /// It was sent.
    Sent,
}

/// A step forward; `layer` is the diffID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The layer is there already.
    Exists {
        /// The layer.
        layer: Digest,
    },
    /// More of the layer arrived from a registry.
    Downloading {
        /// The layer.
        layer: Digest,
        /// Compressed bytes so far.
        done: u64,
        /// Compressed bytes in all.
        total: u64,
    },
    /// Another pull fetches the layer, or the whole image; this one waits for it.
    Waiting {
        /// The layer; of the whole image its manifest.
        layer: Digest,
    },
    /// The layer is fetched from where an earlier attempt ended.
    Resumed {
        /// The layer.
        layer: Digest,
        /// Compressed bytes that are there.
        at: u64,
    },
    /// Something went wrong with the layer, and it is tried again.
    Retrying {
        /// The layer.
        layer: Digest,
        /// What went wrong.
        why: String,
    },
    /// More of the layer was read and unpacked.
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
    /// More of a blob was sent to a registry.
    Pushing {
        /// The blob's own digest.
        blob: Digest,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The registry has the blob.
    Pushed {
        /// The blob's own digest.
        blob: Digest,
        /// How it came there.
        how: Sent,
    },
    /// All data is being written to the disk.
    Syncing,
}

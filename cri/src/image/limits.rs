//! Bounds on everything that comes from outside.

/// How much of an image or archive is taken before it is refused. Far above what real images need.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one manifest, index or config (4 MiB, as registries allow).
    pub document_bytes: u64,
    /// Layers of one image (overlayfs stacks 500).
    pub layers: usize,
    /// Descriptors of one index, images of one archive.
    pub images: usize,
    /// How deep an index may lie within an index.
    pub index_depth: usize,
    /// Entries of one layer, folders without an entry of their own included.
    pub entries: u64,
    /// Uncompressed bytes of one layer or archive.
    pub unpacked_bytes: u64,
    /// Uncompressed bytes that are always allowed, whatever the compressed size.
    pub ratio_floor_bytes: u64,
    /// Uncompressed bytes allowed on top for each compressed byte (endless compression gives 1000 and more).
    pub ratio: u64,
    /// Files in a layout archive.
    pub members: usize,
    /// Bytes of the names of folders that have no entry of their own, in one layer.
    pub implied_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            document_bytes: 4 << 20,
            layers: 500,
            images: 10_000,
            index_depth: 4,
            entries: 4_000_000,
            unpacked_bytes: 1 << 40,
            ratio_floor_bytes: 1 << 30,
            ratio: 256,
            members: 100_000,
            implied_bytes: 16 << 20,
        }
    }
}

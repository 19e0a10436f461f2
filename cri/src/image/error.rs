//! What can go wrong with images: which image, blob or entry, and what is allowed.

use std::fmt;
use std::io;

use runtime::sys::CallError;

use super::digest::Digest;
use super::platform::Platform;
use super::registry::Fault;
use super::tar::TarError;

/// The errors of [`cri::image`](crate::image).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a system call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Reading or writing a file, a stream or compressed data ended in an error.
    #[error("{what}: {source}")]
    Io {
        /// The object.
        what: String,
        /// The answer.
        source: io::Error,
    },
    /// A JSON document is none, is ambiguous or breaks a rule.
    #[error("{what}: {reason}")]
    Document {
        /// The document, such as `manifest sha256:…`.
        what: String,
        /// The rule.
        reason: String,
    },
    /// A blob is of a kind that is not known.
    #[error("{what}: media type {found:?} is not supported; allowed are {allowed}")]
    MediaType {
        /// The blob.
        what: String,
        /// Its declared type.
        found: String,
        /// The types allowed in this place.
        allowed: &'static str,
    },
    /// Bytes are not what their descriptor promised.
    #[error("{what}: {field} is {found}, expected {expected}")]
    Mismatch {
        /// The blob.
        what: String,
        /// `digest`, `size` or `diffID`.
        field: &'static str,
        /// What the document says.
        expected: String,
        /// What the bytes are.
        found: String,
    },
    /// The archive itself is malformed.
    #[error("tar at byte {offset}: {fault}")]
    Tar {
        /// Position in the uncompressed stream.
        offset: u64,
        /// What is wrong.
        fault: TarError,
    },
    /// An entry of a layer must not or cannot be unpacked.
    #[error("entry {}: {fault}", Escaped(path))]
    Entry {
        /// The name as the archive has it.
        path: Vec<u8>,
        /// What is wrong with it.
        fault: EntryFault,
    },
    /// Something is larger than we take.
    #[error("{what}: more than {allowed} {unit}")]
    Limit {
        /// The object that is too large.
        what: String,
        /// The bound.
        allowed: u64,
        /// The unit of the bound.
        unit: &'static str,
    },
    /// An error inside one layer.
    #[error("layer {diff_id}: {source}")]
    Layer {
        /// The layer.
        diff_id: Digest,
        /// The error.
        source: Box<Error>,
    },
    /// No image of an index fits.
    #[error("{what}: no image for {wanted}; there are {}", List(available))]
    NoPlatform {
        /// The index.
        what: String,
        /// The platform asked for.
        wanted: Platform,
        /// The platforms in the index.
        available: Vec<String>,
    },
    /// What was given to load is no image.
    #[error("{what}: neither an OCI image layout (oci-layout, index.json) nor a docker archive (manifest.json)")]
    NotAnImage {
        /// The file or folder.
        what: String,
    },
    /// A file that the layout or archive names is not in it.
    #[error("{what}: {} is not in it", Escaped(member))]
    Missing {
        /// The layout or archive.
        what: String,
        /// The file.
        member: Vec<u8>,
    },
    /// A registry and its mirrors did not give what they were asked for.
    #[error("{what}: {}", Faults(faults))]
    Registry {
        /// The image, or the blob.
        what: String,
        /// What each endpoint answered, in the order in which they were tried.
        faults: Vec<Fault>,
    },
    /// The compressed layers of an image are needed, but were not kept.
    #[error(
        "image {image}: {} of its compressed layers are not here: {}; it was received without keeping them. \
         Get them with: rtctl pull {image} (without --discard-blobs)",
        missing.len(), List(missing)
    )]
    NoBlobs {
        /// The image.
        image: String,
        /// The digests of the blobs.
        missing: Vec<String>,
    },
    /// No image has that name or id.
    #[error("no such image: {query}")]
    NotFound {
        /// The name or id asked for.
        query: String,
    },
    /// A short id that several images share.
    #[error("image id {query} is ambiguous: {}", List(matches))]
    Ambiguous {
        /// The prefix asked for.
        query: String,
        /// The ids that begin so.
        matches: Vec<String>,
    },
    /// An image that several names point to, removed by id.
    #[error("image {id} has several names: {}; remove the names, or force", List(names))]
    SeveralNames {
        /// The image.
        id: String,
        /// The names.
        names: Vec<String>,
    },
    /// An image that a container needs.
    #[error("image {id} is used by container {by}; remove the container first")]
    InUse {
        /// The image.
        id: String,
        /// The container.
        by: String,
    },
    /// A name that cannot be given.
    #[error("name {name}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A folder of the store that others may enter.
    #[error("{path}: mode {mode:04o} lets other users in, where images keep set-user-id programs; chmod 0700 {path}")]
    Exposed {
        /// The folder.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// A state file of the store is not as we write it.
    #[error("{what}: {reason}")]
    Damaged {
        /// The file.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// Another thread met an error, this one stopped.
    #[error("stopped because of another error")]
    Cancelled,
}

/// What is wrong with one entry of a layer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum EntryFault {
    #[error("has a '..' in its name")]
    DotDot,
    #[error("has a NUL in its name")]
    Nul,
    #[error("has no name")]
    NoName,
    #[error("has a name of more than {0} bytes")]
    LongName(usize),
    #[error("has a part of more than {0} bytes in its name")]
    LongPart(usize),
    #[error("is more than {0} folders deep")]
    Deep(usize),
    #[error("lies behind a symbolic link of the same layer")]
    ThroughSymlink,
    #[error("lies below something that is not a folder")]
    BelowFile,
    #[error("is the root of the layer and not a folder")]
    RootKind,
    #[error("is a whiteout of nothing")]
    EmptyWhiteout,
    #[error("is a whiteout that is not an empty file")]
    WhiteoutKind,
    #[error("is a raw overlay whiteout (character device 0:0); layers mark deletions by names with .wh.")]
    RawWhiteout,
    #[error("links to {}, which is not in this layer", Escaped(.0))]
    LinkTarget(Vec<u8>),
    #[error("links to {}, which is a folder or a whiteout", Escaped(.0))]
    LinkKind(Vec<u8>),
    #[error("links to itself")]
    LinkSelf,
    #[error("links to a name that is not valid: {0}")]
    LinkName(Box<EntryFault>),
    #[error("has no link target")]
    NoTarget,
    #[error("has {what} {value}, more than {allowed}")]
    Number { what: &'static str, value: u64, allowed: u64 },
    #[error("has an extended attribute name with a NUL")]
    XattrName,
    #[error("{0}")]
    Call(#[from] CallError),
}

/// Bytes of a name, quoted, what is not printable ASCII escaped.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 300;
        match self.0.get(..SHOWN) {
            Some(start) => write!(f, "\"{}\"…", start.escape_ascii()),
            None => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}

struct Faults<'a>(&'a [Fault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(Fault::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.0[..self.0.len().min(SHOWN)].join(", "))?;
        match self.0.len().checked_sub(SHOWN) {
            Some(more @ 1..) => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

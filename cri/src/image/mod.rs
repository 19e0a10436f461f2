//! Images: names, documents, the store on disk, loading and saving.
//!
//! ```text
//!  folder, archive, stream registry ──▶ load ──▶ ingest: hash ▸ decompress ▸ unpack ──▶ blobs, layers, index
//!                                                                                                  │
//!  container ◀── prepare: sealed layers top first, ImageConfig ◀── resolve: name or id ◀───────────┘
//! ```
//!
//! Invariants: nothing from an image or an archive is control input; a layer or blob that can be seen is whole; readers
//! never wait. The modules say more: [`Store`] for what is where on the disk.

mod cancel;
mod choose;
mod config;
mod digest;
mod dir;
mod dirs;
mod document;
mod error;
mod footprint;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
pub mod identity;
#[allow(clippy::module_inception, reason = "the module is named after the type it defines")]
mod image;
mod ingest;
mod layer;
mod limits;
mod load;
mod names;
mod noted;
mod partial;
mod platform;
mod prepare;
mod progress;
mod receive;
mod reference;
pub mod registry;
mod remove;
mod save;
mod source;
mod store;
mod tar;
mod unpack;
mod usage;
mod verify;

pub use cancel::Cancel;
pub use config::{ImageConfig, Step};
pub use digest::{Algorithm, Digest, DigestError};
pub use dirs::RootDir;
pub use document::Descriptor;
pub use error::{EntryFault, Error};
pub use image::Image;
pub use ingest::Blobs;
pub use limits::Limits;
pub use load::{LoadOptions, LoadedImage};
pub use platform::{Platform, PlatformError};
pub use prepare::Prepared;
pub use progress::{Progress, Sent};
pub use reference::{Reference, ReferenceError};
pub use remove::{Force, InUse, Removed};
pub use save::Format;
pub use source::Source;
pub use store::{DEFAULT_ROOT, Store};
pub use tar::TarError;
pub use usage::{ImageUsage, ImagesUsage};
pub use verify::{Damage, Depth, Lost, Object, Report, Unrepaired};

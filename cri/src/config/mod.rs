//! The daemon's settings.
//!
//! ```text
//!  defaults < rtd.toml < rtd.toml.d/*.toml, by name < flags      the later one counts, key by key; a list replaces a list
//!        └──────────── load ────────────┘
//!  Loaded: Config, and where each value comes from ─▶ Settings: what counts now ─▶ the rest of the program
//!                  SIGHUP, or a file has changed ─▶ Reloader ──┘
//! ```
//!
//! `keys.rs` is the one table: names, types, defaults, texts, and what can change while rtd runs. A file with anything wrong in it
//! changes nothing.

mod check;
mod choice;
mod key;
mod keys;
mod load;
mod parse;
mod pattern;
mod print;
mod problem;
mod reload;
#[cfg(test)]
mod tests;
mod value;

pub use choice::{CgroupDriver, ImageVolumes, LogFormat, LogLevel, NetworkKind};
pub use key::{Key, Reload};
pub use keys::{Config, Handler};
pub use load::{Flag, Loaded, Source};
pub use pattern::{AnnotationPattern, ImagePattern};
pub use print::{defaults, markdown, shown};
pub use problem::{Invalid, Place, Problem};
pub use reload::{Reloaded, Reloader, Settings};
pub use value::{Endpoint, Number, Setting, Size, Span, Ulimit};

//! SELinux: the labels of containers and pods, and of what they use of the host.
//!
//! ```text
//!  policy of the host ─┐
//!  Context, level ─────┴▶ Labels ─▶ process.selinuxLabel, linux.mountLabel, volumes that are relabelled
//! ```

mod files;
mod host;
mod label;

pub use files::{Error, label_of, relabel};
pub use host::{new_level, policy};
pub use label::{Context, Labels};

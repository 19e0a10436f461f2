//! Devices by name: the Container Device Interface, up to version 1.1.
//!
//! ```text
//!  vendor.com/class=name ─▶ Registry: spec files of /etc/cdi, /var/run/cdi ─▶ Edits ─▶ complete (host's nodes) ─▶ apply
//! ```
//!
//! A vendor's spec file says what a container needs for a device: nodes, mounts, variables, groups, hooks. Whoever writes there is
//! root. Parsing, choosing and [`apply`] are pure; [`Registry::read`] and [`Edits::complete`] look at the host.
//! Source: CDI SPEC.md.

mod apply;
mod document;
mod name;
mod registry;

pub use apply::apply;
pub use document::{Document, Edits, Hook, Mount, Node};
pub use name::DeviceName;
pub use registry::{Problem, Registry, SPEC_DIRS};

/// Why a device cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no device name.
    #[error("{text:?}: {problem}; a CDI device is named vendor.com/class=name")]
    Name {
        /// As given.
        text: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// No spec has it.
    #[error("no CDI device {name}: {why}")]
    NotFound {
        /// The device.
        name: DeviceName,
        /// What there is instead, and what to do.
        why: String,
    },
    /// Several specs of one directory have it.
    #[error("CDI device {name} is in {}: remove all but one", .files.join(" and "))]
    Conflict {
        /// The device.
        name: DeviceName,
        /// Spec files.
        files: Vec<String>,
    },
    /// The spec asks for what is not built.
    #[error("CDI device {name} ({file}) asks for {what}, which is not built yet")]
    NotBuilt {
        /// The device.
        name: DeviceName,
        /// The spec file.
        file: String,
        /// What.
        what: &'static str,
    },
    /// The host does not have what the spec names.
    #[error("CDI: device node {path}: {problem}")]
    Node {
        /// Path on the host.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

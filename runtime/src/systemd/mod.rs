//! systemd as the maker of a container's cgroup, over D-Bus: `rt-runtime --systemd-cgroup`.
//!
//! ```text
//!  slice:prefix:name ──▶ Scope ── start(placeholder) ──▶ prefix-name.scope in the slice, delegated; the container is born into it
//!                                 update                 limits that systemd keeps through a daemon-reload
//!                                 stop                   kills what is left; systemd forgets the unit
//! ```
//!
//! systemd makes no scope without a process, and the container's is born into its group: until then a placeholder holds the scope. The
//! limits are set twice, as properties of the unit and in the files of its group, where they are the same; what systemd has no
//! property for is in the files alone.
//!
//! `rtd` has a connection of its own, which many containers share; the translation of limits is this one.

mod bus;
mod hold;
pub mod properties;
mod scope;
mod wire;

pub use hold::Hold;
pub use scope::{Scope, Start};

/// Why systemd did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that cannot be.
    #[error("linux.cgroupsPath {path:?}: {problem}")]
    Path {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A limit that makes no sense.
    #[error("config.json: {0}")]
    Limit(#[from] properties::Refused),
    /// An annotation that is no property.
    #[error("config.json: annotations[{name:?}] {value:?}: {problem}")]
    Annotation {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The bus cannot be reached, or went away.
    #[error("systemd: {call}: {source}")]
    Bus {
        /// What was asked for, such as `StartTransientUnit(rt-1.scope)`.
        call: String,
        /// The system call.
        source: crate::sys::CallError,
    },
    /// Something else than D-Bus answered.
    #[error("systemd: {call}: the bus {socket:?} {problem}")]
    Protocol {
        /// What was asked for.
        call: String,
        /// Its socket.
        socket: String,
        /// What is wrong.
        problem: String,
    },
    /// systemd said no.
    #[error("systemd: {call}: {name}: {message}")]
    Refused {
        /// What was asked for.
        call: String,
        /// Name of the error, such as `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// What it said.
        message: String,
    },
    /// The job ended, but not well.
    #[error("systemd: {call}: the job ended with {result:?}; `systemctl status {unit}` tells more")]
    Job {
        /// What was asked for.
        call: String,
        /// The unit.
        unit: String,
        /// Its result, such as `failed`.
        result: String,
    },
    /// The placeholder ended, or is somewhere else.
    #[error("systemd: StartTransientUnit({unit}): the process is in {found:?} instead of the scope")]
    Place {
        /// The unit.
        unit: String,
        /// Its cgroup, as the kernel tells.
        found: String,
    },
}

impl Error {
    /// systemd does not know the unit.
    fn is_no_such_unit(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if name == "org.freedesktop.systemd1.NoSuchUnit")
    }

    /// systemd knows a unit of this name already.
    fn is_unit_exists(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if name == "org.freedesktop.systemd1.UnitExists")
    }
}

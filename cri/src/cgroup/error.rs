//! What can go wrong with systemd, in words that name the unit and its answer.

use std::path::PathBuf;

/// Why a container has no cgroup, or not the limits that it should have.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cgroup parent that cannot be.
    #[error("cgroup parent {parent:?}: {problem}")]
    Parent {
        /// As it was given.
        parent: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An id that cannot be a part of a unit's name.
    #[error("container {id:?}: its id is no part of a name of a systemd unit")]
    Container {
        /// The id.
        id: String,
    },
    /// A limit that makes no sense.
    #[error(transparent)]
    Resource(#[from] runtime::systemd::properties::Refused),
    /// The bus cannot be reached, or systemd on it.
    #[error("systemd cannot be reached over D-Bus for {call}: {source}; `systemctl status dbus.socket` tells more")]
    Bus {
        /// What was asked for, such as `StartTransientUnit(rt-1.scope)`.
        call: String,
        /// What happened.
        source: zbus::Error,
    },
    /// systemd said no.
    #[error("systemd: {call}: {name}: {message}")]
    Refused {
        /// What was asked for.
        call: String,
        /// The error's name, such as `org.freedesktop.systemd1.UnitMasked`.
        name: String,
        /// Its text.
        message: String,
    },
    /// An answer that is none.
    #[error("systemd: {call}: the answer is malformed: {source}")]
    Answer {
        /// What was asked for.
        call: String,
        /// What is wrong with it.
        source: zbus::Error,
    },
    /// systemd did not do what it had agreed to.
    #[error("systemd: {call}: the job ended as {result:?}; `journalctl -u {unit}` tells more")]
    Job {
        /// What was asked for.
        call: String,
        /// Unit of the job.
        unit: String,
        /// `failed`, `timeout`, `canceled`, `dependency`, `skipped`.
        result: String,
    },
    /// Time ran out.
    #[error("systemd: {call}: no end after {seconds} s")]
    Late {
        /// What was asked for.
        call: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The process that keeps a new scope alive could not be started, or is not where systemd said it would be.
    #[error("placeholder {program:?} of {unit}: {problem}")]
    Placeholder {
        /// The program.
        program: PathBuf,
        /// The scope.
        unit: String,
        /// What happened.
        problem: String,
    },
    /// The kernel refused something about a group.
    #[error(transparent)]
    Cgroup(#[from] runtime::cgroup::Error),
}

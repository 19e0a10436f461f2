//! Why something asked of a pod or container was not done.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runtime::sys::CallError;

use super::config::{ContainerMetadata, PodMetadata};
use super::id::Id;
use crate::image::identity::IdentityError;
use crate::{image, network, spec};

/// What an id is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A pod sandbox.
    Pod,
    /// A container.
    Container,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Pod => "pod sandbox",
            Kind::Container => "container",
        })
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of this id.
    #[error("{kind} {id:?} not found")]
    NotFound {
        /// Of what.
        kind: Kind,
        /// What was asked for.
        id: String,
    },
    /// The beginning of several ids.
    #[error("{kind} {id:?} is ambiguous: it begins several ids")]
    Ambiguous {
        /// Of what.
        kind: Kind,
        /// What was asked for.
        id: String,
    },
    /// Such a pod is there and is no longer ready.
    #[error("pod {}/{} (uid {}, attempt {}) has had its sandbox {id}, which is not ready; remove it or ask for the next attempt", .metadata.namespace, .metadata.name, .metadata.uid, .metadata.attempt)]
    PodExists {
        /// Which.
        metadata: Box<PodMetadata>,
        /// Its id.
        id: Id,
    },
    /// Such a container is there.
    #[error("container {} (attempt {}) of the pod is there already: {id}", .metadata.name, .metadata.attempt)]
    ContainerExists {
        /// Which.
        metadata: ContainerMetadata,
        /// Its id.
        id: Id,
    },
    /// The sandbox has ended or is about to.
    #[error("pod sandbox {id} is not ready: it has been stopped or has died")]
    NotReady {
        /// Which.
        id: Id,
    },
    /// Not allowed in the state that the container is in.
    #[error("container {id} is {state}; {wanted} is needed")]
    WrongState {
        /// Which.
        id: Id,
        /// Its state.
        state: &'static str,
        /// The state that it must be in.
        wanted: &'static str,
    },
    /// There is no such runtime handler.
    #[error("runtime handler {name:?} is not configured; there are: {}", .known.join(", "))]
    Handler {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// What was asked for cannot be.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field, by its path.
        field: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// An operation on the same object that does not end.
    #[error("{operation} of {id} is still at step {step} after {} s", .since.as_secs())]
    UnderWay {
        /// Which operation.
        operation: &'static str,
        /// On what.
        id: String,
        /// Where it is.
        step: String,
        /// For how long.
        since: Duration,
    },
    /// The container's program could not be started.
    #[error("{message}")]
    Start {
        /// Why.
        message: String,
    },
    /// A command could not be run in a container.
    #[error("exec: {message}")]
    Exec {
        /// Why.
        message: String,
    },
    /// A command took too long, and was killed.
    #[error("the command was killed: it did not end within {} s", .limit.as_secs())]
    Overdue {
        /// How long it was allowed to take.
        limit: Duration,
    },
    /// Nobody listens on a port of a pod.
    #[error("port {port}: {problems}")]
    Connect {
        /// Which.
        port: u16,
        /// What each attempt met.
        problems: String,
    },
    /// Images.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The bridge network.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// CNI.
    #[error(transparent)]
    Cni(#[from] network::cni::Error),
    /// What the configuration of the container would be.
    #[error(transparent)]
    Spec(#[from] spec::Error),
    /// Who the container runs as.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The shim.
    #[error("shim: {0}")]
    Shim(#[from] shim::client::Error),
    /// The records of the shim.
    #[error(transparent)]
    Local(#[from] shim::local::Error),
    /// A record.
    #[error("{}: {source}", path.display())]
    Record {
        /// Its directory.
        path: PathBuf,
        /// What is wrong.
        source: shim::record::Error,
    },
    /// A cgroup.
    #[error(transparent)]
    Cgroup(#[from] runtime::cgroup::Error),
    /// `config.json` of a container.
    #[error(transparent)]
    Config(#[from] runtime::spec::LoadError),
    /// The driver of cgroups.
    #[error(transparent)]
    CgroupDriver(#[from] crate::cgroup::Error),
    /// The kernel refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The kernel refused, as the standard library tells it.
    #[error("{call}: {source}")]
    Io {
        /// The call.
        call: String,
        /// Its answer.
        source: std::io::Error,
    },
    /// The content of an image's volume.
    #[error(transparent)]
    Copy(#[from] crate::copy::Error),
    /// Several things went wrong; everything was tried.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Error>),
    /// A step that failed.
    #[error("{step}: {source}")]
    Step {
        /// Which.
        step: &'static str,
        /// Why.
        source: Box<Error>,
    },
    /// The error of an operation that others wait for, too.
    #[error("{0}")]
    Shared(Arc<Error>),
    /// A thread ended by a panic.
    #[error("internal error: {0}")]
    Panic(String),
}

/// Turns the standard library's errors into ours.
pub(super) trait Io<T> {
    /// Adds the call.
    fn io(self, call: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Io<T> for std::io::Result<T> {
    fn io(self, call: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { call: call(), source })
    }
}

impl From<Arc<Error>> for Error {
    fn from(error: Arc<Error>) -> Error {
        Error::Shared(error)
    }
}

impl Error {
    /// Names the step.
    pub(super) fn at(self, step: &'static str) -> Error {
        Error::Step { step, source: Box::new(self) }
    }

    /// What is behind the steps.
    #[must_use]
    pub fn cause(&self) -> &Error {
        match self {
            Error::Step { source, .. } => source.cause(),
            Error::Shared(source) => source.cause(),
            other => other,
        }
    }
}

//! What can go wrong while a process is being made.

use nix::errno::Errno;

use crate::init::{Failure, Step};
use crate::plan::PlanError;
use crate::sys::CallError;
use crate::{cgroup, hooks, seccomp, systemd};

/// Why a process was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What is asked of a sandbox is wrong.
    #[error("sandbox.json: {}: {}", .0.at, .0.problem)]
    Sandbox(PlanError),
    /// The system call filter is wrong.
    #[error("config.json: {0}")]
    Seccomp(seccomp::Error),
    /// The cgroup did not play along.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// systemd did not put a process into its cgroup.
    #[error(transparent)]
    Systemd(#[from] systemd::Error),
    /// A step of the parent failed.
    #[error("{step}: {source}")]
    Parent {
        /// What was being done.
        step: String,
        /// The call.
        source: CallError,
    },
    /// A step of the child failed.
    #[error("{}: {}", .0.step.name(), .0.text)]
    Init(Failure),
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] hooks::Error),
    /// The child was killed before it could say anything.
    #[error("init: killed while it was being set up ({0})")]
    Killed(String),
}

/// Classes of errors that callers act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such program: docker's exit code 127.
    CommandNotFound,
    /// The program cannot be executed: docker's exit code 126.
    CommandNotExecutable,
    /// The configuration is wrong.
    Invalid,
    /// Anything else.
    Other,
}

impl Error {
    /// The class of the error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Init(failure) => match (failure.step, failure.errno) {
                (Step::Program | Step::Exec, Errno::ENOENT | Errno::ENOTDIR) => Kind::CommandNotFound,
                (Step::Program | Step::Exec, _) => Kind::CommandNotExecutable,
                _ => Kind::Other,
            },
            Self::Plan(_) | Self::Sandbox(_) | Self::Seccomp(_) => Kind::Invalid,
            Self::Cgroup(_) | Self::Systemd(_) | Self::Parent { .. } | Self::Hook(_) | Self::Killed(_) => Kind::Other,
        }
    }
}

/// Puts what was being done around a call of the parent.
pub(crate) trait During<T> {
    fn during(self, step: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> During<T> for Result<T, CallError> {
    fn during(self, step: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Parent { step: step(), source })
    }
}

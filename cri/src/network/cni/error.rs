//! What can go wrong with CNI: which plugin, command and container, and what the plugin said.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use runtime::sys::CallError;

use super::config::ConfigError;
use super::name::{ContainerId, InterfaceName, NameError, NetworkName, PluginType};

/// What a plugin is asked to do, CNI_COMMAND.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Detach it.
    Del,
    /// See whether it is still attached as it was.
    Check,
    /// Give back what belongs to no container.
    Gc,
    /// Tell whether ADD would work.
    Status,
    /// Tell the versions.
    Version,
}

impl Command {
    /// As CNI_COMMAND has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The error object that a plugin printed.
///
/// Source: CNI specification, section 5 "Error".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginMessage {
    /// Below 100: of the specification, such as 7 invalid configuration, 11 try again later, 50 not available.
    pub code: u32,
    /// Short text.
    pub msg: String,
    /// Long text; may be empty.
    pub details: String,
}

impl fmt::Display for PluginMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.msg)?;
        if !self.details.is_empty() {
            write!(formatter, "; {}", self.details)?;
        }
        match self.meaning() {
            Some(meaning) => write!(formatter, " (code {}: {meaning})", self.code),
            None => write!(formatter, " (code {})", self.code),
        }
    }
}

impl PluginMessage {
    /// What the specification says about the code.
    fn meaning(&self) -> Option<&'static str> {
        Some(match self.code {
            1 => "incompatible CNI version",
            2 => "unsupported field in the configuration",
            3 => "container unknown or does not exist",
            4 => "invalid environment variable",
            5 => "I/O failure",
            6 => "content cannot be decoded",
            7 => "invalid network configuration",
            11 => "try again later",
            50 => "plugin not available",
            51 => "plugin not available, and existing containers may have limited connectivity",
            _ => return None,
        })
    }
}

/// What was wrong with one execution of a plugin. Output in it is bounded and printable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// No plugin directory has it.
    #[error("no such program in {}; install it there", paths(.0))]
    NotFound(Vec<PathBuf>),
    /// It is there and must not be executed.
    #[error("{path}: {reason}")]
    Unfit {
        /// The program.
        path: String,
        /// Why not.
        reason: String,
    },
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] CallError),
    /// It was killed because it could not be watched.
    #[error("killed: {0}")]
    Lost(CallError),
    /// It was killed with everything it had started because its time was over.
    #[error("killed: not done after {}{}", seconds(.after), tail(.stderr))]
    TimedOut {
        /// How long it ran.
        after: Duration,
        /// What it wrote to its standard error.
        stderr: String,
    },
    /// It was killed because it did not stop to write.
    #[error("killed: wrote more than {limit} bytes")]
    TooMuch {
        /// The bound.
        limit: usize,
    },
    /// It said what is wrong.
    #[error("{0}")]
    Said(PluginMessage),
    /// It ended with an exit code, and without an error object.
    #[error("exit code {code}{}{}", tail(.stdout), tail(.stderr))]
    Exit {
        /// The exit code.
        code: i32,
        /// What it wrote to its standard output.
        stdout: String,
        /// What it wrote to its standard error.
        stderr: String,
    },
    /// A signal ended it.
    #[error("killed by signal {signal}{}", tail(.stderr))]
    Signal {
        /// The signal.
        signal: i32,
        /// What it wrote to its standard error.
        stderr: String,
    },
    /// It succeeded, and its answer is none.
    #[error("answer {reason}: \"{stdout}\"")]
    Garbage {
        /// The rule.
        reason: String,
        /// What it wrote to its standard output.
        stdout: String,
    },
}

impl Fault {
    /// Whether no process was started at all.
    pub(crate) fn never_ran(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::Unfit { .. } | Self::Start(_))
    }

    /// What the plugin said, if it did.
    #[must_use]
    pub fn message(&self) -> Option<&PluginMessage> {
        match self {
            Self::Said(message) => Some(message),
            _ => None,
        }
    }
}

fn paths(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}

fn seconds(duration: &Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn tail(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": \"{text}\"") }
}

/// Which plugin was at it for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The network.
    pub network: NetworkName,
    /// The container and its interface; none for GC, STATUS and VERSION.
    pub container: Option<(ContainerId, InterfaceName)>,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "network {}", self.network)?;
        match &self.container {
            Some((container, interface)) => write!(formatter, ", container {container}, {interface}"),
            None => Ok(()),
        }
    }
}

/// The errors of [`cri::network::cni`](crate::network::cni).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no configuration to use.
    #[error("no CNI network configuration in {}{}", .dir.display(), because(.rejected))]
    NoNetwork {
        /// The directory.
        dir: PathBuf,
        /// Files that were no configuration, and why.
        rejected: Vec<String>,
    },
    /// There is no network of this name.
    #[error("no CNI network {name}; there are: {}", .known.join(", "))]
    UnknownNetwork {
        /// The name asked for.
        name: NetworkName,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A configuration that was recorded is none any more.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong.
        source: ConfigError,
    },
    /// A plugin did not succeed.
    #[error("{subject}: plugin {plugin}: {command}: {fault}")]
    Plugin {
        /// The plugin.
        plugin: PluginType,
        /// What it was asked to do.
        command: Command,
        /// For whom.
        subject: Subject,
        /// What was wrong.
        fault: Box<Fault>,
    },
    /// ADD failed, and so did undoing it: the attachment stays recorded.
    #[error("{error}; undoing it: {}; it is recorded and tried again", all(.undo))]
    NotUndone {
        /// Why ADD failed.
        error: Box<Error>,
        /// What went wrong with DEL.
        undo: Vec<Error>,
    },
    /// Several things failed; all of them were tried.
    #[error("{}", all(.0))]
    Several(Vec<Error>),
    /// The container is attached in this way, or still has to be detached.
    #[error("{subject}: already attached, or not yet detached; detach it first")]
    Attached {
        /// Whose attachment.
        subject: Subject,
    },
    /// The container is not attached in this way.
    #[error("{subject}: not attached")]
    NotAttached {
        /// Whose attachment.
        subject: Subject,
    },
    /// Another operation went on for too long.
    #[error("{what}: another operation was still going on after {}", seconds(.waited))]
    Busy {
        /// What was to be done.
        what: String,
        /// For how long.
        waited: Duration,
    },
    /// What was given as a network namespace is none, or one that must not be touched.
    #[error("network namespace {}: {reason}", .path.display())]
    Namespace {
        /// The path.
        path: PathBuf,
        /// The rule.
        reason: String,
    },
    /// A setting is wrong.
    #[error("{setting}: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// The rule.
        reason: String,
    },
    /// A record cannot be used. It is kept as it is.
    #[error("{path}: {reason}")]
    Record {
        /// The file.
        path: String,
        /// The rule.
        reason: String,
    },
    /// A name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A system call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Error {
    /// What the plugin said, where the error is one plugin's.
    #[must_use]
    pub fn plugin_message(&self) -> Option<&PluginMessage> {
        match self {
            Self::Plugin { fault, .. } => fault.message(),
            Self::NotUndone { error, .. } => error.plugin_message(),
            _ => None,
        }
    }

    /// Whether it says that a plugin was not even started.
    pub(crate) fn never_ran(&self) -> bool {
        matches!(self, Self::Plugin { fault, .. } if fault.never_ran())
    }

    /// One error for a list of them; `Ok` for an empty one.
    pub(crate) fn from_all(mut errors: Vec<Error>) -> Result<(), Error> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Several(errors)),
        }
    }
}

fn because(rejected: &[String]) -> String {
    if rejected.is_empty() { String::new() } else { format!(": {}", rejected.join("; ")) }
}

fn all(errors: &[Error]) -> String {
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    shown.join("; ")
}

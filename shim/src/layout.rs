//! The files of a standalone container, of a pod and of a shim: where they are and what is in them.
//!
//! ```text
//! <state>/local/<id>/            0700, one per standalone container     (<state> is /run/rt)
//!     container.json             rtctl's metadata, never changes
//!     config.json                OCI runtime configuration
//!     shim.json                  [`Task`]
//!     sandbox.json               [`Sandbox`]: namespaces that outlive a run; absent where none do
//!     status.json                [`Status`], written by the shim: temp + rename, before anyone is told
//!     health.json                [`Health`], written by the shim where there is a health check
//!     name                       the container's name
//!     shim.sock                  the shim's socket; nobody listens when the shim is gone
//!     lock                       flock(2) of commands that change the container
//! <state>/pods-local/<id>/       0700, one per pod
//!     pod.json                   rtctl's metadata, never changes
//!     sandbox.json               [`Sandbox`]
//!     sandbox-status.json        [`SandboxStatus`], written by the shim
//!     shim.sock                  the shim's socket, to which those of its containers in local/ are links
//! <state>/names/<name>           symbolic link to ../local/<id>
//! <state>/events[.1]             what happened, see [`crate::events`]
//! <root>/upper/<id>/{fs,work}    writable layer                          (<root> is /var/lib/rt)
//! <root>/upper/<id>/log[.N]      output, see [`LogTarget`]; N rotations ago
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use runtime::spec::{IdMapping, NamespaceKind};
use serde::{Deserialize, Serialize};

/// Version of the records here. A newer one is refused, an older one is read.
pub const VERSION: u32 = 1;

/// `shim.json`: what the shim needs beside `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// [`VERSION`].
    pub version: u32,
    /// Root file system from layers; absent means `root.path` of `config.json`.
    pub layers: Option<Layers>,
    /// Where output is kept; absent means that it is only passed to attached clients.
    pub log: Option<LogTarget>,
    /// Standard input of the init process.
    pub stdin: Stdin,
    /// What happens when the init process ends.
    pub restart: RestartPolicy,
    /// Remove everything of the container when it has ended.
    pub auto_remove: bool,
    /// Directories removed along with a standalone container: its part of `upper/`, anonymous volumes.
    pub owned: Vec<PathBuf>,
    /// File that gets the init process's id.
    pub pid_file: Option<PathBuf>,
    /// Signal that asks the program to end; absent means SIGTERM. Sending it by hand disables the restart policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<i32>,
    /// Whether process 1 is a small init that reaps and passes signals on, and not the program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// How the shim finds out whether the program is well; absent means that it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// Where the shim tells what happens to the container; absent means nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventTarget>,
    /// Images that are mounted in it, read-only. Each has a bind mount in `config.json`, which says where and how; its source there
    /// counts for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_mounts: Vec<ImageMount>,
    /// Namespaces that it takes from the shim's sandbox, where `config.json` names no path for them; with ipc also its /dev/shm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sandbox: Vec<NamespaceKind>,
    /// The OCI command line that runs it; absent means the runtime within the shim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
}

/// An OCI runtime by its command line, as runc's and crun's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments before the verb.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its `--root`; absent means a directory that only the shim sees, gone along with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// An empty directory where everybody may get to: in a mount namespace of the shim's own it holds the bundles.
    pub bundles: PathBuf,
}

/// Where the output of the init process is kept, named as the log drivers of docker and podman.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    /// A file in Kubernetes' CRI log format.
    K8sFile(LogFile),
    /// A file in docker's format.
    JsonFile {
        /// The file.
        file: LogFile,
        /// What every record says beside the output.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        attributes: BTreeMap<String, String>,
    },
    /// systemd's journal, by its native protocol.
    Journald {
        /// The journal's socket.
        socket: PathBuf,
        /// Fields of every record beside `MESSAGE`, `PRIORITY` and those of parts of lines.
        fields: BTreeMap<String, String>,
    },
}

/// Where events go, and what all of a container's say; see [`crate::events`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTarget {
    /// The file, by absolute path.
    pub path: PathBuf,
    /// Attributes: image, name (the container's file `name` counts for more), labels.
    pub attributes: BTreeMap<String, String>,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Program and arguments, run in the container as its own user: exit code 0 means that all is well.
    pub command: Vec<String>,
    /// From the end of a check to the next.
    pub interval: Duration,
    /// After this time a check has failed and is killed.
    pub timeout: Duration,
    /// Time after the start in which failures do not count.
    pub start_period: Duration,
    /// Interval in that time.
    pub start_interval: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// What it gets when it becomes unhealthy.
    pub on_failure: OnFailure,
}

/// What an unhealthy container gets; podman's `--health-on-failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing.
    None,
    /// SIGKILL; the restart policy holds.
    Kill,
    /// It is stopped and started again, whatever the restart policy says.
    Restart,
    /// It is stopped for good.
    Stop,
}

/// Whether a container is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Not known yet.
    Starting,
    /// It is.
    Healthy,
    /// It is not.
    Unhealthy,
}

/// `health.json`: what the health checks of the current or last run found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// [`VERSION`].
    pub version: u32,
    /// Whether it is well.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last [`crate::health::RESULTS`], oldest first.
    pub results: Vec<CheckResult>,
}

/// What a health check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Nanoseconds since the epoch.
    pub start: u64,
    /// Nanoseconds since the epoch.
    pub end: u64,
    /// Of the check's process; -1 when there was none or it was killed for its time.
    pub exit_code: i32,
    /// The beginning of its output, or why there was none.
    pub output: String,
}

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// Absolute path; `<path>.1` is the file before it.
    pub path: PathBuf,
    /// Bytes after which a new file is begun; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// How many files there are at most, this one included.
    pub max_files: u32,
    /// Most bytes of a line that are written in one record; absent means [`crate::log::TEXT_LIMIT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_line: Option<NonZeroU32>,
    /// A directory above it, below which no link is followed: others may write there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<PathBuf>,
}

impl LogTarget {
    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&LogFile> {
        match self {
            Self::K8sFile(file) | Self::JsonFile { file, .. } => Some(file),
            Self::Journald { .. } => None,
        }
    }
}

/// `sandbox.json`: namespaces that the shim makes and keeps, for several containers or for all runs of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sandbox {
    /// [`VERSION`].
    pub version: u32,
    /// Which: user, network, ipc, uts, pid. With pid there is a small process 1 that reaps.
    pub namespaces: Vec<NamespaceKind>,
    /// When it ends.
    #[serde(default)]
    pub ends: Ends,
    /// Host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Kernel parameters of its namespaces, by their dotted names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Mappings of its user namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Mappings of its user namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    /// Size in bytes of the /dev/shm that its containers share; absent means that each has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// SELinux context of that /dev/shm, and of the root of process 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_label: Option<String>,
    /// SELinux context of process 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_label: Option<String>,
    /// Program, by absolute path, and arguments: run to its end, for at most [`ON_EXIT_LIMIT`], when the sandbox has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_exit: Vec<String>,
}

/// When a sandbox ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// When its container has ended for good: that of a standalone container.
    #[default]
    WithContainer,
    /// When it is stopped: that of a pod.
    OnRequest,
}

/// `sandbox-status.json`: how the sandbox of a pod is, written by its shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// [`VERSION`].
    pub version: u32,
    /// As in [`Status`].
    pub boot_id: String,
    /// As in [`Status`].
    pub shim: (i32, u64),
    /// How it is.
    pub state: SandboxState,
    /// When it was made, in nanoseconds since the epoch.
    pub started_at: u64,
    /// When it ended; absent while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// Process 1 of its pid namespace: process id on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<i32>,
    /// Why it ended by itself, or what went wrong with `on_exit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// State of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxState {
    /// Its namespaces are there.
    Ready,
    /// It has ended.
    Ended,
}

/// How long `on_exit` of a sandbox may take; then it is killed.
pub const ON_EXIT_LIMIT: Duration = Duration::from_secs(10);

/// An overlay root file system. In a user namespace its files, those of the writable layer included, have the ids on disk that they
/// have in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Read-only layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// Writable layer and the overlay's work directory, both in one directory; absent means a read-only overlay.
    pub upper: Option<(PathBuf, PathBuf)>,
}

/// An image that is mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMount {
    /// Destination of its bind mount in `config.json`.
    pub destination: PathBuf,
    /// Layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// Only the file or directory there; no link in the image leads out of it. Absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<PathBuf>,
}

/// Standard input of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// /dev/null.
    Closed,
    /// Open; end of file when the first attached client's input ends.
    Once,
    /// Open until the container ends.
    Open,
}

/// Restart policy as docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Never.
    No,
    /// After an exit code other than 0, at most so many times (`None`: without end).
    OnFailure(Option<u32>),
    /// Always, until stopped.
    Always,
    /// As always; differs only when the host starts.
    UnlessStopped,
}

/// `status.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// `/proc/sys/kernel/random/boot_id` of the boot that wrote it: what another boot wrote is stale.
    pub boot_id: String,
    /// Process id of the shim and its start time (field 22 of /proc/PID/stat).
    pub shim: (i32, u64),
    /// Path of the container's cgroup as in `linux.cgroupsPath`; absent before there could be one.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// State of the container.
    pub state: State,
    /// How many times the restart policy started it again.
    pub restart_count: u32,
    /// Start of the current or last run, nanoseconds since the epoch; 0 before the first.
    pub started_at: u64,
    /// How the last run ended.
    pub last_exit: Option<Exit>,
    /// Why the last attempt to create or start it failed, or what its log could not take.
    pub error: Option<String>,
    /// Bytes of output that were not written to the log because writing failed.
    #[serde(default)]
    pub log_dropped: u64,
    /// What the health checks of the current or last run say; more of it is in `health.json`. Absent without health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
}

/// State of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Being made; nothing runs yet.
    Creating,
    /// The init process waits for `start`.
    Created {
        /// Process id on the host and its start time.
        init: (i32, u64),
    },
    /// The program runs.
    Running {
        /// Process id on the host and its start time.
        init: (i32, u64),
    },
    /// Frozen.
    Paused {
        /// Process id on the host and its start time.
        init: (i32, u64),
    },
    /// Ended; the restart policy starts it again at this time.
    Restarting {
        /// Nanoseconds since the epoch.
        at: u64,
    },
    /// Ended; see [`Status::last_exit`]. Without one it never ran.
    Exited,
    /// Its files are being removed; if nobody is at it any more, removing it again finishes the work.
    Removing,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, 128+n after signal n.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel's OOM killer struck in the container during this run and the process was killed.
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub finished_at: u64,
}

/// First pause before a restart; doubled after each run of less than [`RESTART_RESET`].
pub const RESTART_BACKOFF: Duration = Duration::from_millis(100);

/// Longest pause before a restart.
pub const RESTART_BACKOFF_LIMIT: Duration = Duration::from_secs(60);

/// A run of this length resets the pause.
pub const RESTART_RESET: Duration = Duration::from_secs(10);

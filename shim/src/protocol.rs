//! What is said on a shim's socket.
//!
//! A unix `SOCK_SEQPACKET` socket; a packet is one JSON message, at most [`PACKET_LIMIT`] bytes, with at most [`FDS_LIMIT`]
//! descriptors. A connection carries one request at a time. The shim answers every request with one [`Reply`]; requests that
//! hold a session ([`Request::Attach`], [`Request::Exec`], [`Request::Wait`]) get a second, final [`Reply::Exited`] when the
//! process has ended, all its output has been passed on and the exit is recorded. A client that goes away ends its session
//! and nothing else.
//!
//! ```text
//!  client                               shim
//!    │ Exec {..} + [stdin, stdout, stderr] │
//!    │────────────────────────────────────▶│ clone3 into the container
//!    │◀────────────────── Started { pid } ─│
//!    │ Resize {..}  (any number)           │
//!    │────────────────────────────────────▶│
//!    │◀───────────────────────────── Done ─│
//!    │◀───────────────── Exited { code, .. }│
//! ```
//!
//! The first packet on every connection is the shim's own: [`Reply::Ready`]; the shim serves the connection and stays as long as
//! it is open. A connection that is closed instead has met a shim in its last moments. On the socket pair that a shim is started
//! with it may be [`Reply::Failed`], when it cannot serve.

use std::time::Duration;

use runtime::spec::{ConsoleSize, NamespaceKind, Process, Resources};
use serde::{Deserialize, Serialize};

use crate::layout::{CheckResult, Exit, HealthStatus, RestartPolicy, Status};

/// Largest packet in bytes.
pub const PACKET_LIMIT: usize = 128 << 10;

/// Most descriptors in a packet; more than the three streams of a process come with [`Request::Hold`] only.
pub const FDS_LIMIT: usize = 64;

/// A request. `container` is the id; a standalone shim has one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Makes the container that `<dir>/config.json` and `<dir>/shim.json` describe; `dir` is relative to the shim's
    /// directory, `.` for a standalone container, `containers/<id>` for one of a pod. With a descriptor `dir` is relative to that
    /// directory instead, and the container's own, which is removed along with it. Answer: [`Reply::Created`].
    Create {
        /// Id of the container.
        container: String,
        /// Its directory.
        dir: String,
    },
    /// Lets the created container run its program; one that waits for its restart is started at once. Answer: [`Reply::Started`].
    Start {
        /// Id of the container.
        container: String,
    },
    /// Sends a signal to the init process, or to all processes. SIGKILL and the container's stop signal disable the restart
    /// policy for this run, as docker's kill. Answer: [`Reply::Done`].
    Kill {
        /// Id of the container.
        container: String,
        /// Signal number.
        signal: i32,
        /// All processes of the container.
        all: bool,
    },
    /// Stops it for good (no restart): `signal`, then after `timeout` SIGKILL to all. Answers [`Reply::Exited`] once it is over,
    /// [`Reply::Done`] for a container that never ran; a second Stop joins the first and can only shorten its timeout.
    Stop {
        /// Id of the container.
        container: String,
        /// Signal number.
        signal: i32,
        /// Grace period; absent waits for ever.
        timeout: Option<Duration>,
    },
    /// Freezes all processes. Answer: [`Reply::Done`].
    Pause {
        /// Id of the container.
        container: String,
    },
    /// Thaws them. Answer: [`Reply::Done`].
    Resume {
        /// Id of the container.
        container: String,
    },
    /// Changes limits or the restart policy, all or nothing; also rewrites `config.json`/`shim.json`, so that a restart keeps
    /// them. Answer: [`Reply::Done`].
    Update {
        /// Id of the container.
        container: String,
        /// New values; what is absent stays.
        resources: Option<Box<Resources>>,
        /// New restart policy.
        restart: Option<RestartPolicy>,
        /// New `oom_score_adj`, for its processes that have the old one: what a program has chosen for a process of its own stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        oom_score_adj: Option<i32>,
    },
    /// Runs one more process in the container. With descriptors: its stdin, stdout, stderr as *pipe or socket ends that the
    /// client relays* (never the client's own terminal), absent streams are /dev/null. With `process.terminal` the shim
    /// allocates the pseudo terminal and relays it to descriptors 0 (input) and 1 (output). Answer: [`Reply::Started`], then
    /// [`Reply::Exited`].
    Exec {
        /// Id of the container.
        container: String,
        /// Name of the exec session, unique in the container.
        exec_id: String,
        /// What to run.
        process: Box<Process>,
        /// Which of the descriptors follow.
        streams: Streams,
        /// What is special about it.
        #[serde(default)]
        options: ExecOptions,
    },
    /// Connects to the streams of the init process; descriptors as for `Exec`. Answer: [`Reply::Done`], then [`Reply::Exited`].
    /// A container's output waits for a slow client while at most 64 KiB of it are under way. An attach between `Create` and
    /// `Start` sees every byte.
    Attach {
        /// Id of the container.
        container: String,
        /// Which of the descriptors follow.
        streams: Streams,
    },
    /// Changes the size of a pseudo terminal. Answer: [`Reply::Done`].
    Resize {
        /// Id of the container.
        container: String,
        /// Exec session; absent means the init process.
        exec_id: Option<String>,
        /// New size.
        size: ConsoleSize,
    },
    /// Sends a signal to an exec process. Answer: [`Reply::Done`].
    KillExec {
        /// Id of the container.
        container: String,
        /// Exec session.
        exec_id: String,
        /// Signal number.
        signal: i32,
        /// With SIGKILL: all that the process has started, too. Of a session without a limit these are its descendants and those
        /// of its terminal session; of one with a limit all, see [`ExecOptions::limit`].
        #[serde(default)]
        all: bool,
    },
    /// Answers [`Reply::Exited`] when the container ends for good (no restart is due), [`Reply::Done`] when it never ran and
    /// never will.
    Wait {
        /// Id of the container.
        container: String,
    },
    /// Answer: [`Reply::Status`].
    State {
        /// Id of the container.
        container: String,
    },
    /// Checks the container's health now, or joins a check that runs. Answer: [`Reply::Checked`].
    HealthCheck {
        /// Id of the container.
        container: String,
    },
    /// Reopens the log file, after a rotation by the caller. Answer: [`Reply::Done`].
    ReopenLog {
        /// Id of the container.
        container: String,
    },
    /// Makes the sandbox that `<dir>/sandbox.json` describes, unless there is one already: namespaces that the shim keeps open and
    /// in which nothing runs (but a small process 1 in a pid namespace). Answer: [`Reply::Sandbox`], with the descriptor of the
    /// network namespace if it has one. It ends, and `on_exit` is run, when its container has ended for good or the last
    /// connection is closed before there was one; that of a pod at [`Request::StopSandbox`].
    Sandbox {},
    /// Stops a pod's sandbox: each container by its stop signal, and all that are left after `timeout` by SIGKILL; none starts
    /// again. Then the sandbox ends and `on_exit` is run. The shim ends when nobody is connected any more. Answer, once it is all
    /// over or if there is no sandbox: [`Reply::Done`]. Refused for that of a standalone container which has not ended.
    StopSandbox {
        /// Grace period; absent waits for ever.
        timeout: Option<Duration>,
    },
    /// The same without a grace period; then removes all containers, whoever made their directories, and the shim's directory
    /// with all that is left in it. The shim ends after the answer. Answer: [`Reply::Done`].
    RemoveSandbox {},
    /// Keeps the descriptors that come with it, 1 to [`FDS_LIMIT`], open until the sandbox ends; sockets, as a rule, that are
    /// bound to the ports of a published service. May be repeated, up to a limit. Answer: [`Reply::Done`].
    Hold {},
    /// Removes a container that does not run: its cgroup and, for a standalone one, all of its directories; `force` kills it
    /// first. The shim of a standalone container ends after the answer. Answer: [`Reply::Done`].
    Remove {
        /// Id of the container.
        container: String,
        /// Kill it if it lives.
        force: bool,
    },
}

/// What is special about an exec session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOptions {
    /// How long it may take: then the process is killed with all that it started, also what left its session or parent. It has a
    /// cgroup of its own below the container's for that. What is left running by a process that ended in time goes on.
    pub limit: Option<Duration>,
    /// The environment begins with that of the container's own process, and `process.env` follows: together they may be
    /// larger than a packet.
    pub container_env: bool,
}

/// Which standard streams come with a request, in the order of the descriptors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// The client writes the process's input here.
    pub stdin: bool,
    /// The process's output, or the terminal's.
    pub stdout: bool,
    /// The process's error output.
    pub stderr: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The shim serves this connection. Sent once, unasked, as its first packet.
    Ready {
        /// Process id of the shim.
        pid: i32,
    },
    /// The init process exists and waits for `Start`.
    Created {
        /// Its process id on the host.
        pid: i32,
    },
    /// The program runs.
    Started {
        /// Its process id on the host.
        pid: i32,
    },
    /// The sandbox is there.
    Sandbox {
        /// Its namespaces. The descriptor of a network namespace comes along.
        namespaces: Vec<NamespaceKind>,
        /// Process id on the host of process 1 of its pid namespace.
        init: Option<i32>,
        /// Number by which the shim itself keeps the network namespace: `/proc/SHIM/fd/NUMBER` leads there until the sandbox ends.
        network: Option<i32>,
    },
    /// It was carried out.
    Done,
    /// How the container is.
    Status {
        /// Its record.
        status: Box<Status>,
    },
    /// A health check has been done.
    Checked {
        /// What the container is now.
        status: HealthStatus,
        /// What the check found.
        result: CheckResult,
    },
    /// The process ended.
    Exited {
        /// How.
        exit: Exit,
    },
    /// It was not carried out.
    Failed {
        /// Why, as a class that callers act on.
        kind: FailureKind,
        /// Why, in words.
        message: String,
    },
}

/// Classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The program is not there (docker's exit code 127).
    CommandNotFound,
    /// The program cannot be executed (docker's exit code 126).
    CommandNotExecutable,
    /// No container or exec session of this name.
    NotFound,
    /// Not allowed in the state the container is in.
    WrongState,
    /// The request makes no sense.
    Invalid,
    /// Anything else.
    Internal,
}

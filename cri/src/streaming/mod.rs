//! Streams of exec, attach and port-forward over HTTP connections.
//!
//! ```text
//!  a call of the service: what to do ─▶ Tokens ─▶ http://HOST:PORT/exec/TOKEN ─▶ kubelet
//!  kubelet ─▶ GET or POST that address, Upgrade: SPDY/3.1 or websocket ─▶ Server ─▶ streams ─▶ pipes of the process
//! ```
//!
//! An address is good once, for a minute. Nothing here knows the CRI or the shim: what is to be done comes as a closure that gets
//! the ends of pipes ([`Ends`]) or makes connections ([`Dial`]).

mod audit;
mod port_forward;
mod remote_command;
mod request;
mod server;
pub mod spdy;
mod status;
mod stream;
#[cfg(test)]
mod tests;
pub mod tls;
mod token;
mod websocket;

use std::future::Future;
use std::pin::Pin;

use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

pub use server::{Address, BindError, Config, Server};
pub use token::Full;

/// What a closure answers.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A process that runs: how it ends, or why it could not be run.
pub type Running = Boxed<Result<Exit, String>>;

/// A connection that is being made.
pub type Dialling = Boxed<Result<TcpStream, String>>;

/// Runs the process, or attaches to it; answers when it has ended and all its output has been read from the pipes.
pub type Run = Box<dyn FnOnce(Ends) -> Running + Send>;

/// Connects to a port of the pod.
pub type Dial = Box<dyn Fn(u16) -> Dialling + Send + Sync>;

/// A process with streams.
pub struct Command {
    /// Which of them.
    pub wanted: Wanted,
    /// How to run it.
    pub run: Run,
    /// What the audit says of it.
    pub subject: Subject,
}

/// Ports of a pod.
pub struct Ports {
    /// Those of a client that cannot name ports itself; others choose any.
    pub named: Vec<u16>,
    /// How to connect to one.
    pub dial: Dial,
    /// What the audit says of it.
    pub subject: Subject,
}

/// What a session is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Id of the pod.
    pub pod: String,
    /// Id of the container.
    pub container: Option<String>,
    /// The command that is run.
    pub command: Vec<String>,
}

/// Which streams a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// It writes the process's input.
    pub stdin: bool,
    /// It reads its output.
    pub stdout: bool,
    /// It reads its error output; never with a terminal.
    pub stderr: bool,
    /// The process has a terminal, whose size the client sets.
    pub tty: bool,
}

/// The process's ends of its streams; those that were not asked for are absent.
pub struct Ends {
    /// It reads here.
    pub stdin: Option<pipe::Receiver>,
    /// It writes here.
    pub stdout: Option<pipe::Sender>,
    /// It writes errors here.
    pub stderr: Option<pipe::Sender>,
    /// Sizes of the terminal, as the client changes them.
    pub sizes: mpsc::Receiver<Size>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code.
    pub code: i32,
}

/// What an address is for: the first part of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Exec,
    Attach,
    PortForward,
}

impl Kind {
    /// As it is in addresses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Exec => "exec",
            Kind::Attach => "attach",
            Kind::PortForward => "portforward",
        }
    }
}

/// What an address leads to.
pub(crate) enum Target {
    Exec(Command),
    Attach(Command),
    Ports(Ports),
}

impl Target {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Target::Exec(_) => Kind::Exec,
            Target::Attach(_) => Kind::Attach,
            Target::Ports(_) => Kind::PortForward,
        }
    }
}

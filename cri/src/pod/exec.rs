//! More processes in a running container, and its own process's streams.
//!
//! ```text
//!  ExecSync   pipes ─▶ shim: Exec with a limit ─▶ what both pipes say, up to a limit, and the exit code
//!  Exec       at the address: pipes of the client ─▶ shim: Exec; sizes ─▶ Resize
//!  Attach     at the address: pipes of the client ─▶ shim: Attach
//! ```
//!
//! It is the shim that ends what takes too long: a daemon that is gone leaves nothing behind that runs for ever.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runtime::spec::{ConsoleSize, Process, Spec};
use shim::client;
use shim::protocol::{ExecOptions, Reply, Request, Streams};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::engine::{Engine, blocking};
use super::error::{Error, Io};
use super::id::Id;
use super::run::open;
use super::shim_peer::Peer;
use super::state::{ContainerState, ContainerView};
use crate::streaming::{Ends, Exit, Wanted};

/// Most bytes of a stream that ExecSync answers with. CRI: ExecSync, as containerd's and CRI-O's.
pub const OUTPUT_LIMIT: usize = 16 << 20;

/// How long after its limit an exec session may take to be killed, its output to be read and its end to be told.
const PATIENCE: Duration = Duration::from_secs(3);

/// The end of a terminal, as the kernel tells it.
const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;

/// What ExecSync found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The beginning of its output.
    pub stdout: Vec<u8>,
    /// The beginning of its error output.
    pub stderr: Vec<u8>,
    /// Exit code, 128+n after signal n.
    pub code: i32,
}

impl Engine {
    /// A container whose program runs.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`].
    pub fn running_container(&self, id: &str) -> Result<ContainerView, Error> {
        let view = self.container(id)?;
        match view.state {
            ContainerState::Running { .. } => Ok(view),
            ContainerState::Created | ContainerState::Exited(_) => Err(not_running(&view)),
        }
    }

    /// Runs a command in a container and waits for its end. After `limit` it is killed with all that it started. When nobody waits
    /// for it any more, it is killed as well. CRI: ExecSync
    ///
    /// # Errors
    /// [`Error::Overdue`] after `limit`; [`Error::Exec`]: the command could not be started.
    pub async fn exec_sync(&self, id: &str, command: Vec<String>, limit: Option<Duration>) -> Result<Executed, Error> {
        let (engine, view) = (self.clone(), self.running_container(id)?);
        let (gone, leaving) = tokio::sync::oneshot::channel::<()>();
        // A task of its own: the client may give up at any point, and the end must still be seen.
        let work = tokio::spawn(async move { engine.exec_now(&view, command, limit, leaving).await });
        let result = work.await.map_err(|panic| Error::Panic(panic.to_string()))?;
        drop(gone);
        result
    }

    async fn exec_now(
        &self,
        view: &ContainerView,
        command: Vec<String>,
        limit: Option<Duration>,
        leaving: tokio::sync::oneshot::Receiver<()>,
    ) -> Result<Executed, Error> {
        let shim = Peer::connect(&view.dir).await?.ok_or_else(|| not_running(view))?;
        let process = process(&view.dir, command, Terminal::No).await?;
        let (out, err) = (pipe()?, pipe()?);
        let streams = Streams { stdin: false, stdout: true, stderr: true };
        let session = Session::new(view);
        let ends = [out.1, err.1];
        // Before the shim's clock starts: what it kills at the limit is not taken for an end of its own.
        let since = std::time::Instant::now();
        session.begin(&shim, Command { process, streams, limit }, &ends).await?;
        drop(ends);
        let ended = async {
            let (stdout, stderr) = tokio::join!(gather(out.0), gather(err.0));
            let code = session.ended(&shim).await?;
            Ok(Executed { stdout: stdout?, stderr: stderr?, code })
        };
        let overdue = || Error::Overdue { limit: limit.unwrap_or_default() };
        let whole = async {
            match limit.and_then(|limit| limit.checked_add(PATIENCE)) {
                Some(most) => timeout(most, ended).await.unwrap_or_else(|_| Err(overdue())),
                None => ended.await,
            }
        };
        let result = tokio::select! {
            result = whole => result,
            // The sender is dropped without a word: the client has gone.
            _ = leaving => {
                session.signal(SIGKILL, true).await;
                return Err(overdue());
            }
        };
        match (result, limit) {
            // The shim has killed it.
            (Ok(executed), Some(limit)) if executed.code == 128 + SIGKILL && since.elapsed() >= limit => Err(overdue()),
            (result, _) => result,
        }
    }

    /// Runs a command with a client's streams until it has ended. A client that leaves a terminal hangs it up; one that leaves
    /// pipes closes them, and the command goes on.
    ///
    /// # Errors
    /// The command could not be started; the container does not run.
    pub async fn exec(&self, id: &str, command: Vec<String>, wanted: Wanted, ends: Ends) -> Result<Exit, Error> {
        let view = self.running_container(id)?;
        let shim = Peer::connect(&view.dir).await?.ok_or_else(|| not_running(&view))?;
        let terminal = if wanted.tty { Terminal::Yes } else { Terminal::No };
        let process = process(&view.dir, command, terminal).await?;
        let session = Session::new(&view);
        let (streams, fds, mut sizes) = descriptors(ends)?;
        session.begin(&shim, Command { process, streams, limit: None }, &fds).await?;
        drop(fds);
        let hang_up = HangUp { session: wanted.tty.then(|| session.clone()) };
        let code = session.follow(&shim, &mut sizes).await?;
        hang_up.not_needed();
        Ok(Exit { code })
    }

    /// Connects a client with the streams of a container's own process, until that has ended or the client leaves.
    ///
    /// # Errors
    /// The container does not run.
    pub async fn attach(&self, id: &str, ends: Ends) -> Result<Exit, Error> {
        let view = self.running_container(id)?;
        let shim = Peer::connect(&view.dir).await?.ok_or_else(|| not_running(&view))?;
        let (streams, fds, mut sizes) = descriptors(ends)?;
        let container = view.record.id.to_string();
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        shim.request(&Request::Attach { container, streams }, &borrowed).await?;
        drop(fds);
        let session = Session { dir: view.dir.clone(), container: view.record.id.clone(), name: None };
        session.follow(&shim, &mut sizes).await?;
        // Its exit code is the container's, not the session's.
        Ok(Exit { code: 0 })
    }
}

fn not_running(view: &ContainerView) -> Error {
    Error::WrongState { id: view.record.id.clone(), state: view.state.word(), wanted: "running" }
}

/// Whether a process has a pseudo terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Terminal {
    Yes,
    No,
}

/// The container's own process, with another command. Its environment stays with the shim.
async fn process(dir: &std::path::Path, command: Vec<String>, terminal: Terminal) -> Result<Process, Error> {
    let dir = dir.to_owned();
    blocking(move || {
        let directory = open(&dir)?;
        let spec: Spec = runtime::spec::load(&directory, "config.json".as_ref())
            .map_err(|error| Error::Exec { message: format!("{}: {error}", dir.join("config.json").display()) })?;
        let mut process =
            spec.process.ok_or_else(|| Error::Exec { message: "config.json has no process".to_owned() })?;
        let has_term = process.env.iter().any(|variable| variable.starts_with("TERM="));
        process.args = command;
        process.terminal = terminal == Terminal::Yes;
        process.console_size = None;
        process.env = match terminal {
            Terminal::Yes if !has_term => vec!["TERM=xterm".to_owned()],
            Terminal::Yes | Terminal::No => Vec::new(),
        };
        Ok(process)
    })
    .await
}

/// A pipe: our end, and the shim's.
fn pipe() -> Result<(pipe::Receiver, OwnedFd), Error> {
    let call = || "pipe2(O_CLOEXEC)".to_owned();
    let (theirs, ours) = pipe::pipe().io(call)?;
    Ok((ours, theirs.into_nonblocking_fd().io(call)?))
}

/// The ends of a client's pipes, for the shim.
fn descriptors(
    ends: Ends,
) -> Result<(Streams, Vec<OwnedFd>, tokio::sync::mpsc::Receiver<crate::streaming::Size>), Error> {
    let Ends { stdin, stdout, stderr, sizes } = ends;
    let call = || "fcntl(<pipe>)".to_owned();
    let streams = Streams { stdin: stdin.is_some(), stdout: stdout.is_some(), stderr: stderr.is_some() };
    let mut fds = Vec::new();
    fds.extend(stdin.map(|end| end.into_nonblocking_fd()).transpose().io(call)?);
    fds.extend(stdout.map(|end| end.into_nonblocking_fd()).transpose().io(call)?);
    fds.extend(stderr.map(|end| end.into_nonblocking_fd()).transpose().io(call)?);
    Ok((streams, fds, sizes))
}

/// Reads a pipe to its end and keeps the first [`OUTPUT_LIMIT`] bytes: whoever writes never waits for us.
async fn gather(mut pipe: pipe::Receiver) -> Result<Vec<u8>, Error> {
    let call = || "read(<pipe>)".to_owned();
    let mut kept = Vec::new();
    (&mut pipe).take(OUTPUT_LIMIT as u64).read_to_end(&mut kept).await.io(call)?;
    let mut rest = vec![0; 64 << 10];
    while pipe.read(&mut rest).await.io(call)? > 0 {}
    Ok(kept)
}

/// What is run in a session. Its environment comes after that of the container's own process.
struct Command {
    process: Process,
    streams: Streams,
    limit: Option<Duration>,
}

/// A process whose streams are a client's.
#[derive(Clone)]
struct Session {
    dir: PathBuf,
    container: Id,
    /// `None`: the container's own process.
    name: Option<String>,
}

impl Session {
    /// A new exec session; its name is no other's while the container lives.
    fn new(view: &ContainerView) -> Session {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rtd-{}-{}-{number}", std::process::id(), super::engine::now());
        Session { dir: view.dir.clone(), container: view.record.id.clone(), name: Some(name) }
    }

    async fn begin(&self, shim: &Peer, what: Command, fds: &[OwnedFd]) -> Result<(), Error> {
        let Command { process, streams, limit } = what;
        let (container, exec_id) = (self.container.to_string(), self.name.clone().unwrap_or_default());
        let options = ExecOptions { limit, container_env: true };
        let request = Request::Exec { container, exec_id, process: Box::new(process), streams, options };
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        match shim.request(&request, &borrowed).await {
            Ok(Reply::Started { .. }) => Ok(()),
            Ok(other) => Err(client::Error::Unexpected(format!("{other:?}")).into()),
            Err(Error::Shim(client::Error::Failed { message, .. })) => Err(Error::Exec { message }),
            Err(error) => Err(error),
        }
    }

    /// The exit code, when it has come to that.
    async fn ended(&self, shim: &Peer) -> Result<i32, Error> {
        loop {
            match shim.receive().await {
                Ok(Reply::Exited { exit }) => return Ok(exit.code),
                // Answers to sizes; a process that has ended takes none.
                Ok(_) | Err(client::Error::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As [`Session::ended`], and passes sizes on meanwhile.
    async fn follow(
        &self,
        shim: &Peer,
        sizes: &mut tokio::sync::mpsc::Receiver<crate::streaming::Size>,
    ) -> Result<i32, Error> {
        let ended = self.ended(shim);
        tokio::pin!(ended);
        loop {
            let size = tokio::select! {
                code = &mut ended => return code,
                Some(size) = sizes.recv() => size,
            };
            let size = ConsoleSize { width: size.width, height: size.height };
            let (container, exec_id) = (self.container.to_string(), self.name.clone());
            shim.send(&Request::Resize { container, exec_id, size }).await?;
        }
    }

    /// Sends a signal; what has ended does not need it.
    async fn signal(&self, signal: i32, all: bool) {
        let Some(exec_id) = self.name.clone() else { return };
        let request = Request::KillExec { container: self.container.to_string(), exec_id, signal, all };
        // Nobody is left to be told: the process's own limit, or the container's end, does the rest.
        if let Ok(Some(shim)) = Peer::connect(&self.dir).await {
            let _ = shim.request(&request, &[]).await;
        }
    }
}

/// Hangs a terminal up when its client has gone before the process.
struct HangUp {
    session: Option<Session>,
}

impl HangUp {
    fn not_needed(mut self) {
        self.session = None;
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        if let (Some(session), Ok(runtime)) = (self.session.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { session.signal(SIGHUP, false).await });
        }
    }
}

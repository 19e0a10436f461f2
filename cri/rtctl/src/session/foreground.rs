//! A container's program in the foreground: attach before it starts, relay, and end with its exit code.

use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use shim::client::{Connection, Error, Session};
use shim::layout::{State, Status};
use shim::local::Directory;
use shim::protocol::{FailureKind, Reply, Request, Streams};
use shim::record;

use super::detach::DetachKeys;
use super::relay::{self, Caller, Manner, Outcome, PassSignals, Peer, Pipes};
use crate::store::view::Container;

/// What is attached, and how.
pub(crate) struct Foreground {
    pub(crate) streams: Streams,
    /// Whether the container has a pseudo terminal.
    pub(crate) terminal: bool,
    pub(crate) detach: DetachKeys,
    pub(crate) signals: PassSignals,
    /// Wait until the shim has removed the container.
    pub(crate) auto_remove: bool,
}

/// A session that has not begun to relay.
pub(crate) struct Attached {
    session: Session,
    pipes: Pipes,
    caller: Caller,
    peer: Peer,
    manner: Manner,
    shown: String,
    directory: Directory,
    removal: Removal,
}

/// Whether the shim removes the container at its end, and how that is waited for. Known before the end: afterwards the directory
/// may be gone, and with it what tells a pod's shim from one that is the container's own.
#[derive(Clone, Copy)]
enum Removal {
    None,
    /// The shim ends with it.
    ByItsOwnShim,
    /// The shim stays.
    ByThePods,
}

/// Attaches to a container's program, whether it runs or waits to be started.
pub(crate) fn attach(container: &Container, foreground: Foreground) -> Result<Attached> {
    let Foreground { streams, terminal, detach, signals, auto_remove } = foreground;
    let removal = match (auto_remove, container.pod()) {
        (false, _) => Removal::None,
        (true, None) => Removal::ByItsOwnShim,
        (true, Some(_)) => Removal::ByThePods,
    };
    // Opened first, too: one that runs already may end at any time.
    let directory = container.directory()?;
    let connection = match container.connect()? {
        Some(connection) => connection,
        None => bail!("container {0} is not running; rtctl start {0} first", container.shown()),
    };
    let manner = Manner { detach, signals };
    // Signals first: one that comes from here on is passed on, or ends us with the terminal as it was.
    let caller = Caller::prepare(&manner, terminal && streams.stdin)?;
    let request = Request::Attach { container: container.id.clone(), streams };
    let (session, pipes, reply) = begin(connection, &request, streams)?;
    match reply {
        Reply::Done => {}
        other => bail!("unexpected answer of the shim: {other:?}"),
    }
    let peer = Peer { container: container.id.clone(), exec_id: None, terminal };
    let shown = container.shown().to_owned();
    Ok(Attached { session, pipes, caller, peer, manner, shown, directory, removal })
}

/// Sends a request that begins a session, with new pipes for the streams.
pub(crate) fn begin(connection: Connection, request: &Request, streams: Streams) -> Result<(Session, Pipes, Reply)> {
    let (pipes, theirs) = Pipes::new(streams)?;
    let fds: Vec<_> = theirs.iter().map(|fd| fd.as_fd()).collect();
    let (session, reply) = connection.session(request, &fds)?;
    Ok((session, pipes, reply))
}

impl Attached {
    /// Relays until the end; the exit code.
    pub(crate) fn relay(self) -> Result<u8> {
        let Attached { mut session, pipes, caller, peer, manner, shown, directory, removal } = self;
        let outcome = relay::relay(&mut session, pipes, &caller, &peer, manner)?;
        drop(caller);
        let exit = match outcome {
            Outcome::Exited(exit) => exit,
            Outcome::Detached => {
                eprintln!("\r");
                return Ok(0);
            }
            Outcome::Signal(signal) => return Ok(super::signal_code(signal)),
            Outcome::BrokenPipe => return Ok(super::signal_code(nix::libc::SIGPIPE)),
            // Its records say what became of the container.
            Outcome::Gone => return recorded(&shown, &directory),
        };
        removal
            .wait(&session.into_connection(), peer.container.clone())
            .context("waiting for the removal of the container")?;
        match removal {
            Removal::None => {}
            Removal::ByItsOwnShim | Removal::ByThePods => refuse_left(&shown, &peer.container, &directory, exit.code)?,
        }
        Ok(crate::verb::exit_code(exit.code))
    }
}

impl Removal {
    /// Waits for it, after the shim has told of the end.
    fn wait(self, connection: &Connection, container: String) -> Result<(), Error> {
        match self {
            Removal::None => Ok(()),
            Removal::ByItsOwnShim => connection.closed(),
            // The shim tells the last client and removes the container in one go: when it answers the next request, that is done.
            Removal::ByThePods => match connection.request(&Request::State { container }, &[]) {
                // It stays for others who are attached, until they have read their output.
                Ok(_) => Ok(()),
                Err(Error::Gone | Error::Failed { kind: FailureKind::NotFound, .. }) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }
}

/// What its shim could not remove is told, with the reason that it recorded; once it is gone there is no record.
fn refuse_left(shown: &str, id: &str, directory: &Directory, code: i32) -> Result<()> {
    match record::read::<Status>(directory) {
        Ok(Some(Status { state: State::Removing, error: Some(error), .. })) => {
            bail!("container {shown} has ended with code {code} and is left: {error}; rtctl rm -f {id} tries again")
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error).context("reading how its removal ended"),
    }
}

/// The exit code that the shim recorded before it went.
fn recorded(shown: &str, directory: &Directory) -> Result<u8> {
    let lost =
        || format!("the shim of container {shown} ended without a word; rtctl inspect {shown} shows what is known");
    match directory.status()? {
        Some(status) if status.state == State::Exited && status.error.is_none() => match status.last_exit {
            Some(exit) => Ok(crate::verb::exit_code(exit.code)),
            None => bail!(lost()),
        },
        Some(_) | None => bail!(lost()),
    }
}

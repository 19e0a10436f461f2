//! Passing bytes and signals between the caller and a process, in one loop around poll(2).
//!
//! Every stream has a buffer that is filled only when it is empty: a slow reader slows the writer down and nobody else. The
//! caller's own descriptors are shared with other programs, so they stay blocking; they are written to only as much as
//! poll(2) says fits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{pipe2, read, write};
use shim::client::{Error, Session};
use shim::layout::Exit;
use shim::protocol::{Request, Streams};

use super::detach::{DetachKeys, Typed};
use super::signals::{Signals, Take};
use super::terminal::{self, Raw};

/// Bytes read at once.
const BUFFER: usize = 64 << 10;

/// Bytes that a pipe takes without blocking once poll(2) calls it writable: pipe(7), PIPE_BUF.
const PIPE_BUF: usize = 4096;

/// Signals that ask this program to end.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Our ends of a process's streams.
pub(crate) struct Pipes {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Pipes {
    /// Makes pipes for `wanted`; the other ends go to the shim, in its order.
    pub(crate) fn new(wanted: Streams) -> Result<(Pipes, Vec<OwnedFd>)> {
        let mut theirs = Vec::new();
        let mut pipes = Pipes { stdin: None, stdout: None, stderr: None };
        let make = || pipe2(OFlag::O_CLOEXEC).context("pipe2");
        if wanted.stdin {
            let (reader, writer) = make()?;
            fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("fcntl(F_SETFL)")?;
            pipes.stdin = Some(writer);
            theirs.push(reader);
        }
        for (wanted, ours) in [(wanted.stdout, &mut pipes.stdout), (wanted.stderr, &mut pipes.stderr)] {
            if wanted {
                let (reader, writer) = make()?;
                fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("fcntl(F_SETFL)")?;
                *ours = Some(reader);
                theirs.push(writer);
            }
        }
        Ok((pipes, theirs))
    }
}

/// The process at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Container.
    pub(crate) container: String,
    /// Exec session; `None` for the init process.
    pub(crate) exec_id: Option<String>,
    /// Whether its streams are a pseudo terminal.
    pub(crate) terminal: bool,
}

/// How the caller wants it.
pub(crate) struct Manner {
    /// Keys that leave it running.
    pub(crate) detach: DetachKeys,
    /// Whether the caller's signals are passed on.
    pub(crate) signals: PassSignals,
}

/// Whether the caller's signals are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassSignals {
    Yes,
    No,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The process ended.
    Exited(Exit),
    /// The caller typed the detach keys.
    Detached,
    /// A signal asks this program to end.
    Signal(i32),
    /// Nobody reads our output any more.
    BrokenPipe,
    /// The shim is gone without a word.
    Gone,
}

/// One direction.
struct Flow {
    /// What is read; `None` after its end.
    from: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// Most bytes written at once to the caller's descriptor.
    piece: usize,
}

/// Signals are blocked and the terminal is raw from here on, until it is dropped. Made before the process starts, so that
/// nothing is missed.
pub(crate) struct Caller {
    signals: Signals,
    raw: Option<Raw>,
}

impl Caller {
    /// `terminal`: the process has a pseudo terminal that the caller types into.
    pub(crate) fn prepare(manner: &Manner, terminal: bool) -> Result<Caller> {
        let take = match manner.signals {
            PassSignals::Yes => Take::All,
            PassSignals::No => Take::Own,
        };
        let signals = Signals::take(take).context("signalfd")?;
        let raw =
            if terminal && terminal::stdin_is_terminal() { Some(Raw::enter().context("tcsetattr")?) } else { None };
        Ok(Caller { signals, raw })
    }
}

/// Relays until the process ends, or the caller leaves.
pub(crate) fn relay(
    session: &mut Session,
    pipes: Pipes,
    caller: &Caller,
    peer: &Peer,
    manner: Manner,
) -> Result<Outcome> {
    let flow = |from, target: BorrowedFd<'_>| {
        let regular = fstat(target).is_ok_and(|stat| stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits());
        Flow { from, buffer: Vec::new(), piece: if regular { BUFFER } else { PIPE_BUF } }
    };
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let mut relay = Relay {
        stdin: pipes.stdin,
        input: Vec::new(),
        stdout: flow(pipes.stdout, out.as_fd()),
        stderr: flow(pipes.stderr, err.as_fd()),
        caller,
        peer,
        manner,
        exit: None,
        detached: false,
    };
    if peer.terminal {
        relay.resize(session)?;
    }
    relay.run(session)
}

struct Relay<'a> {
    /// Where input goes; `None` after its end.
    stdin: Option<OwnedFd>,
    input: Vec<u8>,
    stdout: Flow,
    stderr: Flow,
    caller: &'a Caller,
    peer: &'a Peer,
    manner: Manner,
    exit: Option<Exit>,
    detached: bool,
}

/// Readiness of what was polled.
#[derive(Default)]
struct Ready {
    signals: bool,
    session: bool,
    input: bool,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    output: bool,
    error: bool,
}

impl Relay<'_> {
    fn run(&mut self, session: &mut Session) -> Result<Outcome> {
        loop {
            if let Some(exit) = &self.exit
                && self.stdout.done()
                && self.stderr.done()
            {
                return Ok(Outcome::Exited(exit.clone()));
            }
            if self.detached && self.input.is_empty() {
                return Ok(Outcome::Detached);
            }
            let ready = if session.ended() { Ready { session: true, ..Ready::default() } } else { self.poll(session)? };
            if ready.signals
                && let Some(outcome) = self.signal(session)?
            {
                return Ok(outcome);
            }
            if ready.input {
                self.read_input()?;
            }
            if ready.stdin {
                self.write_input()?;
            }
            self.stdout.read(ready.stdout)?;
            self.stderr.read(ready.stderr)?;
            for (flow, ready, target) in [
                (&mut self.stdout, ready.output, std::io::stdout().as_fd()),
                (&mut self.stderr, ready.error, std::io::stderr().as_fd()),
            ] {
                if ready && flow.write(target)? == Written::Broken {
                    return Ok(Outcome::BrokenPipe);
                }
            }
            if ready.session && self.exit.is_none() {
                match session.wait() {
                    Ok(exit) => {
                        self.exit = Some(exit);
                        self.stdin = None;
                        self.input.clear();
                    }
                    Err(Error::Gone) => return Ok(Outcome::Gone),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    fn poll(&self, session: &Session) -> Result<Ready> {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let mut set = vec![PollFd::new(self.caller.signals.as_fd(), PollFlags::POLLIN)];
        let (readable, writable) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        let wants_input = self.stdin.is_some() && self.input.is_empty() && !self.detached;
        let session_at = place(&mut set, self.exit.is_none().then(|| session.as_fd()), readable);
        let input_at = place(&mut set, wants_input.then(|| stdin.as_fd()), readable);
        let pipe_flags = if self.input.is_empty() { PollFlags::empty() } else { writable };
        let stdin_at = place(&mut set, self.stdin.as_ref().map(|fd| fd.as_fd()), pipe_flags);
        let stdout_at = place(&mut set, self.stdout.wants_read(), readable);
        let stderr_at = place(&mut set, self.stderr.wants_read(), readable);
        let output_at = place(&mut set, (!self.stdout.buffer.is_empty()).then(|| stdout.as_fd()), writable);
        let error_at = place(&mut set, (!self.stderr.buffer.is_empty()).then(|| stderr.as_fd()), writable);
        // After the exit nothing more is written into the pipes: what is there is taken, and an open end of somebody else's
        // is not waited for.
        let timeout = if self.exit.is_some() && output_at.is_none() && error_at.is_none() {
            PollTimeout::ZERO
        } else {
            PollTimeout::NONE
        };
        loop {
            match poll(&mut set, timeout) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("poll"),
            }
        }
        let is = |at: Option<usize>| at.is_some_and(|at| set[at].any() == Some(true));
        let drained = self.exit.is_some();
        Ok(Ready {
            signals: is(Some(0)),
            session: is(session_at),
            input: is(input_at),
            stdin: is(stdin_at),
            stdout: is(stdout_at) || drained,
            stderr: is(stderr_at) || drained,
            output: is(output_at),
            error: is(error_at),
        })
    }

    /// Acts on the signals that wait.
    fn signal(&mut self, session: &mut Session) -> Result<Option<Outcome>> {
        while let Some(signal) = self.caller.signals.next().context("read(signalfd)")? {
            if signal == Signal::SIGWINCH as i32 {
                self.resize(session)?;
                continue;
            }
            if self.manner.signals == PassSignals::No {
                return Ok(Some(Outcome::Signal(signal)));
            }
            // There is nobody left to pass it on to; what asks to end ends us, and the output that nobody takes.
            if self.exit.is_some() {
                if ENDING.iter().any(|ending| *ending as i32 == signal) {
                    return Ok(Some(Outcome::Signal(signal)));
                }
                continue;
            }
            let container = self.peer.container.clone();
            let request = match &self.peer.exec_id {
                Some(exec_id) => Request::KillExec { container, exec_id: exec_id.clone(), signal, all: false },
                None => Request::Kill { container, signal, all: false },
            };
            match session.request(&request) {
                // It has just ended; the exit follows.
                Ok(_) | Err(Error::Failed { .. }) => {}
                // It told the exit and went.
                Err(Error::Gone) if session.ended() => return Ok(None),
                Err(Error::Gone) => return Ok(Some(Outcome::Gone)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn resize(&self, session: &mut Session) -> Result<()> {
        let Some(size) = terminal::size().filter(|_| self.peer.terminal) else { return Ok(()) };
        match session.resize(&self.peer.container, self.peer.exec_id.as_deref(), size) {
            // Told by the next read, too.
            Ok(()) | Err(Error::Gone) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_input(&mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        match read(std::io::stdin(), &mut buffer) {
            // A terminal that is gone reads EIO.
            Ok(0) | Err(Errno::EIO) => self.stdin = None,
            Ok(length) => {
                let bytes = &buffer[..length];
                if self.caller.raw.is_none() {
                    self.input.extend_from_slice(bytes);
                } else {
                    match self.manner.detach.take(bytes) {
                        Typed::Input(bytes) => self.input = bytes,
                        Typed::Detach(bytes) => {
                            self.input = bytes;
                            self.detached = true;
                        }
                    }
                }
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno).context("read(stdin)"),
        }
        Ok(())
    }

    fn write_input(&mut self) -> Result<()> {
        let Some(stdin) = &self.stdin else { return Ok(()) };
        if self.input.is_empty() {
            // Only errors are polled for then: nobody reads any more.
            self.stdin = None;
            return Ok(());
        }
        match write(stdin, &self.input) {
            Ok(length) => {
                self.input.drain(..length);
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(Errno::EPIPE) => {
                self.stdin = None;
                self.input.clear();
            }
            Err(errno) => return Err(errno).context("write(<stdin of the process>)"),
        }
        Ok(())
    }
}

/// Adds a descriptor that is there to those that are polled; its place among them.
fn place<'fd>(set: &mut Vec<PollFd<'fd>>, fd: Option<BorrowedFd<'fd>>, flags: PollFlags) -> Option<usize> {
    set.push(PollFd::new(fd?, flags));
    Some(set.len() - 1)
}

/// Whether there is still somebody to write to.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    Good,
    Broken,
}

impl Flow {
    fn done(&self) -> bool {
        self.from.is_none() && self.buffer.is_empty()
    }

    fn wants_read(&self) -> Option<BorrowedFd<'_>> {
        self.from.as_ref().filter(|_| self.buffer.is_empty()).map(|fd| fd.as_fd())
    }

    fn read(&mut self, ready: bool) -> Result<()> {
        let Some(from) = self.from.as_ref().filter(|_| ready && self.buffer.is_empty()) else { return Ok(()) };
        self.buffer.resize(BUFFER, 0);
        let length = match read(from, &mut self.buffer) {
            Ok(length) => length,
            Err(Errno::EINTR) => {
                self.buffer.clear();
                return Ok(());
            }
            // Only asked without being ready after the exit: then it is the end.
            Err(Errno::EAGAIN) => 0,
            Err(errno) => return Err(errno).context("read(<output of the process>)"),
        };
        self.buffer.truncate(length);
        if length == 0 {
            self.from = None;
        }
        Ok(())
    }

    fn write(&mut self, target: BorrowedFd<'_>) -> Result<Written> {
        let piece = self.buffer.len().min(self.piece);
        match write(target, &self.buffer[..piece]) {
            Ok(length) => {
                self.buffer.drain(..length);
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(Errno::EPIPE) => return Ok(Written::Broken),
            Err(errno) => return Err(errno).context("write(<output>)"),
        }
        Ok(Written::Good)
    }
}

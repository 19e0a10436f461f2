//! Waiting for a process in the foreground: signals are passed on, its terminal is relayed to ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{isatty, read, write};
use runtime::sys::process::{Block, Exited, pidfd_send_signal, wait};
use runtime::sys::{Call, CallError, tty};

use super::notify::Notify;

/// Signals of this process, caught from the time of making.
pub(super) struct Foreground {
    signals: SignalFd,
}

/// The caller's terminal in raw mode; restored when dropped.
struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl Foreground {
    /// Catches all signals that can be passed on.
    pub(super) fn new() -> Result<Self, CallError> {
        let mut set = SigSet::all();
        for own in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT, Signal::SIGTRAP] {
            set.remove(own);
        }
        // It is not for the container: its pidfd tells of its end.
        set.remove(Signal::SIGCHLD);
        set.thread_block().call(|| "sigprocmask(SIG_BLOCK)".to_owned())?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .call(|| "signalfd4()".to_owned())?;
        Ok(Self { signals })
    }

    /// Relays until the process has ended and its terminal has said all.
    /// What `notify` hears is passed on, with this process as the one to watch.
    pub(super) fn relay(
        &self,
        pidfd: &OwnedFd,
        console: Option<OwnedFd>,
        mut notify: Option<Notify>,
    ) -> Result<Exited, CallError> {
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        let raw = match &console {
            Some(master) => Raw::new(stdin.as_fd(), master)?,
            None => None,
        };
        let mut terminal = console.as_ref().map(Terminal::new).transpose()?;
        let mut ended = false;
        loop {
            let nothing = PollFlags::empty();
            let wanted = terminal.as_ref().map_or([nothing; 3], Terminal::wanted);
            let mut fds = [
                self.poll_fd(Some(pidfd), if ended { nothing } else { PollFlags::POLLIN }),
                self.poll_fd(Some(&self.signals), PollFlags::POLLIN),
                self.poll_fd(notify.as_ref().map(Notify::socket), PollFlags::POLLIN),
                self.poll_fd(Some(&stdin), wanted[0]),
                self.poll_fd(console.as_ref(), wanted[1]),
                self.poll_fd(Some(&stdout), wanted[2]),
            ];
            // Of a process that has ended what is still to be read is there already.
            let idle = ended && terminal.as_ref().is_none_or(|terminal| terminal.output.held.is_empty());
            match poll(&mut fds, if idle { PollTimeout::ZERO } else { PollTimeout::NONE }) {
                Err(Errno::EINTR) => continue,
                result => result.call(|| "poll()".to_owned())?,
            };
            let ready = fds.map(|fd| fd.any().unwrap_or(false));
            if let Some(terminal) = &mut terminal {
                terminal.relay([ready[3], ready[4], ready[5]])?;
            }
            if ready[2]
                && let Some(heard) = &notify
                && heard.pass_on(nix::unistd::getpid().as_raw())?
            {
                notify = None;
            }
            if ready[1] {
                self.pass_on(pidfd, console.as_ref())?;
            }
            if idle && !(ready[4] && terminal.as_ref().is_some_and(|terminal| terminal.output.open)) {
                break;
            }
            ended |= ready[0];
            // Nobody is left for signals.
            if ended && terminal.is_none() && notify.is_none() {
                break;
            }
        }
        drop(raw);
        let exited = wait(pidfd, Block::Yes).call(|| "waitid(P_PIDFD)".to_owned())?;
        exited.ok_or(Errno::ECHILD).call(|| "waitid(P_PIDFD)".to_owned())
    }

    /// A stream is left out when nothing is wanted of it: one whose other end is gone would end every poll(2) at once.
    fn poll_fd<'a>(&'a self, fd: Option<&'a impl AsFd>, wanted: PollFlags) -> PollFd<'a> {
        match fd.filter(|_| !wanted.is_empty()) {
            Some(fd) => PollFd::new(fd.as_fd(), wanted),
            None => PollFd::new(self.signals.as_fd(), PollFlags::empty()),
        }
    }

    fn pass_on(&self, pidfd: &OwnedFd, console: Option<&OwnedFd>) -> Result<(), CallError> {
        while let Some(info) = self.signals.read_signal().call(|| "read(<signalfd>)".to_owned())? {
            let signal = info.ssi_signo.cast_signed();
            match console {
                Some(master) if signal == libc::SIGWINCH => follow_size(std::io::stdin().as_fd(), master)?,
                _ => match pidfd_send_signal(pidfd, signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(errno).call(|| format!("pidfd_send_signal({signal})")),
                },
            }
        }
        Ok(())
    }
}

impl<'a> Raw<'a> {
    fn new(terminal: BorrowedFd<'a>, master: &OwnedFd) -> Result<Option<Self>, CallError> {
        if !isatty(terminal).unwrap_or(false) {
            return Ok(None);
        }
        follow_size(terminal, master)?;
        let before = tcgetattr(terminal).call(|| "tcgetattr(0)".to_owned())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(terminal, SetArg::TCSANOW, &raw).call(|| "tcsetattr(0)".to_owned())?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}

fn follow_size(terminal: BorrowedFd<'_>, master: &OwnedFd) -> Result<(), CallError> {
    let Ok((rows, columns)) = tty::size(terminal) else { return Ok(()) };
    tty::set_size(master, rows, columns).call(|| "ioctl(<master>, TIOCSWINSZ)".to_owned())
}

/// The caller's standard streams and a terminal's master, between which bytes go. Whoever does not take them is never waited for: signals and
/// the other direction would wait, too.
struct Terminal<'a> {
    master: &'a OwnedFd,
    input: Flow,
    output: Flow,
}

/// One direction.
struct Flow {
    /// Whether more can come.
    open: bool,
    /// What was read and is not written yet.
    held: Vec<u8>,
}

impl<'a> Terminal<'a> {
    fn new(master: &'a OwnedFd) -> Result<Self, CallError> {
        let flags = fcntl(master, FcntlArg::F_GETFL).call(|| "fcntl(<master>, F_GETFL)".to_owned())?;
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        fcntl(master, FcntlArg::F_SETFL(flags)).call(|| "fcntl(<master>, F_SETFL)".to_owned())?;
        let flow = || Flow { open: true, held: Vec::new() };
        Ok(Self { master, input: flow(), output: flow() })
    }

    /// What standard input, the master and standard output are to be polled for.
    fn wanted(&self) -> [PollFlags; 3] {
        let when = |flag, wanted| if wanted { flag } else { PollFlags::empty() };
        [
            when(PollFlags::POLLIN, self.input.wants_more()),
            when(PollFlags::POLLIN, self.output.wants_more()) | when(PollFlags::POLLOUT, !self.input.held.is_empty()),
            when(PollFlags::POLLOUT, !self.output.held.is_empty()),
        ]
    }

    /// Moves what can be moved.
    fn relay(&mut self, ready: [bool; 3]) -> Result<(), CallError> {
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        if ready[1] {
            self.input.give(self.master.as_fd())?;
            self.output.take(self.master.as_fd())?;
        }
        if ready[0] {
            self.input.take(stdin.as_fd())?;
        }
        if ready[2] {
            self.output.give(stdout.as_fd())?;
        }
        Ok(())
    }
}

impl Flow {
    fn wants_more(&self) -> bool {
        self.open && self.held.is_empty()
    }

    fn take(&mut self, from: BorrowedFd<'_>) -> Result<(), CallError> {
        // As much as a pipe takes that says it can be written to.
        let mut buffer = [0; libc::PIPE_BUF];
        if !self.wants_more() {
            return Ok(());
        }
        match read(from, &mut buffer) {
            // EIO: every descriptor of the terminal's other end is closed.
            Ok(0) | Err(Errno::EIO) => self.open = false,
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            result => {
                let length = result.call(|| "read(<stream>)".to_owned())?;
                self.held.extend_from_slice(&buffer[..length]);
            }
        }
        Ok(())
    }

    fn give(&mut self, to: BorrowedFd<'_>) -> Result<(), CallError> {
        if self.held.is_empty() {
            return Ok(());
        }
        match write(to, &self.held) {
            Ok(written) => drop(self.held.drain(..written)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(Errno::EIO | Errno::EPIPE) => {
                self.open = false;
                self.held.clear();
            }
            Err(errno) => return Err(errno).call(|| "write(<stream>)".to_owned()),
        }
        Ok(())
    }
}

/// The exit code for the caller's shell.
pub(super) fn exit_code(exited: Exited) -> u8 {
    u8::try_from(exited.code()).unwrap_or(255)
}

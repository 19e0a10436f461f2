//! Waiting for a process in the foreground: signals are passed on, its terminal is relayed to ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
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
        set.thread_block().call(|| "sigprocmask(SIG_BLOCK)".to_owned())?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .call(|| "signalfd4()".to_owned())?;
        Ok(Self { signals })
    }

    /// Relays until the process has ended and its terminal has said all.
    /// What `notify` hears is passed on, with this process as the one to watch.
    pub(super) fn relay(
        self,
        pidfd: &OwnedFd,
        console: Option<OwnedFd>,
        mut notify: Option<Notify>,
    ) -> Result<Exited, CallError> {
        let stdin = std::io::stdin();
        let raw = match &console {
            Some(master) => Raw::new(stdin.as_fd(), master)?,
            None => None,
        };
        let mut input_open = console.is_some();
        let mut output_open = console.is_some();
        loop {
            let nothing = PollFlags::empty();
            let master = console.as_ref().map_or(pidfd.as_fd(), AsFd::as_fd);
            let mut fds = [
                PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(stdin.as_fd(), if input_open { PollFlags::POLLIN } else { nothing }),
                PollFd::new(master, if output_open { PollFlags::POLLIN } else { nothing }),
                PollFd::new(
                    notify.as_ref().map_or(pidfd.as_fd(), |notify| notify.socket().as_fd()),
                    if notify.is_some() { PollFlags::POLLIN } else { nothing },
                ),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                result => result.call(|| "poll()".to_owned())?,
            };
            let ready = fds.map(|fd| fd.any().unwrap_or(false));
            if let (true, Some(master)) = (ready[3] && output_open, &console) {
                output_open = copy(master.as_fd(), std::io::stdout().as_fd())?;
            }
            if let (true, Some(master)) = (ready[2] && input_open, &console) {
                input_open = copy(stdin.as_fd(), master.as_fd())?;
            }
            if ready[4]
                && let Some(heard) = &notify
                && heard.pass_on(nix::unistd::getpid().as_raw())?
            {
                notify = None;
            }
            if ready[1] {
                self.pass_on(pidfd, console.as_ref())?;
            }
            if ready[0] && (!ready[3] || !output_open) {
                break;
            }
        }
        drop(raw);
        let exited = wait(pidfd, Block::Yes).call(|| "waitid(P_PIDFD)".to_owned())?;
        exited.ok_or(Errno::ECHILD).call(|| "waitid(P_PIDFD)".to_owned())
    }

    fn pass_on(&self, pidfd: &OwnedFd, console: Option<&OwnedFd>) -> Result<(), CallError> {
        while let Some(info) = self.signals.read_signal().call(|| "read(<signalfd>)".to_owned())? {
            let signal = info.ssi_signo.cast_signed();
            if signal == libc::SIGCHLD {
                continue;
            }
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

/// Copies what is there; whether more can come.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<bool, CallError> {
    let mut buffer = [0; 16 << 10];
    let length = match read(from, &mut buffer) {
        // EIO: every descriptor of the terminal's other end is closed.
        Ok(0) | Err(Errno::EIO) => return Ok(false),
        Err(Errno::EINTR | Errno::EAGAIN) => return Ok(true),
        result => result.call(|| "read(<stream>)".to_owned())?,
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        match write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(Errno::EIO | Errno::EPIPE) => return Ok(false),
            Err(errno) => return Err(errno).call(|| "write(<stream>)".to_owned()),
        }
    }
    Ok(true)
}

/// The exit code for the caller's shell.
pub(super) fn exit_code(exited: Exited) -> u8 {
    u8::try_from(exited.code()).unwrap_or(255)
}

//! Signals as input.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that are passed on to the container's program.
const PASSED: &[Signal] = &[
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
];

/// Blocked signals, to be read from a descriptor.
pub(crate) struct Signals {
    fd: SignalFd,
    old: SigSet,
}

/// Whether all signals are taken, or only those that this program must act on itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// All that can be passed on.
    All,
    /// SIGWINCH, and those that end the program: the terminal must be restored.
    Own,
}

impl Signals {
    /// From now on, signals wait to be read.
    pub(crate) fn take(take: Take) -> nix::Result<Signals> {
        let mut set = SigSet::empty();
        match take {
            Take::All => PASSED.iter().for_each(|signal| set.add(*signal)),
            Take::Own => [Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT]
                .into_iter()
                .for_each(|signal| set.add(signal)),
        }
        let mut old = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut old))?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { fd, old })
    }

    /// The next one, if there is one.
    pub(crate) fn next(&self) -> nix::Result<Option<i32>> {
        match self.fd.read_signal() {
            Ok(Some(info)) => Ok(Some(info.ssi_signo.cast_signed())),
            Ok(None) | Err(Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Those that still wait take their usual effect now.
        let _cannot_fail = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.old), None);
    }
}

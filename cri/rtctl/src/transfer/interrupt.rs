//! Signals that end a transfer: it stops cleanly and keeps what it has, and the exit code tells which signal it was.

use std::io::PipeReader;
use std::os::fd::AsFd;

use anyhow::Result;
use cri::image::{Cancel, Error};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::session::signals::{Signals, Take};

/// A signal ended what was going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupted(pub(crate) Signal);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ended by {}; layers that were received in part are kept, the next time goes on from there", self.0)
    }
}

impl std::error::Error for Interrupted {}

/// Runs `work`, which is asked to stop at a signal. A second signal ends the program at once.
///
/// The outer error is [`Interrupted`].
pub(super) fn cancellable<T>(work: impl FnOnce(&Cancel) -> Result<T, Error>) -> Result<Result<T, Error>> {
    // Blocked before any other thread is there, so that all inherit it.
    let signals = Signals::take(Take::Own)?;
    let cancel = Cancel::new();
    let (reader, writer) = std::io::pipe()?;
    let (result, signal) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&signals, &reader, &cancel));
        let result = work(&cancel);
        // The watcher sees the end of its pipe.
        drop(writer);
        (result, watcher.join().ok().flatten())
    });
    match (result, signal) {
        (Err(Error::Cancelled), Some(signal)) => Err(Interrupted(signal).into()),
        (result, _) => Ok(result),
    }
}

/// Waits for signals, until the other end of `done` is closed. Gives the first.
fn watch(signals: &Signals, done: &PipeReader, cancel: &Cancel) -> Option<Signal> {
    let mut first = None;
    loop {
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(done.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return first,
        }
        let ended = fds[1].revents().is_some_and(|events| !events.is_empty());
        while let Ok(Some(number)) = signals.next() {
            let Ok(signal) = Signal::try_from(number) else { continue };
            if signal == Signal::SIGWINCH {
                continue;
            }
            if first.is_some() {
                std::process::exit(128 + number);
            }
            first = Some(signal);
            cancel.cancel();
        }
        if ended {
            return first;
        }
    }
}

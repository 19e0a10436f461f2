//! The caller's terminal: raw mode, and back on every way out.
//!
//! [`Raw`] restores it when dropped, also while a panic unwinds. The release build ends at a panic without unwinding, so
//! [`restore_on_panic`] does it in the panic hook. Signals that end the program arrive through a descriptor (see
//! [`super::signals`]) and so are ordinary returns.

use std::io::{IsTerminal, Stdin};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;

use nix::sys::termios::{LocalFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use runtime::spec::ConsoleSize;

/// Settings to go back to; `None` outside of raw mode.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal is in raw mode while this lives.
pub(crate) struct Raw(());

impl Raw {
    /// Puts standard input into raw mode.
    pub(crate) fn enter() -> nix::Result<Raw> {
        let stdin = std::io::stdin();
        let old = tcgetattr(&stdin)?;
        let mut raw = old.clone();
        cfmakeraw(&mut raw);
        if let Ok(mut saved) = SAVED.lock() {
            *saved = Some(old);
        }
        tcsetattr(&stdin, SetArg::TCSADRAIN, &raw)?;
        Ok(Raw(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // A panic may come while the lock is held; then there is nobody to be careful for.
    let mut saved = match SAVED.try_lock() {
        Ok(saved) => saved,
        Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(std::sync::TryLockError::WouldBlock) => return,
    };
    if let Some(old) = saved.take() {
        // A terminal that is gone needs no restoring.
        let _gone = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &old);
    }
}

/// Restores the terminal before a panic is reported.
pub(crate) fn restore_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        report(info);
    }));
}

/// Reads from standard input while what is typed is not shown.
pub(crate) fn without_echo<T>(read: impl FnOnce() -> T) -> nix::Result<T> {
    let stdin = std::io::stdin();
    let old = tcgetattr(&stdin)?;
    let mut quiet = old.clone();
    quiet.local_flags.remove(LocalFlags::ECHO);
    if let Ok(mut saved) = SAVED.lock() {
        *saved = Some(old);
    }
    let _restored = Raw(());
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &quiet)?;
    // A signal that ends the program leaves the terminal as it should be.
    let signals = super::signals::Signals::take(super::signals::Take::Own)?;
    let result = read();
    drop(signals);
    Ok(result)
}

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    let stdin: Stdin = std::io::stdin();
    stdin.is_terminal()
}

/// Size of the caller's terminal, from whichever standard stream is one.
pub(crate) fn size() -> Option<ConsoleSize> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams: [BorrowedFd<'_>; 3] = [stdout.as_fd(), stdin.as_fd(), stderr.as_fd()];
    let (rows, columns) = streams.iter().find_map(|stream| runtime::sys::tty::size(stream).ok())?;
    (rows > 0 && columns > 0).then_some(ConsoleSize { height: rows, width: columns })
}

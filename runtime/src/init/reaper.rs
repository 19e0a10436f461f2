//! A process 1 that is not the program: it reaps what others leave behind, and passes signals on.
//!
//! It is this very process, after a fork: nothing of the host has to be put into the container for it, and all that was set up
//! (user, capabilities, filter) holds for it, too. It ends as the program ends, and with it the pid namespace.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{Pid, getpid, isatty, setpgid, tcsetpgrp};

use super::identity::Labels;
use super::{At, Failure, Step};
use crate::sys::clone;
use crate::sys::entry::replace_arguments;
use crate::sys::process::{close_all_but, exit_now, ignore_signal, wait_any};
use crate::sys::{Call, CallError};

/// Exit code where the program's is lost.
const UNKNOWN: i32 = 255;

/// Goes on as the program-to-be in a child; stays behind as process 1.
pub(super) fn fork(labels: Labels) -> Result<(), Failure> {
    // Signals wait until process 1 looks at them; the child lets them through again.
    let all = SigSet::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None)
        .call(|| "sigprocmask(SIG_SETMASK)".to_owned())
        .at(Step::Exec)?;
    match clone::fork().call(|| "fork()".to_owned()).at(Step::Exec)? {
        None => own_group().at(Step::Exec),
        Some(program) => {
            // What ps(1) shows in the container; a name that cannot be set is no reason to end.
            replace_arguments("init");
            let _ = nix::sys::prctl::set_name(c"init");
            // The program gets them by execve(2). What fails here ends both.
            labels.apply().at(Step::Label)?;
            // The program's streams and descriptors are its own: an end of file must not wait for process 1.
            let _ = close_all_but(Vec::new(), 0);
            exit_now(reap(program, &all))
        }
    }
}

/// A process group of its own, in the foreground of the terminal if there is one.
fn own_group() -> Result<(), CallError> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .call(|| "sigprocmask(SIG_SETMASK)".to_owned())?;
    let own = Pid::from_raw(0);
    setpgid(own, own).call(|| "setpgid(0, 0)".to_owned())?;
    let stdin = std::io::stdin();
    if isatty(stdin.as_fd()).unwrap_or(false) {
        // Taking the foreground over from the group of process 1 would stop this process.
        ignore_signal(libc::SIGTTOU, true).call(|| "sigaction(SIGTTOU, SIG_IGN)".to_owned())?;
        let taken = tcsetpgrp(stdin.as_fd(), getpid());
        ignore_signal(libc::SIGTTOU, false).call(|| "sigaction(SIGTTOU, SIG_DFL)".to_owned())?;
        match taken {
            // A terminal that controls another session.
            Ok(()) | Err(Errno::ENOTTY) => {}
            Err(errno) => return Err(errno).call(|| "tcsetpgrp(0)".to_owned()),
        }
    }
    Ok(())
}

/// Waits for signals; the exit code of the program once it has ended.
fn reap(program: Pid, all: &SigSet) -> i32 {
    loop {
        let Ok(signal) = all.wait() else { continue };
        match signal {
            Signal::SIGCHLD => loop {
                match wait_any() {
                    Ok(Some((pid, ended))) if pid == program => return ended.code(),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    // The program was a child until now.
                    Err(_) => return UNKNOWN,
                }
            },
            // Those of its own terminal and timers mean process 1 alone.
            Signal::SIGTTIN | Signal::SIGTTOU => {}
            other => {
                // It may have ended: then its SIGCHLD is next.
                let _ = kill(program, other);
            }
        }
    }
}

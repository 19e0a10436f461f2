//! `--init`: a small process 1, which this program is when it is called [`NAME`].
//!
//! It starts the command, passes signals on to it, reaps what the command leaves behind, and ends with its exit code. It is
//! this program's own file, bound read-only into the container: nothing can be written through `/proc/1/exe`
//! (CVE-2019-5736).

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::libc::SI_KERNEL;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// File name in the container.
const NAME: &str = "docker-init";

/// Whether this program was called to be process 1.
pub(crate) fn is_called(argv0: Option<OsString>) -> bool {
    argv0.is_some_and(|path| Path::new(&path).file_name().is_some_and(|name| name == NAME))
}

/// Runs `docker-init -- COMMAND...`.
pub(crate) fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (_own, _dashes) = (args.next(), args.next());
    let Some(program) = args.next() else {
        eprintln!("{NAME}: no command");
        return ExitCode::from(127);
    };
    match serve(Command::new(&program).args(args)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{NAME}: {}: {error}", program.display());
            ExitCode::from(match error.kind() {
                std::io::ErrorKind::NotFound => 127,
                _ => 126,
            })
        }
    }
}

/// Signals that tell of this program's own faults, or stop it for the terminal's sake, keep their effect.
const NOT_PASSED: &[Signal] = &[
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

fn serve(command: &mut Command) -> std::io::Result<u8> {
    let mut set = SigSet::all();
    NOT_PASSED.iter().for_each(|signal| set.remove(*signal));
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
    // The standard library gives the child an empty signal mask.
    let child = command.arg0(command.get_program().to_owned()).spawn()?;
    let child = Pid::from_raw(i32::try_from(child.id()).map_err(std::io::Error::other)?);
    loop {
        let info = match signals.read_signal() {
            Ok(Some(info)) => info,
            Ok(None) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if info.ssi_signo.cast_signed() == Signal::SIGCHLD as i32 {
            if let Some(code) = reap(child)? {
                return Ok(code);
            }
            continue;
        }
        // Keys of the terminal reach all of its foreground processes, the command too.
        if info.ssi_code == SI_KERNEL {
            continue;
        }
        let Ok(signal) = Signal::try_from(info.ssi_signo.cast_signed()) else { continue };
        // It may have ended; SIGCHLD follows.
        let _ended = kill(child, signal);
    }
}

/// Reaps all children that have ended; the exit code if the command is among them.
fn reap(child: Pid) -> std::io::Result<Option<u8>> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => code = Some(crate::verb::exit_code(status)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                code = Some(crate::session::signal_code(signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(code),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

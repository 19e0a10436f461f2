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

/// What the child calls itself until it is the command.
const CHILD: &str = "docker-init-child";

/// What this program was called to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Process 1.
    Init,
    /// Its child: takes back the signals that process 1 has blocked, and becomes the command. Process 1 itself cannot unblock
    /// them, even for a moment: what reaches it then is lost.
    Child,
}

/// The role that the name stands for, if it is one of them.
pub(crate) fn role(argv0: Option<OsString>) -> Option<Role> {
    let path = argv0?;
    let name = Path::new(&path).file_name()?;
    if name == NAME { Some(Role::Init) } else { (name == CHILD).then_some(Role::Child) }
}

/// Runs `docker-init -- COMMAND...`.
pub(crate) fn run(role: Role, args: impl Iterator<Item = OsString>) -> ExitCode {
    let result = match role {
        Role::Init => serve(args.skip(2)),
        Role::Child => Err(become_command(args.skip(1))),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{NAME}: {error}");
            ExitCode::from(match error.kind() {
                std::io::ErrorKind::NotFound => 127,
                _ => 126,
            })
        }
    }
}

/// Only returns if it fails.
fn become_command(mut args: impl Iterator<Item = OsString>) -> std::io::Error {
    let Some(program) = args.next() else { return std::io::ErrorKind::InvalidInput.into() };
    if let Err(errno) = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None) {
        return errno.into();
    }
    let error = Command::new(&program).args(args).exec();
    std::io::Error::new(error.kind(), format!("{}: {error}", program.display()))
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

fn serve(args: impl Iterator<Item = OsString>) -> std::io::Result<u8> {
    let mut set = SigSet::all();
    NOT_PASSED.iter().for_each(|signal| set.remove(*signal));
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
    let child = Command::new(cri::spec::INIT_DESTINATION).arg0(CHILD).args(args).spawn()?;
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

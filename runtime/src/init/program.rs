//! Finding and executing the program, inside the container and as its user.

use std::ffi::{CStr, CString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::{AccessFlags, faccessat};

use super::identity::Identity;
use super::{Failure, Step};
use crate::plan::Process;
use crate::sys::process::{Argv, execve};

/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a passwd file is read; it comes from the image (containerd CVE-2026-47262).
const PASSWD_LIMIT: u64 = 1 << 20;

/// A program that was found.
pub(super) struct Program<'a> {
    path: CString,
    args: &'a Argv,
    env: Argv,
}

/// Resolves argv\[0\] and completes the environment.
pub(super) fn find<'a>(process: &'a Process, identity: &Identity) -> Result<Program<'a>, Failure> {
    let name = process.args.strings()[0].as_c_str();
    let path = if name.to_bytes().contains(&b'/') { check(name)? } else { search(name, process)? };
    let home = process.env.iter().any(|variable| variable.strip_prefix(b"HOME=").is_some_and(|home| !home.is_empty()));
    let added = if home { None } else { Some(format!("HOME={}", home_of(identity.uid)).into_bytes()) };
    let kept = process.env.iter().filter(|variable| home || !variable.starts_with(b"HOME="));
    let env = Argv::new(kept.chain(added.iter())).expect("the plan refuses NUL bytes, and a line of passwd with one");
    Ok(Program { path, args: &process.args, env })
}

impl Program<'_> {
    /// Becomes the program; returns only a failure.
    pub(super) fn execute(&self) -> Failure {
        let errno = execve(&self.path, self.args, &self.env);
        failure(Step::Exec, &self.path, errno)
    }
}

fn search(name: &CStr, process: &Process) -> Result<CString, Failure> {
    let path = process.env.iter().rev().find_map(|variable| variable.strip_prefix(b"PATH="));
    let path = path.unwrap_or(DEFAULT_PATH.as_bytes());
    let mut denied = None;
    for directory in path.split(|byte| *byte == b':').filter(|directory| directory.starts_with(b"/")) {
        let candidate = [directory, b"/", name.to_bytes()].concat();
        let candidate = CString::new(candidate).expect("the plan refuses NUL bytes");
        match check(&candidate) {
            Ok(path) => return Ok(path),
            Err(failure) if failure.errno == Errno::EACCES => denied = Some(failure),
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or_else(|| Failure {
        step: Step::Program,
        errno: Errno::ENOENT,
        text: format!("{name:?}: executable file not found in $PATH"),
    }))
}

/// A path that can be executed, as far as one can tell.
fn check(path: &CStr) -> Result<CString, Failure> {
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
        .map_err(|errno| failure(Step::Program, path, errno))?;
    let directory = nix::sys::stat::stat(path).is_ok_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFDIR);
    if directory {
        return Err(Failure {
            step: Step::Program,
            errno: Errno::EACCES,
            text: format!("{path:?}: is a directory: permission denied"),
        });
    }
    Ok(path.to_owned())
}

fn failure(step: Step, path: &CStr, errno: Errno) -> Failure {
    let text = match errno {
        Errno::ENOEXEC => format!("{path:?}: exec format error"),
        Errno::ENOENT if step == Step::Exec => {
            format!("{path:?}: its interpreter is missing (no such file or directory)")
        }
        Errno::ENOENT => format!("{path:?}: no such file or directory"),
        Errno::ENOTDIR => format!("{path:?}: not a directory"),
        Errno::EACCES => format!("{path:?}: permission denied"),
        other => format!("{path:?}: {other}"),
    };
    Failure { step, errno, text }
}

/// The home directory of a user by the container's passwd file; `/` where that does not say.
fn home_of(uid: u32) -> String {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let Ok(file) = std::fs::OpenOptions::new().read(true).custom_flags(flags).open("/etc/passwd") else {
        return fallback(uid);
    };
    if !file.metadata().is_ok_and(|found| found.is_file() && found.size() <= PASSWD_LIMIT) {
        return fallback(uid);
    }
    let lines = BufReader::new(file.take(PASSWD_LIMIT)).lines().map_while(Result::ok);
    for line in lines {
        let mut fields = line.split(':');
        if let (Some(_), Some(_), Some(id), Some(_), Some(_), Some(home)) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
            && id.parse() == Ok(uid)
            && home.starts_with('/')
            && !home.contains('\0')
        {
            return home.to_owned();
        }
    }
    fallback(uid)
}

fn fallback(uid: u32) -> String {
    if uid == 0 { "/root".to_owned() } else { "/".to_owned() }
}

//! Processes by descriptor, and what a process is made of.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{check, owned};

/// A descriptor of a process, pidfd_open(2).
///
/// # Errors
/// ESRCH: there is no such process.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: plain integers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
}

/// Sends a signal by number, pidfd_send_signal(2); 0 only asks.
///
/// # Errors
/// ESRCH: the process has ended. EINVAL: no such signal.
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> Result<(), Errno> {
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo asks the kernel to fill it in.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_fd().as_raw_fd(), signal, info, 0) })?;
    Ok(())
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exited {
    /// exit(2).
    Code(i32),
    /// A signal.
    Signal(i32),
}

impl Exited {
    /// The exit code of shells: 128+n after signal n.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Whether [`wait`] waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Until the process has ended.
    Yes,
    /// Not at all.
    No,
}

/// Reaps a child, waitid(2) P_PIDFD. `None`: it has not ended ([`Block::No`]).
///
/// # Errors
/// ECHILD: not a child of the caller, or reaped before.
pub fn wait(pidfd: impl AsFd, block: Block) -> Result<Option<Exited>, Errno> {
    wait_id(libc::P_PIDFD, pidfd.as_fd().as_raw_fd().cast_unsigned(), block).map(|ended| ended.map(|(_, how)| how))
}

/// Reaps any child, waitid(2) P_ALL, without waiting. `None`: none has ended.
///
/// # Errors
/// ECHILD: there are no children.
pub fn wait_any() -> Result<Option<(Pid, Exited)>, Errno> {
    wait_id(libc::P_ALL, 0, Block::No)
}

fn wait_id(kind: libc::idtype_t, id: u32, block: Block) -> Result<Option<(Pid, Exited)>, Errno> {
    let flags = match block {
        Block::Yes => libc::WEXITED,
        Block::No => libc::WEXITED | libc::WNOHANG,
    };
    loop {
        // SAFETY: siginfo_t is plain data for which zero is a valid value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` lives until the call returns.
        match Errno::result(unsafe { libc::waitid(kind, id, &raw mut info, flags) }) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => {
                // SAFETY: after waitid the fields of SIGCHLD are set, or all is zero.
                let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
                if pid == 0 {
                    return Ok(None);
                }
                let how = match info.si_code {
                    libc::CLD_EXITED => Exited::Code(status),
                    _ => Exited::Signal(status),
                };
                return Ok(Some((Pid::from_raw(pid), how)));
            }
        }
    }
}

/// What happens to a range of descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseRange {
    /// They are closed now.
    Now,
    /// They are closed by execve; KERNEL(5.11).
    OnExec,
}

/// Whether a descriptor came from whoever executed this program, fcntl(2) F_GETFD: this program's own would not survive that.
#[must_use]
pub fn is_inherited(number: i32) -> bool {
    // SAFETY: plain integers; it changes nothing.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Closes all descriptors from `first` on, close_range(2).
///
/// # Errors
/// EINVAL on kernels before 5.11 for [`CloseRange::OnExec`].
pub fn close_range(first: u32, what: CloseRange) -> Result<(), Errno> {
    let flags = match what {
        CloseRange::Now => 0,
        CloseRange::OnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: plain integers. Descriptors owned elsewhere are closed only with `Now`, which callers use before they own any.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) })?;
    Ok(())
}

/// Closes all descriptors from `first` on but those in `keep`, close_range(2).
///
/// What owns a closed descriptor must not be dropped any more: for a process that goes on to execute a program.
///
/// # Errors
/// ENOSYS before KERNEL(5.9).
pub fn close_all_but(mut keep: Vec<i32>, first: u32) -> Result<(), Errno> {
    keep.sort_unstable();
    let mut next = first;
    for fd in keep.into_iter().map(i32::cast_unsigned).filter(|fd| *fd >= first) {
        if fd > next {
            close_between(next, fd - 1)?;
        }
        next = next.max(fd + 1);
    }
    close_between(next, u32::MAX)
}

fn close_between(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: plain integers; see `close_all_but` for who may call this.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    Ok(())
}

/// Closes descriptors in as few calls as there are gaps between them, close_range(2).
///
/// # Errors
/// ENOSYS before KERNEL(5.9).
pub fn close_many(fds: Vec<OwnedFd>) -> Result<(), Errno> {
    use std::os::fd::IntoRawFd;
    close_numbers(fds.into_iter().map(IntoRawFd::into_raw_fd).collect())
}

/// As [`close_many`], for a process that goes on to execute a program: what owns them there is never dropped.
///
/// # Errors
/// ENOSYS before KERNEL(5.9).
pub fn close_numbers(fds: Vec<i32>) -> Result<(), Errno> {
    let mut numbers: Vec<u32> = fds.into_iter().map(i32::cast_unsigned).collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|one, next| one + 1 == *next) {
        close_between(run[0], run[run.len() - 1])?;
    }
    Ok(())
}

/// Ignores SIGPIPE, so that writing to a stream without a reader is an error and not the end.
///
/// # Errors
/// None that are known.
pub fn ignore_sigpipe() -> Result<(), Errno> {
    ignore_signal(libc::SIGPIPE, true)
}

/// Ignores a signal, or lets it do again what it does by default.
///
/// # Errors
/// EINVAL: no such signal, or one that cannot be ignored.
pub fn ignore_signal(signal: i32, ignore: bool) -> Result<(), Errno> {
    let disposition = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: both are valid dispositions.
    if unsafe { libc::signal(signal, disposition) } == libc::SIG_ERR { Err(Errno::last()) } else { Ok(()) }
}

/// Null-terminated arguments for execve(2), made before the point where allocating is unwelcome.
pub struct Argv {
    strings: Vec<CString>,
}

impl Argv {
    /// Copies the strings; `None` where one has a NUL byte inside.
    pub fn new<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Option<Self> {
        let strings: Result<Vec<_>, _> = strings.into_iter().map(|string| CString::new(string.as_ref())).collect();
        strings.ok().map(|strings| Self { strings })
    }

    /// The strings.
    #[must_use]
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }

    fn pointers(&self) -> Vec<*const libc::c_char> {
        self.strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    }
}

/// Replaces the program, execve(2). Returns only an error.
#[must_use]
pub fn execve(path: &CStr, args: &Argv, env: &Argv) -> Errno {
    let (args, env) = (args.pointers(), env.pointers());
    // SAFETY: null-terminated arrays of C strings that live until the call fails.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Errno::last()
}

/// Replaces the program by the one behind a descriptor, execveat(2) with AT_EMPTY_PATH. Returns only an error.
#[must_use]
pub fn execveat(program: impl AsFd, args: &Argv, env: &Argv) -> Errno {
    let (args, env) = (args.pointers(), env.pointers());
    // SAFETY: null-terminated arrays of C strings that live until the call fails.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}

/// Ends the process at once, _exit(2): no handlers, no buffers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Sets a resource limit, prlimit(2).
///
/// # Errors
/// EPERM: raising a hard limit needs CAP_SYS_RESOURCE. EINVAL: soft above hard.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` lives until the call returns; no old value is asked for.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, std::ptr::null::<libc::rlimit64>())
    })?;
    Ok(())
}

/// All of real, effective and saved user and group ids, setresgid(2) then setresuid(2), without the C library's thread
/// broadcast.
///
/// # Errors
/// EPERM without CAP_SETUID and CAP_SETGID; EINVAL for an id without a mapping.
pub fn set_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
    Ok(())
}

/// Other ids for access to files, setfsuid(2) and setfsgid(2), of a process whose other ids and capabilities stay as they are. For
/// the rest of its life no change of ids takes capabilities away, capabilities(7) SECBIT_NO_SETUID_FIXUP.
///
/// # Errors
/// EPERM without CAP_SETPCAP, CAP_SETUID and CAP_SETGID.
pub fn set_file_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    const NO_SETUID_FIXUP: i64 = 1 << 2;
    // The calls always answer with the ids before; nobody has the last id.
    let (ask, none) = (libc::c_long::from(-1), 0);
    // SAFETY: plain integers.
    let bits = check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_SECUREBITS, 0, 0, 0, 0) })?;
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_SECUREBITS, bits | NO_SETUID_FIXUP, 0, 0, 0) })?;
    for (call, id) in [(libc::SYS_setfsgid, gid), (libc::SYS_setfsuid, uid)] {
        // SAFETY: plain integers.
        let now = unsafe {
            libc::syscall(call, id, none);
            libc::syscall(call, ask, none)
        };
        if u32::try_from(now) != Ok(id) {
            return Err(Errno::EPERM);
        }
    }
    Ok(())
}

/// The real and the effective user id that this program was started with, getauxval(3): for programs that do not change theirs, without
/// a system call.
#[must_use]
pub fn users_at_start() -> (u32, u32) {
    // SAFETY: plain integers.
    let (real, effective) = unsafe { (libc::getauxval(libc::AT_UID), libc::getauxval(libc::AT_EUID)) };
    let id = |value: libc::c_ulong| u32::try_from(value).unwrap_or(u32::MAX);
    (id(real), id(effective))
}

/// Supplementary groups, setgroups(2).
///
/// # Errors
/// EPERM without CAP_SETGID or where /proc/PID/setgroups says deny.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: pointer and length are of one slice.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    Ok(())
}

/// The execution domain, personality(2).
///
/// # Errors
/// EINVAL.
pub fn set_personality(domain: u64) -> Result<(), Errno> {
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_personality, domain) })?;
    Ok(())
}

/// The NIS domain name, setdomainname(2).
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN over the uts namespace.
pub fn set_domainname(name: &str) -> Result<(), Errno> {
    // SAFETY: pointer and length are of one string.
    check(unsafe { libc::syscall(libc::SYS_setdomainname, name.as_ptr(), name.len()) })?;
    Ok(())
}

/// A new session keyring, keyctl(2) KEYCTL_JOIN_SESSION_KEYRING, so that keys of the caller are out of reach. Without a name: by one, the
/// keyring would be joined that another process of the same user has made under it, in whichever container.
///
/// # Errors
/// ENOSYS, EDQUOT.
pub fn new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null pointer asks for a keyring without a name.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) })?;
    Ok(())
}

/// A signal by number, for `Kill` requests; real-time signals included, so the result is a plain number.
#[must_use]
pub fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let long = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let realtime = |rest: &str, base: i32, sign: i32| -> Option<i32> {
        let number = if rest.is_empty() { base } else { base + sign * rest[1..].parse::<i32>().ok()? };
        (34..=64).contains(&number).then_some(number)
    };
    if let Some(rest) = long.strip_prefix("SIGRTMIN") {
        return (rest.is_empty() || rest.starts_with('+')).then(|| realtime(rest, 34, 1))?;
    }
    if let Some(rest) = long.strip_prefix("SIGRTMAX") {
        return (rest.is_empty() || rest.starts_with('-')).then(|| realtime(rest, 64, -1))?;
    }
    match long.as_str() {
        "SIGIOT" => Some(libc::SIGABRT),
        "SIGPOLL" => Some(libc::SIGIO),
        "SIGCLD" => Some(libc::SIGCHLD),
        name => name.parse::<Signal>().ok().map(|signal| signal as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_by_name_and_number() {
        for (name, number) in [
            ("9", Some(9)),
            ("KILL", Some(9)),
            ("SIGKILL", Some(9)),
            ("sigterm", Some(15)),
            ("term", Some(15)),
            ("SIGRTMIN", Some(34)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGRTMAX", Some(64)),
            ("64", Some(64)),
            ("65", None),
            ("0", None),
            ("-1", None),
            ("SIGRTMIN+31", None),
            ("SIGRTMINx", None),
            ("SIGNOTHING", None),
            ("", None),
        ] {
            assert_eq!(signal_number(name), number, "{name}");
        }
    }
}

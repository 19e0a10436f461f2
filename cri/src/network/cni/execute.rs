//! One execution of a plugin: bounded in time, input and output, and with nothing of ours but what it is given.
//!
//! ```text
//!  memfd ──stdin──▶ plugin ──stdout──▶ at most 1 MiB   │ an end is: the process has ended (pidfd), not: the pipes are closed,
//!                   (own     ──stderr──▶ first 16 KiB   │ for what a plugin leaves running may hold them for ever
//!                    group)                             │ deadline: SIGKILL to the group
//! ```

use runtime::json;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use runtime::sys::process::pidfd_open;
use runtime::sys::{Call, CallError};

use super::error::{Fault, PluginMessage};
use super::program::Program;

/// Largest answer, in bytes.
pub(crate) const STDOUT_LIMIT: usize = 1 << 20;

/// How much of what a plugin writes to its standard error is kept, in bytes.
const STDERR_LIMIT: usize = 16 << 10;

/// How much of any output an error shows, in bytes before they are escaped.
const EXCERPT: usize = 1024;

/// For how long a program that is being written is tried again.
const BUSY: Duration = Duration::from_secs(5);

/// What a plugin is given.
pub(crate) struct Execution<'a> {
    pub(crate) env: Vec<(&'a str, OsString)>,
    pub(crate) input: &'a [u8],
    pub(crate) deadline: Instant,
}

/// Executes a plugin; what it answered. `find` opens the program, again when it was being replaced.
pub(crate) fn execute(find: impl Fn() -> Result<Program, Fault>, execution: &Execution<'_>) -> Result<Vec<u8>, Fault> {
    let begin = Instant::now();
    if begin >= execution.deadline {
        return Err(Fault::TimedOut { after: Duration::ZERO, stderr: String::new() });
    }
    let input = sealed(execution.input)?;
    let (child, program) = spawn(find, execution, &input)?;
    let mut running = Running::of(child, program)?;
    match running.collect(execution.deadline) {
        Ok(status) => answer(status, running.stdout.bytes, &running.stderr.bytes),
        Err(Stop::Deadline) => {
            running.kill();
            Err(Fault::TimedOut { after: begin.elapsed(), stderr: excerpt(&running.stderr.bytes) })
        }
        Err(Stop::TooMuch) => {
            running.kill();
            Err(Fault::TooMuch { limit: STDOUT_LIMIT })
        }
        Err(Stop::Call(error)) => {
            running.kill();
            Err(Fault::Lost(error))
        }
    }
}

/// The input as a file: the plugin reads when it likes, and nobody waits for it.
fn sealed(input: &[u8]) -> Result<File, CallError> {
    let fd = memfd_create(c"cni-input", MFdFlags::MFD_CLOEXEC).call(|| "memfd_create(\"cni-input\")".to_owned())?;
    let mut file = File::from(fd);
    let written = file.write_all(input).and_then(|()| file.seek(SeekFrom::Start(0)));
    written.call(|| format!("write(<cni-input>, {} bytes)", input.len()))?;
    Ok(file)
}

/// Starts the program. One that is open for writing (ETXTBSY: it is being installed) is tried again every few milliseconds.
fn spawn(
    find: impl Fn() -> Result<Program, Fault>,
    execution: &Execution<'_>,
    input: &File,
) -> Result<(Child, Program), Fault> {
    let until = execution.deadline.min(Instant::now() + BUSY);
    let mut pause = Duration::from_millis(1);
    loop {
        let program = find()?;
        let input = input.try_clone().call(|| "dup(<cni-input>)".to_owned())?;
        let spawned = Command::new(program.executable())
            .arg0(program.path())
            .env_clear()
            .envs(execution.env.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::from(input))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match spawned {
            Err(error) if is(&error, Errno::ETXTBSY) && Instant::now() < until => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(16));
            }
            Err(error) if is(&error, Errno::ENOENT) => {
                let reason = "execve: ENOENT: its interpreter (the first line of a script, or the loader) is missing";
                return Err(Fault::Unfit { path: program.path().display().to_string(), reason: reason.to_owned() });
            }
            Err(error) => return Err(error).call(|| format!("execve({:?})", program.path())).map_err(Fault::from),
            Ok(child) => return Ok((child, program)),
        }
    }
}

fn is(error: &std::io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

enum Stop {
    Deadline,
    TooMuch,
    Call(CallError),
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// One end of a pipe that is read as it fills.
struct Stream {
    pipe: Option<File>,
    bytes: Vec<u8>,
    limit: usize,
}

impl Stream {
    fn new(pipe: Option<impl Into<OwnedFd>>, limit: usize) -> Result<Self, CallError> {
        let pipe = pipe.map(|pipe| File::from(pipe.into()));
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .call(|| "fcntl(<pipe>, F_SETFL, O_NONBLOCK)".to_owned())?;
        }
        Ok(Self { pipe, bytes: Vec::new(), limit })
    }

    /// Reads once what is there; whether that was anything. What is beyond the limit is not kept.
    fn read(&mut self) -> Result<Progress, CallError> {
        let mut buffer = [0u8; 16 << 10];
        let Some(pipe) = &mut self.pipe else { return Ok(Progress::None) };
        match pipe.read(&mut buffer) {
            Ok(0) => {
                self.pipe = None;
                Ok(Progress::None)
            }
            Ok(count) => {
                let room = self.limit - self.bytes.len();
                self.bytes.extend_from_slice(&buffer[..count.min(room)]);
                Ok(if count > room { Progress::Over } else { Progress::Some })
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(Progress::Some),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(Progress::None),
            Err(error) => Err(error).call(|| "read(<pipe>)".to_owned()),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Progress {
    None,
    Some,
    Over,
}

struct Running {
    child: Child,
    /// Open to the end: the interpreter of a script opens it by our descriptor's number, whenever it comes to that.
    _program: Program,
    pidfd: OwnedFd,
    stdout: Stream,
    stderr: Stream,
}

impl Running {
    fn of(mut child: Child, program: Program) -> Result<Self, Fault> {
        let pid = Pid::from_raw(child.id().cast_signed());
        let parts = pidfd_open(pid).call(|| format!("pidfd_open({pid})")).and_then(|pidfd| {
            let stdout = Stream::new(child.stdout.take(), STDOUT_LIMIT)?;
            Ok((pidfd, stdout, Stream::new(child.stderr.take(), STDERR_LIMIT)?))
        });
        match parts {
            Ok((pidfd, stdout, stderr)) => Ok(Self { child, _program: program, pidfd, stdout, stderr }),
            Err(error) => {
                end(&mut child);
                Err(Fault::Lost(error))
            }
        }
    }

    /// Reads until the process has ended.
    fn collect(&mut self, deadline: Instant) -> Result<ExitStatus, Stop> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Stop::Deadline);
            }
            let ended = self.wait(left)?;
            let more = self.drain(deadline, ended)?;
            if ended && !more {
                return Ok(self.child.wait().call(|| "waitid(<plugin>)".to_owned())?);
            }
        }
    }

    /// Waits for output or the end; whether it is the end.
    fn wait(&self, left: Duration) -> Result<bool, CallError> {
        let streams = [&self.stdout, &self.stderr].into_iter().filter_map(|stream| stream.pipe.as_ref());
        let mut fds = vec![PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        fds.extend(streams.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        // Rounded up: a poll of 0 ms would spin.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) => Ok(fds[0].any().unwrap_or_default()),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno).call(|| "poll(<plugin>)".to_owned()),
        }
    }

    /// Reads what is there; after the end all of it. Whether there may be more.
    fn drain(&mut self, deadline: Instant, ended: bool) -> Result<bool, Stop> {
        loop {
            let out = self.stdout.read()?;
            if out == Progress::Over {
                return Err(Stop::TooMuch);
            }
            let err = self.stderr.read()?;
            let more = out != Progress::None || (err != Progress::None && self.stderr.bytes.len() < STDERR_LIMIT);
            if !ended || !more {
                return Ok(more);
            }
            if Instant::now() >= deadline {
                return Err(Stop::Deadline);
            }
        }
    }

    fn kill(&mut self) {
        end(&mut self.child);
    }
}

/// Kills the plugin with its group, and reaps it. It is ours and not reaped yet, so the group is still its own.
fn end(child: &mut Child) {
    // ESRCH: all of them have ended. What else these answer changes nothing.
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    let _ = child.wait();
}

fn answer(status: ExitStatus, stdout: Vec<u8>, stderr: &[u8]) -> Result<Vec<u8>, Fault> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(stdout),
        (Some(code), _) => Err(match parse_error(&stdout) {
            Some(message) => Fault::Said(message),
            None => Fault::Exit { code, stdout: excerpt(&stdout), stderr: excerpt(stderr) },
        }),
        (None, signal) => Err(Fault::Signal { signal: signal.unwrap_or_default(), stderr: excerpt(stderr) }),
    }
}

/// Reads an error object. `None`: it is none.
fn parse_error(bytes: &[u8]) -> Option<PluginMessage> {
    #[derive(serde::Deserialize)]
    struct Raw {
        code: Option<u32>,
        msg: Option<String>,
        details: Option<String>,
    }
    let raw: Raw = json::from_slice(bytes).ok()?;
    if raw.code.is_none() && raw.msg.is_none() {
        return None;
    }
    let text = |text: Option<String>| excerpt(text.unwrap_or_default().as_bytes());
    Some(PluginMessage { code: raw.code.unwrap_or_default(), msg: text(raw.msg), details: text(raw.details) })
}

/// The beginning of an output, printable.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii();
    let mut text = String::new();
    for c in String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT)]).chars() {
        match c {
            '\n' | '\t' => text.push(' '),
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    if bytes.len() > EXCERPT {
        text.push_str(" […]");
    }
    text
}

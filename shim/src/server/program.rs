//! Containers that another OCI runtime makes: its command line, and what comes back from it.
//!
//! ```text
//!  bundle (launch::Bundles) ─▶ PROGRAM create ─▶ its pid, its terminal ─▶ from here on a container like the others
//!  PROGRAM start │ exec --detach │ kill │ update │ delete --force
//! ```
//!
//! The shim is the subreaper: what a program leaves running becomes its child. The loop waits for the program, up to [`LIMIT`].

use runtime::json;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use runtime::cgroup::Below;
use runtime::launch::{self, Bundle, Bundles, Created, Executed};
use runtime::spec::{Process as ProcessSpec, Resources};
use runtime::sys::process::pidfd_open;
use runtime::sys::{Call, CallError, packet, signals};

use super::container::not_found;
use super::process::{Ends, Role};
use super::{Failure, Server};
use crate::layout::Program;
use crate::log::Stream;
use crate::protocol::FailureKind;

/// How long a program may take for a verb, hooks included.
const LIMIT: Duration = Duration::from_secs(60);

/// How much of what a program says about a failure is read, in bytes.
const MESSAGE_LIMIT: u64 = 16 << 10;

/// How much of it is told.
const SHOWN_LIMIT: usize = 2 << 10;

/// Where programs are looked for that a program runs.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One call of a program.
struct Run<'a> {
    program: &'a Program,
    id: &'a str,
    /// The bundle: files that are exchanged are there.
    bundle: PathBuf,
    verb: &'a str,
    command: Command,
}

impl<'a> Run<'a> {
    fn new(program: &'a Program, id: &'a str, bundle: PathBuf, verb: &'a str) -> Self {
        let mut command = Command::new(&program.path);
        command.args(&program.args).arg("--root");
        match &program.root {
            Some(root) => command.arg(root),
            None => command.arg(program.bundles.join("state")),
        };
        command.arg("--log").arg(bundle.join("log")).args(["--log-format", "json", verb]);
        command.env_clear().env("PATH", SEARCH).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        // The shim blocks all; containers would inherit that.
        signals::unblock_in(&mut command);
        Self { program, id, bundle, verb, command }
    }

    fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(arg);
        self
    }

    /// Where the process's streams come from, and its terminal goes to.
    fn streams(&mut self, stdio: launch::Stdio) -> Result<Option<UnixListener>, CallError> {
        match stdio {
            launch::Stdio::Files([stdin, stdout, stderr]) => {
                self.command.stdin(stdin).stdout(stdout).stderr(stderr);
                Ok(None)
            }
            launch::Stdio::Terminal => {
                let path = self.bundle.join("tty");
                // Of an exec before.
                let _ = fs::remove_file(&path);
                let listener = UnixListener::bind(&path).call(|| format!("bind({path:?})"))?;
                listener.set_nonblocking(true).call(|| "fcntl(<console socket>, O_NONBLOCK)".to_owned())?;
                self.arg("--console-socket").arg(path);
                Ok(Some(listener))
            }
            launch::Stdio::Inherit | launch::Stdio::ConsoleSocket(_) => {
                Err(Errno::EINVAL).call(|| "<streams of a shim's process>".to_owned())
            }
        }
    }

    /// Runs it to its end.
    fn end(self, stderr: Option<&OwnedFd>) -> Result<(), Failure> {
        let Self { program, id, bundle, verb, mut command } = self;
        let (log, said) = (bundle.join("log"), bundle.join("stderr"));
        for path in [&log, &said] {
            let _ = fs::remove_file(path);
        }
        if stderr.is_none() {
            let file = fs::OpenOptions::new().write(true).create_new(true).open(&said);
            command.stderr(file.call(|| format!("open({said:?}, O_CREAT)")).map_err(Failure::internal)?);
        }
        let name = program.path.display().to_string();
        let child = command
            .spawn()
            .call(|| format!("execve({name:?})"))
            .map_err(|error| Failure::new(FailureKind::Internal, format!("runtime handler: {error}")))?;
        // The process's ends of the pipes are the process's alone.
        drop(command);
        let problem = match wait(child).map_err(Failure::internal)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => status.to_string(),
            None => format!("killed after {} s", LIMIT.as_secs()),
        };
        let mut text = message(&log, &said);
        if let (true, Some(pipe)) = (text.is_empty(), stderr) {
            let mut rest = vec![0; SHOWN_LIMIT];
            let size = nix::unistd::read(pipe, &mut rest).unwrap_or(0);
            text = String::from_utf8_lossy(&rest[..size]).trim().to_owned();
        }
        let text = if text.is_empty() { problem } else { text };
        Err(Failure::new(kind(&text), format!("{name} {verb} {id}: {text}")))
    }
}

/// Waits for a program; `None`: it took too long and was killed.
fn wait(mut child: Child) -> Result<Option<ExitStatus>, CallError> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let pidfd = pidfd_open(pid).call(|| format!("pidfd_open({pid})"))?;
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => break,
            Ok(_) => return child.wait().map(Some).call(|| format!("wait4({pid})")),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).call(|| format!("poll(<{pid}>)")),
        }
    }
    // It leads a group of its own: what it started goes as well.
    let _ = nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL);
    child.wait().call(|| format!("wait4({pid})"))?;
    Ok(None)
}

/// What a program says of its failure: the errors of its log, else what it printed.
fn message(log: &Path, said: &Path) -> String {
    let errors: Vec<String> = read(log).lines().filter_map(error_of).collect();
    let mut text = if errors.is_empty() { read(said).trim().to_owned() } else { errors.join("; ") };
    if text.len() > SHOWN_LIMIT {
        let mut end = SHOWN_LIMIT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

/// The message of a record of a log, if it is an error.
fn error_of(line: &str) -> Option<String> {
    let record: serde_json::Value = json::from_str(line).ok()?;
    let grave = matches!(record["level"].as_str(), Some("error" | "fatal"));
    grave.then(|| record["msg"].as_str().map(|text| text.trim().to_owned())).flatten()
}

fn read(path: &Path) -> String {
    let mut text = Vec::new();
    // One that it did not make says nothing.
    if let Ok(file) = fs::File::open(path) {
        let _ = file.take(MESSAGE_LIMIT).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Missing programs told apart by the words of runc, crun and runsc.
fn kind(text: &str) -> FailureKind {
    let text = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if !says(&["exec", "find"]) {
        FailureKind::Internal
    } else if says(&["executable file", "error finding executable"]) && says(&["not found", "no such file"])
        || text.contains("exec:") && text.contains("no such file or directory")
    {
        FailureKind::CommandNotFound
    } else if text.contains("exec") && says(&["permission denied", "is a directory", "exec format error"]) {
        FailureKind::CommandNotExecutable
    } else {
        FailureKind::Internal
    }
}

/// The process that a program made, and its terminal.
fn born(bundle: &Path, listener: Option<UnixListener>) -> Result<(Pid, OwnedFd, Option<OwnedFd>), CallError> {
    let path = bundle.join("pid");
    let text = fs::read_to_string(&path).call(|| format!("read({path:?})"))?;
    let number = text.trim().parse().map_err(|_| Errno::EBADMSG).call(|| format!("read({path:?}): {text:?}"))?;
    let pid = Pid::from_raw(number);
    // A child of the shim, reaped by its loop: the number is its own.
    let pidfd = pidfd_open(pid).call(|| format!("pidfd_open({pid})"))?;
    let console = listener.map(terminal).transpose()?;
    Ok((pid, pidfd, console))
}

/// The terminal that a program has sent. OCI runtime-spec, "console-socket".
fn terminal(listener: UnixListener) -> Result<OwnedFd, CallError> {
    let mut fds = Vec::new();
    let received = packet::accept(&listener).and_then(|socket| packet::receive(socket, &mut [0; 4096], &mut fds));
    received.call(|| "recvmsg(<console socket>)".to_owned())?;
    fds.pop().ok_or(Errno::ENOTTY).call(|| "recvmsg(<console socket>): no descriptor came".to_owned())
}

fn pipe_of(ends: &Ends) -> Option<&OwnedFd> {
    ends.outputs[Stream::Stderr as usize].as_ref().map(|output| &output.fd)
}

impl Server {
    /// A call of the program of a container. `None`: the runtime within the shim runs it.
    fn call_of<'a>(&'a self, id: &'a str, verb: &'a str) -> Option<Run<'a>> {
        let program = self.containers.get(id)?.task.program.as_ref()?;
        Some(Run::new(program, id, self.bundles.as_ref()?.path(id), verb))
    }

    /// Writes a document for the program of a container.
    fn write(&self, id: &str, name: &str, document: serde_json::Result<Vec<u8>>) -> Result<PathBuf, Failure> {
        let bundles = self.bundles.as_ref().ok_or_else(|| not_found(id))?;
        bundles.write(id, name, &document.map_err(Failure::internal)?).map_err(Failure::internal)
    }

    /// Has a program make the init process of a container.
    pub(super) fn create_by_program(
        &mut self,
        id: &str,
        stdio: launch::Stdio,
        ends: &Ends,
        shm: Option<OwnedFd>,
    ) -> Result<Created, Failure> {
        let container = self.containers.get(id).ok_or_else(|| not_found(id))?;
        let program = container.task.program.as_ref().ok_or_else(|| not_found(id))?;
        let bundles = match self.bundles.take() {
            Some(bundles) => bundles,
            None => Bundles::new(&program.bundles).map_err(Failure::internal)?,
        };
        let bundle = Bundle {
            id,
            spec: &container.spec,
            dir: &container.path,
            rootfs: super::create::rootfs(&container.task),
            images: container.task.image_mounts.iter().map(super::create::image_mount).collect(),
            shm,
        };
        let made = bundles.make(bundle);
        self.bundles = Some(bundles);
        made.map_err(|error| Failure::launch(&error))?;
        let mut run = self.call_of(id, "create").ok_or_else(|| not_found(id))?;
        let bundle = run.bundle.clone();
        run.arg("--bundle").arg(&bundle).arg("--pid-file").arg(bundle.join("pid"));
        let listener = run.streams(stdio).map_err(Failure::internal)?;
        run.arg(id);
        run.end(pipe_of(ends))?;
        let (pid, pidfd, console) = born(&bundle, listener).map_err(Failure::internal)?;
        Ok(Created::elsewhere(pid, pidfd, console))
    }

    /// Has a program run one more process in a container.
    pub(super) fn exec_by_program(
        &self,
        id: &str,
        process: &ProcessSpec,
        group: Option<&Below>,
        (stdio, ends): (launch::Stdio, &Ends),
    ) -> Result<Executed, Failure> {
        let mut run = self.call_of(id, "exec").ok_or_else(|| not_found(id))?;
        let bundle = run.bundle.clone();
        let path = self.write(id, "process.json", serde_json::to_vec(process))?;
        run.arg("--process").arg(path).arg("--detach").arg("--pid-file").arg(bundle.join("pid"));
        if let Some(group) = group {
            run.arg("--cgroup").arg(group.name());
        }
        let listener = run.streams(stdio).map_err(Failure::internal)?;
        run.arg(id);
        run.end(pipe_of(ends))?;
        let (pid, pidfd, console) = born(&bundle, listener).map_err(Failure::internal)?;
        Ok(Executed { pid, pidfd, console, warnings: Vec::new() })
    }

    /// Whether the program of a container can put a process into a group of its own: asks its help once.
    pub(super) fn takes_cgroup(&mut self, id: &str) -> bool {
        if let Some(known) = self.program_takes_cgroup {
            return known;
        }
        let Some(program) = self.containers.get(id).and_then(|container| container.task.program.as_ref()) else {
            return true;
        };
        let help = Command::new(&program.path).args(["exec", "--help"]).env_clear().stdin(Stdio::null()).output();
        let takes =
            help.is_ok_and(|help| [help.stdout, help.stderr].concat().windows(8).any(|text| text == b"--cgroup"));
        *self.program_takes_cgroup.insert(takes)
    }

    /// Has the program of a container do what needs no more than its id; nothing for the runtime within the shim.
    pub(super) fn call_program(&self, id: &str, verb: &str, before: &[&str], after: &[&str]) -> Result<(), Failure> {
        let Some(mut run) = self.call_of(id, verb) else { return Ok(()) };
        run.command.args(before).arg(id).args(after);
        run.end(None)
    }

    /// Tells a program of new limits, which the container's group has already.
    pub(super) fn update_by_program(&self, id: &str, resources: &Resources) -> Result<(), Failure> {
        let Some(mut run) = self.call_of(id, "update") else { return Ok(()) };
        let path = self.write(id, "resources.json", serde_json::to_vec(resources))?;
        run.arg("--resources").arg(path).arg(id);
        run.end(None)
    }

    /// The container has ended: the program forgets it, and its bundle is removed.
    ///
    /// # Errors
    /// What the program said; what cannot be unmounted.
    pub(super) fn delete_by_program(&self, id: &str) -> Result<(), Failure> {
        let Some(bundles) = &self.bundles else { return Ok(()) };
        let deleted = self.call_program(id, "delete", &["--force"], &[]);
        bundles.remove(id).map_err(Failure::internal)?;
        deleted
    }

    /// Sends a signal to an init process by way of the program that made it. `false`: the runtime within the shim did.
    pub(super) fn signal_by_program(&self, number: u64, signal: i32) -> Result<bool, Failure> {
        let Some(process) = self.processes.get(&number) else { return Ok(false) };
        let (id, Role::Init(_)) = (&process.container, &process.role) else { return Ok(false) };
        if self.call_of(id, "kill").is_none() {
            return Ok(false);
        }
        let sent = self.call_program(id, "kill", &[], &[&signal.to_string()]);
        let mut fds = [PollFd::new(process.pidfd().as_fd(), PollFlags::POLLIN)];
        let ended = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        if ended { Ok(true) } else { sent.map(|()| true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_programs() {
        for (text, expected) in [
            (
                "runc create failed: unable to start container process: exec: \"nope\": executable file not found in $PATH",
                FailureKind::CommandNotFound,
            ),
            ("executable file `nope` not found in $PATH: No such file or directory", FailureKind::CommandNotFound),
            (
                "unable to start container process: exec: \"/nope\": stat /nope: no such file or directory",
                FailureKind::CommandNotFound,
            ),
            (
                "unable to start container process: exec: \"/etc\": is a directory: permission denied",
                FailureKind::CommandNotExecutable,
            ),
            ("open executable: Permission denied", FailureKind::CommandNotExecutable),
            ("mount `proc` to `proc`: Permission denied", FailureKind::Internal),
            ("cgroups in hybrid mode not supported", FailureKind::Internal),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn records_of_logs() {
        for (line, expected) in [
            (r#"{"level":"error","msg":"a ","time":"x"}"#, Some("a")),
            (r#"{"level":"warning","msg":"a"}"#, None),
            (r#"{"level":"error"}"#, None),
            ("plain", None),
        ] {
            assert_eq!(error_of(line).as_deref(), expected, "{line}");
        }
    }
}

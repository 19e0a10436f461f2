//! Hooks: programs of the configuration that are run at points of a container's life.
//!
//! Each gets the container's state on its standard input (OCI runtime-spec runtime.md, "State") and only the environment that
//! the configuration gives. Its output is kept for the error.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;
use serde::Serialize;

use crate::spec::{Hook, Hooks};
use crate::sys::process::pidfd_open;
use crate::sys::signals::unblock_in;

/// How much of a hook's output an error shows, in bytes.
const OUTPUT_LIMIT: u64 = 2048;

/// Status of a container as the specification names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Waiting for `start`.
    Created,
    /// Running the program.
    Running,
    /// Ended.
    Stopped,
}

/// State of a container (OCI runtime-spec runtime.md).
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State<'a> {
    /// Version of the specification.
    pub oci_version: &'a str,
    /// Container id.
    pub id: &'a str,
    /// Status.
    pub status: Status,
    /// Process id of init; 0 when it has ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub pid: i32,
    /// Absolute path of the bundle.
    pub bundle: &'a Path,
    /// Annotations of the configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

/// A hook that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("hooks.{list}[{index}] ({path}): {problem}{}", shown(.output))]
pub struct Error {
    list: String,
    index: usize,
    path: String,
    problem: String,
    output: String,
}

fn shown(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {}", text.trim_end()) }
}

/// Whether there are hooks that run in the runtime's namespaces while the container is being made.
#[must_use]
pub fn runs_in_runtime(hooks: &Hooks) -> bool {
    !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty()
}

/// Runs hooks in order until one fails; `list` is the name of the list, for errors.
///
/// # Errors
/// The first hook that cannot be started, exits with something other than 0, or overruns its timeout (it is killed).
pub fn run(hooks: &[Hook], list: &str, state: &State<'_>) -> Result<(), Error> {
    run_in(None, None, hooks, list, state)
}

/// The same in the bundle, where runc and crun run the hooks of a container that is being made.
///
/// # Errors
/// As [`run`].
pub fn run_in_bundle(hooks: &[Hook], list: &str, state: &State<'_>) -> Result<(), Error> {
    run_in(Some(state.bundle), None, hooks, list, state)
}

/// The same for a container that is being made: with the end of its init (a pidfd) nothing is made any more, and a hook that still runs
/// is killed.
///
/// # Errors
/// As [`run`].
pub fn run_for(init: BorrowedFd<'_>, hooks: &[Hook], list: &str, state: &State<'_>) -> Result<(), Error> {
    run_in(Some(state.bundle), Some(init), hooks, list, state)
}

fn run_in(
    directory: Option<&Path>,
    init: Option<BorrowedFd<'_>>,
    hooks: &[Hook],
    list: &str,
    state: &State<'_>,
) -> Result<(), Error> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = serde_json::to_vec(state).expect("a state is plain data");
    for (index, hook) in hooks.iter().enumerate() {
        one(hook, directory, init, &state).map_err(|(problem, output)| Error {
            list: list.to_owned(),
            index,
            path: hook.path.clone(),
            problem,
            output,
        })?;
    }
    Ok(())
}

/// Runs one hook; the error is what went wrong and what it printed.
fn one(
    hook: &Hook,
    directory: Option<&Path>,
    init: Option<BorrowedFd<'_>>,
    state: &[u8],
) -> Result<(), (String, String)> {
    let plain = |problem: String| (problem, String::new());
    let file = |name| {
        memfd_create(name, MFdFlags::MFD_CLOEXEC).map(File::from).map_err(|e| plain(format!("memfd_create: {e}")))
    };
    let mut input = file(c"hook-state")?;
    let rewind = input.write_all(state).and_then(|()| input.seek(SeekFrom::Start(0)));
    rewind.map_err(|error| plain(format!("write(<state>): {error}")))?;
    let mut printed = file(c"hook-output")?;
    let duplicate = || printed.try_clone().map(Stdio::from).map_err(|error| plain(format!("dup: {error}")));
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    let variables = hook.env.iter().filter_map(|variable| variable.split_once('='));
    command.env_clear().envs(variables).stdin(Stdio::from(input)).stdout(duplicate()?).stderr(duplicate()?);
    directory.map(|directory| command.current_dir(directory));
    // A `run` in the foreground blocks what it passes on.
    unblock_in(&mut command);
    let mut child = command.spawn().map_err(|error| plain(format!("execve: {error}")))?;
    let problem = wait(&mut child, hook.timeout, init);
    let Some(problem) = problem else { return Ok(()) };
    let mut text = String::new();
    let read =
        printed.seek(SeekFrom::Start(0)).and_then(|_| (&mut printed).take(OUTPUT_LIMIT).read_to_string(&mut text));
    Err((problem, read.map_or_else(|_| String::new(), |_| text)))
}

/// Waits for a hook; what is wrong with how it ended.
fn wait(child: &mut Child, timeout: Option<i64>, init: Option<BorrowedFd<'_>>) -> Option<String> {
    if timeout.is_some() || init.is_some() {
        let deadline = timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.unsigned_abs()));
        let pidfd = match pidfd_open(Pid::from_raw(child.id().cast_signed())) {
            Ok(pidfd) => pidfd,
            Err(errno) => return Some(format!("pidfd_open: {errno}")),
        };
        let why = match first(pidfd.as_fd(), init, deadline) {
            First::Hook => None,
            First::Init => Some("killed, as init has ended".to_owned()),
            First::Timeout => Some(format!("killed after its timeout of {} s", timeout.unwrap_or_default())),
        };
        if why.is_some() {
            // It is ours and not reaped yet, so the kill hits nothing else; what it answers changes nothing.
            let _ = child.kill();
            let _ = child.wait();
            return why;
        }
    }
    match child.wait() {
        Ok(status) if status.success() => None,
        Ok(status) => Some(match status.signal() {
            Some(signal) => format!("killed by signal {signal}"),
            None => format!("exit status {}", status.code().unwrap_or_default()),
        }),
        Err(error) => Some(format!("wait: {error}")),
    }
}

/// What a hook is waited for.
enum First {
    /// It has ended.
    Hook,
    /// The container's init has.
    Init,
    /// Its time is over.
    Timeout,
}

/// Which of them comes first.
fn first(hook: BorrowedFd<'_>, init: Option<BorrowedFd<'_>>, deadline: Option<Instant>) -> First {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        let watched = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [watched(hook), watched(init.unwrap_or(hook))];
        match poll(&mut fds, timeout) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return First::Timeout,
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) if fds[0].any() == Some(true) => return First::Hook,
            Ok(_) => return First::Init,
            Err(_) => return First::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Option<i64>) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: vec!["A=b".into()],
            timeout,
        }
    }

    fn run_one(hook: Hook) -> Result<(), String> {
        let annotations = BTreeMap::new();
        let state = State {
            oci_version: "1.2.0",
            id: "c1",
            status: Status::Creating,
            pid: 7,
            bundle: Path::new("/b"),
            annotations: &annotations,
        };
        run(&[hook], "prestart", &state).map_err(|error| error.to_string())
    }

    #[test]
    fn state_and_environment_reach_it() {
        let script = r#"read -r state; echo "$state $A $HOME"; exit 3"#;
        assert_eq!(
            run_one(hook(script, None)).unwrap_err(),
            "hooks.prestart[0] (/bin/sh): exit status 3: \
             {\"ociVersion\":\"1.2.0\",\"id\":\"c1\",\"status\":\"creating\",\"pid\":7,\"bundle\":\"/b\"} b"
        );
    }

    #[test]
    fn a_timeout_kills_it() {
        let error = run_one(hook("exec sleep 60", Some(1))).unwrap_err();
        assert_eq!(error, "hooks.prestart[0] (/bin/sh): killed after its timeout of 1 s");
    }

    #[test]
    fn the_end_of_init_kills_it() {
        let mut init = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_raw(init.id().cast_signed())).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        init.kill().unwrap();
        assert_eq!(wait(&mut child, None, Some(pidfd.as_fd())).unwrap(), "killed, as init has ended");
        init.wait().unwrap();
    }

    #[test]
    fn success_in_time() {
        run_one(hook("exit 0", Some(20))).unwrap();
    }
}

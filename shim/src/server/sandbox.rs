//! The sandbox: namespaces that outlive a run or are shared by containers, and what is kept along with them.
//!
//! ```text
//!  None ──Sandbox──▶ Ready ──container ended, or StopSandbox──▶ Releasing (on_exit runs) ──its end──▶ None, and all are told
//! ```
//!
//! What is held are descriptors of this process alone: the kernel lets everything go when the shim is killed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::unistd::Pid;
use runtime::launch;
use runtime::plan::SandboxSpec;
use runtime::root::magic_link;
use runtime::spec::{Namespace, NamespaceKind, Spec};
use runtime::sys::process::{Exited, pidfd_open, pidfd_send_signal};
use runtime::sys::{Call, CallError};

use super::container::Phase;
use super::process::{Process, Role};
use super::timers::Timer;
use super::{Failure, Server};
use crate::layout::{self, Ends, ON_EXIT_LIMIT};
use crate::protocol::{FailureKind, Reply};
use crate::record;

/// Most descriptors that are held, however many there may be.
const HELD_LIMIT: usize = 4096;

/// Most descriptors that are held for clients: a quarter of what there may be.
pub(super) fn held_limit(descriptors: u64) -> usize {
    usize::try_from(descriptors / 4).unwrap_or(usize::MAX).min(HELD_LIMIT)
}

/// The shim's sandbox.
pub(super) enum Sandbox {
    /// There is none (any more).
    None,
    /// It is pinned.
    Ready(Ready),
    /// It is gone; `on_exit` runs.
    Releasing(Release),
}

/// A sandbox that lives.
pub(super) struct Ready {
    pinned: launch::Sandbox,
    pub(super) ends: Ends,
    on_exit: Vec<String>,
    /// What clients asked to keep open.
    held: Vec<OwnedFd>,
}

/// `on_exit` under way.
pub(super) struct Release {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Server {
    /// Sandbox: makes it, or finds it made; the network namespace goes along with the answer.
    pub(super) fn make_sandbox(&mut self, connection: u64) -> Result<(), Failure> {
        if matches!(self.sandbox, Sandbox::Releasing(_)) {
            return Err(Failure::new(FailureKind::WrongState, "sandbox is ending; wait for it first"));
        }
        if matches!(self.sandbox, Sandbox::None) {
            self.sandbox = Sandbox::Ready(self.new_sandbox()?);
        }
        let Sandbox::Ready(ready) = &self.sandbox else { return Ok(()) };
        let network =
            ready.pinned.namespace(NamespaceKind::Network).map(|namespace| namespace.as_fd().try_clone_to_owned());
        let network = network.transpose().call(|| "fcntl(<network namespace>, F_DUPFD_CLOEXEC)".to_owned());
        let network = network.map_err(Failure::internal)?;
        let namespaces = ready.pinned.namespaces.iter().map(|(kind, _)| *kind).collect();
        let init = ready.pinned.init.as_ref().map(|(pid, _)| pid.as_raw());
        self.reply_with(connection, &Reply::Sandbox { namespaces, init }, network);
        Ok(())
    }

    fn new_sandbox(&self) -> Result<Ready, Failure> {
        let invalid = |message: String| Failure::new(FailureKind::Invalid, message);
        let read = record::read::<layout::Sandbox>(&self.dir).map_err(|error| match error {
            record::Error::Call(error) => Failure::internal(error),
            error @ (record::Error::Malformed(_) | record::Error::Newer { .. }) => invalid(error.to_string()),
        })?;
        let sandbox = read.ok_or_else(|| invalid("sandbox.json: missing".to_owned()))?;
        if sandbox.on_exit.first().is_some_and(|program| !program.starts_with('/')) {
            return Err(invalid("sandbox.json: on_exit[0]: must be an absolute path".to_owned()));
        }
        let pinned = launch::sandbox(&SandboxSpec {
            namespaces: &sandbox.namespaces,
            uid_mappings: &sandbox.uid_mappings,
            gid_mappings: &sandbox.gid_mappings,
            hostname: sandbox.hostname.as_deref(),
            domainname: sandbox.domainname.as_deref(),
            sysctls: &sandbox.sysctls,
            shm_size: sandbox.shm_size,
        })
        .map_err(|error| Failure::launch(&error))?;
        Ok(Ready { pinned, ends: sandbox.ends, on_exit: sandbox.on_exit, held: Vec::new() })
    }

    /// Hold: keeps descriptors until the sandbox ends.
    pub(super) fn hold_descriptors(&mut self, fds: Vec<OwnedFd>) -> Result<Reply, Failure> {
        let Sandbox::Ready(ready) = &mut self.sandbox else {
            return Err(Failure::new(FailureKind::WrongState, "there is no sandbox to hold descriptors for"));
        };
        if fds.is_empty() {
            return Err(Failure::new(FailureKind::Invalid, "hold: no descriptors came with it"));
        }
        if ready.held.len() + fds.len() > self.held_limit {
            let message = format!(
                "hold: {} descriptors and {} more: at most {} are held",
                ready.held.len(),
                fds.len(),
                self.held_limit
            );
            return Err(Failure::new(FailureKind::Invalid, message));
        }
        ready.held.extend(fds);
        Ok(Reply::Done)
    }

    /// Names the sandbox's namespaces in a configuration, by descriptor.
    ///
    /// # Errors
    /// There is no sandbox, it has no such namespace, or the configuration wants another one.
    pub(super) fn give_namespaces(&self, spec: &mut Spec, kinds: &[NamespaceKind]) -> Result<(), Failure> {
        if kinds.is_empty() {
            return Ok(());
        }
        let Sandbox::Ready(ready) = &self.sandbox else {
            return Err(Failure::new(FailureKind::WrongState, "shim.json: sandbox: there is none; make it first"));
        };
        let namespaces = &mut spec.linux.get_or_insert_default().namespaces;
        for kind in kinds {
            let invalid =
                |problem: &str| Failure::new(FailureKind::Invalid, format!("shim.json: sandbox: {kind:?}: {problem}"));
            let namespace =
                ready.pinned.namespace(*kind).ok_or_else(|| invalid("the sandbox has no such namespace"))?;
            let path = Some(magic_link(namespace));
            match namespaces.iter_mut().find(|namespace| namespace.kind == *kind) {
                Some(Namespace { path: Some(other), .. }) if !other.is_empty() => {
                    return Err(invalid("config.json names another one in linux.namespaces"));
                }
                Some(namespace) => namespace.path = path,
                None => namespaces.push(Namespace { kind: *kind, path }),
            }
        }
        Ok(())
    }

    /// A container has ended for good: so has the sandbox that was made for it alone.
    pub(super) fn release_with(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let ends = matches!(&self.sandbox, Sandbox::Ready(ready) if ready.ends == Ends::WithContainer);
        if !container.standalone || !ends {
            return;
        }
        self.release_sandbox();
        if matches!(self.sandbox, Sandbox::Releasing(_))
            && let Some(container) = self.containers.get_mut(id)
        {
            container.phase = Phase::Releasing;
        }
    }

    /// Lets the sandbox go, then runs `on_exit`.
    pub(super) fn release_sandbox(&mut self) {
        let Sandbox::Ready(ready) = std::mem::replace(&mut self.sandbox, Sandbox::None) else { return };
        let Ready { pinned, on_exit, held, .. } = ready;
        // Processes in its pid namespace are containers', which have ended; with process 1 not reaped it is still gone.
        let _ = pinned.end();
        drop(held);
        match run(&on_exit) {
            Ok(Some(release)) => {
                self.timers.set(Instant::now() + ON_EXIT_LIMIT, Timer::OnExit);
                self.sandbox = Sandbox::Releasing(release);
            }
            Ok(None) => {}
            Err(error) => self.release_problem(&error.to_string()),
        }
    }

    /// `on_exit` has taken too long.
    pub(super) fn on_exit_overdue(&mut self) {
        let Sandbox::Releasing(release) = &self.sandbox else { return };
        // It leads a group of its own. ESRCH: it has just ended; its exit is on the way.
        let _ = nix::sys::signal::killpg(release.pid, nix::sys::signal::Signal::SIGKILL);
        let _ = pidfd_send_signal(&release.pidfd, 9);
    }

    /// A child that is no container's process has ended.
    pub(super) fn sandbox_process_ended(&mut self, pid: Pid, how: Exited) {
        let Sandbox::Releasing(release) = &self.sandbox else { return };
        if release.pid != pid {
            return;
        }
        let overdue = self.timers.at(&Timer::OnExit).is_none();
        self.timers.cancel(&Timer::OnExit);
        self.sandbox = Sandbox::None;
        match how {
            Exited::Code(0) => {}
            _ if overdue => self.release_problem(&format!("killed after {} s", ON_EXIT_LIMIT.as_secs())),
            how => self.release_problem(&format!("{how:?}")),
        }
        self.released();
    }

    /// Those who waited for the release are told.
    fn released(&mut self) {
        let waiting = self.containers.iter().filter(|(_, container)| container.phase == Phase::Releasing);
        let ids: Vec<String> = waiting.map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(container) = self.containers.get_mut(&id) {
                container.phase = Phase::Exited;
            }
            let ended = |process: &Process| process.container == id && process.exit.is_some();
            match self.processes.iter().find(|(_, process)| ended(process) && matches!(process.role, Role::Init(_))) {
                Some((&number, _)) => self.tell_of(number),
                // It could not be made.
                None => {
                    self.tell_if_exited(&id);
                    self.remove_if_due(&id);
                }
            }
        }
    }

    /// What went wrong with `on_exit` is in the record of the container that the sandbox was for.
    fn release_problem(&mut self, problem: &str) {
        let standalone = self.containers.iter_mut().find(|(_, container)| container.standalone);
        let Some((id, container)) = standalone else { return };
        container.error = Some(format!("sandbox.json: on_exit: {problem}"));
        let id = id.clone();
        self.record_quietly(&id);
    }
}

/// Starts `on_exit`: a group of its own, no streams, no environment. `None`: there is nothing to run.
fn run(on_exit: &[String]) -> Result<Option<Release>, CallError> {
    let Some((program, arguments)) = on_exit.split_first() else { return Ok(None) };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let child = command.spawn().call(|| format!("execve({program:?})"))?;
    let pid = Pid::from_raw(child.id().cast_signed());
    // Not reaped before it is waited for, so the number is its own.
    let pidfd = pidfd_open(pid).call(|| format!("pidfd_open({pid})"))?;
    Ok(Some(Release { pid, pidfd }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_that_may_be_held() {
        for (descriptors, expected) in [(0, 0), (256, 64), (1024, 256), (1 << 20, 4096), (u64::MAX, 4096)] {
            assert_eq!(held_limit(descriptors), expected, "{descriptors}");
        }
    }
}

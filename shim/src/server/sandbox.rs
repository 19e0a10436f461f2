//! The sandbox: namespaces that outlive a run or are shared by containers, and what is kept along with them.
//!
//! ```text
//!  None ──Sandbox──▶ Ready ──container ended, or StopSandbox──▶ Releasing (on_exit runs) ──its end──▶ None, and all are told
//! ```
//!
//! What is held are descriptors of this process alone: the kernel lets everything go when the shim is killed.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;
use nix::unistd::Pid;
use runtime::launch;
use runtime::plan::SandboxSpec;
use runtime::root::{clean, magic_link};
use runtime::spec::{Mount, Namespace, NamespaceKind, Spec};
use runtime::sys::process::{Exited, pidfd_open, pidfd_send_signal};
use runtime::sys::{Call, CallError};

use super::container::{Home, Phase};
use super::process::{Process, Role};
use super::timers::Timer;
use super::{Failure, Server};
use crate::layout::{self, Ends, ON_EXIT_LIMIT, SandboxState, SandboxStatus, VERSION};
use crate::protocol::{FailureKind, Reply};
use crate::record;

/// Most descriptors that are held, however many there may be.
const HELD_LIMIT: usize = 4096;

/// How long process 1 of a pid namespace is waited for, in milliseconds.
const LAST_MOMENTS: u16 = 1000;

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
    /// It is being stopped: no container starts any more.
    pub(super) stopping: bool,
    started_at: u64,
}

impl Sandbox {
    /// A mount of its /dev/shm, if it has one.
    pub(super) fn copy_shm(&self) -> Result<Option<OwnedFd>, CallError> {
        match self {
            Self::Ready(Ready { pinned: launch::Sandbox { shm: Some(shm), .. }, .. }) => shm.copy().map(Some),
            Self::Ready(_) | Self::None | Self::Releasing(_) => Ok(None),
        }
    }
}

/// `on_exit` under way.
pub(super) struct Release {
    pid: Pid,
    pidfd: OwnedFd,
    /// Of the sandbox, for its record.
    ends: Ends,
    started_at: u64,
}

impl Server {
    /// Sandbox: makes it, or finds it made; the network namespace goes along with the answer.
    pub(super) fn make_sandbox(&mut self, connection: u64) -> Result<(), Failure> {
        if matches!(self.sandbox, Sandbox::Releasing(_)) {
            return Err(Failure::new(FailureKind::WrongState, "sandbox is ending; wait for it first"));
        }
        if matches!(self.sandbox, Sandbox::None) {
            let ready = self.new_sandbox()?;
            let (ends, started_at) = (ready.ends, ready.started_at);
            self.sandbox = Sandbox::Ready(ready);
            let recorded = self.record_sandbox(ends, started_at, None);
            if let Err(error) = recorded {
                // What the record does not say may not be.
                self.release_sandbox();
                return Err(Failure::internal(error));
            }
        }
        self.refuse_stopping()?;
        let Sandbox::Ready(ready) = &self.sandbox else { return Ok(()) };
        let network = ready.pinned.namespace(NamespaceKind::Network);
        let network_number = network.map(|namespace| namespace.as_fd().as_raw_fd());
        let network = network.map(|namespace| namespace.as_fd().try_clone_to_owned());
        let network = network.transpose().call(|| "fcntl(<network namespace>, F_DUPFD_CLOEXEC)".to_owned());
        let network = network.map_err(Failure::internal)?;
        let namespaces = ready.pinned.namespaces.iter().map(|(kind, _)| *kind).collect();
        let init = ready.pinned.init.as_ref().map(|(pid, _)| pid.as_raw());
        self.reply_with(connection, &Reply::Sandbox { namespaces, init, network: network_number }, network);
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
            mount_label: sandbox.mount_label.as_deref(),
            process_label: sandbox.process_label.as_deref(),
        })
        .map_err(|error| Failure::launch(&error))?;
        Ok(Ready {
            pinned,
            ends: sandbox.ends,
            on_exit: sandbox.on_exit,
            held: Vec::new(),
            stopping: false,
            started_at: record::now(),
        })
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
    /// Returns whether its /dev/shm is the sandbox's.
    ///
    /// # Errors
    /// There is no sandbox, it has no such namespace, or the configuration wants another one.
    pub(super) fn give_namespaces(&self, spec: &mut Spec, kinds: &[NamespaceKind]) -> Result<bool, Failure> {
        if kinds.is_empty() {
            return Ok(false);
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
        Ok(kinds.contains(&NamespaceKind::Ipc) && ready.pinned.shm.is_some() && share_shm(spec))
    }

    /// A container has ended for good: so has the sandbox that was made for it alone.
    pub(super) fn release_with(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let ends = matches!(&self.sandbox, Sandbox::Ready(ready) if ready.ends == Ends::WithContainer);
        if container.home != Home::Shim || !ends {
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
        let Ready { pinned, on_exit, held, ends, started_at, .. } = ready;
        // Processes in its pid namespace are containers', which have ended. One of a container elsewhere that joined it holds
        // process 1 up until its own parent has reaped it; then it is reaped like any child.
        let _ = pinned.end(PollTimeout::from(LAST_MOMENTS));
        drop(held);
        // On a full disk the old record is read as "the shim died" once it has.
        let _ = self.record_sandbox(ends, started_at, None);
        match run(&on_exit) {
            Ok(Some((pid, pidfd))) => {
                self.timers.set(Instant::now() + ON_EXIT_LIMIT, Timer::OnExit);
                self.sandbox = Sandbox::Releasing(Release { pid, pidfd, ends, started_at });
            }
            Ok(None) => self.sandbox_over(),
            Err(error) => {
                self.release_problem(ends, started_at, &error.to_string());
                self.sandbox_over();
            }
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
        match &self.sandbox {
            Sandbox::Ready(ready) if ready.pinned.init.as_ref().is_some_and(|(init, _)| *init == pid) => {
                let (ends, started_at) = (ready.ends, ready.started_at);
                // All of its pid namespace ends along with it, and nothing can be born there any more.
                let why = format!("process 1 of the shared pid namespace has ended ({how:?})");
                let _ = self.record_sandbox(ends, started_at, Some(why));
                self.stop_containers(Some(Duration::ZERO));
            }
            Sandbox::Releasing(release) if release.pid == pid => {
                let (ends, started_at) = (release.ends, release.started_at);
                let overdue = self.timers.at(&Timer::OnExit).is_none();
                self.timers.cancel(&Timer::OnExit);
                self.sandbox = Sandbox::None;
                match how {
                    Exited::Code(0) => {}
                    _ if overdue => {
                        let problem = format!("killed after {} s", ON_EXIT_LIMIT.as_secs());
                        self.release_problem(ends, started_at, &problem);
                    }
                    how => self.release_problem(ends, started_at, &format!("{how:?}")),
                }
                self.released();
            }
            Sandbox::Ready(_) | Sandbox::Releasing(_) | Sandbox::None => {}
        }
    }

    /// The sandbox has ended and `on_exit` is over: those who waited for that are told.
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
        self.sandbox_over();
    }

    /// What went wrong with `on_exit` is in the record of what the sandbox was for.
    fn release_problem(&mut self, ends: Ends, started_at: u64, problem: &str) {
        let problem = format!("sandbox.json: on_exit: {problem}");
        // A full disk loses it: there is nobody else to tell.
        let _ = self.record_sandbox(ends, started_at, Some(problem.clone()));
        let standalone = self.containers.iter_mut().find(|(_, container)| container.home == Home::Shim);
        let Some((id, container)) = standalone else { return };
        container.error = Some(problem);
        let id = id.clone();
        self.record_quietly(&id);
    }

    /// Writes the record of a pod's sandbox as it is now; an error that is in it stays. The record of a container says all of its
    /// own.
    fn record_sandbox(&self, ends: Ends, started_at: u64, error: Option<String>) -> Result<(), CallError> {
        if ends == Ends::WithContainer {
            return Ok(());
        }
        let init = match &self.sandbox {
            Sandbox::Ready(ready) => Some(ready.pinned.init.as_ref().map(|(pid, _)| pid.as_raw())),
            Sandbox::Releasing(_) | Sandbox::None => None,
        };
        let before = record::read::<SandboxStatus>(&self.dir).ok().flatten();
        let before = before.filter(|before| before.shim == self.identity && before.started_at == started_at);
        let status = SandboxStatus {
            version: VERSION,
            boot_id: self.boot_id.clone(),
            shim: self.identity,
            state: if init.is_some() { SandboxState::Ready } else { SandboxState::Ended },
            started_at,
            ended_at: if init.is_some() { None } else { Some(record::now()) },
            init: init.flatten(),
            error: error.or_else(|| before.and_then(|before| before.error)),
        };
        record::write(&self.dir, &status)
    }
}

/// Makes a /dev/shm of its own into a bind mount, for which the sandbox's is given; one that somebody else brings stays. Whether
/// it was.
fn share_shm(spec: &mut Spec) -> bool {
    const PATH: &str = "/dev/shm";
    let bind = Mount {
        destination: PATH.to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(PATH.to_owned()),
        options: ["bind", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec(),
        ..Mount::default()
    };
    let at_shm = |mount: &&mut Mount| clean(mount.destination.as_ref()) == clean(PATH.as_ref());
    match spec.mounts.iter_mut().find(at_shm) {
        Some(mount) if mount.kind.as_deref() == Some("tmpfs") => *mount = bind,
        Some(_) => return false,
        None => spec.mounts.push(bind),
    }
    true
}

/// Starts `on_exit`: a group of its own, no streams, no environment. `None`: there is nothing to run.
fn run(on_exit: &[String]) -> Result<Option<(Pid, OwnedFd)>, CallError> {
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
    Ok(Some((pid, pidfd)))
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

//! One more process in a container.

use nix::sched::CloneFlags;

use super::birth::{Birth, clone};
use super::create::streams;
use super::error::{During, Error};
use super::sync::{Message, pair};
use super::{Exec, Executed, open};
use crate::init;
use crate::plan;
use crate::seccomp;
use crate::spec::NamespaceKind;
use crate::sys::Call;
use crate::sys::clone::Clone3;
use crate::sys::process::{Block, close_many, pidfd_send_signal, wait};

/// Runs a process in a container; returns when execve has succeeded.
///
/// # Errors
/// [`Error`]; [`Error::kind`] tells missing programs apart.
pub fn exec(exec: Exec<'_>) -> Result<Executed, Error> {
    let process = plan::process(exec.process, "process")?;
    let linux = exec.spec.linux.as_ref();
    let filter =
        linux.and_then(|linux| linux.seccomp.as_ref()).map(seccomp::compile).transpose().map_err(Error::Seccomp)?;
    let personality = linux.and_then(|linux| linux.personality.as_ref()).map(plan::personality).transpose()?;
    let kinds = linux.map_or(CloneFlags::empty(), |linux| {
        linux.namespaces.iter().fold(CloneFlags::empty(), |kinds, namespace| kinds | open::clone_flag(namespace.kind))
    });
    let pid_namespace = kinds.contains(open::clone_flag(NamespaceKind::Pid));
    let (ours, theirs) = pair().during(|| "sync".to_owned())?;
    let child = init::Exec {
        process: &process,
        personality,
        channel: theirs,
        target: (open::duplicate(exec.init).during(|| "pidfd".to_owned())?, kinds),
        procs: match (exec.cgroup, exec.below) {
            (Some(cgroup), Some(below)) => cgroup.procs_files_below(below)?,
            (Some(cgroup), None) => cgroup.procs_files()?,
            (None, _) => Vec::new(),
        },
        // A process cannot change its own pid namespace: a bridge enters it, and all others along with it.
        bridged: pid_namespace,
        streams: streams(exec.stdio),
        preserve_fds: exec.preserve_fds,
        groups: init::Groups::of_caller(),
        filter: filter.as_ref(),
    };
    let into = match exec.below {
        Some(below) => below.clone_into(),
        None => exec.cgroup.and_then(|cgroup| cgroup.clone_into()),
    };
    let birth = if pid_namespace { Birth::Entering(&child) } else { Birth::Here };
    let (pid, pidfd) = match clone(birth, 0, into)? {
        Clone3::Child => {
            // Closed as all that is not the child's.
            std::mem::forget(ours);
            child.run()
        }
        Clone3::Parent(pid, pidfd) => (pid, pidfd),
    };
    close_many(child.into_descriptors()).call(|| "close_range()".to_owned()).during(|| "clone".to_owned())?;
    let mut executed_process = Executed { pid, pidfd, console: None, warnings: Vec::new() };
    let result = loop {
        match ours.next().during(|| "init".to_owned()) {
            Ok(Message::Console(master)) => executed_process.console = Some(master),
            Ok(Message::Warning(text)) => executed_process.warnings.push(text),
            Ok(Message::Ended) => break Ok(()),
            Ok(Message::Failed(failure)) => break Err(Error::Init(failure)),
            Ok(Message::Born(_) | Message::Namespaces | Message::Created) => {}
            Err(error) => break Err(error),
        }
    };
    match result {
        Ok(()) => Ok(executed_process),
        Err(error) => {
            // It has ended or is about to; either way it is reaped next.
            let _ = pidfd_send_signal(&executed_process.pidfd, libc::SIGKILL);
            let _ = wait(&executed_process.pidfd, Block::Yes);
            Err(error)
        }
    }
}

//! One more process in a container.

use nix::sched::CloneFlags;
use nix::unistd::Pid;

use super::birth::{Birth, Group, clone, pid_of};
use super::create::streams;
use super::error::{During, Error};
use super::notify::{Notify, pass_on};
use super::sync::{Message, pair};
use super::{Exec, Executed, open};
use crate::hooks::{State, Status};
use crate::init::{self, Bounds};
use crate::plan;
use crate::seccomp;
use crate::spec::NamespaceKind;
use crate::sys::clone::Clone3;
use crate::sys::process::{Block, close_many, pidfd_send_signal, wait};
use crate::sys::scheduling::{affinity, set_affinity};
use crate::sys::{Call, CallError};

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
    let landlock = plan::landlock(&exec.spec.annotations)?;
    let memory_policy = linux.and_then(|linux| plan::present(linux.memory_policy.as_ref())).map(plan::memory_policy);
    let own_mounts = linux.is_some_and(|linux| {
        linux.namespaces.iter().any(|namespace| {
            namespace.kind == NamespaceKind::Mount && namespace.path.as_deref().is_none_or(str::is_empty)
        })
    });
    // Without a mount namespace made for it, a container's root is known to its processes alone.
    let root = match own_mounts {
        true => None,
        false => {
            let root = pid_of(exec.init).and_then(|pid| open::directory(format!("/proc/{pid}/root").as_ref()));
            Some(root.during(|| "root".to_owned())?)
        }
    };
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
        keyring: exec.keyring,
        memory_policy: memory_policy.transpose()?,
        root,
        bounds: Bounds { filter: filter.as_ref(), landlock: landlock.as_ref() },
        groups: init::Groups::of_caller(),
    };
    let into = match exec.below {
        Some(below) => Group { group: below.clone_into(), unit: None },
        None => Group {
            group: exec.cgroup.and_then(|cgroup| cgroup.clone_into()),
            unit: exec.unit.zip(exec.cgroup.and_then(|cgroup| cgroup.unified_path())),
        },
    };
    let birth = if pid_namespace { Birth::Entering(&child) } else { Birth::Here };
    // The process is born where this one runs, until it is in its groups.
    let before =
        process.affinity[0].as_deref().map(initial).transpose().during(|| "process.execCPUAffinity".to_owned())?;
    let cloned = clone(birth, 0, into);
    if !matches!(cloned, Ok(Clone3::Child))
        && let Some(before) = before
    {
        set_affinity(&before).call(|| "sched_setaffinity()".to_owned()).during(|| "clone".to_owned())?;
    }
    let (pid, pidfd) = match cloned? {
        Clone3::Child => {
            // Closed as all that is not the child's.
            std::mem::forget(ours);
            child.run()
        }
        Clone3::Parent(pid, pidfd) => (pid, pidfd),
    };
    close_many(child.into_descriptors()).call(|| "close_range()".to_owned()).during(|| "clone".to_owned())?;
    let mut executed_process = Executed { pid, pidfd, console: None, warnings: process.warnings.clone() };
    let result = loop {
        match ours.next().during(|| "init".to_owned()) {
            Ok(Message::Console(master)) => executed_process.console = Some(master),
            Ok(Message::Warning(text)) => executed_process.warnings.push(text),
            Ok(Message::Listener(listener)) => {
                let state = State {
                    oci_version: &exec.spec.oci_version,
                    id: exec.id,
                    status: Status::Running,
                    pid: pid_of(exec.init).map_or(0, Pid::as_raw),
                    bundle: exec.bundle,
                    annotations: &exec.spec.annotations,
                };
                let notify = Notify::new(exec.spec, &state, pid.as_raw());
                if let Err(error) = pass_on(notify.as_ref(), &listener, &ours) {
                    break Err(error);
                }
            }
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

/// Goes to other processors; those before.
fn initial(processors: &[u64]) -> Result<Vec<u64>, CallError> {
    let before = affinity().call(|| "sched_getaffinity()".to_owned())?;
    set_affinity(processors).call(|| format!("sched_setaffinity({processors:x?})"))?;
    Ok(before)
}

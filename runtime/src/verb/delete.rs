//! `delete`: removes what is left of a container.

use std::time::Duration;

use nix::errno::Errno;
use runtime::cgroup::Cgroup;
use runtime::hooks::{self, State, Status};
use runtime::state::{Access, ContainerId, Error, Init, Record, StateDir};
use runtime::sys::process::pidfd_send_signal;
use runtime::sys::{Call, CallError};

use super::{Context, Failure, Verb};
use crate::args::{Flag, Parsed};

pub(super) const VERB: Verb = Verb {
    name: "delete",
    usage: "delete [options] ID",
    summary: "remove a stopped container",
    flags: &[Flag {
        name: "force",
        short: Some('f'),
        value: None,
        help: "kill it first; a missing container is no error",
    }],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let force = parsed.is_set("force");
    let id = parsed.positionals[0].parse()?;
    let directory = if force { take(context, &id) } else { StateDir::open(&context.root, &id, Access::Change) };
    let directory = match directory {
        // Never there, or just removed by somebody else.
        Err(Error::Missing(_)) if force => return Ok(0),
        directory => directory?,
    };
    let container = context.examine(directory)?;
    let removable = force || (matches!(container.status, Status::Stopped | Status::Created) && !container.frozen);
    if !removable {
        return Err(Failure::new(format!(
            "container {id} is {}; stop it first, or use --force",
            container.status_word()
        )));
    }
    if container.cgroup_is_anothers()? {
        context.log.warning(&format!("container {id}: its cgroup has processes of somebody else and is left"));
        remove_state(context, &container.directory, container.record.as_ref())?;
        return Ok(0);
    }
    if container.frozen
        && let Some(cgroup) = &container.cgroup
    {
        cgroup.thaw()?;
    }
    if let Some(init) = &container.init {
        kill(init)?;
        init.wait()?;
    }
    destroy(context, &container.directory, container.record.as_ref(), container.cgroup.as_ref())?;
    Ok(0)
}

/// How long another command has before it is looked again at the container that it changes.
const REST: Duration = Duration::from_millis(5);

/// Opens the directory of a container to remove it. A command that changes it may wait for a hook that never ends: with init all of that is
/// over.
fn take(context: &Context<'_>, id: &ContainerId) -> Result<StateDir, Error> {
    loop {
        if let Some(directory) = StateDir::try_open(&context.root, id)? {
            return Ok(directory);
        }
        // Its maker may be about to make it.
        if let Some(init) = StateDir::open(&context.root, id, Access::Look)?.init_so_far()? {
            kill(&init)?;
        }
        std::thread::sleep(REST);
    }
}

fn kill(init: &Init) -> Result<(), CallError> {
    match pidfd_send_signal(&init.pidfd, libc::SIGKILL) {
        // It has ended.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        killed => killed.call(|| format!("pidfd_send_signal({}, SIGKILL)", init.pid)),
    }
}

/// Removes the cgroup with all that runs in it and the state, then runs the poststop hooks. Goes on after an error and reports
/// the first; the state stays as long as there is a cgroup to be removed.
pub(super) fn destroy(
    context: &Context<'_>,
    directory: &StateDir,
    record: Option<&Record>,
    cgroup: Option<&Cgroup>,
) -> Result<(), Failure> {
    super::place::remove(cgroup, record.and_then(|record| record.scope.as_ref()))?;
    remove_state(context, directory, record)
}

fn remove_state(context: &Context<'_>, directory: &StateDir, record: Option<&Record>) -> Result<(), Failure> {
    directory.remove()?;
    if let Some(record) = record {
        poststop(context, directory.id(), record);
    }
    Ok(())
}

/// Runs the poststop hooks of a container that is gone, also of one whose making failed.
pub(super) fn poststop(context: &Context<'_>, id: &ContainerId, record: &Record) {
    let Some(hooks) = &record.spec.hooks else { return };
    let state = State {
        oci_version: &record.spec.oci_version,
        id: id.as_str(),
        status: Status::Stopped,
        pid: 0,
        bundle: &record.bundle,
        annotations: &record.spec.annotations,
    };
    // A failing poststop hook is logged, and the others still run (runtime.md, "Lifecycle", 13).
    for hook in &hooks.poststop {
        if let Err(error) = hooks::run(std::slice::from_ref(hook), "poststop", &state) {
            context.log.warning(&error.to_string());
        }
    }
}

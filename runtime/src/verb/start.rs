//! `start`: lets a created container run its program.

use nix::errno::Errno;
use runtime::hooks::{self, State, Status};
use runtime::launch;
use runtime::state::Access;
use runtime::sys::Call;
use runtime::sys::process::pidfd_send_signal;

use super::notify::Notify;
use super::{Context, Failure, Verb};
use crate::args::Parsed;

pub(super) const VERB: Verb = Verb {
    name: "start",
    usage: "start ID",
    summary: "run the program of a created container",
    flags: &[],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let container = context.open(parsed, Access::Change)?;
    let (record, init) = container.alive("it cannot be started")?;
    if container.status != Status::Created || container.frozen {
        return Err(Failure::new(format!(
            "container {} is {}; only a created one can be started",
            container.directory.id(),
            container.status_word()
        )));
    }
    let Some(connection) = container.directory.connect()? else {
        return Err(Failure::new(format!("container {} has just been started or ended", container.directory.id())));
    };
    let mut state = State {
        oci_version: &record.spec.oci_version,
        id: &record.id,
        status: Status::Created,
        pid: init.pid.as_raw(),
        bundle: &record.bundle,
        annotations: &record.spec.annotations,
    };
    let notify = Notify::listen(&container.directory, &context.root)?;
    launch::start(connection, launch::Notify::new(&record.spec, &state, state.pid).as_ref())?;
    // Hooks and the program take their time: from here on other commands may change the container, and remove it.
    container.directory.release()?;
    if let Some(hooks) = &record.spec.hooks {
        state.status = Status::Running;
        if let Err(error) = hooks::run(&hooks.poststart, "poststart", &state) {
            // OCI runtime-spec runtime.md, "Lifecycle": the container is stopped.
            match pidfd_send_signal(&init.pidfd, libc::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                killed => killed.call(|| "pidfd_send_signal(<init>, SIGKILL)".to_owned())?,
            }
            return Err(error.into());
        }
    }
    if let Some(notify) = notify {
        return notify.relay(&init.pidfd, init.pid.as_raw());
    }
    Ok(0)
}

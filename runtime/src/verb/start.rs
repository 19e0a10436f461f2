//! `start`: lets a created container run its program.

use runtime::hooks::{self, State, Status};
use runtime::launch;
use runtime::state::Access;

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
    if container.status != Status::Created {
        return Err(Failure::new(format!(
            "container {} is {}; only a created one can be started",
            container.directory.id(),
            container.status_word()
        )));
    }
    let Some(connection) = container.directory.connect()? else {
        return Err(Failure::new(format!("container {} has just been started or ended", container.directory.id())));
    };
    let notify = Notify::listen(&container.directory, &context.root)?;
    launch::start(connection)?;
    if let Some(hooks) = &record.spec.hooks {
        let state = State {
            oci_version: &record.spec.oci_version,
            id: &record.id,
            status: Status::Running,
            pid: init.pid.as_raw(),
            bundle: &record.bundle,
            annotations: &record.spec.annotations,
        };
        hooks::run(&hooks.poststart, "poststart", &state)?;
    }
    if let Some(notify) = notify {
        return notify.relay(&init.pidfd, init.pid.as_raw());
    }
    Ok(0)
}

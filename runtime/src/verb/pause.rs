//! `pause`: freezes a container.

use runtime::hooks::Status;
use runtime::state::Access;

use super::{Context, Failure, Verb};
use crate::args::Parsed;

pub(super) const VERB: Verb = Verb {
    name: "pause",
    usage: "pause ID",
    summary: "freeze all processes of a container",
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
    match (&container.cgroup, container.status) {
        (Some(cgroup), Status::Running | Status::Created) if !container.frozen => cgroup.freeze()?,
        (_, _) => {
            return Err(Failure::new(format!(
                "container {} is {}; only a running one can be paused",
                container.directory.id(),
                container.status_word()
            )));
        }
    }
    Ok(0)
}

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
    match container.status {
        Status::Running | Status::Created if !container.frozen => container.cgroup("it cannot be frozen")?.freeze()?,
        Status::Creating | Status::Created | Status::Running | Status::Stopped => {
            // Callers look for these words.
            return Err(Failure::new(format!(
                "container not running: {} is {}; only a running one can be paused",
                container.directory.id(),
                container.status_word()
            )));
        }
    }
    Ok(0)
}

//! `resume`: thaws a container.

use runtime::state::Access;

use super::{Context, Failure, Verb};
use crate::args::Parsed;

pub(super) const VERB: Verb = Verb {
    name: "resume",
    usage: "resume ID",
    summary: "thaw a paused container",
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
    match &container.cgroup {
        Some(cgroup) if container.frozen => cgroup.thaw()?,
        Some(_) | None => {
            return Err(Failure::new(format!(
                "container {} is {}, not paused",
                container.directory.id(),
                container.status_word()
            )));
        }
    }
    Ok(0)
}

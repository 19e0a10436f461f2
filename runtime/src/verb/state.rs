//! `state`: what a container is doing, as JSON.

use runtime::hooks::Status;
use runtime::state::Access;

use super::{Context, Failure, SPEC_VERSION, Verb};
use crate::args::Parsed;

pub(super) const VERB: Verb = Verb {
    name: "state",
    usage: "state ID",
    summary: "show the state of a container as JSON",
    flags: &[],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let container = context.open(parsed, Access::Look)?;
    let record = container.record.as_ref();
    let alive = !matches!(container.status, Status::Stopped | Status::Creating);
    let state = serde_json::json!({
        "ociVersion": record.map_or(SPEC_VERSION, |record| record.spec.oci_version.as_str()),
        "id": container.directory.id().as_str(),
        "pid": container.init.as_ref().filter(|_| alive).map_or(0, |init| init.pid.as_raw()),
        "status": container.status_word(),
        "bundle": record.map(|record| &record.bundle),
        "rootfs": record.and_then(super::list::rootfs),
        "created": record.map(super::list::created),
        "owner": record.map(super::list::owner).unwrap_or_default(),
        "annotations": record.map(|record| &record.spec.annotations),
    });
    println!("{state:#}");
    Ok(0)
}

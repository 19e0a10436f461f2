//! What Exec, Attach and PortForward have in common.

use tonic::Status;

use crate::streaming::{Full, Wanted};

/// Streams that can be had together.
pub(super) fn wanted(wanted: Wanted) -> Result<Wanted, Status> {
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    if !(stdin || stdout || stderr) {
        return Err(Status::invalid_argument("stdin, stdout, stderr: at least one of them is needed"));
    }
    if tty && stderr {
        return Err(Status::invalid_argument("stderr: with tty there is none of its own; ask for stdout"));
    }
    Ok(wanted)
}

/// Too many addresses.
pub(super) fn full(full: Full) -> Status {
    Status::resource_exhausted(full.to_string())
}

//! Refusals in the words of who asked.

use super::super::error::Error;
use crate::spec;

/// Refuses a field of the container's configuration.
pub(super) fn refuse(field: &str, problem: impl Into<String>) -> Error {
    Error::Invalid { field: format!("config.{field}"), problem: problem.into() }
}

/// The library that makes configurations speaks of command line flags; a kubelet asks by other names.
pub(super) fn explain(error: spec::Error) -> Error {
    const SECURITY: &str = "linux.security_context";
    match error {
        spec::Error::NoCommand => refuse("command", "is missing, and the image has neither entrypoint nor command"),
        spec::Error::DuplicateMount { destination } => {
            refuse("mounts", format!("{destination:?} is the container_path of two mounts"))
        }
        spec::Error::UnknownCapability { name } => refuse(
            &format!("{SECURITY}.capabilities"),
            format!("{name:?} is no capability; capabilities(7) lists them"),
        ),
        spec::Error::CapabilityUnavailable { name } => refuse(
            &format!("{SECURITY}.capabilities.add_capabilities"),
            format!("{name} is not in the bounding set of the daemon, so no container can have it"),
        ),
        spec::Error::SeccompProfile { at, problem } => {
            refuse(&format!("{SECURITY}.seccomp"), format!("the profile is wrong at {at}: {problem}"))
        }
        spec::Error::NoAppArmor { profile } => {
            refuse(&format!("{SECURITY}.apparmor"), format!("{profile:?}: AppArmor is not enabled on this node"))
        }
        error @ (spec::Error::Conflict { .. } | spec::Error::Invalid { .. } | spec::Error::Sysctl { .. }) => {
            Error::Spec(error)
        }
    }
}

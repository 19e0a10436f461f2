//! Errors as a kubelet reads them: one place decides the code of each.

use tonic::Status;

use super::decode::Invalid;
use crate::cgroup;
use crate::image::Error;
use crate::pod;

/// What a client learns about a message that makes no sense.
pub(super) fn invalid(error: &Invalid) -> Status {
    Status::invalid_argument(error.to_string())
}

/// What a client learns about an image that could not be had.
pub(super) fn image(error: &Error) -> Status {
    let message = error.to_string();
    match error {
        Error::NotFound { .. } => Status::not_found(message),
        Error::Cancelled => Status::cancelled(message),
        // The kubelet shows what such a message begins with as the reason of a pod that waits.
        Error::Registry { .. } => Status::unknown(format!("RegistryUnavailable: {message}")),
        Error::InUse { .. } | Error::SeveralNames { .. } => Status::failed_precondition(message),
        Error::Ambiguous { .. } | Error::Name { .. } => Status::invalid_argument(message),
        Error::Call(_)
        | Error::Io { .. }
        | Error::Document { .. }
        | Error::MediaType { .. }
        | Error::Mismatch { .. }
        | Error::Tar { .. }
        | Error::Entry { .. }
        | Error::Limit { .. }
        | Error::Layer { .. }
        | Error::NoPlatform { .. }
        | Error::NotAnImage { .. }
        | Error::Missing { .. }
        | Error::NoBlobs { .. }
        | Error::Exposed { .. }
        | Error::Credentials { .. }
        | Error::Damaged { .. } => Status::unknown(message),
    }
}

/// The kind of a failed pull, as a label of the metrics.
pub(super) fn kind(error: &Error) -> &'static str {
    match error {
        Error::NotFound { .. } => "not_found",
        Error::Cancelled => "cancelled",
        Error::Registry { .. } => "registry",
        Error::Credentials { .. } => "credentials",
        Error::NoPlatform { .. } => "platform",
        Error::Document { .. }
        | Error::MediaType { .. }
        | Error::Mismatch { .. }
        | Error::Tar { .. }
        | Error::Entry { .. }
        | Error::Limit { .. }
        | Error::Layer { .. }
        | Error::NotAnImage { .. } => "image",
        Error::Call(_)
        | Error::Io { .. }
        | Error::InUse { .. }
        | Error::SeveralNames { .. }
        | Error::Ambiguous { .. }
        | Error::Name { .. }
        | Error::Missing { .. }
        | Error::NoBlobs { .. }
        | Error::Exposed { .. }
        | Error::Damaged { .. } => "node",
    }
}

/// The id of an object.
pub(super) fn given<'a>(field: &str, id: &'a str) -> Result<&'a str, Status> {
    if id.is_empty() { Err(Status::invalid_argument(format!("{field}: empty; an id is needed"))) } else { Ok(id) }
}

/// What a client learns about a pod or container with which it did not work out.
pub(super) fn pod(error: &pod::Error) -> Status {
    let message = error.to_string();
    match error.cause() {
        pod::Error::NotFound { .. } => Status::not_found(message),
        pod::Error::Ambiguous { .. } | pod::Error::Invalid { .. } | pod::Error::Handler { .. } => {
            Status::invalid_argument(message)
        }
        pod::Error::PodExists { .. } | pod::Error::ContainerExists { .. } => Status::already_exists(message),
        pod::Error::NotReady { .. } | pod::Error::WrongState { .. } => Status::failed_precondition(message),
        pod::Error::UnderWay { .. } | pod::Error::Overdue { .. } => Status::deadline_exceeded(message),
        pod::Error::Image(error) => Status::new(image(error).code(), message),
        pod::Error::Spec(_) | pod::Error::CgroupDriver(cgroup::Error::Parent { .. } | cgroup::Error::Resource(_)) => {
            Status::invalid_argument(message)
        }
        pod::Error::Start { .. }
        | pod::Error::Exec { .. }
        | pod::Error::Connect { .. }
        | pod::Error::Network(_)
        | pod::Error::Cni(_)
        | pod::Error::Identity(_)
        | pod::Error::Copy(_)
        | pod::Error::Shim(_)
        | pod::Error::Local(_)
        | pod::Error::Record { .. }
        | pod::Error::Cgroup(_)
        | pod::Error::CgroupDriver(_)
        | pod::Error::Config(_)
        | pod::Error::Call(_)
        | pod::Error::Io { .. }
        | pod::Error::Several(_)
        | pod::Error::Shared(_)
        | pod::Error::Step { .. } => Status::unknown(message),
        pod::Error::Panic(_) => Status::internal(message),
    }
}

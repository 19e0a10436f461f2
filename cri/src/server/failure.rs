//! Errors as a kubelet reads them: one place decides the code of each.

use tonic::Status;

use crate::image::Error;

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

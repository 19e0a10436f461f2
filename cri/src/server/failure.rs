//! Errors as a kubelet reads them: one place decides the code of each.

use tonic::Status;

use super::decode::Invalid;
use crate::image::Error;

/// What a client learns about a message that makes no sense.
#[allow(dead_code, reason = "the calls that decode pods and containers follow")]
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

//! How loud a call is.

use tonic::Code;
use tracing::{Level, Span, field};

/// How often a call comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It changes something.
    Change,
    /// It asks, or is made again and again: probes by ExecSync.
    Query,
}

use Kind::{Change, Query};

/// The table of all calls: their names and kinds, and a span for each, since the name of a span must be constant.
macro_rules! calls {
    ($($name:ident $kind:ident,)+) => {
        /// All calls.
        const METHODS: &[(&str, Kind)] = &[$((stringify!($name), $kind)),+];

        /// The span of a call, with fields that are filled in when they are known. It is there whatever the level of the log is: all lines
        /// below it say whose they are.
        pub(super) fn span(method: &str) -> Span {
            match method {
                $(stringify!($name) => fields!(stringify!($name)),)+
                _ => fields!("other"),
            }
        }
    };
}

macro_rules! fields {
    ($name:expr) => {
        tracing::error_span!(
            $name,
            pod = field::Empty,
            container = field::Empty,
            pod_name = field::Empty,
            container_name = field::Empty,
            namespace = field::Empty,
            image = field::Empty,
            code = field::Empty,
        )
    };
}

calls! {
    Version Query,
    RunPodSandbox Change,
    StopPodSandbox Change,
    RemovePodSandbox Change,
    PodSandboxStatus Query,
    ListPodSandbox Query,
    CreateContainer Change,
    StartContainer Change,
    StopContainer Change,
    RemoveContainer Change,
    ListContainers Query,
    ContainerStatus Query,
    UpdateContainerResources Change,
    ReopenContainerLog Change,
    ExecSync Query,
    Exec Change,
    Attach Change,
    PortForward Change,
    ContainerStats Query,
    ListContainerStats Query,
    PodSandboxStats Query,
    ListPodSandboxStats Query,
    UpdateRuntimeConfig Change,
    Status Query,
    CheckpointContainer Change,
    GetContainerEvents Query,
    ListMetricDescriptors Query,
    ListPodSandboxMetrics Query,
    RuntimeConfig Query,
    UpdatePodSandboxResources Change,
    StreamPodSandboxes Query,
    StreamContainers Query,
    StreamContainerStats Query,
    StreamPodSandboxStats Query,
    StreamPodSandboxMetrics Query,
    CheckpointPod Change,
    RestorePod Change,
    ListImages Query,
    StreamImages Query,
    ImageStatus Query,
    PullImage Change,
    RemoveImage Change,
    ImageFsInfo Query,
}

/// The name of a call that is none: what clients send never becomes a label.
const OTHER: &str = "other";

/// The call behind `/runtime.v1.RuntimeService/RunPodSandbox`.
pub(super) fn method(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    METHODS.iter().find(|(known, _)| *known == name).map_or(OTHER, |(known, _)| known)
}

/// How loud the end of a call is.
pub(super) fn level(method: &str, code: Code) -> Level {
    let kind = METHODS.iter().find(|(known, _)| *known == method).map_or(Query, |(_, kind)| *kind);
    match (code, kind) {
        // The kubelet asks for what may be gone, tries what may not be there, and leaves when it has waited for long enough.
        (Code::NotFound | Code::Unimplemented | Code::Cancelled, Query) | (Code::Ok, Query) => Level::DEBUG,
        (Code::NotFound | Code::Unimplemented | Code::Cancelled | Code::Ok, Change) => Level::INFO,
        _ => Level::WARN,
    }
}

/// The code's name.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Cancelled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All calls of the wire definition are here, and no others.
    #[test]
    fn calls_of_the_definition() {
        let definition = include_str!("../../../../proto/runtime/v1/service.proto");
        let calls = definition.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split_once('('));
        let mut calls: Vec<&str> = calls.map(|(name, _)| name).collect();
        let mut known: Vec<&str> = METHODS.iter().map(|(name, _)| *name).collect();
        calls.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, calls);
    }

    #[test]
    fn table() {
        assert_eq!(method("/runtime.v1.ImageService/PullImage"), "PullImage");
        for path in ["", "/", "/runtime.v1.RuntimeService/Nothing", "/x/y/../z"] {
            assert_eq!(method(path), OTHER, "{path}");
        }
        assert_eq!(level("PullImage", Code::Ok), Level::INFO);
        assert_eq!(level("ListContainers", Code::Ok), Level::DEBUG);
        assert_eq!(level("ContainerStatus", Code::NotFound), Level::DEBUG);
        assert_eq!(level("StopContainer", Code::Cancelled), Level::INFO);
        assert_eq!(level("ListContainers", Code::Unknown), Level::WARN);
    }
}

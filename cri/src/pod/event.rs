//! What happened to a pod or container. CRI: GetContainerEvents

use super::id::Id;
use super::state::{ContainerView, PodView};

/// Something happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// The container, or the pod.
    pub id: Id,
    /// What.
    pub kind: EventKind,
    /// Nanoseconds since the epoch.
    pub at: u64,
    /// The pod, as it was then.
    pub pod: PodView,
    /// Its containers, as they were then.
    pub containers: Vec<ContainerView>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It has been made.
    Created,
    /// It runs.
    Started,
    /// It has ended.
    Stopped,
    /// It is gone.
    Deleted,
}

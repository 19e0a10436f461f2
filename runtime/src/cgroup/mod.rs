//! Control groups.

/// One group in every hierarchy.
pub struct Cgroup;

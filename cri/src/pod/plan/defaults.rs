//! What containers and pods get that do not say otherwise.

use std::num::NonZeroU32;

use runtime::spec::Rlimit;

use crate::config::ImageVolumes;

/// Choices of who runs the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Limits of processes.
    pub rlimits: Vec<Rlimit>,
    /// Most tasks of a container.
    pub pids_limit: Option<i64>,
    /// Text of the system call filter of containers that ask for RuntimeDefault; absent is the built-in one.
    pub seccomp: Option<String>,
    /// AppArmor profile of containers that ask for RuntimeDefault or for nothing; it is loaded. Absent means none.
    pub apparmor: Option<String>,
    /// Whether all ports of a pod's own network may be listened on without a capability.
    pub unprivileged_ports: bool,
    /// Whether limits of huge pages are left out where no cgroup can keep them; else such a container is refused.
    pub tolerate_missing_hugetlb: bool,
    /// Whether everybody may ping from a pod's own network.
    pub unprivileged_icmp: bool,
    /// Most bytes of a line of a log in one record.
    pub max_log_line: Option<NonZeroU32>,
    /// What becomes of the directories that the image declares as volumes.
    pub image_volumes: ImageVolumes,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            rlimits: Vec::new(),
            pids_limit: None,
            seccomp: None,
            apparmor: None,
            unprivileged_ports: true,
            tolerate_missing_hugetlb: true,
            unprivileged_icmp: true,
            max_log_line: None,
            image_volumes: ImageVolumes::Private,
        }
    }
}

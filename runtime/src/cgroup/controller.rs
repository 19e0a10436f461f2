//! Controllers by name, and sets of them.

use std::fmt;

/// A cgroup controller that this program uses, or (v1) a hierarchy without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// CPU time accounting (v1; part of the core on v2).
    Cpuacct,
    /// CPU and memory node placement.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Block I/O: `blkio` on v1, `io` on v2.
    Io,
    /// Number of tasks.
    Pids,
    /// Huge pages.
    Hugetlb,
    /// Device access (v1; eBPF on v2).
    Devices,
    /// Freezing (v1; part of the core on v2).
    Freezer,
    /// perf(1) by group (v1; part of the core on v2).
    PerfEvent,
    /// systemd's own hierarchy (v1): which unit a process belongs to. A container that stayed in the unit of its creator
    /// would be stopped with it.
    Systemd,
    /// RDMA resources.
    Rdma,
    /// Scalar resources of the host.
    Misc,
    /// Device memory.
    Dmem,
    /// Class of network packets (v1).
    NetCls,
    /// Priority of network packets (v1).
    NetPrio,
}

impl Controller {
    const ALL: [Controller; 16] = [
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Io,
        Controller::Pids,
        Controller::Hugetlb,
        Controller::Devices,
        Controller::Freezer,
        Controller::PerfEvent,
        Controller::Systemd,
        Controller::Rdma,
        Controller::Misc,
        Controller::Dmem,
        Controller::NetCls,
        Controller::NetPrio,
    ];

    /// Name in mount options (v1) and in `cgroup.controllers` (v2), except that v1 says `blkio` for `io`.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Io => "io",
            Controller::Pids => "pids",
            Controller::Hugetlb => "hugetlb",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
            Controller::PerfEvent => "perf_event",
            Controller::Systemd => "name=systemd",
            Controller::Rdma => "rdma",
            Controller::Misc => "misc",
            Controller::Dmem => "dmem",
            Controller::NetCls => "net_cls",
            Controller::NetPrio => "net_prio",
        }
    }

    /// The controller called `name` on cgroup v2.
    pub(super) fn v2(name: &str) -> Option<Controller> {
        Controller::ALL.into_iter().find(|controller| controller.name() == name)
    }

    /// The controller of a v1 hierarchy mounted with the option `name`, where a container needs a group in it: to be
    /// limited (all that `linux.resources` can set), counted, frozen, or told apart by perf and systemd.
    pub(super) fn v1(name: &str) -> Option<Controller> {
        match name {
            "blkio" => Some(Controller::Io),
            "io" | "misc" | "dmem" => None,
            name => Controller::v2(name),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of controllers.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Controllers(u16);

impl Controllers {
    /// What is enabled for every group on cgroup v2, where the host has it: all that `linux.resources` can set.
    pub(super) const WANTED: Controllers = Controllers(
        1 << Controller::Cpu as u8
            | 1 << Controller::Cpuset as u8
            | 1 << Controller::Memory as u8
            | 1 << Controller::Io as u8
            | 1 << Controller::Pids as u8
            | 1 << Controller::Hugetlb as u8,
    );

    /// The known ones of `cgroup.controllers` or `cgroup.subtree_control`.
    pub(super) fn parse_v2(text: &str) -> Controllers {
        text.split_ascii_whitespace().filter_map(Controller::v2).collect()
    }

    /// The empty set.
    pub(super) const NONE: Controllers = Controllers(0);

    pub(super) fn contains(self, controller: Controller) -> bool {
        self.0 & 1 << controller as u8 != 0
    }

    pub(super) fn without(self, other: Controllers) -> Controllers {
        Controllers(self.0 & !other.0)
    }

    pub(super) fn and(self, other: Controllers) -> Controllers {
        Controllers(self.0 & other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Controller> {
        Controller::ALL.into_iter().filter(move |controller| self.contains(*controller))
    }
}

impl FromIterator<Controller> for Controllers {
    fn from_iter<I: IntoIterator<Item = Controller>>(controllers: I) -> Controllers {
        Controllers(controllers.into_iter().fold(0, |set, controller| set | 1 << controller as u8))
    }
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for controller in Controller::ALL {
            assert_eq!(Controller::v2(controller.name()), Some(controller));
        }
        assert_eq!(Controller::v1("blkio"), Some(Controller::Io));
        for unknown in ["io", "misc", "dmem", "rw", "name=other", ""] {
            assert_eq!(Controller::v1(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn sets() {
        let set = Controllers::parse_v2("cpuset cpu io memory hugetlb pids rdma misc unknown\n");
        assert!(set.without(Controllers::WANTED).iter().eq([Controller::Rdma, Controller::Misc]));
        assert!(Controllers::WANTED.without(set).is_empty());
        assert_eq!(set.and(Controllers::WANTED), Controllers::WANTED);
        assert!(!set.contains(Controller::Devices));
        assert!(Controllers::parse_v2("\n").is_empty());
    }
}

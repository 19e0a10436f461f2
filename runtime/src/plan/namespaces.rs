//! `linux.namespaces` and the id mappings.

use std::path::PathBuf;

use super::{PlanError, refuse};
use crate::spec::{IdMapping, Linux, NamespaceKind};

/// Namespaces of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Kinds that are made anew.
    pub new: Vec<NamespaceKind>,
    /// Kinds that are joined, with the index in the document.
    pub join: Vec<(NamespaceKind, PathBuf, usize)>,
    /// Mappings of a new user namespace.
    pub uid_map: Vec<IdMapping>,
    /// Mappings of a new user namespace.
    pub gid_map: Vec<IdMapping>,
}

impl Namespaces {
    /// Checks the lists.
    ///
    /// # Errors
    /// A kind given twice, a mapping without a user namespace or the other way round.
    pub fn new(linux: &Linux) -> Result<Self, PlanError> {
        let mut namespaces = Self::default();
        for (index, namespace) in linux.namespaces.iter().enumerate() {
            let at = format!("linux.namespaces[{index}]");
            if namespaces.own(namespace.kind) {
                return Err(refuse(&format!("{at}.type"), format!("{} is given twice", name(namespace.kind))));
            }
            match namespace.path.as_deref().filter(|path| !path.is_empty()) {
                None => namespaces.new.push(namespace.kind),
                Some(path) if path.starts_with('/') && !path.contains('\0') => {
                    namespaces.join.push((namespace.kind, PathBuf::from(path), index));
                }
                Some(path) => return Err(refuse(&format!("{at}.path"), format!("{path:?} is not an absolute path"))),
            }
        }
        namespaces.uid_map = mappings(&linux.uid_mappings, "linux.uidMappings")?;
        namespaces.gid_map = mappings(&linux.gid_mappings, "linux.gidMappings")?;
        namespaces.check()?;
        Ok(namespaces)
    }

    fn check(&self) -> Result<(), PlanError> {
        let mapped = !self.uid_map.is_empty() || !self.gid_map.is_empty();
        if self.makes(NamespaceKind::User) && (self.uid_map.is_empty() || self.gid_map.is_empty()) {
            return Err(refuse(
                "linux.namespaces",
                "a new user namespace needs linux.uidMappings and linux.gidMappings",
            ));
        }
        for (maps, at) in [(&self.uid_map, "linux.uidMappings"), (&self.gid_map, "linux.gidMappings")] {
            if !maps.is_empty() && !maps.iter().any(|map| map.container_id == 0) {
                return Err(refuse(at, "must map id 0: a container is made by the root of its user namespace"));
            }
        }
        if mapped && !self.own(NamespaceKind::User) {
            return Err(refuse("linux.uidMappings", "needs a user namespace in linux.namespaces"));
        }
        Ok(())
    }

    /// Whether the container has its own namespace of this kind, new or joined.
    #[must_use]
    pub fn own(&self, kind: NamespaceKind) -> bool {
        self.makes(kind) || self.joins(kind)
    }

    /// Whether a namespace of this kind is made anew.
    #[must_use]
    pub fn makes(&self, kind: NamespaceKind) -> bool {
        self.new.contains(&kind)
    }

    /// Whether a namespace of this kind is joined.
    #[must_use]
    pub fn joins(&self, kind: NamespaceKind) -> bool {
        self.join.iter().any(|(joined, ..)| *joined == kind)
    }

    /// CLONE_NEW* bits for clone3(2). A cgroup namespace is not among them: it is rooted in the group of the process that
    /// makes it, so the child makes it once it is in its group. Nor is a time namespace: its offsets are written before anyone is in it.
    #[must_use]
    pub fn clone_flags(&self) -> u64 {
        let at_birth = |kind: &&NamespaceKind| !matches!(kind, NamespaceKind::Cgroup | NamespaceKind::Time);
        self.new.iter().filter(at_birth).fold(0, |flags, kind| flags | flag(*kind))
    }
}

/// CLONE_NEW* bit of a kind.
pub(crate) fn flag(kind: NamespaceKind) -> u64 {
    let flag = match kind {
        NamespaceKind::Pid => libc::CLONE_NEWPID,
        NamespaceKind::Network => libc::CLONE_NEWNET,
        NamespaceKind::Mount => libc::CLONE_NEWNS,
        NamespaceKind::Ipc => libc::CLONE_NEWIPC,
        NamespaceKind::Uts => libc::CLONE_NEWUTS,
        NamespaceKind::User => libc::CLONE_NEWUSER,
        NamespaceKind::Cgroup => libc::CLONE_NEWCGROUP,
        NamespaceKind::Time => 0x80,
    };
    u64::from(flag.cast_unsigned())
}

/// Name of a kind in the document.
pub(crate) fn name(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Pid => "pid",
        NamespaceKind::Network => "network",
        NamespaceKind::Mount => "mount",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::User => "user",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Time => "time",
    }
}

pub(super) fn mappings(mappings: &[IdMapping], at: &str) -> Result<Vec<IdMapping>, PlanError> {
    if mappings.len() > 340 {
        return Err(refuse(at, "the kernel takes at most 340 mappings"));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let fits = |start: u32| start.checked_add(mapping.size).is_some();
        if mapping.size == 0 || !fits(mapping.container_id) || !fits(mapping.host_id) {
            return Err(refuse(&format!("{at}[{index}]"), "size must be above 0 and the range below 2^32"));
        }
    }
    Ok(mappings.to_vec())
}

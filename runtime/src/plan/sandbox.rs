//! Namespaces that are made for several containers, or for several runs of one.

use std::collections::BTreeMap;
use std::ffi::CString;

use super::{Namespaces, PlanError, Sysctl, name, namespaces, refuse, sysctl};
use crate::spec::{IdMapping, NamespaceKind};

/// What a sandbox is to be.
#[derive(Debug, Clone, Copy)]
pub struct SandboxSpec<'a> {
    /// Kinds to make: user, network, ipc, uts, pid.
    pub namespaces: &'a [NamespaceKind],
    /// Mappings of the user namespace.
    pub uid_mappings: &'a [IdMapping],
    /// Mappings of the user namespace.
    pub gid_mappings: &'a [IdMapping],
    /// Host name.
    pub hostname: Option<&'a str>,
    /// NIS domain name.
    pub domainname: Option<&'a str>,
    /// Kernel parameters by their dotted names; only those of the sandbox's own namespaces.
    pub sysctls: &'a BTreeMap<String, String>,
    /// Size in bytes of a /dev/shm for all containers; absent makes none.
    pub shm_size: Option<u64>,
    /// SELinux context of that /dev/shm, and of the root of process 1.
    pub mount_label: Option<&'a str>,
    /// SELinux context of process 1.
    pub process_label: Option<&'a str>,
}

/// A sandbox, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxPlan {
    /// Namespaces, all of them new.
    pub namespaces: Namespaces,
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Kernel parameters.
    pub sysctls: Vec<Sysctl>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// SELinux context of /dev/shm, and of the root of process 1.
    pub mount_label: Option<CString>,
    /// SELinux context of process 1, if there is one.
    pub process_label: Option<String>,
}

impl SandboxPlan {
    /// Checks a document; members are named as those of the OCI runtime configuration.
    ///
    /// # Errors
    /// [`PlanError`] for the first member that is wrong or contradicts another.
    pub fn new(spec: &SandboxSpec<'_>) -> Result<Self, PlanError> {
        for (index, kind) in spec.namespaces.iter().enumerate() {
            let at = format!("namespaces[{index}]");
            let kind_name = namespaces::name(*kind);
            match kind {
                NamespaceKind::User
                | NamespaceKind::Network
                | NamespaceKind::Ipc
                | NamespaceKind::Uts
                | NamespaceKind::Pid => {}
                NamespaceKind::Mount | NamespaceKind::Cgroup | NamespaceKind::Time => {
                    return Err(refuse(&at, format!("{kind_name} is not one of user, network, ipc, uts, pid")));
                }
            }
            if spec.namespaces[..index].contains(kind) {
                return Err(refuse(&at, format!("{kind_name} is given twice")));
            }
        }
        let namespaces = Namespaces {
            new: spec.namespaces.to_vec(),
            join: Vec::new(),
            uid_map: namespaces::mappings(spec.uid_mappings, "uid_mappings")?,
            gid_map: namespaces::mappings(spec.gid_mappings, "gid_mappings")?,
        };
        let user = namespaces.makes(NamespaceKind::User);
        let (uids, gids) = (!namespaces.uid_map.is_empty(), !namespaces.gid_map.is_empty());
        if user && !(uids && gids) {
            return Err(refuse("namespaces", "a user namespace needs uid_mappings and gid_mappings"));
        }
        if (uids || gids) && !user {
            return Err(refuse("uid_mappings", "needs user in namespaces"));
        }
        name(spec.hostname, "hostname", &namespaces)?;
        name(spec.domainname, "domainname", &namespaces)?;
        if spec.shm_size.is_some() && !namespaces.makes(NamespaceKind::Ipc) {
            return Err(refuse("shm_size", "needs ipc in namespaces"));
        }
        if spec.shm_size == Some(0) {
            return Err(refuse("shm_size", "must be above 0 bytes"));
        }
        let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Self {
            hostname: filled(spec.hostname),
            domainname: filled(spec.domainname),
            sysctls: sysctl::sysctls(spec.sysctls, &namespaces)?,
            shm_size: spec.shm_size,
            mount_label: super::mount_label(spec.mount_label, "mount_label")?,
            process_label: filled(spec.process_label).filter(|_| namespaces.makes(NamespaceKind::Pid)),
            namespaces,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut SandboxSpec<'_>)) -> Result<SandboxPlan, String> {
        let sysctls = BTreeMap::new();
        let mut spec = SandboxSpec {
            namespaces: &[NamespaceKind::Network, NamespaceKind::Ipc, NamespaceKind::Uts],
            uid_mappings: &[],
            gid_mappings: &[],
            hostname: None,
            domainname: None,
            sysctls: &sysctls,
            shm_size: None,
            mount_label: None,
            process_label: None,
        };
        change(&mut spec);
        SandboxPlan::new(&spec).map_err(|error| format!("{}: {}", error.at, error.problem))
    }

    #[test]
    fn what_is_wrong_is_named() {
        const MAP: &[IdMapping] = &[IdMapping { container_id: 0, host_id: 100_000, size: 65536 }];
        let long = "x".repeat(65);
        let foreign: BTreeMap<String, String> = [("vm.swappiness".to_owned(), "1".to_owned())].into();
        let network: BTreeMap<String, String> = [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into();
        type Change<'a> = Box<dyn FnOnce(&mut SandboxSpec<'_>) + 'a>;
        let cases: Vec<(Change<'_>, &str)> = vec![
            (Box::new(|spec| spec.namespaces = &[NamespaceKind::Mount]), "namespaces[0]: mount is not one of"),
            (Box::new(|spec| spec.namespaces = &[NamespaceKind::Cgroup]), "namespaces[0]: cgroup is not one of"),
            (
                Box::new(|spec| spec.namespaces = &[NamespaceKind::Ipc, NamespaceKind::Ipc]),
                "namespaces[1]: ipc is given twice",
            ),
            (Box::new(|spec| spec.namespaces = &[NamespaceKind::User]), "namespaces: a user namespace needs"),
            (Box::new(|spec| spec.uid_mappings = MAP), "uid_mappings: needs user"),
            (Box::new(|spec| spec.shm_size = Some(0)), "shm_size: must be above 0"),
            (
                Box::new(|spec| {
                    spec.namespaces = &[NamespaceKind::Uts];
                    spec.shm_size = Some(4096);
                }),
                "shm_size: needs ipc",
            ),
        ];
        for (change, expected) in cases {
            let error = plan(change).unwrap_err();
            assert!(error.starts_with(expected), "{error} / {expected}");
        }
        let check = |namespaces: &[NamespaceKind], hostname: Option<&str>, sysctls: &BTreeMap<String, String>| {
            let spec = SandboxSpec {
                namespaces,
                uid_mappings: &[],
                gid_mappings: &[],
                hostname,
                domainname: None,
                sysctls,
                shm_size: None,
                mount_label: None,
                process_label: None,
            };
            SandboxPlan::new(&spec).map_err(|error| error.at)
        };
        let none = BTreeMap::new();
        assert_eq!(check(&[NamespaceKind::Uts], Some(&long), &none).unwrap_err(), "hostname");
        assert_eq!(check(&[NamespaceKind::Ipc], Some("h"), &none).unwrap_err(), "hostname");
        assert_eq!(check(&[NamespaceKind::Ipc], None, &network).unwrap_err(), "linux.sysctl[\"net.ipv4.ip_forward\"]");
        assert_eq!(check(&[NamespaceKind::Network], None, &foreign).unwrap_err(), "linux.sysctl[\"vm.swappiness\"]");
        assert_eq!(check(&[NamespaceKind::Network], None, &network).unwrap().sysctls.len(), 1);
    }

    #[test]
    fn a_plain_one() {
        let plan = plan(|spec| {
            spec.hostname = Some("pod");
            spec.domainname = Some("");
            spec.shm_size = Some(1 << 20);
        });
        let plan = plan.unwrap();
        assert_eq!((plan.hostname.as_deref(), plan.domainname, plan.shm_size), (Some("pod"), None, Some(1 << 20)));
        assert!(plan.namespaces.makes(NamespaceKind::Network) && !plan.namespaces.makes(NamespaceKind::Pid));
    }

    #[test]
    fn process_one_alone_has_a_label() {
        let label = |namespaces: &'static [NamespaceKind]| {
            let labelled = plan(|spec| {
                spec.namespaces = namespaces;
                spec.process_label = Some("u:r:t:s0");
            });
            labelled.unwrap().process_label
        };
        assert_eq!(label(&[NamespaceKind::Ipc, NamespaceKind::Pid]).as_deref(), Some("u:r:t:s0"));
        assert_eq!(label(&[NamespaceKind::Ipc]), None);
    }
}

//! Which namespaces are new, joined or the host's.

use runtime::spec::{Namespace, NamespaceKind};

use super::host::{CgroupMode, Host};
use super::options::{NamespaceChoice, Options, UserNamespace};

/// `linux.namespaces`. A kind that is the host's is left out; the mount namespace is always new.
pub(super) fn namespaces(options: &Options, host: &Host) -> Vec<Namespace> {
    let mut list = vec![Namespace { kind: NamespaceKind::Mount, path: None }];
    let mut add = |kind, choice: &NamespaceChoice| match choice {
        NamespaceChoice::Private => list.push(Namespace { kind, path: None }),
        NamespaceChoice::Join(path) => list.push(Namespace { kind, path: Some(path.clone()) }),
        NamespaceChoice::Host => {}
    };
    add(NamespaceKind::Network, &options.network);
    add(NamespaceKind::Uts, &options.uts);
    add(NamespaceKind::Pid, &options.pid);
    add(NamespaceKind::Ipc, &options.ipc);
    add(NamespaceKind::Cgroup, &cgroupns(options, host));
    if matches!(options.userns, UserNamespace::Mapped { .. }) {
        add(NamespaceKind::User, &NamespaceChoice::Private);
    }
    list
}

/// The control group namespace: docker's default is the host's on v1 and for privileged containers, private else.
pub(super) fn cgroupns(options: &Options, host: &Host) -> NamespaceChoice {
    match (&options.cgroupns, host.cgroup) {
        (Some(choice), _) => choice.clone(),
        (None, CgroupMode::V1) => NamespaceChoice::Host,
        (None, CgroupMode::V2) if options.privileged => NamespaceChoice::Host,
        (None, CgroupMode::V2) => NamespaceChoice::Private,
    }
}

/// The UTS host name: only a new namespace gets one.
pub(super) fn hostname(options: &Options, id: &str) -> Option<String> {
    match options.uts {
        NamespaceChoice::Private => {
            Some(options.hostname.clone().unwrap_or_else(|| id.get(..12).unwrap_or(id).to_owned()))
        }
        NamespaceChoice::Host | NamespaceChoice::Join(_) => None,
    }
}

/// Whether a namespace is the container's own.
pub fn is_private(choice: &NamespaceChoice) -> bool {
    match choice {
        NamespaceChoice::Private => true,
        NamespaceChoice::Host | NamespaceChoice::Join(_) => false,
    }
}

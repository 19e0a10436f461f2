//! `linux.sysctl`: only what belongs to a namespace of the container (CRI-O CVE-2022-0532).

use std::collections::BTreeMap;

use super::{Namespaces, PlanError, refuse};
use crate::spec::NamespaceKind;

/// A kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Path below a procfs, such as `sys/net/ipv4/ip_forward`.
    pub path: String,
    /// What is written.
    pub value: String,
}

/// Checks and converts `linux.sysctl`.
///
/// # Errors
/// A name that is malformed, or is not of a namespace that the container owns.
pub(super) fn sysctls(sysctls: &BTreeMap<String, String>, namespaces: &Namespaces) -> Result<Vec<Sysctl>, PlanError> {
    sysctls
        .iter()
        .map(|(name, value)| {
            let at = format!("linux.sysctl[{name:?}]");
            let path =
                path(name).ok_or_else(|| refuse(&at, "is not a name of letters, digits, dots, slashes, _ and -"))?;
            if path == "kernel/hostname" {
                return Err(refuse(&at, "conflicts with the member hostname; set that instead"));
            }
            let Some(kind) = namespace(&path) else {
                return Err(refuse(&at, "is not separate for each container; set it on the host"));
            };
            if !namespaces.own(kind) {
                let kind = super::namespaces::name(kind);
                return Err(refuse(
                    &at,
                    format!("needs a {kind} namespace in linux.namespaces: it would change the host"),
                ));
            }
            if value.contains('\0') {
                return Err(refuse(&at, "has a NUL byte"));
            }
            Ok(Sysctl { path: format!("sys/{path}"), value: value.clone() })
        })
        .collect()
}

/// The path of a name as sysctl(8) reads it: the first separator decides, the other one stands for itself.
fn path(name: &str) -> Option<String> {
    let separator = name.find(['.', '/']).map(|index| &name[index..=index])?;
    let path: String = match separator {
        "/" => name.to_owned(),
        _ => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
    };
    let good = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:@".contains(c))
    };
    path.split('/').all(good).then_some(path)
}

/// The namespace that a parameter belongs to.
fn namespace(path: &str) -> Option<NamespaceKind> {
    match path.split_once('/')? {
        ("net", _) => Some(NamespaceKind::Network),
        ("fs", rest) if rest.starts_with("mqueue/") => Some(NamespaceKind::Ipc),
        ("user", _) => Some(NamespaceKind::User),
        ("kernel", "domainname") => Some(NamespaceKind::Uts),
        ("kernel", rest) => {
            let ipc = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
            (ipc.contains(&rest) || ["msg_next_id", "sem_next_id", "shm_next_id"].contains(&rest))
                .then_some(NamespaceKind::Ipc)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/conf/eth0.5/forwarding", Some("net/ipv4/conf/eth0.5/forwarding")),
            ("net.ipv4.conf.eth0/5.forwarding", Some("net/ipv4/conf/eth0.5/forwarding")),
            ("kernel.shmmax", Some("kernel/shmmax")),
            ("../x", None),
            ("net/../kernel", None),
            ("net..x", None),
            ("net.ipv4 .x", None),
            ("plain", None),
            ("", None),
        ] {
            assert_eq!(path(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn only_parameters_of_own_namespaces() {
        let own = |kinds: &[NamespaceKind]| Namespaces { new: kinds.to_vec(), ..Namespaces::default() };
        let ask = |name: &str, kinds: &[NamespaceKind]| {
            sysctls(&[(name.to_owned(), "1".to_owned())].into(), &own(kinds)).map_err(|error| error.problem)
        };
        assert!(ask("net.ipv4.ip_forward", &[NamespaceKind::Network]).is_ok());
        assert!(ask("net.ipv4.ip_forward", &[NamespaceKind::Ipc]).unwrap_err().contains("network namespace"));
        assert!(ask("kernel.shmmax", &[NamespaceKind::Ipc]).is_ok());
        assert!(ask("fs.mqueue.msg_max", &[NamespaceKind::Ipc]).is_ok());
        assert!(
            ask("kernel.core_pattern", &[NamespaceKind::Ipc, NamespaceKind::Uts]).unwrap_err().contains("on the host")
        );
        assert!(ask("vm.swappiness", &[NamespaceKind::Ipc]).is_err());
    }
}

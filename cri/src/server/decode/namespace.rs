//! Namespaces: whose they are, and whether a container agrees with its pod.

use proto::v1::{self, NamespaceMode};
use runtime::spec::IdMapping;

use super::{Invalid, each};
use crate::pod::config::{Namespaces, PidScope, Scope, UserMaps};

/// Namespaces of a pod. An absent message means the pod's own ones, one pid namespace for all containers, and no user namespace.
pub(super) fn of_pod(message: Option<v1::NamespaceOption>) -> Result<Namespaces, Invalid> {
    let v1::NamespaceOption { network, pid, ipc, target_id, userns_options } = message.unwrap_or_default();
    let pid = match mode("pid", pid)? {
        NamespaceMode::Pod => PidScope::Pod,
        NamespaceMode::Container => PidScope::Container,
        NamespaceMode::Node => PidScope::Node,
        NamespaceMode::Target => {
            return Err(Invalid::new("pid", "TARGET is for containers; a pod has POD, CONTAINER or NODE"));
        }
    };
    if !target_id.is_empty() {
        return Err(Invalid::new("target_id", "is for a container whose pid is TARGET"));
    }
    let user = user(userns_options)?.maps();
    Ok(Namespaces { network: scope("network", network)?, pid, ipc: scope("ipc", ipc)?, user })
}

/// Namespaces of a container. POD means whatever the pod has; what leaves the pod is refused.
pub(super) fn of_container(message: v1::NamespaceOption, pod: &Namespaces) -> Result<Namespaces, Invalid> {
    let v1::NamespaceOption { network, pid, ipc, target_id, userns_options } = message;
    let network = joined("network", scope("network", network)?, pod.network)?;
    let ipc = joined("ipc", scope("ipc", ipc)?, pod.ipc)?;
    let mode = mode("pid", pid)?;
    if mode != NamespaceMode::Target && !target_id.is_empty() {
        return Err(Invalid::new("target_id", "is given, but pid is not TARGET"));
    }
    let pid = match (mode, &pod.pid) {
        (NamespaceMode::Container, _) => PidScope::Container,
        (NamespaceMode::Pod, PidScope::Pod) => PidScope::Pod,
        (NamespaceMode::Pod | NamespaceMode::Node, PidScope::Node) => PidScope::Node,
        (NamespaceMode::Pod, PidScope::Container | PidScope::Target(_)) => {
            return Err(Invalid::new(
                "pid",
                "POD, but the pod was made with CONTAINER and has no pid namespace to share",
            ));
        }
        (NamespaceMode::Node, PidScope::Pod | PidScope::Container | PidScope::Target(_)) => {
            return Err(Invalid::new("pid", "NODE, but the pod was not made with NODE"));
        }
        (NamespaceMode::Target, _) if target_id.is_empty() => {
            return Err(Invalid::new("target_id", "must name a container of the pod, as pid is TARGET"));
        }
        (NamespaceMode::Target, _) => PidScope::Target(target_id),
    };
    let user = match user(userns_options)? {
        User::NotGiven => pod.user,
        given @ (User::Node | User::Own(_)) if given.maps() == pod.user => pod.user,
        User::Node | User::Own(_) => {
            return Err(Invalid::new(
                "userns_options",
                "must be those of the pod: its containers share one user namespace",
            ));
        }
    };
    Ok(Namespaces { network, pid, ipc, user })
}

fn mode(field: &str, number: i32) -> Result<NamespaceMode, Invalid> {
    NamespaceMode::try_from(number).map_err(|_| {
        Invalid::new(field, format!("{number} is no namespace mode; they are POD, CONTAINER, NODE and TARGET"))
    })
}

fn scope(field: &str, number: i32) -> Result<Scope, Invalid> {
    match mode(field, number)? {
        NamespaceMode::Pod => Ok(Scope::Pod),
        NamespaceMode::Node => Ok(Scope::Node),
        NamespaceMode::Container | NamespaceMode::Target => Err(Invalid::new(field, "must be POD or NODE")),
    }
}

fn joined(field: &str, wanted: Scope, pod: Scope) -> Result<Scope, Invalid> {
    match (wanted, pod) {
        (Scope::Pod, pod) => Ok(pod),
        (Scope::Node, Scope::Node) => Ok(Scope::Node),
        (Scope::Node, Scope::Pod) => Err(Invalid::new(field, "NODE, but the pod was not made with NODE")),
    }
}

/// Which user namespace was asked for.
#[derive(Clone, Copy)]
enum User {
    NotGiven,
    Node,
    Own(UserMaps),
}

impl User {
    fn maps(self) -> Option<UserMaps> {
        match self {
            User::NotGiven | User::Node => None,
            User::Own(maps) => Some(maps),
        }
    }
}

fn user(message: Option<v1::UserNamespace>) -> Result<User, Invalid> {
    let Some(v1::UserNamespace { mode: number, uids, gids }) = message else { return Ok(User::NotGiven) };
    let within = |error: Invalid| error.within("userns_options");
    match mode("mode", number).map_err(within)? {
        NamespaceMode::Node if uids.is_empty() && gids.is_empty() => Ok(User::Node),
        NamespaceMode::Node => Err(within(Invalid::new("mode", "NODE has no mappings"))),
        NamespaceMode::Pod => Ok(User::Own(UserMaps {
            uids: one("uids", uids).map_err(within)?,
            gids: one("gids", gids).map_err(within)?,
        })),
        NamespaceMode::Container | NamespaceMode::Target => Err(within(Invalid::new("mode", "must be POD or NODE"))),
    }
}

/// The one mapping of a user namespace; without id 0 nobody could be root in it, and no mount be made.
fn one(field: &str, list: Vec<v1::IdMapping>) -> Result<IdMapping, Invalid> {
    let list = mappings(field, list)?;
    match list.as_slice() {
        [mapping] if mapping.container_id == 0 => Ok(*mapping),
        [_] => Err(Invalid::new(field, "must map id 0 of the container")),
        [] | [_, _, ..] => Err(Invalid::new(field, format!("has {} mappings; exactly one is supported", list.len()))),
    }
}

/// Mappings of ids, each within the range of ids.
pub(super) fn mappings(field: &str, list: Vec<v1::IdMapping>) -> Result<Vec<IdMapping>, Invalid> {
    each(field, list, |v1::IdMapping { host_id, container_id, length }| {
        if length == 0 {
            return Err(Invalid::new("length", "must not be 0"));
        }
        for (name, first) in [("host_id", host_id), ("container_id", container_id)] {
            if first.checked_add(length).is_none() {
                return Err(Invalid::new(
                    name,
                    format!("{first} with {length} ids from it on leaves the range of ids"),
                ));
            }
        }
        Ok(IdMapping { container_id, host_id, size: length })
    })
}

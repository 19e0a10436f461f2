//! `pod.json`: what a pod was made from. It never changes.

use std::collections::BTreeMap;

use cri::selinux::Labels;
use runtime::spec::{IdMapping, NamespaceKind};
use serde::{Deserialize, Serialize};

use crate::flag::network::{Endpoint, NetworkMode};

/// Version of the record. A newer one is refused, an older one is read.
pub(crate) const VERSION: u32 = 1;

/// `pod.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PodRecord {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Nanoseconds since the epoch.
    pub(crate) created: u64,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Namespaces that its containers share.
    pub(crate) share: Vec<NamespaceKind>,
    /// Network of its containers.
    pub(crate) network: NetworkMode,
    /// The networks that it joins.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Published ports, as text.
    pub(crate) publish: Vec<String>,
    /// Host name, where they share one.
    pub(crate) hostname: String,
    /// Kernel parameters.
    pub(crate) sysctls: BTreeMap<String, String>,
    /// Size of the shared /dev/shm in bytes.
    pub(crate) shm_size: Option<u64>,
    /// Maps of its user namespace; empty without one.
    pub(crate) uids: Vec<IdMapping>,
    /// Maps of its user namespace; empty without one.
    pub(crate) gids: Vec<IdMapping>,
    /// Name servers.
    pub(crate) dns: Vec<std::net::IpAddr>,
    /// Search domains.
    pub(crate) dns_search: Vec<String>,
    /// Options of the resolver.
    pub(crate) dns_option: Vec<String>,
    /// Lines of /etc/hosts, as `--add-host` takes them.
    pub(crate) hosts: Vec<String>,
    /// SELinux labels; absent where there is no SELinux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) selinux: Option<Labels>,
}

//! The flags of `pod create`.

use std::path::PathBuf;

use clap::Args;
use runtime::spec::NamespaceKind;

use super::create::NetworkFlags;
use super::namespace::{self, Userns};
use super::size;

/// Flags of `pod create`.
#[derive(Debug, Default, Args)]
pub(crate) struct PodFlags {
    /// Name of the pod; otherwise one is made up
    #[arg(short, long, value_name = "NAME", value_parser = crate::store::name::parse)]
    pub(crate) name: Option<String>,
    /// Namespaces that the containers share: ipc, net, uts, pid, none; +pid adds to the default
    #[arg(long, value_name = "LIST", default_value = "ipc,net,uts", value_parser = share)]
    pub(crate) share: Share,
    /// Host name; the pod's name unless given
    #[arg(short = 'h', long, value_name = "NAME", value_parser = super::network::alias)]
    pub(crate) hostname: Option<String>,
    /// Add a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,
    /// Set a kernel parameter of the shared namespaces
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<String>,
    /// Size of the shared /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = size::bytes)]
    pub(crate) shm_size: Option<u64>,
    /// User ids of all its containers: host, auto[:size=N], map=CONTAINER_ID:HOST_ID:SIZE[,...]
    #[arg(long, value_name = "MODE", default_value = "host", value_parser = namespace::userns)]
    pub(crate) userns: Userns,
    #[command(flatten)]
    pub(crate) network: NetworkFlags,
    /// There is no infra container; only false is taken
    #[arg(long, value_name = "BOOL", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = infra)]
    pub(crate) infra: Option<bool>,
}

impl PodFlags {
    /// Those of `run --pod new:NAME`.
    pub(crate) fn named(name: Option<String>) -> Self {
        Self { name, ..Self::default() }
    }
}

/// `--share`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share(pub(crate) Vec<NamespaceKind>);

impl Default for Share {
    fn default() -> Self {
        Self(vec![NamespaceKind::Network, NamespaceKind::Ipc, NamespaceKind::Uts])
    }
}

fn share(text: &str) -> Result<Share, String> {
    let (mut kinds, list) = match text.strip_prefix('+') {
        Some(rest) => (Share::default().0, rest),
        None => (Vec::new(), text),
    };
    if matches!(list, "" | "none") {
        return Ok(Share(kinds));
    }
    for word in list.split(',') {
        let kind = match word {
            "net" | "network" => NamespaceKind::Network,
            "ipc" => NamespaceKind::Ipc,
            "uts" => NamespaceKind::Uts,
            "pid" => NamespaceKind::Pid,
            "cgroup" => return Err("cgroup namespaces are not shared: each container sees its own groups".to_owned()),
            "user" => return Err("a user namespace is given by --userns, and then shared by all".to_owned()),
            _ => return Err(format!("{word:?}: must be of ipc, net, uts, pid, or none")),
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(Share(kinds))
}

fn infra(text: &str) -> Result<bool, String> {
    match text {
        "false" => Ok(false),
        _ => Err("there is no infra container: the pod's shim keeps the namespaces".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        use NamespaceKind::{Ipc, Network, Pid, Uts};
        for (text, expected) in [
            ("ipc,net,uts", vec![Ipc, Network, Uts]),
            ("+pid", vec![Network, Ipc, Uts, Pid]),
            ("none", vec![]),
            ("", vec![]),
            ("pid,pid", vec![Pid]),
        ] {
            assert_eq!(share(text), Ok(Share(expected)), "{text}");
        }
        for text in ["mnt", "cgroup", "user", "ipc,", "ipc net"] {
            assert!(share(text).is_err(), "{text}");
        }
        assert!(infra("true").unwrap_err().contains("no infra container"));
        assert_eq!(infra("false"), Ok(false));
    }
}

//! Kernel parameters: only those of a namespace that is the container's own.

use std::collections::BTreeMap;

use super::error::Error;
use super::namespaces::is_private;
use super::options::Options;

/// Parameters of the ipc namespace beside `fs.mqueue.*`; sysctl/kernel.rst.
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Checks `linux.sysctl`.
///
/// # Errors
/// [`Error::Sysctl`]: it would change the host, or a namespace that others share.
pub(super) fn check(options: &Options) -> Result<BTreeMap<String, String>, Error> {
    for name in options.sysctl.keys() {
        let refuse = |why| Err(Error::Sysctl { name: name.clone(), why });
        // `/` and `..` would name another file than the check below looks at.
        if name.split('.').any(str::is_empty) || name.contains("..") || name.contains('\0') {
            return refuse("not a parameter name such as net.ipv4.ip_forward");
        }
        let dotted = name.replace('/', ".");
        if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
            if !is_private(&options.ipc) {
                return refuse("it belongs to the ipc namespace, which this container shares; drop --ipc");
            }
        } else if dotted.starts_with("net.") {
            if !is_private(&options.network) {
                return refuse("it belongs to the network namespace, which this container shares; drop --network host");
            }
        } else if dotted == "kernel.domainname" {
            if !is_private(&options.uts) {
                return refuse("it belongs to the uts namespace, which this container shares; drop --uts");
            }
        } else if dotted == "kernel.hostname" {
            return refuse("use --hostname");
        } else {
            return refuse("it has no namespace, so it would change the whole host; set it there");
        }
    }
    Ok(options.sysctl.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::NamespaceChoice;

    #[test]
    fn table() {
        let host = NamespaceChoice::Host;
        let own = NamespaceChoice::Private;
        let cases: &[(&str, &NamespaceChoice, &NamespaceChoice, bool)] = &[
            ("net.ipv4.ip_forward", &own, &own, true),
            ("net.ipv4.conf.eth0/1.forwarding", &own, &own, true),
            ("net.ipv4.ip_forward", &host, &own, false),
            ("kernel.shmmax", &own, &own, true),
            ("kernel.shmmax", &own, &host, false),
            ("fs.mqueue.msg_max", &own, &own, true),
            ("fs.mqueue.msg_max", &own, &host, false),
            ("kernel.core_pattern", &own, &own, false),
            ("kernel.hostname", &own, &own, false),
            ("kernel.domainname", &own, &own, true),
            ("vm.swappiness", &own, &own, false),
            ("net..ipv4", &own, &own, false),
            ("net/../kernel/core_pattern", &own, &own, false),
            ("", &own, &own, false),
        ];
        for (name, network, ipc, good) in cases {
            let options = Options {
                network: (*network).clone(),
                ipc: (*ipc).clone(),
                sysctl: BTreeMap::from([((*name).to_owned(), "1".to_owned())]),
                ..Options::default()
            };
            assert_eq!(check(&options).is_ok(), *good, "{name:?}");
        }
    }
}

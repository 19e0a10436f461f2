//! `--pod`: what a container of a pod takes from it instead of from its own flags.

use anyhow::{Context, Result, bail};
use runtime::spec::NamespaceKind;

use super::Pod;
use super::create::{NewPod, create};
use super::record::PodRecord;
use crate::flag::create::{CreateFlags, JoinedPod};
use crate::flag::namespace::{Mode, Userns};
use crate::flag::network::{NetworkFlag, NetworkMode};
use crate::flag::pod::PodFlags;
use crate::store::roots::Roots;

/// Finds the pod of the flags, or makes it (`new:NAME`), and puts what is the pod's into the flags. A new pod goes again unless it
/// is kept.
pub(crate) fn join(roots: &Roots, flags: &mut CreateFlags) -> Result<Option<NewPod>> {
    let Some(query) = flags.pod.clone() else { return Ok(None) };
    let (pod, new) = match query.strip_prefix("new:") {
        Some(name) => {
            let name = match name {
                "" => None,
                name => Some(crate::store::name::parse(name).map_err(anyhow::Error::msg).context("--pod")?),
            };
            let new = create(roots, &PodFlags::named(name))?;
            (Pod::load(roots, &new.id)?.context("the pod that was just made is gone")?, Some(new))
        }
        None => (Pod::find(roots, &query).context("--pod")?, None),
    };
    if pod.removing {
        bail!("--pod: pod {0} is being removed; rtctl pod rm -f {0} finishes it", pod.shown());
    }
    let record = pod.record()?;
    refuse(flags, record)?;
    apply(flags, record);
    Ok(new)
}

/// What belongs to the pod is said there, and not for one container of it.
fn refuse(flags: &CreateFlags, record: &PodRecord) -> Result<()> {
    let isolation = &flags.isolation;
    let shares = |kind| record.share.contains(&kind);
    let network = &flags.network;
    let joined = shares(NamespaceKind::Network) || record.network == NetworkMode::Host;
    let refused = [
        ("--network", !network.network.is_empty(), joined),
        ("--publish", !network.publish.is_empty() || network.publish_all, joined),
        ("--ip", network.ip.is_some() || network.ip6.is_some() || network.mac_address.is_some(), joined),
        ("--network-alias", !network.network_alias.is_empty(), joined),
        ("--link", !network.link.is_empty(), joined),
        ("--hostname", isolation.hostname.is_some(), shares(NamespaceKind::Uts)),
        ("--domainname", isolation.domainname.is_some(), shares(NamespaceKind::Uts)),
        ("--uts", isolation.uts != Mode::default(), shares(NamespaceKind::Uts)),
        ("--ipc", isolation.ipc != Default::default(), shares(NamespaceKind::Ipc)),
        ("--shm-size", flags.mounts.shm_size.is_some(), shares(NamespaceKind::Ipc)),
        ("--pid", isolation.pid != Mode::default(), shares(NamespaceKind::Pid)),
        ("--userns", isolation.userns != Userns::Host, true),
        ("--add-host", !network.add_host.is_empty(), joined),
        ("--dns", !network.dns.is_empty(), joined),
        ("--dns-search", !network.dns_search.is_empty(), joined),
        ("--dns-option", !network.dns_option.is_empty(), joined),
    ];
    if let Some((flag, _, _)) = refused.iter().find(|(_, given, pods)| *given && *pods) {
        bail!("{flag} and --pod exclude each other: it is the pod's; give it to rtctl pod create");
    }
    for sysctl in &isolation.sysctl {
        let kind = match sysctl.split(['.', '/']).next().unwrap_or_default() {
            "net" => NamespaceKind::Network,
            "fs" => NamespaceKind::Ipc,
            _ if sysctl.starts_with("kernel.domainname") => NamespaceKind::Uts,
            _ => NamespaceKind::Ipc,
        };
        if shares(kind) {
            bail!("--sysctl {sysctl} and --pod exclude each other: it is the pod's; give it to rtctl pod create");
        }
    }
    Ok(())
}

fn apply(flags: &mut CreateFlags, record: &PodRecord) {
    let isolation = &mut flags.isolation;
    let mut sandbox = record.share.clone();
    if sandbox.contains(&NamespaceKind::Uts) {
        isolation.hostname = Some(record.hostname.clone());
    }
    let mode = match record.network {
        NetworkMode::Host => Some(NetworkMode::Host),
        // The namespace is the sandbox's, and what it joins, the pod's.
        _ if sandbox.contains(&NamespaceKind::Network) => Some(NetworkMode::None),
        _ => None,
    };
    if let Some(mode) = mode {
        flags.network.network = vec![NetworkFlag::Mode(mode)];
        flags.network.dns = record.dns.clone();
        flags.network.dns_search = record.dns_search.clone();
        flags.network.dns_option = record.dns_option.clone();
    }
    if !record.uids.is_empty() {
        isolation.userns = Userns::Maps { uids: record.uids.clone(), gids: record.gids.clone() };
        sandbox.push(NamespaceKind::User);
    }
    if record.shm_size.is_some() {
        flags.mounts.shm_size = record.shm_size;
    }
    flags.joined = Some(JoinedPod { id: record.id.clone(), sandbox });
}

//! Making a pod: its files, complete, or none. Its namespaces come with its first start.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use cri::spec::UserNamespace;
use runtime::plan::{SandboxPlan, SandboxSpec};
use runtime::spec::NamespaceKind;
use shim::layout::{Ends, Sandbox};
use shim::local::{Directory, Lock, Wait};

use super::record::{PodRecord, VERSION};
use super::{Pod, ids};
use crate::flag::network::{Endpoint, NetworkMode, combine};
use crate::flag::pod::PodFlags;
use crate::flag::{env, time};
use crate::store::create::write_json;
use crate::store::remove::Force;
use crate::store::roots::{Roots, make_dir};
use crate::store::{create, id, name, network, plan, selinux};

/// A pod that has been made; dropped before [`NewPod::keep`], it is removed again.
pub(crate) struct NewPod {
    roots: Roots,
    pub(crate) id: String,
    stays: bool,
}

impl NewPod {
    /// The pod stays.
    pub(crate) fn keep(mut self) {
        self.stays = true;
    }
}

impl Drop for NewPod {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let path = self.roots.pod(&self.id);
        let made = path.join("pod.json").try_exists().unwrap_or(true);
        let removed = match made {
            true => super::remove::remove_pod(&self.roots, &self.id, Force::Yes),
            false => super::remove::remove_directory(&path),
        };
        if let Err(error) = removed {
            eprintln!("rtctl: {error:#}; remove it with rtctl pod rm -f {}", id::short(&self.id));
        }
    }
}

/// Makes a pod.
pub(crate) fn create(roots: &Roots, flags: &PodFlags) -> Result<NewPod> {
    let id = id::new()?;
    let mut record = record(roots, flags, id)?;
    let sandbox = sandbox(&record)?;
    roots.prepare()?;
    make_dir(&roots.pods())?;
    super::remove::sweep(roots)?;
    let (new, _lock) = begin(roots, &mut record, flags.name.as_deref())?;
    let on_exit = match &record.network {
        NetworkMode::Networks(_) => network::on_exit(roots, &record.id)?,
        NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::Path(_) => Vec::new(),
    };
    let sandbox = Sandbox { hostname: hostname(&record), on_exit, ..sandbox };
    let dir = roots.pod(&new.id);
    write_json(&dir.join("sandbox.json"), &sandbox)?;
    write_json(&dir.join("pod.json"), &record)?;
    Ok(new)
}

/// Makes the directory, locks it, and takes the name.
fn begin(roots: &Roots, record: &mut PodRecord, wanted: Option<&str>) -> Result<(NewPod, Lock)> {
    let _names = name::lock(roots)?;
    let taken = names(roots)?;
    record.name = match wanted {
        Some(name) if taken.iter().any(|(taken, _)| taken == name) => {
            bail!("the name {name:?} is taken by another pod; remove it (rtctl pod rm {name}), or use another name")
        }
        Some(name) => name.to_owned(),
        None => loop {
            let name = name::invent(roots)?;
            if !taken.iter().any(|(taken, _)| *taken == name) {
                break name;
            }
        },
    };
    if record.hostname.is_empty() {
        // As podman does; a host name has at most 63 characters and no underscores.
        record.hostname = record.name.replace('_', "-").chars().take(63).collect();
    }
    let dir = roots.pod(&record.id);
    DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("mkdir({})", dir.display()))?;
    let new = NewPod { roots: roots.clone(), id: record.id.clone(), stays: false };
    let directory = Directory::open(&dir)?.context("the directory that was just made is gone")?;
    let lock = directory.lock(Wait::No)?;
    create::write(&dir.join("name"), &record.name, 0o600)?;
    Ok((new, lock))
}

/// Names of pods, finished or not, with their ids.
fn names(roots: &Roots) -> Result<Vec<(String, String)>> {
    let mut names = Vec::new();
    for id in ids(roots)? {
        if let Ok(name) = std::fs::read_to_string(roots.pod(&id).join("name")) {
            names.push((name.trim().to_owned(), id));
        }
    }
    Ok(names)
}

fn record(roots: &Roots, flags: &PodFlags, id: String) -> Result<PodRecord> {
    let mut share = flags.share.0.clone();
    let (network, endpoints) = network_of(roots, flags)?;
    if network == NetworkMode::Host {
        share.retain(|kind| *kind != NamespaceKind::Network);
    }
    let (uids, gids) = match plan::user_namespace(roots, &flags.userns)? {
        UserNamespace::Host => (Vec::new(), Vec::new()),
        UserNamespace::Mapped { uids, gids } => (uids, gids),
    };
    let has = |kind| share.contains(&kind);
    if flags.hostname.is_some() && !has(NamespaceKind::Uts) {
        bail!("--hostname needs a shared uts namespace; add uts to --share");
    }
    if flags.shm_size.is_some() && !has(NamespaceKind::Ipc) {
        bail!("--shm-size needs a shared ipc namespace; add ipc to --share");
    }
    let no_files: &[&str] = &[];
    Ok(PodRecord {
        version: VERSION,
        id,
        name: String::new(),
        created: time::since_epoch(SystemTime::now()),
        labels: env::map("--label", &flags.label_file, &flags.label)?,
        shm_size: has(NamespaceKind::Ipc).then(|| flags.shm_size.unwrap_or(cri::spec::SHM_SIZE)),
        share,
        network,
        endpoints,
        publish: flags.network.publish.clone(),
        hostname: flags.hostname.clone().unwrap_or_default(),
        sysctls: env::map("--sysctl", no_files, &flags.sysctl)?,
        uids,
        gids,
        dns: flags.network.dns.clone(),
        dns_search: flags.network.dns_search.clone(),
        dns_option: flags.network.dns_option.clone(),
        hosts: flags.network.add_host.iter().map(ToString::to_string).collect(),
        selinux: selinux::of_pod(roots)?,
    })
}

/// The networks of a pod; one that does not share a network has none, and its containers each their own.
fn network_of(roots: &Roots, flags: &PodFlags) -> Result<(NetworkMode, Vec<Endpoint>)> {
    let own = &flags.network;
    let shared = flags.share.0.contains(&NamespaceKind::Network);
    for (flag, given) in
        [("--link", !own.link.is_empty()), ("--expose", !own.expose.is_empty()), ("--publish-all", own.publish_all)]
    {
        if given {
            bail!("{flag} is for containers; a pod publishes ports by --publish");
        }
    }
    let first = Endpoint {
        network: String::new(),
        aliases: own.network_alias.clone(),
        ip: own.ip,
        ip6: own.ip6,
        mac: own.mac_address,
    };
    if !shared {
        if !own.network.is_empty() || !own.publish.is_empty() || first != Endpoint::default() {
            bail!("--network and what goes with it need a shared network namespace; add net to --share");
        }
        return Ok((NetworkMode::None, Vec::new()));
    }
    let (mode, mut endpoints) = combine(&own.network, &first).map_err(anyhow::Error::msg)?;
    match &mode {
        NetworkMode::None | NetworkMode::Host if !own.publish.is_empty() => {
            bail!("--publish and --network {} exclude each other: there is nothing to publish", mode.show())
        }
        NetworkMode::None | NetworkMode::Host | NetworkMode::Networks(_) => {}
        NetworkMode::Container(_) | NetworkMode::Path(_) => {
            bail!("--network {}: a pod's network is none, host, or networks that it joins", mode.show())
        }
    }
    let mode = network::check(roots, mode, &mut endpoints)?;
    Ok((mode, endpoints))
}

fn hostname(record: &PodRecord) -> Option<String> {
    record.share.contains(&NamespaceKind::Uts).then(|| record.hostname.clone())
}

/// What the shim makes of it; what cannot be is found now and not when the pod starts.
fn sandbox(record: &PodRecord) -> Result<Sandbox> {
    let mut namespaces = record.share.clone();
    if !record.uids.is_empty() {
        namespaces.insert(0, NamespaceKind::User);
    }
    let sandbox = Sandbox {
        version: shim::layout::VERSION,
        namespaces,
        ends: Ends::OnRequest,
        hostname: hostname(record),
        domainname: None,
        sysctls: record.sysctls.clone(),
        uid_mappings: record.uids.clone(),
        gid_mappings: record.gids.clone(),
        shm_size: record.shm_size,
        mount_label: record.selinux.as_ref().map(|labels| labels.mount.clone()),
        process_label: record.selinux.as_ref().map(|labels| labels.process.clone()),
        on_exit: Vec::new(),
    };
    let checked = SandboxPlan::new(&SandboxSpec {
        namespaces: &sandbox.namespaces,
        uid_mappings: &sandbox.uid_mappings,
        gid_mappings: &sandbox.gid_mappings,
        hostname: sandbox.hostname.as_deref(),
        domainname: None,
        sysctls: &sandbox.sysctls,
        shm_size: sandbox.shm_size,
        mount_label: sandbox.mount_label.as_deref(),
        process_label: sandbox.process_label.as_deref(),
    });
    match checked {
        Ok(_) => Ok(sandbox),
        Err(error) => {
            let at = match error.at.strip_prefix("linux.sysctl") {
                Some(name) => format!("--sysctl {}", name.trim_matches(['[', ']'])),
                None => format!("--{}", error.at),
            };
            let problem = error.problem.replace("in linux.namespaces", "shared by the pod (--share)");
            bail!("{at}: {problem}")
        }
    }
}

/// Its maps belong to it as long as it is there.
pub(crate) fn mapped(roots: &Roots) -> Result<Vec<runtime::spec::IdMapping>> {
    let maps = |pod: Pod| pod.record.map(|record| [record.uids, record.gids].concat()).unwrap_or_default();
    Ok(Pod::list(roots)?.into_iter().flat_map(maps).collect())
}

//! The networks of a container: joined once its shim has made the namespace, left when it has ended.
//!
//! ```text
//!  rtctl start          rt-shim                        cri::network
//!    sandbox ──────────▶ network namespace
//!    attach ─────────────────────────────────────────▶ veth, address, ports
//!    hold(reserved) ───▶ keeps the ports' sockets
//!    /etc/hosts, /etc/resolv.conf
//!    Create, Start ────▶ runs, and runs again by its restart policy, in the same namespace
//!                        ended: rtctl network release ▶ detach
//! ```
//!
//! What is killed on the way leaves nothing that is in anybody's way: an attachment ends with its namespace, and the next operation
//! on a network takes it out of the records.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use cri::network::{Attach, Attachment, Error, Networks, Publish};
use cri::spec::{Families, Resolver};
use shim::client::{self, Connection};
use shim::protocol::{FailureKind, Request};

use super::endpoint::Endpoints;
use super::etc::{self, Names};
use super::pod::Pod;
use super::roots::Roots;
use super::view::Container;
use super::{hosts, id, name};
use crate::events;
use crate::flag::network::{DEFAULT, Endpoint, ExtraHost, NetworkMode};
use crate::flag::port;

/// Opens the networks of this host.
pub(crate) fn open(roots: &Roots) -> Result<Networks> {
    Ok(Networks::open(&roots.root, &roots.state)?)
}

/// An error in the words of people: containers by their names, and what helps.
pub(crate) fn explain(roots: &Roots, error: Error) -> anyhow::Error {
    let named = |by: String| match by.rsplit_once(' ') {
        Some((before, id)) => format!("{before} {}", shown(roots, id)),
        None => shown(roots, &by),
    };
    match error {
        Error::NoNetwork { name } => {
            anyhow::anyhow!(
                "network {name} not found: rtctl network ls shows what there is, rtctl network create {name} makes it"
            )
        }
        Error::PortPublished { port, by } => Error::PortPublished { port, by: named(by) }.into(),
        Error::AddressInUse { address, network, by } => Error::AddressInUse { address, network, by: named(by) }.into(),
        Error::InUse { name, containers } => {
            Error::InUse { name, containers: containers.iter().map(|id| shown(roots, id)).collect() }.into()
        }
        error => error.into(),
    }
}

/// What people call the container of this id.
fn shown(roots: &Roots, id: &str) -> String {
    name::of(roots, id).unwrap_or_else(|| id::short(id).to_owned())
}

/// Checks that the networks exist, and gives them their names where their ids were given.
pub(super) fn check(roots: &Roots, mode: NetworkMode, endpoints: &mut [Endpoint]) -> Result<NetworkMode> {
    let NetworkMode::Networks(_) = mode else { return Ok(mode) };
    roots.prepare()?;
    let networks = open(roots)?;
    for endpoint in endpoints.iter_mut() {
        // The default one is made when it is used.
        if endpoint.network != DEFAULT {
            endpoint.network = networks.get(&endpoint.network).map_err(|error| explain(roots, error))?.name;
        }
    }
    let mut names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.network.as_str()).collect();
    let first = names.first().copied().unwrap_or(DEFAULT).to_owned();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("--network {}: given twice", pair[0]);
    }
    Ok(NetworkMode::Networks(first))
}

/// What a container is on now. Without a folder of networks nobody is on any.
pub(crate) fn attachments(roots: &Roots, id: &str) -> Result<Vec<Attachment>> {
    let mut attachments = all_attachments(roots)?;
    attachments.retain(|attachment| attachment.container == id);
    Ok(attachments)
}

/// What all containers are on now.
pub(crate) fn all_attachments(roots: &Roots) -> Result<Vec<Attachment>> {
    // To look is no reason to make it.
    if !roots.state.join("network").try_exists().unwrap_or(true) {
        return Ok(Vec::new());
    }
    let mut attachments = open(roots)?.attachments()?;
    attachments.sort_by_key(|attachment| attachment.order);
    Ok(attachments)
}

/// What the shim runs when the container has ended: it gives addresses and ports back.
pub(super) fn on_exit(roots: &Roots, id: &str) -> Result<Vec<String>> {
    let text = |path: &std::path::Path| match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => bail!("{}: not UTF-8", path.display()),
    };
    let program = std::env::current_exe().context("readlink(/proc/self/exe)")?;
    let words =
        ["--root", &text(&roots.root)?, "--state", &text(&roots.state)?, "network", "release", id].map(str::to_owned);
    Ok([vec![text(&program)?], words.to_vec()].concat())
}

/// Puts a container that is about to run on its networks. After an error it is on none.
pub(super) fn join(roots: &Roots, container: &Container, shim: &Connection) -> Result<()> {
    let record = container.record()?;
    let NetworkMode::Networks(_) = &record.host.network else { return Ok(()) };
    let namespace = namespace(shim)?;
    let endpoints = Endpoints::read(&container.dir)?;
    let networks = open(roots)?;
    let publish: Vec<Publish> = record
        .host
        .publish
        .iter()
        .map(|text| port::read(text))
        .collect::<Result<_, _>>()
        .map_err(anyhow::Error::msg)?;
    let mut joined = Joined { roots, networks: &networks, container: &container.id, shim, attachments: Vec::new() };
    for (index, endpoint) in endpoints.networks.iter().enumerate() {
        // The ports lead to its address in the first network.
        let ports = if index == 0 { publish.as_slice() } else { &[] };
        joined.attach(&names(container, endpoint), endpoint, namespace.as_fd(), ports)?;
    }
    let mut changing = hosts::lock(roots)?;
    write_files(container, &joined.attachments)?;
    changing.refresh(&networks, &joined.attachments)?;
    events::network(roots, "connect", &joined.attachments);
    joined.keep();
    Ok(())
}

/// Puts a pod whose namespaces have just been made on its networks. After an error it is on none.
pub(super) fn join_pod(roots: &Roots, pod: &Pod, shim: &Connection) -> Result<()> {
    let record = pod.record()?;
    let namespace = shim.sandbox()?.network.context("the pod's sandbox has no network namespace")?;
    let networks = open(roots)?;
    let publish: Vec<Publish> =
        record.publish.iter().map(|text| port::read(text)).collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
    let mut joined = Joined { roots, networks: &networks, container: &pod.id, shim, attachments: Vec::new() };
    for (index, endpoint) in record.endpoints.iter().enumerate() {
        let ports = if index == 0 { publish.as_slice() } else { &[] };
        // A pod has no other name that could change: its own is among those that others write down.
        let mut names = vec![record.name.clone(), record.name.clone()];
        names.extend(endpoint.aliases.iter().cloned().chain([id::short(&pod.id).to_owned()]));
        joined.attach(&names, endpoint, namespace.as_fd(), ports)?;
    }
    hosts::lock(roots)?.refresh(&networks, &joined.attachments)?;
    joined.keep();
    Ok(())
}

/// `/etc/hosts` and `/etc/resolv.conf` of a container in a pod that is on networks.
pub(super) fn write_pod_files(roots: &Roots, container: &Container, pod: &Pod) -> Result<()> {
    let record = pod.record()?;
    let NetworkMode::Networks(_) = &record.network else { return Ok(()) };
    let networks = open(roots)?;
    let attachments = attachments(roots, &pod.id)?;
    let mut changing = hosts::lock(roots)?;
    let resolver =
        Resolver { servers: record.dns.clone(), search: record.dns_search.clone(), options: record.dns_option.clone() };
    let extra = record.hosts.iter().map(|text| ExtraHost::parse(text)).collect::<Result<Vec<_>, _>>();
    let extra = extra.map_err(anyhow::Error::msg).context("pod.json: hosts")?;
    let hostname = &container.record()?.config.hostname;
    let names = Names { mode: &record.network, hostname, domainname: None, extra: &extra, resolver: &resolver };
    write_etc(container, &names, &attachments)?;
    changing.refresh(&networks, &attachments)
}

/// Puts a running container on one more network.
pub(crate) fn join_one(roots: &Roots, container: &Container, endpoint: &Endpoint, shim: &Connection) -> Result<()> {
    let namespace = namespace(shim)?;
    let networks = open(roots)?;
    let mut joined = Joined { roots, networks: &networks, container: &container.id, shim, attachments: Vec::new() };
    joined.attach(&names(container, endpoint), endpoint, namespace.as_fd(), &[])?;
    hosts::lock(roots)?.refresh(&networks, &joined.attachments)?;
    events::network(roots, "connect", &joined.attachments);
    joined.keep();
    Ok(())
}

/// The network namespace that the shim keeps for the container. That of the last run, or of one that did not come
/// about, may be on its way out still.
fn namespace(shim: &Connection) -> Result<OwnedFd> {
    let sandbox = match shim.sandbox() {
        Err(client::Error::Failed { kind: FailureKind::WrongState, .. }) => {
            shim.request(&Request::StopSandbox { timeout: None }, &[])?;
            shim.sandbox()
        }
        sandbox => sandbox,
    };
    sandbox?.network.context("the shim's sandbox has no network namespace")
}

/// Networks that are left again unless the container stays.
struct Joined<'a> {
    roots: &'a Roots,
    networks: &'a Networks,
    container: &'a str,
    /// It keeps what is reserved.
    shim: &'a Connection,
    attachments: Vec<Attachment>,
}

impl Joined<'_> {
    fn attach(
        &mut self,
        names: &[String],
        endpoint: &Endpoint,
        netns: BorrowedFd<'_>,
        ports: &[Publish],
    ) -> Result<()> {
        let attach = Attach {
            container: self.container,
            netns,
            network: &endpoint.network,
            interface: None,
            ip: endpoint.ip,
            ip6: endpoint.ip6,
            mac: endpoint.mac,
            gw_priority: 0,
            names,
            ports,
        };
        let attached = match self.networks.attach(&attach) {
            // Of a run that nobody saw the end of.
            Err(Error::Attached { .. }) => {
                self.networks.detach(self.container, Some(&endpoint.network))?;
                self.networks.attach(&attach)
            }
            attached => attached,
        };
        let attached = attached
            .map_err(|error| explain(self.roots, error))
            .with_context(|| format!("network {}", endpoint.network))?;
        // Not what was switched on: that is nothing to be done about, and `info` shows it.
        for obstacle in &attached.obstacles {
            eprintln!("rtctl: {obstacle}");
        }
        self.attachments.push(attached.record);
        let reserved: Vec<_> = attached.reserved.iter().map(AsFd::as_fd).collect();
        Ok(self.shim.hold(&reserved)?)
    }

    fn keep(mut self) {
        self.attachments.clear();
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        for attachment in &self.attachments {
            if let Err(error) = self.networks.detach(self.container, Some(&attachment.network)) {
                eprintln!("rtctl: network {}: {error}", attachment.network);
            }
        }
    }
}

/// Names by which others on the network find it: its own first.
fn names(container: &Container, endpoint: &Endpoint) -> Vec<String> {
    let own = container.shown().to_owned();
    let mut names = vec![own];
    for name in endpoint.aliases.iter().cloned().chain([id::short(&container.id).to_owned()]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Its `/etc/hosts`, without what is kept current, and `/etc/resolv.conf`, now that its networks are known.
fn write_files(container: &Container, attachments: &[Attachment]) -> Result<()> {
    let record = container.record()?;
    let host = &record.host;
    let servers = host.dns.iter().map(|text| text.parse()).collect::<Result<_, _>>();
    let resolver = Resolver {
        servers: servers.context("container.json: dns")?,
        search: host.dns_search.clone(),
        options: host.dns_option.clone(),
    };
    let extra = host.extra_hosts.iter().map(|text| ExtraHost::parse(text)).collect::<Result<Vec<_>, _>>();
    let extra = extra.map_err(anyhow::Error::msg).context("container.json: extra_hosts")?;
    let names = Names {
        mode: &host.network,
        hostname: &record.config.hostname,
        domainname: Some(record.config.domainname.as_str()).filter(|name| !name.is_empty()),
        extra: &extra,
        resolver: &resolver,
    };
    write_etc(container, &names, attachments)
}

fn write_etc(container: &Container, names: &Names<'_>, attachments: &[Attachment]) -> Result<()> {
    let assigned: Vec<_> = attachments.iter().flat_map(Attachment::addresses).collect();
    let gateway = assigned.iter().find_map(|assigned| assigned.gateway);
    let families =
        if assigned.iter().any(|assigned| assigned.address.is_ipv6()) { Families::Both } else { Families::Ipv4 };
    etc::overwrite(&container.dir.join("hosts"), &names.hosts(gateway)?)?;
    let (text, left_out) = names.resolv_conf(families)?;
    etc::warn_of_servers(&left_out);
    etc::overwrite(&container.dir.join("resolv.conf"), &text)
}

/// Takes a container off all networks; one that is on none is done.
pub(crate) fn release(roots: &Roots, id: &str) -> Result<()> {
    let networks = open(roots)?;
    let gone = networks.detach(id, None)?;
    events::network(roots, "disconnect", &gone);
    hosts::lock(roots)?.refresh(&networks, &gone)
}

/// Tells those that a container shares networks with its new name.
pub(crate) fn renamed(roots: &Roots, id: &str) -> Result<()> {
    let own = attachments(roots, id)?;
    if own.is_empty() {
        return Ok(());
    }
    hosts::lock(roots)?.refresh(&open(roots)?, &own)
}

/// Takes a container off one network.
pub(crate) fn leave_one(roots: &Roots, container: &Container, network: &str) -> Result<()> {
    let networks = open(roots)?;
    let gone = networks.detach(&container.id, Some(network))?;
    events::network(roots, "disconnect", &gone);
    hosts::lock(roots)?.refresh(&networks, &gone)
}

/// Whether a container may be on networks: one of this id, complete or not.
pub(super) fn joins(roots: &Roots, id: &str) -> bool {
    roots.container(id).join(super::endpoint::FILE).try_exists().unwrap_or(true)
}

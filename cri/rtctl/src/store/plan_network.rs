//! The network that a container is going to have, checked before anything is changed.

use anyhow::{Context, Result, bail};
use cri::spec::{NamespaceChoice, Resolver};

use super::plan::choice;
use super::roots::Roots;
use super::view::Container;
use crate::flag::create::{CreateFlags, NetworkFlags};
use crate::flag::namespace::Mode;
use crate::flag::network::{Endpoint, Link, NetworkMode, combine};
use crate::flag::port::{self, Port};

/// The network of a container to be.
pub(super) struct NetworkPlan {
    /// Containers by their ids.
    pub(super) mode: NetworkMode,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) links: Vec<Link>,
    /// What is published, as text.
    pub(super) publish: Vec<String>,
    pub(super) resolver: Resolver,
    /// Ports that it listens on, by its image and by `--expose` and `--publish`.
    pub(super) exposed: Vec<Port>,
}

/// Most ports that one container may publish.
const PORTS_LIMIT: usize = 4096;

impl NetworkPlan {
    pub(super) fn new(roots: &Roots, flags: &CreateFlags) -> Result<NetworkPlan> {
        let own = &flags.network;
        let first = Endpoint {
            network: String::new(),
            aliases: own.network_alias.clone(),
            ip: own.ip,
            ip6: own.ip6,
            mac: own.mac_address,
        };
        let (mode, mut endpoints) = combine(&own.network, &first).map_err(anyhow::Error::msg)?;
        refuse(own, &mode, flags.isolation.hostname.is_some())?;
        let mode = match mode {
            NetworkMode::Container(query) => {
                let container = Container::find(roots, &query).context("--network")?;
                container.require_running().context("--network")?;
                NetworkMode::Container(container.id)
            }
            mode @ (NetworkMode::None | NetworkMode::Host | NetworkMode::Path(_) | NetworkMode::Networks(_)) => mode,
        };
        let mode = super::network::check(roots, mode, &mut endpoints)?;
        let link = |link: &Link| -> Result<Link> {
            let container = Container::find(roots, &link.container).context("--link")?;
            Ok(Link { container: container.id, alias: link.alias.clone() })
        };
        let links = own.link.iter().map(link).collect::<Result<_>>()?;
        let resolver =
            Resolver { servers: own.dns.clone(), search: own.dns_search.clone(), options: own.dns_option.clone() };
        Ok(NetworkPlan { mode, endpoints, links, publish: Vec::new(), resolver, exposed: Vec::new() })
    }

    /// Adds the ports, once the image is known: `image` are those that it names.
    pub(super) fn add_ports(&mut self, flags: &NetworkFlags, image: &[String]) -> Result<()> {
        let mut publish = flags.publish.clone();
        let mut published = Vec::new();
        for text in &publish {
            published.extend(port::ports(&port::read(text).map_err(anyhow::Error::msg)?));
        }
        let mut exposed = published.clone();
        for text in image {
            let ports = port::exposed(text).map_err(anyhow::Error::msg);
            exposed.extend(ports.context("ExposedPorts of the image")?);
        }
        for text in &flags.expose {
            exposed.extend(port::exposed(text).map_err(anyhow::Error::msg).context("--expose")?);
        }
        exposed.sort_unstable();
        exposed.dedup();
        if flags.publish_all {
            publish.extend(exposed.iter().filter(|port| !published.contains(port)).map(ToString::to_string));
        }
        let count = if flags.publish_all { exposed.len() } else { published.len() };
        if count > PORTS_LIMIT {
            bail!("{count} ports to publish, at most {PORTS_LIMIT} are possible");
        }
        self.exposed = exposed;
        match &self.mode {
            NetworkMode::Networks(_) => self.publish = publish,
            // As docker: the same command line works with the host's network.
            mode if !publish.is_empty() => {
                eprintln!("rtctl: published ports are discarded with --network {}", mode.show());
            }
            _ => {}
        }
        Ok(())
    }

    /// The namespace of the configuration. That of networks is the sandbox's, which the shim fills in.
    pub(super) fn choice(&self, roots: &Roots) -> Result<NamespaceChoice> {
        Ok(match &self.mode {
            NetworkMode::None | NetworkMode::Networks(_) => NamespaceChoice::Private,
            NetworkMode::Host => NamespaceChoice::Host,
            NetworkMode::Path(path) => NamespaceChoice::Join(path.clone()),
            NetworkMode::Container(id) => choice(roots, &Mode::Container(id.clone()), "net")?,
        })
    }
}

/// What a network that is somebody else's does not take.
fn refuse(flags: &NetworkFlags, mode: &NetworkMode, hostname: bool) -> Result<()> {
    let joined = matches!(mode, NetworkMode::Networks(_));
    if !joined && !flags.link.is_empty() {
        bail!("--link needs a network that is joined, --network {} is none", mode.show());
    }
    if !matches!(mode, NetworkMode::Container(_)) {
        return Ok(());
    }
    let given = [
        ("--publish", !flags.publish.is_empty(), "publish it on that container"),
        ("--publish-all", flags.publish_all, "publish them on that container"),
        ("--expose", !flags.expose.is_empty(), "expose it on that container"),
        ("--add-host", !flags.add_host.is_empty(), "its /etc/hosts is that container's"),
        ("--dns", !flags.dns.is_empty(), "its /etc/resolv.conf is that container's"),
        ("--dns-search", !flags.dns_search.is_empty(), "its /etc/resolv.conf is that container's"),
        ("--dns-option", !flags.dns_option.is_empty(), "its /etc/resolv.conf is that container's"),
        ("--hostname", hostname, "its name is that container's"),
    ];
    match given.iter().find(|(_, given, _)| *given) {
        Some((flag, _, why)) => bail!("{flag} and --network {} exclude each other: {why}", mode.show()),
        None => Ok(()),
    }
}

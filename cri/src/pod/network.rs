//! The network of pods: CNI plugins where they are configured, else the built-in bridge.
//!
//! ```text
//!  attach: loopback up ─▶ CNI ADD, or a bridge ─▶ network.json
//!  detach: CNI DEL, or the bridge's             ─▶ network.json is gone
//! ```
//!
//! Both keep a record of their own before the first effect, so that what an end of this process left is found: CNI's ledger by
//! [`Network::open`], the bridge's book whenever it is used.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use shim::client::Connection;

use super::config::{PodConfig, Port, Protocol, Scope};
use super::engine::Settings;
use super::error::Error;
use super::id::Id;
use super::pod_subnets::PodSubnets;
use super::record::{NetworkKind, NetworkRecord};
use crate::network::{self, Attach, Networks, Ports, Publish, Subnet, cni};

/// The interface of pods.
const INTERFACE: &str = "eth0";

/// For how long an answer of the plugins' STATUS is believed.
const STATUS_AGE: Duration = Duration::from_secs(2);

/// How pods get their network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// By CNI where there is a configuration, else by the bridge.
    Auto,
    /// By CNI.
    Cni,
    /// By the bridge.
    Bridge,
}

/// The network of pods.
#[derive(Debug)]
pub(super) struct Network {
    choice: Choice,
    cni: cni::Client,
    bridge: Networks,
    timeout: Duration,
    /// The last answer of STATUS, and when it came.
    status: Mutex<Option<(Instant, Result<(), String>)>>,
    /// Pods whose attachment did not come to its end when the last daemon ended.
    unfinished: Vec<cni::ContainerId>,
    /// Which subnets the bridge has.
    subnets: PodSubnets,
}

impl Network {
    pub(super) fn open(settings: &Settings) -> Result<Network, Error> {
        let cni = cni::Client::open(settings.cni.clone())?;
        let recovered = cni.recover(Instant::now() + settings.network_timeout);
        for problem in &recovered.errors {
            tracing::warn!("CNI attachments of an earlier daemon: {problem}");
        }
        Ok(Network {
            choice: settings.network,
            cni,
            bridge: Networks::open(&settings.root, &settings.state)?,
            timeout: settings.network_timeout,
            status: Mutex::default(),
            unfinished: recovered.unfinished,
            subnets: PodSubnets::open(&settings.state, &settings.daemon)?,
        })
    }

    /// Undoes what was begun for pods that are not there; `known` are those that are. Answers what could not be undone, and why.
    pub(super) fn undo_unfinished(&self, known: &[Id]) -> Vec<(cni::ContainerId, Error)> {
        let is_known = |container: &&cni::ContainerId| known.iter().any(|id| id.as_str() == container.as_str());
        let unknown = self.unfinished.iter().filter(|container| !is_known(container));
        unknown.filter_map(|container| Some((container.clone(), self.delete_attachment(container).err()?))).collect()
    }

    /// Undoes what plugins have attached, or began to attach.
    pub(super) fn delete_attachment(&self, container: &cni::ContainerId) -> Result<(), Error> {
        self.cni.delete(container, self.deadline())?;
        Ok(())
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// How a new pod will be on the network.
    pub(super) fn kind(&self, config: &PodConfig) -> NetworkKind {
        match (config.namespaces.network, self.choice) {
            (Scope::Node, _) => NetworkKind::Node,
            (Scope::Pod, Choice::Cni) => NetworkKind::Cni,
            (Scope::Pod, Choice::Bridge) => NetworkKind::Bridge,
            (Scope::Pod, Choice::Auto) if self.cni_is_configured() => NetworkKind::Cni,
            (Scope::Pod, Choice::Auto) => NetworkKind::Bridge,
        }
    }

    /// Whether there is a configuration, also one that cannot be used: a node that is to have CNI gets no bridge by mistake.
    fn cni_is_configured(&self) -> bool {
        let configs = self.cni.configs();
        !configs.networks.is_empty() || !configs.rejected.is_empty()
    }

    /// Reads the configurations of CNI again.
    pub(super) fn reload(&self) {
        self.cni.reload();
        *self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    /// Whether pods can be put on a network; why not.
    pub(super) fn ready(&self) -> Result<(), String> {
        let by_cni = match self.choice {
            Choice::Cni => true,
            Choice::Bridge => false,
            Choice::Auto => self.cni_is_configured(),
        };
        if !by_cni {
            return Ok(());
        }
        let mut last = self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((when, answer)) = &*last
            && when.elapsed() < STATUS_AGE
        {
            return answer.clone();
        }
        let answer = self.cni.status(Instant::now() + Duration::from_secs(10));
        let answer = answer.map(|_| ()).map_err(|error| error.to_string());
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Puts a pod on its network; after an error it is on none.
    pub(super) fn attach(
        &self,
        id: &Id,
        kind: NetworkKind,
        config: &PodConfig,
        shim: &Sandboxed<'_>,
    ) -> Result<Option<NetworkRecord>, Error> {
        if kind == NetworkKind::Node {
            return Ok(None);
        }
        cni::bring_loopback_up(shim.netns.as_fd())?;
        match kind {
            NetworkKind::Node => Ok(None),
            NetworkKind::Cni => self.attach_cni(id, config, shim).map(Some),
            NetworkKind::Bridge => self.attach_bridge(id, config, shim).map(Some),
        }
    }

    fn attach_cni(&self, id: &Id, config: &PodConfig, shim: &Sandboxed<'_>) -> Result<NetworkRecord, Error> {
        let metadata = &config.metadata;
        let invalid = |field: &str, problem: String| Error::Invalid { field: field.to_owned(), problem };
        let args = cni::Args::of_pod(&metadata.namespace, &metadata.name, &metadata.uid, id.as_str());
        let mut capabilities = cni::Capabilities {
            port_mappings: config.ports.iter().filter_map(port_mapping).collect(),
            bandwidth: cni::bandwidth_of_pod(&config.annotations)
                .map_err(|problem| invalid("config.annotations", problem))?,
            pod_annotations: config.annotations.clone(),
            ..cni::Capabilities::default()
        };
        if let Some(dns) = &config.dns {
            capabilities.dns = Some(cni::DnsConfig {
                servers: dns.servers.clone(),
                searches: dns.searches.clone(),
                options: dns.options.clone(),
            });
        }
        if !config.cgroup_parent.is_empty() {
            capabilities.cgroup_path = Some(config.cgroup_parent.clone());
        }
        let add = cni::Add {
            container: name(id)?,
            netns: shim.netns_path(),
            interface: interface()?,
            network: None,
            args: args.map_err(|problem| invalid("config.metadata", problem))?,
            capabilities,
        };
        let added = self.cni.add(&add, self.deadline())?;
        let ips = added.attachment.container_ips().collect();
        let result = serde_json::to_value(&added.attachment).unwrap_or_default();
        let network = added.network.as_str().to_owned();
        Ok(NetworkRecord { version: shim::layout::VERSION, ips, network, result })
    }

    /// Takes notice of the node's range of pod addresses. CRI: UpdateRuntimeConfig
    pub(super) fn note_subnets(&self, told: &[Subnet]) -> Result<(), Error> {
        self.subnets.note(told)
    }

    fn attach_bridge(&self, id: &Id, config: &PodConfig, shim: &Sandboxed<'_>) -> Result<NetworkRecord, Error> {
        let network = self.subnets.network(&self.bridge)?;
        let ports: Vec<Publish> = config.ports.iter().filter_map(publish).collect();
        let attached = self.bridge.attach(&Attach {
            container: id.as_str(),
            netns: shim.netns.as_fd(),
            network,
            interface: Some(INTERFACE),
            ip: None,
            ip6: None,
            mac: None,
            gw_priority: 0,
            names: &[],
            ports: &ports,
        })?;
        for obstacle in &attached.obstacles {
            tracing::warn!("network {network}: {obstacle}");
        }
        let reserved: Vec<BorrowedFd<'_>> = attached.reserved.iter().map(AsFd::as_fd).collect();
        if let Err(error) = shim.connection.hold(&reserved) {
            self.bridge.detach(id.as_str(), None)?;
            return Err(error.into());
        }
        let ips = attached.record.addresses().iter().map(|assigned| assigned.address).collect();
        let result = serde_json::to_value(&attached.record).unwrap_or_default();
        Ok(NetworkRecord { version: shim::layout::VERSION, ips, network: network.to_owned(), result })
    }

    /// Takes a pod off its network; not being on one is done.
    pub(super) fn detach(&self, id: &Id, kind: NetworkKind) -> Result<(), Error> {
        match kind {
            NetworkKind::Node => Ok(()),
            NetworkKind::Cni => {
                self.cni.delete(&name(id)?, self.deadline())?;
                Ok(())
            }
            NetworkKind::Bridge => {
                self.bridge.detach(id.as_str(), None)?;
                Ok(())
            }
        }
    }

    /// What is configured, for whoever asks in detail.
    pub(super) fn describe(&self) -> BTreeMap<&'static str, serde_json::Value> {
        let configs = self.cni.configs();
        let networks: Vec<&str> = configs.networks.iter().map(|loaded| loaded.network.name.as_str()).collect();
        let rejected: Vec<String> = configs.rejected.iter().map(ToString::to_string).collect();
        BTreeMap::from([
            ("by", if self.choice != Choice::Bridge && self.cni_is_configured() { "cni" } else { "bridge" }.into()),
            ("cniNetworks", networks.into()),
            ("cniRejected", rejected.into()),
        ])
    }
}

/// A pod's shim whose namespaces are there.
pub(super) struct Sandboxed<'a> {
    pub(super) connection: &'a Connection,
    pub(super) netns: OwnedFd,
    pub(super) shim_pid: i32,
    /// Of the shim's own descriptor of it.
    pub(super) netns_number: i32,
}

impl Sandboxed<'_> {
    /// A path that leads to the network namespace as long as the shim keeps it.
    fn netns_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", self.shim_pid, self.netns_number))
    }
}

fn name(id: &Id) -> Result<cni::ContainerId, Error> {
    let parsed = id.as_str().parse::<cni::ContainerId>();
    parsed.map_err(|error| Error::Invalid { field: "id".to_owned(), problem: error.to_string() })
}

fn interface() -> Result<cni::InterfaceName, Error> {
    let parsed = INTERFACE.parse::<cni::InterfaceName>();
    parsed.map_err(|error| Error::Invalid { field: "interface".to_owned(), problem: error.to_string() })
}

fn port_mapping(port: &Port) -> Option<cni::PortMapping> {
    Some(cni::PortMapping {
        host_port: port.host_port?,
        container_port: port.container_port,
        protocol: match port.protocol {
            Protocol::Tcp => cni::Protocol::Tcp,
            Protocol::Udp => cni::Protocol::Udp,
            Protocol::Sctp => cni::Protocol::Sctp,
        },
        host_ip: port.host_ip,
    })
}

fn publish(port: &Port) -> Option<Publish> {
    let host_port = port.host_port?;
    Some(Publish {
        host_ip: port.host_ip,
        host_ports: Some(Ports::new(host_port, host_port)?),
        container_ports: Ports::new(port.container_port, port.container_port)?,
        protocol: match port.protocol {
            Protocol::Tcp => network::Protocol::Tcp,
            Protocol::Udp => network::Protocol::Udp,
            Protocol::Sctp => network::Protocol::Sctp,
        },
    })
}

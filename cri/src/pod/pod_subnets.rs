//! Which addresses pods on the built-in bridge have.
//!
//! ```text
//!  pod_cidrs of the settings ─▶ else what the kubelet told ─▶ a network of the pods' own, `rt-pods`
//!                                       neither ─────────────▶ the host's default network, that of `rtctl`
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use shim::layout::VERSION;
use shim::record::{self, Record};

use super::error::Error;
use super::run::open;
use crate::config;
use crate::network::{self, Family, Networks, NewNetwork, Subnet};

/// Name of the pods' own network.
const NAME: &str = "rt-pods";

/// Its label: who made it, and so may change it.
const LABEL: (&str, &str) = ("rt.made-by", "rtd");

/// `pod-subnets.json`: what the kubelet told, which it does not tell again when the daemon is started anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// [`VERSION`].
    version: u32,
    /// One of a family at most.
    subnets: Vec<Subnet>,
}

impl Record for Told {
    const NAME: &'static str = "pod-subnets.json";
}

/// The subnets of the bridge.
#[derive(Debug)]
pub(super) struct PodSubnets {
    state: PathBuf,
    settings: config::Settings,
    told: Mutex<Vec<Subnet>>,
}

impl PodSubnets {
    /// Reads what an earlier daemon was told.
    pub(super) fn open(state: &Path, settings: &config::Settings) -> Result<PodSubnets, Error> {
        let told = record::read::<Told>(&open(state)?);
        let told = told.map_err(|source| Error::Record { path: state.to_owned(), source })?;
        let told = told.map(|told| told.subnets).unwrap_or_default();
        Ok(PodSubnets { state: state.to_owned(), settings: settings.clone(), told: Mutex::new(told) })
    }

    /// Keeps what the kubelet tells; nothing at all is no news.
    pub(super) fn note(&self, subnets: &[Subnet]) -> Result<(), Error> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if subnets.is_empty() || *told == subnets {
            return Ok(());
        }
        record::write(&open(&self.state)?, &Told { version: VERSION, subnets: subnets.to_vec() })?;
        *told = subnets.to_vec();
        Ok(())
    }

    /// The network of a new pod, made where it is not there as it should be.
    ///
    /// # Errors
    /// Pods are still on the one with other subnets; another network, or the host, uses these.
    pub(super) fn network(&self, networks: &Networks) -> Result<&'static str, Error> {
        // Held: two pods do not make it at a time.
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let config = self.settings.now();
        let subnets = if config.pod_cidrs.is_empty() { &*told } else { &config.pod_cidrs };
        if subnets.is_empty() {
            return Ok(network::DEFAULT);
        }
        match networks.get(NAME) {
            Ok(there) if is_ours(&there) && has(&there, subnets) => return Ok(NAME),
            Ok(there) if is_ours(&there) => drop(networks.remove(NAME)?),
            Ok(_) => {
                let problem =
                    format!("network {NAME} is there and was not made by rtd; remove it: rtctl network rm {NAME}");
                return Err(Error::Invalid { field: "pod_cidrs".to_owned(), problem });
            }
            Err(network::Error::NoNetwork { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        networks.create(&new(subnets))?;
        Ok(NAME)
    }
}

fn is_ours(network: &network::Network) -> bool {
    network.labels.get(LABEL.0).is_some_and(|value| value == LABEL.1)
}

fn has(network: &network::Network, subnets: &[Subnet]) -> bool {
    let families = [Family::V4, Family::V6];
    let wanted = |family| subnets.iter().find(|subnet| subnet.family() == family);
    families.into_iter().all(|family| network.range(family).map(|range| &range.subnet) == wanted(family))
}

fn new(subnets: &[Subnet]) -> NewNetwork {
    NewNetwork {
        name: NAME.to_owned(),
        subnets: subnets.to_vec(),
        without_ipv4: !subnets.iter().any(|subnet| subnet.family() == Family::V4),
        labels: [(LABEL.0.to_owned(), LABEL.1.to_owned())].into(),
        ..NewNetwork::default()
    }
}

//! Names of the containers on a network, for their /etc/hosts.

use std::net::IpAddr;

use super::error::Error;
use super::networks::Networks;

/// A line of /etc/hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsEntry {
    /// The container's id.
    pub container: String,
    /// Its address.
    pub address: IpAddr,
    /// Its names, the container's own first.
    pub names: Vec<String>,
}

impl Networks {
    /// Who is on a network under which names, in the order in which they came; a line for each address.
    ///
    /// # Errors
    /// The kernel's; there is no such network.
    pub fn hosts_entries(&self, network: &str) -> Result<Vec<HostsEntry>, Error> {
        let network = self.get(network)?;
        let mut attachments = self.attachments()?;
        attachments.retain(|attachment| attachment.network_id == network.id);
        attachments.sort_by_key(|attachment| attachment.order);
        let lines = attachments.into_iter().flat_map(|attachment| {
            let addresses = attachment.addresses();
            addresses.into_iter().map(move |assigned| HostsEntry {
                container: attachment.container.clone(),
                address: assigned.address,
                names: attachment.names.clone(),
            })
        });
        Ok(lines.collect())
    }
}

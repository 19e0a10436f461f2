//! What is attached, from the records: nothing is asked and nothing is executed.

use super::client::Client;
use super::name::{ContainerId, InterfaceName, NetworkName};
use super::result::{Attachment, from_value};

/// An attachment that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The container.
    pub container: ContainerId,
    /// The network.
    pub network: NetworkName,
    /// The interface in the container.
    pub interface: InterfaceName,
    /// What ADD answered; `None`: it did not come to its end, or what it answered cannot be read. The container is to be
    /// deleted.
    pub attachment: Option<Attachment>,
}

impl Client {
    /// The attachments of a container, or all, oldest first. One whose DEL failed is among them.
    #[must_use]
    pub fn list(&self, container: Option<&ContainerId>) -> Vec<Attached> {
        let each = |entry: &super::ledger::Entry| {
            let outcome = self.ledger.outcome(&entry.key).filter(|outcome| outcome.complete);
            let answer = outcome.and_then(|outcome| from_value(outcome.result, entry.network.version()).ok());
            Attached {
                container: entry.key.container.clone(),
                network: entry.key.network.clone(),
                interface: entry.key.interface.clone(),
                attachment: answer.map(|answer| answer.attachment),
            }
        };
        self.ledger.list(container).iter().map(|entry| each(entry)).collect()
    }
}

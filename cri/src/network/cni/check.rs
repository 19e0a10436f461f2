//! CHECK: whether a container is still attached as it was.

use std::time::Instant;

use super::client::{Client, Execute, Step, container_environment};
use super::error::{Command, Error};
use super::input;
use super::name::{ContainerId, InterfaceName, NetworkName};
use super::record::Key;

impl Client {
    /// Asks the plugins, in the order of ADD, until one finds something wrong. Done without asking where the network disables it
    /// or is of a version without CHECK.
    ///
    /// # Errors
    /// [`Error::Plugin`]: what is wrong. [`Error::NotAttached`]: ADD did not succeed, or DEL did.
    pub fn check(
        &self,
        container: &ContainerId,
        network: &NetworkName,
        interface: &InterfaceName,
        deadline: Instant,
    ) -> Result<Vec<Step>, Error> {
        let key = Key { container: container.clone(), network: network.clone(), interface: interface.clone() };
        let _turn = self.turns.container(container, deadline)?;
        let not_attached = || Error::NotAttached { subject: key.subject() };
        let entry = self.ledger.get(&key).ok_or_else(not_attached)?;
        let outcome = self.ledger.outcome(&key).filter(|outcome| outcome.complete).ok_or_else(not_attached)?;
        let (version, mut steps) = (entry.network.version(), Vec::new());
        if entry.network.disable_check || !version.has_check() {
            return Ok(steps);
        }
        let subject = key.subject();
        for plugin in &entry.network.plugins {
            let previous = Some(&outcome.result);
            let input = input::for_container(&entry.network, version, plugin, &entry.record.capabilities, previous);
            let env = container_environment(&entry, entry.record.netns.as_os_str());
            let call = Execute { plugin, command: Command::Check, subject: &subject, env, input: &input, deadline };
            self.run(&call, &mut steps)?;
        }
        Ok(steps)
    }
}

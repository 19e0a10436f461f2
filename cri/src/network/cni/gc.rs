//! GC: giving back what belongs to no container.

use std::time::Instant;

use super::client::{Client, Execute, Step};
use super::config::Network;
use super::delete::Reach;
use super::error::{Command, Error, Subject};
use super::input;
use super::name::{ContainerId, InterfaceName};

impl Client {
    /// Detaches containers that `lives` does not know, then has the plugins of all configured networks give back what belongs to
    /// none of the others. Waits for operations that go on, and keeps others waiting.
    ///
    /// # Errors
    /// All that went wrong; everything was tried.
    pub fn gc(&self, lives: &dyn Fn(&ContainerId) -> bool, deadline: Instant) -> Result<Vec<Step>, Error> {
        let _turn = self.turns.gc(deadline)?;
        let (mut steps, mut errors) = (Vec::new(), Vec::new());
        for entry in self.ledger.list(None).iter().rev().filter(|entry| !lives(&entry.key.container)) {
            errors.extend(self.undo(entry, Reach::Unknown, deadline, &mut steps).err().into_iter().flatten());
        }
        for loaded in &self.configs().networks {
            self.gc_network(&loaded.network, deadline, &mut steps, &mut errors);
        }
        Error::from_all(errors).map(|()| steps)
    }

    /// Those that are recorded stay, with those that DEL failed for: it is tried again, and knows more than GC.
    pub(crate) fn gc_network(
        &self,
        network: &Network,
        deadline: Instant,
        steps: &mut Vec<Step>,
        errors: &mut Vec<Error>,
    ) {
        if network.disable_gc || !network.version().has_gc_and_status() {
            return;
        }
        // A record that cannot be read may be about this network: nothing of its container is given away.
        let mut valid: Vec<(ContainerId, InterfaceName)> = self.ledger.damaged_keys(&network.name);
        let entries = self.ledger.list(None);
        let own = entries.iter().filter(|entry| entry.key.network == network.name);
        valid.extend(own.map(|entry| (entry.key.container.clone(), entry.key.interface.clone())));
        let subject = Subject { network: network.name.clone(), container: None };
        let version = match self.choose(network, deadline, steps) {
            Ok(version) if version.has_gc_and_status() => version,
            Ok(_) => return,
            Err(error) => return errors.push(error),
        };
        for plugin in &network.plugins {
            let input = input::for_gc(network, version, plugin, &valid);
            let call =
                Execute { plugin, command: Command::Gc, subject: &subject, env: Vec::new(), input: &input, deadline };
            errors.extend(self.run(&call, steps).err());
        }
    }
}

//! DEL: detaching a container, from what was recorded when it was attached.

use std::ffi::OsStr;
use std::time::Instant;

use super::client::{Client, Execute, Step, container_environment};
use super::error::{Command, Error};
use super::input;
use super::ledger::Entry;
use super::name::ContainerId;
use super::namespace;

impl Client {
    /// Detaches a container from all its networks, the last one first. Not attached is done. What fails stays recorded.
    ///
    /// # Errors
    /// All that went wrong; everything was tried.
    pub fn delete(&self, container: &ContainerId, deadline: Instant) -> Result<Vec<Step>, Error> {
        let _turn = self.turns.container(container, deadline)?;
        let (mut steps, mut errors) = (Vec::new(), Vec::new());
        for entry in self.ledger.list(Some(container)).iter().rev() {
            errors.extend(self.undo(entry, deadline, &mut steps).err().into_iter().flatten());
        }
        Error::from_all(errors).map(|()| steps)
    }

    /// Undoes one attachment and forgets it when every plugin has succeeded. One that fails does not keep the others from
    /// giving back what they hold: all of them are asked again the next time.
    pub(crate) fn undo(&self, entry: &Entry, deadline: Instant, steps: &mut Vec<Step>) -> Result<(), Vec<Error>> {
        let netns = match self.namespace_of(entry) {
            Ok(true) => entry.record.netns.as_os_str(),
            Ok(false) => OsStr::new(""),
            Err(error) => return Err(vec![error]),
        };
        let version = entry.network.version();
        let subject = entry.key.subject();
        let outcome = if version.has_check() { self.ledger.outcome(&entry.key) } else { None };
        let previous = outcome.as_ref().map(|outcome| &outcome.result);
        let mut errors = Vec::new();
        for plugin in entry.network.plugins.iter().rev() {
            let input = input::for_container(&entry.network, version, plugin, &entry.record.capabilities, previous);
            let env = container_environment(entry, netns);
            let call = Execute { plugin, command: Command::Del, subject: &subject, env, input: &input, deadline };
            errors.extend(self.run(&call, steps).err());
        }
        if errors.is_empty() {
            errors.extend(self.ledger.end(&entry.key).err());
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Whether the container's network namespace is there.
    fn namespace_of(&self, entry: &Entry) -> Result<bool, Error> {
        match entry.record.boot_id == self.boot_id {
            true => namespace::is_still(entry.record.netns_id, &entry.record.netns),
            false => Ok(false),
        }
    }
}

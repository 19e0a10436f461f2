//! DEL: detaching a container, from what was recorded when it was attached.

use std::ffi::OsStr;
use std::time::Instant;

use super::client::{Client, Execute, Step, container_environment};
use super::error::{Command, Error};
use super::input;
use super::ledger::Entry;
use super::name::ContainerId;
use super::namespace;

/// How far ADD came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nobody knows: every plugin may hold something.
    Unknown,
    /// So many plugins were started; the others hold nothing.
    Plugins(usize),
}

impl Client {
    /// Detaches a container from all its networks, the last one first. Not attached is done. What fails stays recorded.
    ///
    /// # Errors
    /// All that went wrong; everything was tried.
    pub fn delete(&self, container: &ContainerId, deadline: Instant) -> Result<Vec<Step>, Error> {
        let _turn = self.turns.container(container, deadline)?;
        let (mut steps, mut errors) = (Vec::new(), Vec::new());
        for entry in self.ledger.list(Some(container)).iter().rev() {
            errors.extend(self.undo(entry, Reach::Unknown, deadline, &mut steps).err().into_iter().flatten());
        }
        Error::from_all(errors).map(|()| steps)
    }

    /// Undoes one attachment and forgets it when every plugin has succeeded. One that fails does not keep the others from
    /// giving back what they hold: all of them are asked again the next time. One that ADD did not come to is asked, too, but
    /// need not be installed.
    pub(crate) fn undo(
        &self,
        entry: &Entry,
        reach: Reach,
        deadline: Instant,
        steps: &mut Vec<Step>,
    ) -> Result<(), Vec<Error>> {
        if reach == Reach::Plugins(0) {
            return self.ledger.end(&entry.key).map_err(|error| vec![error]);
        }
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
        for (index, plugin) in entry.network.plugins.iter().enumerate().rev() {
            let input = input::for_container(&entry.network, version, plugin, &entry.record.capabilities, previous);
            let env = container_environment(entry, netns);
            let call = Execute { plugin, command: Command::Del, subject: &subject, env, input: &input, deadline };
            let idle = match reach {
                Reach::Unknown => false,
                Reach::Plugins(started) => index >= started,
            };
            errors.extend(self.run(&call, steps).err().filter(|error| !(idle && error.never_ran())));
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

//! ADD: attaching a container to a network, all of it or nothing.

use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::capability::{Args, Capabilities};
use super::client::{Client, Execute, Step, container_environment};
use super::delete::Reach;
use super::error::{Command, Error};
use super::input;
use super::ledger::Entry;
use super::name::{ContainerId, InterfaceName, NetworkName};
use super::namespace;
use super::record::{Key, Outcome, Record, VERSION, of_network};
use super::result::{Answer, Attachment, parse};

/// What is to be attached, and to what.
#[derive(Debug, Clone)]
pub struct Add {
    /// The container.
    pub container: ContainerId,
    /// Path of its network namespace. It must lead there for as long as the container lives.
    pub netns: PathBuf,
    /// The interface to make in it.
    pub interface: InterfaceName,
    /// The network; `None`: the default one.
    pub network: Option<NetworkName>,
    /// CNI_ARGS.
    pub args: Args,
    /// Capability arguments.
    pub capabilities: Capabilities,
}

/// An attachment that was made.
#[derive(Debug, Clone)]
pub struct Added {
    /// The network.
    pub network: NetworkName,
    /// Interfaces, addresses, routes.
    pub attachment: Attachment,
    /// What was executed.
    pub steps: Vec<Step>,
}

impl Client {
    /// Attaches a container to a network. When a plugin fails, what was made is undone with a deadline of its own.
    ///
    /// # Errors
    /// [`Error::Plugin`]: nothing is left. [`Error::NotUndone`]: the attachment stays recorded, for [`Client::delete`].
    pub fn add(&self, add: &Add, deadline: Instant) -> Result<Added, Error> {
        let network = self.network(add.network.as_ref())?;
        let _turn = self.turns.container(&add.container, deadline)?;
        let mut steps = Vec::new();
        let version = self.choose(&network, deadline, &mut steps)?;
        let record = Record {
            version: VERSION,
            boot_id: self.boot_id.clone(),
            created: now(),
            container: add.container.clone(),
            interface: add.interface.clone(),
            netns: add.netns.clone(),
            netns_id: namespace::identify(&add.netns)?,
            network: of_network(&network, version),
            args: add.args.clone(),
            capabilities: add.capabilities.clone(),
        };
        let key =
            Key { container: add.container.clone(), network: network.name.clone(), interface: add.interface.clone() };
        let network = super::record::to_network(&record.network)
            .map_err(|source| Error::Config { path: network.name.to_string(), source })?;
        let entry = self.ledger.begin(Entry { key, record, network })?;
        match self.add_chain(&entry, deadline, &mut steps) {
            Ok(attachment) => Ok(Added { network: entry.key.network.clone(), attachment, steps }),
            Err(failed) => {
                let deadline = Instant::now() + self.settings.undo_timeout;
                match self.undo(&entry, failed.reach, deadline, &mut steps) {
                    Ok(()) => Err(failed.error),
                    Err(undo) => Err(Error::NotUndone { error: Box::new(failed.error), undo }),
                }
            }
        }
    }

    fn add_chain(&self, entry: &Entry, deadline: Instant, steps: &mut Vec<Step>) -> Result<Attachment, Failed> {
        let version = entry.network.version();
        let subject = entry.key.subject();
        let last = entry.network.plugins.len() - 1;
        let mut answer: Option<Answer> = None;
        for (index, plugin) in entry.network.plugins.iter().enumerate() {
            let previous = answer.as_ref().map(|answer| &answer.raw);
            let input = input::for_container(&entry.network, version, plugin, &entry.record.capabilities, previous);
            let env = container_environment(entry, entry.record.netns.as_os_str());
            let call = Execute { plugin, command: Command::Add, subject: &subject, env, input: &input, deadline };
            let at = |error: Error| Failed { reach: Reach::Plugins(index + usize::from(!error.never_ran())), error };
            let bytes = self.run(&call, steps).map_err(at)?;
            let next = parse(&bytes, version).map_err(|reason| at(call.garbage(reason, &bytes)))?;
            let outcome = Outcome { version: VERSION, complete: index == last, result: next.raw.clone() };
            self.ledger.keep(&entry.key, &outcome).map_err(at)?;
            answer = Some(next);
        }
        Ok(answer.map(|answer| answer.attachment).unwrap_or_default())
    }
}

/// An ADD that came so far.
struct Failed {
    reach: Reach,
    error: Error,
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

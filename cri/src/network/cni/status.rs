//! STATUS: whether containers can be attached: the NetworkReady of a node.

use std::time::Instant;

use super::client::{Client, Execute, Step};
use super::error::{Command, Error, Subject};
use super::input;

impl Client {
    /// Whether ADD to the default network would work: there is a configuration, and all its plugins say so. Networks of
    /// versions without STATUS are ready when they are configured and their programs are installed.
    ///
    /// # Errors
    /// [`Error::NoNetwork`]; [`Error::Plugin`] with code 50 (not available) or 51 (and existing containers may be cut off).
    pub fn status(&self, deadline: Instant) -> Result<Vec<Step>, Error> {
        let network = self.network(None)?;
        let subject = Subject { network: network.name.clone(), container: None };
        let mut steps = Vec::new();
        let version = self.choose(&network, deadline, &mut steps)?;
        for plugin in &network.plugins {
            let input = input::for_status(&network, version, plugin);
            let env = Vec::new();
            let call = Execute { plugin, command: Command::Status, subject: &subject, env, input: &input, deadline };
            match version.has_gc_and_status() {
                true => drop(self.run(&call, &mut steps)?),
                false => drop(self.installed(&call)?),
            }
        }
        Ok(steps)
    }
}

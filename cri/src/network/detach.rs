//! Taking a container off its networks.

use super::error::Error;
use super::netlink::Socket;
use super::networks::{LOCK, Networks};
use super::record::{Attachment, Book, file_name};

impl Networks {
    /// Takes a container off a network, named by name or id, or off all of them; returns what there was. Not being there is done.
    ///
    /// # Errors
    /// The kernel's.
    pub fn detach(&self, container: &str, network: Option<&str>) -> Result<Vec<Attachment>, Error> {
        let network = match network {
            None => None,
            Some(query) => match self.get(query) {
                Ok(network) => Some(network.id),
                Err(Error::NoNetwork { .. }) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            },
        };
        let _lock = self.state.lock(LOCK)?;
        let file = file_name()?;
        let mut book = Book::read(&self.state, &file)?;
        let on = |attachment: &Attachment| network.as_ref().is_none_or(|id| attachment.network_id == *id);
        let gone: Vec<Attachment> = book
            .attachments
            .iter()
            .filter(|attachment| attachment.container == container && on(attachment))
            .cloned()
            .collect();
        if !gone.is_empty() {
            self.bury(&mut book, &file, &mut Socket::route()?, &gone)?;
        }
        Ok(gone)
    }
}

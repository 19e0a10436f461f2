//! Finding out what a crash left, by asking the kernel: an attachment is alive as long as its interface on the host is there.

use nix::errno::Errno;
use runtime::sys::CallError;

use super::bridge;
use super::error::Error;
use super::host;
use super::netlink::{Link, Socket, delete_link, get_link};
use super::networks::{LOCK, Networks};
use super::record::{Attachment, Book, file_name};

impl Networks {
    /// Removes what is left of attachments whose container is gone, and returns them. Makes the rules anew for those that live,
    /// and gives bridges back their addresses.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reclaim(&self) -> Result<Vec<Attachment>, Error> {
        let _lock = self.state.lock(LOCK)?;
        let file = file_name()?;
        let mut book = Book::read(&self.state, &file)?;
        let mut socket = Socket::route()?;
        let links = host::all_links(&mut socket)?;
        let dead = self.sweep(&mut book, &file, &mut socket, &links)?;
        let networks = self.list()?;
        let mut any = false;
        for network in &networks {
            for link in links.iter().filter(|link| bridge::is_ours(link, network)) {
                bridge::finish(&mut socket, network, link)?;
                any = true;
            }
        }
        if any {
            self.firewall.rebuild(&networks, &book.attachments)?;
        }
        Ok(dead)
    }

    /// Takes what is dead out of the book. The caller holds the lock, so that one that is being made is being made by nobody.
    pub(super) fn sweep(
        &self,
        book: &mut Book,
        file: &str,
        socket: &mut Socket,
        links: &[Link],
    ) -> Result<Vec<Attachment>, Error> {
        let mut dead = Vec::new();
        for attachment in &book.attachments {
            let listed = links.iter().any(|link| link.name == attachment.veth && link.index == attachment.ifindex);
            if !listed && !is_alive(socket, attachment)? {
                dead.push(attachment.clone());
            }
        }
        if !dead.is_empty() {
            self.bury(book, file, socket, &dead)?;
        }
        Ok(dead)
    }

    /// Removes elements, links and records of attachments, in that order: as long as there is a record, it is found again.
    pub(super) fn bury(
        &self,
        book: &mut Book,
        file: &str,
        socket: &mut Socket,
        dead: &[Attachment],
    ) -> Result<(), Error> {
        book.attachments.retain(|attachment| !dead.iter().any(|gone| gone.order == attachment.order));
        let firewall = self.firewall.remove(dead, &self.list()?, &book.attachments);
        let requests: Vec<_> = dead.iter().map(|attachment| delete_link(&attachment.veth)).collect();
        socket.run(&requests)?;
        firewall?;
        match book.write(&self.state, file) {
            // The record of something that is gone is found to be one.
            Err(Error::Call(CallError { errno: Errno::ENOSPC | Errno::EDQUOT, .. })) => Ok(()),
            other => other,
        }
    }
}

/// Asks for one interface: a list that was made while others changed may lack it.
fn is_alive(socket: &mut Socket, attachment: &Attachment) -> Result<bool, Error> {
    if attachment.ifindex == 0 {
        return Ok(false);
    }
    match socket.run(&[get_link(&attachment.veth)]) {
        Ok(replies) => Ok(replies.iter().filter_map(Link::parse).any(|link| link.index == attachment.ifindex)),
        Err(Error::Netlink { errno: Errno::ENODEV, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

//! Finding out what a crash left, by asking the kernel: an attachment is alive as long as its interface on the host is there.

use super::error::Error;
use super::host;
use super::netlink::{Link, Socket, delete_link, get_link};
use super::networks::{LOCK, Networks};
use super::record::{Attachment, Book, file_name};

impl Networks {
    /// Removes what is left of attachments whose container is gone; returns them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reclaim(&self) -> Result<Vec<Attachment>, Error> {
        let _lock = self.state.lock(LOCK)?;
        let file = file_name()?;
        let mut book = Book::read(&self.state, &file)?;
        let mut socket = Socket::route()?;
        let links = host::all_links(&mut socket)?;
        self.sweep(&mut book, &file, &mut socket, &links)
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

    /// Removes links, elements and records of attachments, in that order: as long as there is a record, it is found again.
    pub(super) fn bury(
        &self,
        book: &mut Book,
        file: &str,
        socket: &mut Socket,
        dead: &[Attachment],
    ) -> Result<(), Error> {
        let requests: Vec<_> = dead.iter().map(|attachment| delete_link(&attachment.veth)).collect();
        socket.run(&requests)?;
        book.attachments.retain(|attachment| !dead.iter().any(|gone| gone.order == attachment.order));
        book.write(&self.state, file)
    }
}

/// Asks for one interface: a list that was made while others changed may lack it.
fn is_alive(socket: &mut Socket, attachment: &Attachment) -> Result<bool, Error> {
    if attachment.ifindex == 0 {
        return Ok(false);
    }
    match socket.run(&[get_link(&attachment.veth)]) {
        Ok(replies) => Ok(replies.iter().filter_map(Link::parse).any(|link| link.index == attachment.ifindex)),
        Err(Error::Netlink { errno: nix::errno::Errno::ENODEV, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

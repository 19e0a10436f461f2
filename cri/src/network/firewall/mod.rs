//! Rules of networks: one table for IP packets and one for frames of bridges, both ours alone.
//!
//! The chains never change. What changes are elements: which bridges there are and what is allowed on them, which container has
//! which addresses, which ports of the host lead where. An attachment adds its elements in one batch. Whenever the
//! kernel answers that something of it is not there, because somebody flushed the rules, or that something else is, both
//! tables are made anew from the records, in one batch as well: there is no moment without rules.

mod elements;
mod foreign;
mod ruleset;

use std::path::Path;

use nix::errno::Errno;
use sha2::{Digest, Sha256};

use self::elements::Elements;
pub(super) use self::foreign::obstacles;
use super::definition::Network;
use super::error::Error;
use super::netlink::Socket;
use super::nft::{Batch, Family, Table};
use super::record::Attachment;

/// State folder whose tables have plain names.
const STATE: &str = "/run/rt";

/// The tables of one state folder.
#[derive(Debug)]
pub(super) struct Firewall {
    packets: Table,
    frames: Table,
}

impl Firewall {
    /// Tables `rt`; those of another state folder have a part of its path's digest in their name, so that each knows its own.
    pub(super) fn new(state: &Path) -> Firewall {
        let name = if state == Path::new(STATE) {
            "rt".to_owned()
        } else {
            let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
            format!("rt-{}", digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        Firewall {
            packets: Table { family: Family::Inet, name: name.clone() },
            frames: Table { family: Family::Bridge, name },
        }
    }

    /// Adds what an attachment needs. `networks` and `all` are for making everything anew.
    pub(super) fn add(
        &self,
        network: &Network,
        new: &Attachment,
        networks: &[Network],
        all: &[Attachment],
    ) -> Result<(), Error> {
        let mut elements = elements::of_network(network);
        elements.append(elements::of_attachment(network, new));
        let mut batch = Batch::default();
        batch.extend(self.packets.add_elements(&elements.packets));
        batch.extend(self.frames.add_elements(&elements.frames));
        let mut socket = Socket::netfilter()?;
        match batch.run(&mut socket) {
            Err(error) if is_stale(&error) => self.rebuild_with(&mut socket, networks, all),
            other => other,
        }
    }

    /// Removes what attachments had; `all` are those that stay.
    pub(super) fn remove(&self, gone: &[Attachment], networks: &[Network], all: &[Attachment]) -> Result<(), Error> {
        let mut elements = Elements::default();
        for attachment in gone {
            if let Some(network) = networks.iter().find(|network| network.id == attachment.network_id) {
                elements.append(elements::of_attachment(network, attachment));
            }
        }
        let mut batch = Batch::default();
        batch.extend(self.packets.delete_elements(&elements.packets));
        batch.extend(self.frames.delete_elements(&elements.frames));
        if batch.is_empty() {
            return Ok(());
        }
        let mut socket = Socket::netfilter()?;
        match batch.run(&mut socket) {
            Err(error) if is_stale(&error) => self.rebuild_with(&mut socket, networks, all),
            other => other,
        }
    }

    /// Makes both tables anew, at once.
    pub(super) fn rebuild(&self, networks: &[Network], all: &[Attachment]) -> Result<(), Error> {
        self.rebuild_with(&mut Socket::netfilter()?, networks, all)
    }

    fn rebuild_with(&self, socket: &mut Socket, networks: &[Network], all: &[Attachment]) -> Result<(), Error> {
        let mut elements = Elements::default();
        networks.iter().for_each(|network| elements.append(elements::of_network(network)));
        for attachment in all {
            if let Some(network) = networks.iter().find(|network| network.id == attachment.network_id) {
                elements.append(elements::of_attachment(network, attachment));
            }
        }
        let mut batch = Batch::default();
        for (table, rules, elements) in [
            (&self.packets, ruleset::packets(), &mut elements.packets),
            (&self.frames, ruleset::frames(), &mut elements.frames),
        ] {
            // Added first, so that removing it is right whether it was there or not.
            batch.push(table.add());
            batch.push(table.delete());
            batch.push(table.add());
            (0..).zip(rules.sets).for_each(|(id, set)| batch.push(table.add_set(set, id)));
            rules.chains.iter().for_each(|chain| batch.push(table.add_chain(chain)));
            rules.rules.iter().for_each(|rule| batch.push(table.add_rule(rule)));
            elements.sort();
            elements.dedup();
            batch.extend(table.add_elements(elements));
        }
        batch.run(socket).map_err(|error| {
            let option = "CONFIG_NF_TABLES with INET, BRIDGE, NFT_NAT, NFT_MASQ, NFT_CT and NFT_FIB_INET (modules nf_tables, nft_nat, nft_masq, nft_ct, nft_fib_inet)";
            match error.or_missing("nftables", "rules of networks", option) {
                Error::Netlink { what, errno: errno @ Errno::ENOENT } => {
                    Error::Missing { missing: "nftables expressions", purpose: "rules of networks", option, what, errno }
                }
                other => other,
            }
        })
    }

    /// The name of the tables.
    pub(super) fn table(&self) -> &str {
        &self.packets.name
    }
}

/// Whether the tables are not what they should be.
fn is_stale(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::EEXIST | Errno::EBUSY | Errno::ENOBUFS | Errno::EINVAL))
}

//! All networks of a host: made, listed, removed.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use runtime::sys::Call;

use super::bridge;
use super::create::{self, Given, NewNetwork, Taken};
use super::definition::Network;
use super::error::Error;
use super::files::{Folder, Keep, random};
use super::firewall::Firewall;
use super::host;
use super::name;
use super::netlink::{Link, Socket};
use super::record::{Attachment, Book, file_name};

/// Lock of a folder.
pub(super) const LOCK: &str = "lock";

/// The networks of a host. Every method works on the calling thread's network namespace, and on the disk: nothing is kept here.
#[derive(Debug)]
pub struct Networks {
    pub(super) definitions: Folder,
    pub(super) state: Folder,
    pub(super) firewall: Firewall,
}

impl Networks {
    /// Opens `<root>/networks` and `<state>/network`, which are made if they are missing.
    ///
    /// # Errors
    /// The kernel's; folders that other users may write to.
    pub fn open(root: &Path, state: &Path) -> Result<Networks, Error> {
        let absolute = std::path::absolute(state).call(|| "getcwd()".to_owned())?;
        Ok(Networks {
            definitions: Folder::open(&root.join("networks"))?,
            state: Folder::open(&state.join("network"))?,
            firewall: Firewall::new(&absolute),
        })
    }

    /// Makes a network. Its bridge is made when the first container is attached.
    ///
    /// # Errors
    /// A name that is taken, a value that is not allowed, a subnet that the host uses.
    pub fn create(&self, new: &NewNetwork) -> Result<Network, Error> {
        if new.name == name::DEFAULT {
            return Err(Error::Exists { name: new.name.clone() });
        }
        let _lock = self.definitions.lock(LOCK)?;
        let there = self.list()?;
        let mut socket = Socket::route()?;
        let links = host::all_links(&mut socket)?;
        self.create_locked(new, &there, &mut socket, &links)
    }

    fn create_locked(
        &self,
        new: &NewNetwork,
        there: &[Network],
        socket: &mut Socket,
        links: &[Link],
    ) -> Result<Network, Error> {
        if there.iter().any(|network| network.name == new.name) {
            return Err(Error::Exists { name: new.name.clone() });
        }
        let mut taken: Vec<Taken> = there
            .iter()
            .flat_map(|network| network.subnets.iter().map(|range| (range.subnet, &network.name)))
            .map(|(subnet, name)| Taken { subnet, by: format!("{subnet} of network {name}") })
            .collect();
        taken.extend(host::taken(socket)?);
        let id: [u8; 32] = random()?;
        let is_free = |bridge: &str| {
            !links.iter().any(|link| link.name == bridge) && !there.iter().any(|network| network.bridge == bridge)
        };
        let bridge = if new.name == name::DEFAULT {
            // Another program, or rt with another root, may have taken the name.
            (0..u16::MAX).map(|n| format!("rt{n}")).find(|bridge| is_free(bridge)).unwrap_or_default()
        } else {
            format!("rt-{}", id.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        let network = create::plan(new, Given { taken: &taken, bridge, id, now: now() })?;
        if !is_free(&network.bridge) {
            return Err(Error::ForeignInterface { interface: network.bridge, network: network.name });
        }
        let path = format!("{}.json", network.name);
        let bytes = serde_json::to_vec_pretty(&network)
            .map_err(|error| Error::Damaged { path: self.definitions.path(&path), reason: error.to_string() })?;
        self.definitions.replace(&path, &bytes, Keep::OnDisk)?;
        Ok(network)
    }

    /// The network of that name, id, or start of an id. The default network is made when it is first asked for.
    ///
    /// # Errors
    /// There is none; several ids begin so.
    pub fn get(&self, query: &str) -> Result<Network, Error> {
        if name::network(query).is_ok()
            && let Some(network) = self.read(query)?
        {
            return Ok(network);
        }
        if query == name::DEFAULT || query == "default" {
            return self.default_network();
        }
        let networks = self.list()?;
        let mut matches: Vec<&Network> = networks.iter().filter(|network| network.id.starts_with(query)).collect();
        match (matches.pop(), matches.is_empty()) {
            (Some(network), true) if !query.is_empty() => Ok(network.clone()),
            (Some(network), false) if !query.is_empty() => {
                let names = matches.iter().map(|network| network.name.clone()).chain([network.name.clone()]).collect();
                Err(Error::Ambiguous { query: query.to_owned(), matches: names })
            }
            _ => Err(Error::NoNetwork { name: query.to_owned() }),
        }
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Network>, Error> {
        let file = format!("{name}.json");
        match self.definitions.read(&file)? {
            Some(bytes) => Network::parse(&bytes, &self.definitions.path(&file)).map(Some),
            None => Ok(None),
        }
    }

    fn default_network(&self) -> Result<Network, Error> {
        let _lock = self.definitions.lock(LOCK)?;
        if let Some(network) = self.read(name::DEFAULT)? {
            return Ok(network);
        }
        let mut socket = Socket::route()?;
        let links = host::all_links(&mut socket)?;
        let new = NewNetwork { name: name::DEFAULT.to_owned(), ..NewNetwork::default() };
        self.create_locked(&new, &self.list()?, &mut socket, &links)
    }

    /// All networks that were made, by name.
    ///
    /// # Errors
    /// The kernel's; a document that is damaged.
    pub fn list(&self) -> Result<Vec<Network>, Error> {
        let mut networks = Vec::new();
        for file in self.definitions.names()? {
            let Some(name) = file.strip_suffix(".json").filter(|name| name::network(name).is_ok()) else { continue };
            // Removed meanwhile: not there.
            networks.extend(self.read(name)?);
        }
        Ok(networks)
    }

    /// Removes a network and its bridge.
    ///
    /// # Errors
    /// There is none; containers are on it; it is the default one.
    pub fn remove(&self, query: &str) -> Result<Network, Error> {
        let _definitions = self.definitions.lock(LOCK)?;
        let network = match self.read(query).or_else(|_| Ok::<_, Error>(None))? {
            Some(network) => network,
            None if query == name::DEFAULT => return Err(Error::Predefined { name: query.to_owned() }),
            None => self.get(query)?,
        };
        if network.name == name::DEFAULT {
            return Err(Error::Predefined { name: network.name });
        }
        let _state = self.state.lock(LOCK)?;
        let mut socket = Socket::route()?;
        let links = host::all_links(&mut socket)?;
        let file = file_name()?;
        let mut book = Book::read(&self.state, &file)?;
        self.sweep(&mut book, &file, &mut socket, &links)?;
        let mut containers: Vec<String> = book
            .attachments
            .iter()
            .filter(|attachment| attachment.network_id == network.id)
            .map(|attachment| attachment.container.clone())
            .collect();
        if !containers.is_empty() {
            containers.sort();
            return Err(Error::InUse { name: network.name, containers });
        }
        self.definitions.remove(&format!("{}.json", network.name))?;
        self.definitions.sync()?;
        if bridge::remove(&mut socket, &links, &network)? == bridge::Removed::Yes {
            self.firewall.rebuild(&self.list()?, &book.attachments)?;
        }
        Ok(network)
    }

    /// Who is attached, without waiting for a lock. What a crash left may be among them until the next [`Networks::reclaim`].
    ///
    /// # Errors
    /// The kernel's; a record that is damaged.
    pub fn attachments(&self) -> Result<Vec<Attachment>, Error> {
        let mut book = Book::read(&self.state, &file_name()?)?;
        book.attachments.retain(|attachment| attachment.ifindex != 0);
        Ok(book.attachments)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

//! Who is attached: one JSON document for each network namespace that containers are attached in, true until the next restart.

use runtime::json;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::stat::stat;
use runtime::sys::Call;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::files::{Folder, Keep, read_line};
use super::mac::Mac;
use super::publish::Published;
use super::subnet::Family;

const VERSION: u32 = 1;

/// A container on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's id.
    pub container: String,
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub network_id: String,
    /// The interface in the container.
    pub interface: String,
    /// Its address on the link.
    pub mac: Mac,
    /// Its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Assigned<Ipv4Addr>>,
    /// Its IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Assigned<Ipv6Addr>>,
    /// Names under which the others on the network find it: the container's name, aliases, its short id.
    #[serde(default)]
    pub names: Vec<String>,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub ports: Vec<Published>,
    /// The network with the highest number has the default route; of equals the one attached first.
    #[serde(default)]
    pub gw_priority: i32,
    /// Place of its default route among those of the container; the lowest is used.
    #[serde(default)]
    pub metric: u32,
    /// Counts attachments.
    pub order: u64,
    /// Number of the container's network namespace, as stat(2) has it.
    #[serde(default)]
    pub netns: u64,
    /// The interface on the host.
    pub veth: String,
    /// Index of [`Attachment::veth`]; 0 while the attachment is being made.
    pub ifindex: u32,
}

/// An address of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned<A> {
    /// The address.
    pub address: A,
    /// Bits of the subnet's prefix.
    pub prefix: u8,
    /// Where packets to elsewhere go; absent in an internal network.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub gateway: Option<A>,
}

fn none<A>() -> Option<A> {
    None
}

impl Attachment {
    /// The addresses with prefix length and gateway, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<Assigned<IpAddr>> {
        let v4 = self.ip.map(|ip| Assigned {
            address: ip.address.into(),
            prefix: ip.prefix,
            gateway: ip.gateway.map(IpAddr::V4),
        });
        let v6 = self.ip6.map(|ip| Assigned {
            address: ip.address.into(),
            prefix: ip.prefix,
            gateway: ip.gateway.map(IpAddr::V6),
        });
        v4.into_iter().chain(v6).collect()
    }

    /// The address of a family.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.ip.map(|ip| ip.address.into()),
            Family::V6 => self.ip6.map(|ip| ip.address.into()),
        }
    }
}

/// All attachments of this host since it was started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) version: u32,
    /// The kernel's boot id: what another boot wrote is stale.
    pub(crate) boot: String,
    /// Number of the next attachment.
    pub(crate) next: u64,
    /// The address of each network and family that was given out last.
    #[serde(default)]
    pub(crate) last: BTreeMap<String, IpAddr>,
    /// The host port that was given out last.
    #[serde(default)]
    pub(crate) last_port: u16,
    pub(crate) attachments: Vec<Attachment>,
}

/// Key of [`Book::last`].
pub(crate) fn last_key(network_id: &str, family: Family) -> String {
    format!("{network_id} {family}")
}

/// Where the records of this thread's network namespace are.
pub(crate) fn file_name() -> Result<String, Error> {
    let path = "/proc/thread-self/ns/net";
    let inode = stat(path).call(|| format!("stat(\"{path}\")"))?.st_ino;
    Ok(format!("{inode}.json"))
}

impl Book {
    /// Reads the records. What another boot wrote does not count.
    pub(crate) fn read(folder: &Folder, file: &str) -> Result<Book, Error> {
        let boot = read_line("/proc/sys/kernel/random/boot_id")?;
        let Some(bytes) = folder.read(file)? else {
            return Ok(Book { version: VERSION, boot, ..Book::default() });
        };
        let book = Book::parse(&bytes, &folder.path(file))?;
        Ok(if book.boot == boot { book } else { Book { version: VERSION, boot, ..Book::default() } })
    }

    fn parse(bytes: &[u8], path: &str) -> Result<Book, Error> {
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if version > VERSION {
            return Err(damaged(format!("version {version} is newer than {VERSION}: use the programs that wrote it")));
        }
        json::from_slice(bytes).map_err(|error| damaged(error.to_string()))
    }

    /// Replaces the records.
    pub(crate) fn write(&self, folder: &Folder, file: &str) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Error::Damaged { path: folder.path(file), reason: error.to_string() })?;
        folder.replace(file, &bytes, Keep::UntilReboot)
    }
}

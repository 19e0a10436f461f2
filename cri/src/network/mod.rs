//! Networks of a bare host: a bridge each, addresses, names, and ports of the host that lead to containers.
//!
//! ```text
//!  container          host
//!  ┌──────┐ veth   ┌────────┐  forward, masquerade   ┌──────┐
//!  │ eth0 ├────────┤  rt0   ├────────────────────────┤ eth0 ├── other hosts
//!  └──────┘        └────────┘   ▲ published ports    └──────┘
//!                     bridge    nftables: table inet rt-net, nothing of others
//! ```
//!
//! What a network is outlives restarts: `<root>/networks/<name>.json`. Who is on it does not: `<state>/network/`, a document for each
//! network namespace that we are called in, since bridges belong to that. An attachment lives as long as its interface on the host
//! does: the kernel removes that together with the container's network namespace. So what a crash left is found by asking the
//! kernel, under the lock, before an address or a port is given out.
//!
//! Everything is done by netlink; no program is run. Nothing here waits.

mod attach;
mod bridge;
pub mod cni;
mod counters;
mod create;
mod definition;
mod detach;
mod error;
mod files;
mod firewall;
mod host;
mod hosts;
mod ipam;
mod mac;
mod name;
mod netlink;
mod networks;
mod nft;
mod plumb;
mod publish;
mod reclaim;
mod record;
mod reserve;
mod subnet;

pub use attach::{Attach, Attached};
pub use counters::{InterfaceCounters, counters};
pub use create::NewNetwork;
pub use definition::{Network, Policy, Range};
pub use error::Error;
pub use hosts::HostsEntry;
pub use mac::Mac;
pub use name::DEFAULT;
pub use networks::Networks;
pub use publish::{Ports, Protocol, Publish, Published};
pub use record::{Assigned, Attachment};
pub use subnet::{Family, Subnet};

//! CNI: attaching containers to networks by plugins, specification 1.1 and back to 0.3.1.
//!
//! ```text
//!  /etc/cni/net.d ──directory──▶ Configs ─┐
//!       watch: read again when it changes  │            ┌─ ledger: record, on the disk before the first plugin is run
//!                                          ▼            ▼
//!  Add ─────────────────────────────▶ Client ── for each plugin: input ──▶ program (by descriptor) ──▶ execute ──▶ result
//!                                                                                                            │
//!  Attachment ◀──────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Calls block and have a deadline. Parsing (`config`, `result`, `input`, `capability`, `record`) is pure. A verb is a file.
//!
//! Invariants: there is no attachment without a record; a record goes when DEL has succeeded, with the configuration that ADD
//! had, and never before; a plugin gets a namespace's path only while the same namespace is there.

mod add;
mod capability;
mod check;
mod client;
mod config;
mod delete;
mod directory;
mod error;
mod execute;
mod gc;
mod input;
mod ledger;
mod name;
mod namespace;
mod program;
mod record;
mod recover;
mod result;
mod status;
mod sync;
mod turn;
mod version;
mod versions;
mod watch;

pub use add::{Add, Added};
pub use capability::{Args, Bandwidth, Capabilities, DnsConfig, PortMapping, Protocol, bandwidth_of_pod};
pub use client::{Client, Settings, Step};
pub use config::{ConfigError, Network, Plugin, parse_list, parse_single};
pub use directory::{Configs, Loaded, Rejected};
pub use error::{Command, Error, Fault, PluginMessage, Subject};
pub use name::{ContainerId, InterfaceName, NameError, NetworkName, PluginType};
pub use namespace::{bring_loopback_up, open_namespace};
pub use recover::Recovered;
pub use result::{Attachment, Dns, Interface, Ip, Prefix, Route};
pub use version::{Version, VersionError};
pub use watch::Watcher;

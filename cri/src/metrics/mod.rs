//! What the daemon counts, and where it can be read.
//!
//! ```text
//!  server: each call ─▶ rpc()          engine: each step of an operation ─▶ phase()          engine ◀─ counts_from(): pods by state
//!                        └───────────────── one registry of the process ─────────────────┘
//!                                           http://metrics_listen/metrics, OpenMetrics text
//! ```
//!
//! Names and units as Prometheus recommends. Values of labels come from fixed sets, never from what clients send.

mod phase;
mod process;
mod pull;
mod registry;
mod rpc;
mod serve;

pub use phase::{Phase, phase, phase_in};
pub use pull::Pull;
pub use registry::{Counts, config_read, counts_from, text};
pub use rpc::{Rpc, rpc};
pub use serve::serve;

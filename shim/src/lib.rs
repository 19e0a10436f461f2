//! Parent of the containers of a pod: the shim's protocol and files, and what `rt-shim` does with them.
//!
//! ```text
//!  rtctl, rtd ── client ──▶ protocol (codec) ──▶ server: one thread, one epoll loop
//!      │                                           ├─ verbs     which request is allowed in which state (pure)
//!      └─ local: read and clean up what a          ├─ restart   whether and when a container starts again (pure)
//!         shim left, alive or dead                 ├─ log       log files and the journal
//!                                                  ├─ events    what happened
//!                                                  ├─ health    what a health check's result means (pure)
//!                                                  └─ record    status.json before anyone is told
//! ```

pub mod client;
pub mod codec;
pub mod events;
pub mod health;
pub mod layout;
pub mod local;
pub mod log;
pub mod protocol;
pub mod record;
pub mod remove;
pub mod restart;
pub mod server;
pub mod stuck;
pub mod update;
pub mod verbs;

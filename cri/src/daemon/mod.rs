//! What makes a program a daemon: its process, its log, its traces, the service manager, and what happens while it runs.
//!
//! ```text
//!  settle the process ─▶ log, traces ─▶ Service ─▶ sockets ─▶ READY=1 ─▶ serve
//!                                                  meanwhile: SIGHUP or a changed file ─▶ reload      WATCHDOG=1
//!  SIGTERM, SIGINT ─▶ STOPPING=1 ─▶ calls end ─▶ the last spans are sent
//! ```

mod apparmor;
mod features;
mod log;
mod notify;
mod process;
mod reload;
mod run;
mod spans;

pub use log::{Level, Log, LogError};
pub use process::{Limit, inherited_nofile, settle};
pub use run::{Error, run};

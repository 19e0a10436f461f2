//! The caller's side of a process's streams.
//!
//! ```text
//!  terminal ── raw mode ──┐                      ┌── stdin pipe ──▶ shim ──▶ process
//!  or files               ├── relay: poll(2) ────┤
//!  SIGINT.., SIGWINCH ────┘   one thread         └── stdout, stderr pipes ◀── shim
//! ```

pub(crate) mod detach;
pub(crate) mod relay;
pub(crate) mod signals;
pub(crate) mod terminal;

//! The caller's side of a process's streams.
//!
//! ```text
//!  terminal ── raw mode ──┐                      ┌── stdin pipe ──▶ shim ──▶ process
//!  or files               ├── relay: poll(2) ────┤
//!  SIGINT.., SIGWINCH ────┘   one thread         └── stdout, stderr pipes ◀── shim
//! ```

pub(crate) mod detach;
pub(crate) mod foreground;
pub(crate) mod relay;
pub(crate) mod signals;
pub(crate) mod terminal;

/// Exit code of a program that a signal ended.
pub(crate) fn signal_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

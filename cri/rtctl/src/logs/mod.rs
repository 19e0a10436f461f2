//! Reading the log of a container, as the shim or the journal has it.
//!
//! ```text
//!  log.2, log.1, log ─▶ files ─▶ record: one line of a file, in either format ─┐
//!  journalctl ─────────────────▶ journal ───────────────────────────────────────┴▶ printed
//! ```

pub(crate) mod files;
pub(crate) mod journal;
pub(crate) mod record;
pub(crate) mod tail;

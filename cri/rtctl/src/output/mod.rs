//! What is printed: tables, templates, JSON, sizes and times for people.

pub(crate) mod confirm;
pub(crate) mod human;
pub(crate) mod list;
pub(crate) mod nearest;
pub(crate) mod network;
pub(crate) mod table;

use std::io::Write;

use anyhow::{Context, Result};

/// Prints a line. Unlike `println!` it does not panic when nobody reads.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").context("write(stdout)")
}

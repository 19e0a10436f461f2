//! Asking before something is removed for good.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, Result, bail};

/// Asks; `true` for yes. Without a terminal nobody can be asked.
///
/// # Errors
/// When there is no terminal: `--force` answers beforehand.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("{question} Nobody can be asked: the input is no terminal; --force says yes");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().context("write(stderr)")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("read(stdin)")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

//! `rtctl man`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::CommandFactory;

use crate::manual;

/// Show a manual page, or write all
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Write all pages into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "topic")]
    dir: Option<PathBuf>,
    /// A command, such as run or volume create
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
}

const EXAMPLES: &str = "\
On a terminal man(1) shows the page; otherwise its source is printed.

Examples:
  rtctl man run
  rtctl man volume create
  rtctl man --dir /usr/local/share/man/man1";

impl Args {
    pub(crate) fn run(self) -> Result<u8> {
        let pages = manual::pages(crate::cli::Cli::command());
        if let Some(dir) = &self.dir {
            return write_all(dir, &pages);
        }
        let mut name = vec!["rtctl".to_owned()];
        name.extend(self.topic.iter().flat_map(|word| word.split(['-', ' '])).map(str::to_owned));
        let name = name.join("-");
        let Some(page) = pages.iter().find(|page| page.name == name || page.aliases.contains(&name)) else {
            let names = pages.iter().map(|page| page.name.as_str());
            let near = crate::output::nearest::nearest(&name, names);
            let near = near.map(|near| format!(" but {near}:")).unwrap_or_default();
            bail!("no page {name},{near} rtctl help lists the commands");
        };
        if !std::io::stdout().is_terminal() {
            std::io::stdout().write_all(page.text.as_bytes()).context("write(stdout)")?;
            return Ok(0);
        }
        show(&page.text)
    }
}

fn show(text: &str) -> Result<u8> {
    let spawned = Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn();
    let mut man = spawned.context("man (install it, or write the pages with rtctl man --dir DIR)")?;
    if let Some(mut stdin) = man.stdin.take() {
        stdin.write_all(text.as_bytes()).context("write(man)")?;
    }
    let status = man.wait().context("man")?;
    Ok(if status.success() { 0 } else { 1 })
}

fn write_all(dir: &Path, pages: &[manual::Page]) -> Result<u8> {
    std::fs::DirBuilder::new().recursive(true).create(dir).with_context(|| format!("{}", dir.display()))?;
    for page in pages {
        let path = dir.join(format!("{}.1", page.name));
        std::fs::write(&path, &page.text).with_context(|| format!("{}", path.display()))?;
    }
    Ok(0)
}

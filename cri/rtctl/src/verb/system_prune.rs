//! `rtctl system prune`

use anyhow::{Result, anyhow};

use super::{container_prune, image_prune, network_prune, volume_prune};
use crate::flag::image_filter;
use crate::output::confirm::confirm;
use crate::output::{human, say};
use crate::store::roots::Roots;

/// Remove all that nothing needs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// All images that no container uses, not only dangling ones
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only what matches: until=TIME (made before), label=NAME[=VALUE], label!=NAME[=VALUE]
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<String>,
    /// Anonymous volumes that no container uses, too
    #[arg(long)]
    volumes: bool,
}

const EXAMPLES: &str = "\
Removes containers that do not run, then networks and images that no container uses any more.

Examples:
  rtctl system prune
  rtctl system prune -af --volumes
  rtctl system prune --filter until=24h";

/// What all kinds of objects can be chosen by.
fn filter(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some(("until" | "label" | "label!", _)) => image_filter::filter(text).map(|_| text.to_owned()),
        Some(_) | None => Err(format!("{text:?}: must be until, label or label!")),
    }
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        if !self.force && !confirm(&self.question())? {
            return Ok(0);
        }
        let wrong = |text: String| anyhow!("--filter {text}");
        let containers = container_prune::Args::unasked(&self.filter).map_err(wrong)?;
        let networks = network_prune::Args::unasked(&self.filter).map_err(wrong)?;
        let volumes = volume_prune::Args::unasked(&self.filter).map_err(wrong)?;
        let images = self.filter.iter().map(|text| image_filter::filter(text)).collect::<Result<Vec<_>, _>>();
        let images = images.map_err(wrong)?;
        let mut done = vec![containers.prune(roots)?, networks.prune(roots)?];
        if self.volumes {
            done.push(volumes.prune(roots)?);
        }
        let removed = image_prune::prune(roots, self.all, &images)?;
        image_prune::tell(&removed)?;
        let freed = removed.freed_bytes + done.iter().map(|pruned| pruned.freed_bytes).sum::<u64>();
        say(&format!("Total reclaimed space: {}", human::decimal_size(freed)))?;
        Ok(done.iter().map(|pruned| pruned.code).max().unwrap_or(0))
    }

    fn question(&self) -> String {
        let volumes = if self.volumes { ", anonymous volumes that no container uses" } else { "" };
        let images = if self.all { "images that no container uses" } else { "dangling images" };
        format!(
            "This removes containers that do not run, networks that no container uses{volumes}, and {images}. Go on?"
        )
    }
}

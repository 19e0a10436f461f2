//! `rtctl image prune`

use anyhow::Result;
use cri::image::{Image, Removed, Store};

use crate::flag::image_filter::{Filter, all_hold, filter, takes_named};
use crate::output::confirm::confirm;
use crate::output::{human, say};
use crate::store::roots::Roots;
use crate::verb::image_rm::used_by;

/// Remove images that nothing needs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Also those with names, unless a container uses them
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that match: until=TIME (made before), label=NAME[=VALUE], label!=NAME[=VALUE], dangling=true|false
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
}

const EXAMPLES: &str = "\
Without --all only dangling images go: those that have no tag any more. What commands that were killed left goes along.

Examples:
  rtctl image prune
  rtctl image prune -af --filter until=240h --filter label!=keep";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let which = match takes_named(self.all, &self.filter) {
            true => "all images without a container",
            false => "all dangling images",
        };
        if !self.force && !confirm(&format!("This removes {which}. Go on?"))? {
            return Ok(0);
        }
        let removed = prune(roots, self.all, &self.filter)?;
        tell(&removed)?;
        say(&format!("Total reclaimed space: {}", human::decimal_size(removed.freed_bytes)))?;
        Ok(0)
    }
}

/// Removes images.
pub(super) fn prune(roots: &Roots, all: bool, filters: &[Filter]) -> Result<Removed> {
    let named = takes_named(all, filters);
    let mut chosen = |image: &Image| (named || image.names.is_empty()) && all_hold(filters, image);
    Ok(Store::open(&roots.root)?.prune(&mut chosen, &mut |image| used_by(roots, image))?)
}

/// Says what was removed.
pub(super) fn tell(removed: &Removed) -> Result<()> {
    if removed.deleted.is_empty() {
        return Ok(());
    }
    say("Deleted Images:")?;
    for name in &removed.untagged {
        say(&format!("untagged: {}", name.familiar()))?;
    }
    for image in &removed.deleted {
        say(&format!("deleted: {image}"))?;
    }
    say("")
}

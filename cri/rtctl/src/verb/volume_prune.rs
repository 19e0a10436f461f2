//! `rtctl volume prune`

use anyhow::Result;

use crate::flag::volume_filter::{self, Filter};
use crate::output::confirm::confirm;
use crate::output::{human, say};
use crate::store::roots::Roots;
use crate::store::volume::users::Users;
use crate::store::volume::{self, Volume};

/// Remove all volumes that no container uses
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --all only anonymous volumes go.\n\nExamples:\n  rtctl volume prune\n  rtctl volume prune -af --filter label!=keep"
)]
pub(crate) struct Args {
    /// Named ones, too
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that match: label, label!, name, until, opt
    #[arg(long, value_name = "NAME=VALUE", value_parser = volume_filter::filter)]
    filter: Vec<Filter>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let which = if self.all { "all volumes" } else { "all anonymous volumes" };
        if !self.force && !confirm(&format!("This removes {which} that no container uses, with their data. Go on?"))? {
            return Ok(0);
        }
        volume::sweep(roots)?;
        let (mut freed, mut code, mut removed) = (0, 0, Vec::new());
        let users = Users::read(roots)?;
        for volume in Volume::list(roots)? {
            let meant = self.all || volume.is_anonymous();
            if !meant || volume.record.is_err() || !volume_filter::all_hold(&self.filter, &volume, &users) {
                continue;
            }
            if !users.of(&volume.name).is_empty() {
                continue;
            }
            let bytes = cri::disk::usage(&volume.dir).unwrap_or(0);
            match volume::remove(roots, &volume.name) {
                Ok(()) => {
                    freed += bytes;
                    removed.push(volume.name);
                }
                // Somebody took it, or removed it, meanwhile.
                Err(error) if error.is::<volume::InUse>() || error.is::<volume::Missing>() => {}
                Err(error) => {
                    eprintln!("rtctl: {error:#}");
                    code = 1;
                }
            }
        }
        if !removed.is_empty() {
            say(&format!("Deleted Volumes:\n{}\n", removed.join("\n")))?;
        }
        say(&format!("Total reclaimed space: {}", human::decimal_size(freed)))?;
        Ok(code)
    }
}

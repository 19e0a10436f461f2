//! `rtctl rm`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use shim::local::{Directory, Wait};

use crate::store::record::MountKind;
use crate::store::remove::{Force, remove_with};
use crate::store::roots::Roots;
use crate::store::view::{self, Container, Phase};
use crate::store::volume;
use crate::store::volume::users::Users;

/// Remove containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl rm web\n  rtctl rm -f -v $(rtctl ps -aq)")]
pub(crate) struct Args {
    /// Kill it if it runs; clean up whatever there is
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        Ok(super::each(&self.containers, |query| self.one(roots, query)))
    }

    fn one(&self, roots: &Roots, query: &str) -> Result<()> {
        let id = match view::find_id(roots, query) {
            Ok(id) => id,
            // As docker: what is not there need not be removed.
            Err(error) if self.force && error.is::<view::Missing>() => {
                eprintln!("rtctl: {error:#}");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let Some(directory) = Directory::open(&roots.container(&id))? else { return Ok(()) };
        let lock = match directory.lock(Wait::Yes) {
            Err(shim::local::Error::Removed(_)) => return Ok(()),
            lock => lock?,
        };
        let container = Container::load(roots, &id)?;
        if let Some(container) = &container
            && !self.force
        {
            match container.phase() {
                Phase::Created | Phase::Exited | Phase::Removing => {}
                Phase::Running | Phase::Paused | Phase::Restarting => {
                    let phase = container.phase().word();
                    bail!("container {0} is {phase}; rtctl stop {0} first, or remove it with -f", container.shown());
                }
                Phase::Dead => {
                    container.record().context("remove it with -f")?;
                    container.status().context("remove it with -f")?;
                }
            }
        }
        let kept = container.as_ref().filter(|_| self.volumes);
        let anonymous = kept.map(|container| anonymous(roots, container)).transpose()?.unwrap_or_default();
        remove_with(roots, &id, &lock, if self.force { Force::Yes } else { Force::No }, &anonymous)
    }
}

/// Directories of its anonymous volumes, but those that others use, too (`--volumes-from`).
fn anonymous(roots: &Roots, container: &Container) -> Result<Vec<PathBuf>> {
    let Ok(record) = &container.record else { return Ok(Vec::new()) };
    let name = |kind: &MountKind| match kind {
        MountKind::Volume { name, anonymous: true, .. } => Some(name.clone()),
        MountKind::Volume { .. } | MountKind::Bind | MountKind::Image { .. } | MountKind::Tmpfs => None,
    };
    let mut names: Vec<String> = record.mounts.iter().filter_map(|mount| name(&mount.kind)).collect();
    if !names.is_empty() {
        let others = Users::without(roots, Some(&container.id))?;
        names.retain(|name| others.of(name).is_empty());
    }
    Ok(names.iter().map(|name| volume::dir(roots, name)).collect())
}

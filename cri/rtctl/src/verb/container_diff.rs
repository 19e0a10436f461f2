//! `rtctl diff`

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::json;
use shim::layout::Layers;

use crate::output::{say, table};
use crate::rootfs;
use crate::store::changes::{self, Change, Kind};
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Show what a container changed in its files
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A is added, C changed, D deleted. What lies in volumes and mounts does not count.\n\nExample:\n  rtctl diff web"
)]
pub(crate) struct Args {
    /// json
    #[arg(long, value_name = "FORMAT", value_parser = ["json"])]
    format: Option<String>,
    /// Name or id
    container: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let container = Container::find(roots, &self.container)?;
        container.record()?;
        let Some(Layers { lower, upper: Some((upper, _)) }) = container.task()?.layers else {
            bail!(
                "container {} has no layers to compare: it works on a directory itself (--rootfs)",
                container.shown()
            );
        };
        let spec = container.spec()?;
        let made = spec.mounts.iter().map(|mount| absolute(&mount.destination)).collect();
        let changes = changes::changes(rootfs::directory(&upper)?, rootfs::layers(&lower)?, &made)?;
        if self.format.is_some() {
            let of = |kind: Kind| -> Vec<&PathBuf> {
                changes.iter().filter(|change| change.kind == kind).map(|change| &change.path).collect()
            };
            let document =
                json!({ "added": of(Kind::Added), "changed": of(Kind::Changed), "deleted": of(Kind::Deleted) });
            say(&serde_json::to_string(&document)?)?;
            return Ok(0);
        }
        for Change { path, kind } in &changes {
            let letter = match kind {
                Kind::Added => 'A',
                Kind::Changed => 'C',
                Kind::Deleted => 'D',
            };
            say(&format!("{letter} {}", table::harmless(&path.to_string_lossy()).replace(['\n', '\t'], "?")))?;
        }
        Ok(0)
    }
}

fn absolute(destination: &str) -> PathBuf {
    Path::new("/").join(runtime::root::clean(destination.as_ref()))
}

//! `rtctl tag`

use anyhow::{Context, Result};
use cri::image::{Reference, Store};

use crate::events;
use crate::image::explain;
use crate::store::roots::Roots;

/// Give an image one more name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl tag busybox registry.example/tools/busybox:1")]
pub(crate) struct Args {
    /// Name or id
    source: String,
    /// The new name; the tag is latest where none is given
    target: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let target: Reference = self.target.parse().with_context(|| format!("name {:?}", self.target))?;
        let store = Store::open(&roots.root)?;
        store.tag(&self.source, &target).map_err(|error| explain(error, &self.source))?;
        let id = store.resolve(&self.source).map(|image| image.id.to_string()).unwrap_or_default();
        events::record(roots, "image", "tag", &id, [("name", &target.familiar().to_string())]);
        Ok(0)
    }
}

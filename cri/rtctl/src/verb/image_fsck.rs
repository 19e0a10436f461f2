//! `rtctl image fsck`

use anyhow::Result;
use clap::ValueEnum;
use cri::image::{Damage, Depth, Report, Store};
use serde_json::json;

use crate::image::explain;
use crate::output::say;
use crate::output::table::align;
use crate::store::roots::Roots;

/// Exit code for damage that is left.
const DAMAGED: u8 = 2;

/// Check images on the disk, and repair them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Do not read the contents: documents, sizes and seals only
    #[arg(long)]
    fast: bool,
    /// Kind of report
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Names or ids; otherwise all, and what nothing needs
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

const EXAMPLES: &str = "\
Checks the list of images, their documents, the digests of all blobs, and every file of every layer against the blob that
it was unpacked from: kind, mode, owner, time, extended attributes, size, contents, links.

Exit codes: 0 all is well, 1 it could not be checked, 2 damage is left.

Examples:
  rtctl image fsck
  rtctl image fsck --fast busybox
  rtctl image fsck --format json";

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One object
    Json,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let store = Store::open(&roots.root)?;
        let depth = if self.fast { Depth::Fast } else { Depth::Deep };
        let report = store.verify(&self.images, depth, &mut |_, _| {});
        let report = report.map_err(|error| explain(error, &self.images.join(" ")))?;
        match self.format {
            Format::Json => say(&serde_json::to_string(&document(&report))?)?,
            Format::Table => table(&report)?,
        }
        let damaged = report.damages.iter().any(|damage| damage.object.matters());
        Ok(if damaged { DAMAGED } else { 0 })
    }
}

fn document(report: &Report) -> serde_json::Value {
    let damage = |damage: &Damage| {
        json!({
            "Kind": damage.object.kind(),
            "Object": damage.object.name(),
            "Reason": damage.reason,
            "Meaning": damage.meaning,
            "Images": damage.images,
        })
    };
    json!({
        "Images": report.images,
        "Layers": report.layers,
        "Uncompared": report.uncompared.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "Damages": report.damages.iter().map(damage).collect::<Vec<_>>(),
    })
}

fn table(report: &Report) -> Result<()> {
    for damage in &report.damages {
        let images: Vec<&str> = damage.images.iter().map(String::as_str).collect();
        let of = if images.is_empty() { String::new() } else { format!(" of {}", images.join(", ")) };
        let text =
            format!("{} {}{of}\n  {}\n  {}", damage.object.kind(), damage.object.name(), damage.reason, damage.meaning);
        say(align(&text).trim_end())?;
    }
    let layers = format!("{} images, {} layers", report.images, report.layers);
    let bad = report.damages.iter().filter(|damage| damage.object.matters()).count();
    match bad {
        0 => say(&format!("{layers}: no damage")),
        bad => say(&format!("{layers}: {bad} damaged; repair with rtctl image fsck --repair")),
    }
}

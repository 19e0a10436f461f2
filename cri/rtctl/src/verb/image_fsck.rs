//! `rtctl image fsck`

use std::collections::BTreeMap;
use std::io::IsTerminal;

use anyhow::Result;
use clap::ValueEnum;
use cri::image::{Damage, Depth, Object, Report, Store};
use serde_json::json;

use crate::image::explain;
use crate::output::say;
use crate::output::table::align;
use crate::store::layers::LayersInUse;
use crate::store::roots::Roots;
use crate::transfer::display::{Display, Stream};
use crate::transfer::{Refetch, RegistryFlags};

/// Exit code for damage that is left.
const DAMAGED: u8 = 2;
/// How often is repaired: what was fetched may show that a layer is damaged, too.
const ROUNDS: usize = 2;

/// Check images on the disk, and repair them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Do not read the contents: documents, sizes and seals only
    #[arg(long)]
    fast: bool,
    /// Repair: from the blobs that were kept, else from the registry that the image came from
    #[arg(long)]
    repair: bool,
    /// Kind of report
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    #[command(flatten)]
    registries: RegistryFlags,
    /// Names or ids; otherwise all, and what nothing needs
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

const EXAMPLES: &str = "\
Checks the list of images, their documents, the digests of all blobs, and every file of every layer against the blob that
it was unpacked from: kind, mode, owner, time, extended attributes, size, contents, links. Needs no space for contents.
Layers that a running container sees are not repaired. A layer that stays damaged is taken away: it is never used.

Exit codes: 0 all is well, or was made well; 1 it could not be checked; 2 damage is left.

Examples:
  rtctl image fsck
  rtctl image fsck --fast busybox
  rtctl image fsck --repair
  rtctl image fsck --format json";

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One object
    Json,
}

/// What became of a damage.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Found,
    Repaired,
    /// It is still there, and why.
    Left(String),
}

/// A check, perhaps a repair, and another check.
struct Findings {
    report: Report,
    outcomes: BTreeMap<Object, Outcome>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let store = Store::open(&roots.root)?;
        let report = self.check(&store)?;
        let outcomes = report.damages.iter().map(|damage| (damage.object.clone(), Outcome::Found)).collect();
        let mut findings = Findings { report, outcomes };
        if self.repair && !findings.report.damages.is_empty() {
            self.repair(roots, &store, &mut findings)?;
        }
        match self.format {
            Format::Json => say(&serde_json::to_string(&findings.document())?)?,
            Format::Table => findings.table()?,
        }
        Ok(if findings.left() > 0 { DAMAGED } else { 0 })
    }

    fn check(&self, store: &Store) -> Result<Report> {
        let depth = if self.fast { Depth::Fast } else { Depth::Deep };
        let shows = std::io::stderr().is_terminal();
        let mut progress = |done: usize, all: usize| match (shows, done == all) {
            (false, _) => {}
            (true, false) => eprint!("\r\x1b[KChecking layer {} of {all}", done + 1),
            (true, true) => eprint!("\r\x1b[K"),
        };
        let report = store.verify(&self.images, depth, &mut progress);
        report.map_err(|error| explain(error, &self.images.join(" ")))
    }

    fn repair(&self, roots: &Roots, store: &Store, findings: &mut Findings) -> Result<()> {
        let running = LayersInUse::read(roots)?;
        let mut refetch = Refetch::new(store, &self.registries, Display::new(Stream::Stderr));
        let mut report = findings.report.clone();
        for _ in 0..ROUNDS {
            let mut busy = |layer: &str| running.by(layer);
            let failed = store.repair(&report, &mut busy, &mut |lost| refetch.fetch(lost), &mut |_| {})?;
            if let Some(interrupted) = refetch.interrupted {
                return Err(interrupted);
            }
            report = self.check(store)?;
            findings.judge(&report, &failed);
            if report.damages.is_empty() || !failed.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

impl Findings {
    /// Takes in how things are after a repair.
    fn judge(&mut self, after: &Report, failed: &[cri::image::Unrepaired]) {
        for damage in &after.damages {
            if !self.outcomes.contains_key(&damage.object) {
                self.report.damages.push(damage.clone());
            }
            let why = failed.iter().find(|other| other.objects.contains(&damage.object));
            let why = why.map_or_else(|| damage.reason.clone(), |other| other.error.to_string());
            self.outcomes.insert(damage.object.clone(), Outcome::Left(why));
        }
        for (object, outcome) in &mut self.outcomes {
            if !after.damages.iter().any(|damage| damage.object == *object) {
                *outcome = Outcome::Repaired;
            }
        }
    }

    fn outcome(&self, damage: &Damage) -> &Outcome {
        self.outcomes.get(&damage.object).unwrap_or(&Outcome::Found)
    }

    /// How many damages there still are.
    fn left(&self) -> usize {
        let is_left = |damage: &&Damage| damage.object.matters() && *self.outcome(damage) != Outcome::Repaired;
        self.report.damages.iter().filter(is_left).count()
    }

    fn document(&self) -> serde_json::Value {
        let damage = |damage: &Damage| {
            let (outcome, problem) = match self.outcome(damage) {
                Outcome::Found => ("found", String::new()),
                Outcome::Repaired => ("repaired", String::new()),
                Outcome::Left(why) => ("left", why.clone()),
            };
            json!({
                "Kind": damage.object.kind(),
                "Object": damage.object.name(),
                "Reason": damage.reason,
                "Meaning": damage.meaning,
                "Images": damage.images,
                "Outcome": outcome,
                "Problem": problem,
            })
        };
        json!({
            "Images": self.report.images,
            "Layers": self.report.layers,
            "Uncompared": self.report.uncompared.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "Damages": self.report.damages.iter().map(damage).collect::<Vec<_>>(),
            "Left": self.left(),
        })
    }

    fn table(&self) -> Result<()> {
        for damage in &self.report.damages {
            let images: Vec<&str> = damage.images.iter().map(String::as_str).collect();
            let of = if images.is_empty() { String::new() } else { format!(" of {}", images.join(", ")) };
            let outcome = match self.outcome(damage) {
                Outcome::Found => damage.meaning.to_owned(),
                Outcome::Repaired => "repaired".to_owned(),
                Outcome::Left(why) => format!("{}; not repaired: {why}", damage.meaning),
            };
            let (kind, name) = (damage.object.kind(), damage.object.name());
            let text = format!("{kind} {name}{of}\n  {}\n  {outcome}", damage.reason);
            say(align(&text).trim_end())?;
        }
        for layer in &self.report.uncompared {
            say(&format!("layer {layer}\n  cannot be compared: its blob is not here"))?;
        }
        let layers = format!("{} images, {} layers", self.report.images, self.report.layers);
        let is_repaired = |damage: &&Damage| *self.outcome(damage) == Outcome::Repaired;
        let repaired = self.report.damages.iter().filter(is_repaired).count();
        let rubbish = self.report.damages.len() - repaired - self.left();
        let end = match (self.left(), repaired, rubbish) {
            (0, 0, 0) => "no damage".to_owned(),
            (0, 0, rubbish) => format!("no damage, {rubbish} pieces of rubbish"),
            (0, repaired, _) => format!("{repaired} repaired, no damage is left"),
            (left, 0, _) if self.outcomes.values().all(|outcome| *outcome == Outcome::Found) => {
                format!("{left} damaged; repair with rtctl image fsck --repair")
            }
            (left, repaired, _) => format!("{repaired} repaired, {left} damaged"),
        };
        say(&format!("{layers}: {end}"))
    }
}

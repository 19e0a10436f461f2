//! `rtctl volume ls`

use anyhow::Result;
use serde_json::json;

use crate::flag::volume_filter::{self, Filter};
use crate::output::list::{self, Layout};
use crate::store::roots::Roots;
use crate::store::volume::Volume;
use crate::store::volume::users::Users;
use crate::template::Context;

/// List volumes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// Only those that match: name, label, label!, dangling, driver, anonymous, opt, until
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = volume_filter::filter)]
    filter: Vec<Filter>,
    /// json, a Go template, or "table TEMPLATE"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  rtctl volume ls
  rtctl volume ls -q --filter dangling=true
  rtctl volume ls --format '{{.Name}}: {{.Mountpoint}}'

Fields: Name Driver Scope Mountpoint Labels Options CreatedAt Anonymous UsedBy";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let users = Users::read(roots)?;
        let volumes = Volume::list(roots)?;
        let chosen = volumes.iter().filter(|volume| volume_filter::all_hold(&self.filter, volume, &users));
        let items: Vec<Context> = chosen.map(|volume| item(volume, &users)).collect();
        let layout = Layout {
            format: self.format.as_deref().or(self.quiet.then_some("{{.Name}}")),
            table: "{{.Driver}}\t{{.Name}}",
            headings: &[
                ("Driver", "DRIVER"),
                ("Name", "VOLUME NAME"),
                ("Scope", "SCOPE"),
                ("Mountpoint", "MOUNTPOINT"),
                ("Labels", "LABELS"),
                ("Options", "OPTIONS"),
                ("CreatedAt", "CREATED AT"),
                ("Anonymous", "ANONYMOUS"),
                ("UsedBy", "USED BY"),
            ],
        };
        list::print(&layout, &items)?;
        Ok(0)
    }
}

fn item(volume: &Volume, users: &Users) -> Context {
    let pairs = |map: &std::collections::BTreeMap<String, String>| {
        map.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    };
    let record = volume.record.as_ref();
    let labels = record.map(|record| record.labels.clone()).unwrap_or_default();
    let dot = json!({
        "Name": volume.name,
        "Driver": "local",
        "Scope": "local",
        "Mountpoint": volume.data(),
        "Labels": pairs(&labels),
        "Options": record.map(|record| pairs(&record.options)).unwrap_or_else(|problem| format!("<{problem}>")),
        "CreatedAt": record.map(|record| crate::flag::time::rfc3339(record.created)).unwrap_or_default(),
        "Anonymous": volume.is_anonymous().to_string(),
        "UsedBy": users.of(&volume.name).join(", "),
    });
    Context { dot, methods: [("Label", json!(labels))].into() }
}

//! `rtctl history`

use std::time::SystemTime;

use anyhow::Result;
use cri::image::Store;
use serde_json::json;

use crate::flag::time;
use crate::image::explain;
use crate::output::human;
use crate::output::list::{self, Layout};
use crate::store::roots::Roots;
use crate::template::Context;

/// Show how an image was made, the newest step first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl history --no-trunc busybox")]
pub(crate) struct Args {
    /// json, a Go template, or "table TEMPLATE"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Sizes and times for people
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set)]
    human: bool,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Name or id
    image: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let image = Store::open(&roots.root)?.resolve(&self.image).map_err(|error| explain(error, &self.image))?;
        let now = time::since_epoch(SystemTime::now());
        // Blobs belong to the steps that made a layer, in the same order.
        let mut blobs = image.layers.iter();
        let sizes: Vec<u64> = image
            .config
            .history
            .iter()
            .map(|step| if step.empty_layer { 0 } else { blobs.next().map_or(0, |blob| blob.size) })
            .collect();
        let mut items = Vec::new();
        for (index, (step, size)) in image.config.history.iter().zip(sizes).rev().enumerate() {
            let text = step.created_by.clone().unwrap_or_default();
            let created = step.created.as_deref().and_then(time::date);
            let since = created.map_or_else(|| "N/A".to_owned(), |created| human::ago(created, now));
            // Only the whole image has an id: steps are not images any more.
            let id = match (index, self.no_trunc) {
                (0, true) => image.id.to_string(),
                (0, false) => image.id.short().to_owned(),
                _ => "<missing>".to_owned(),
            };
            let dot = json!({
                "ID": id,
                "CreatedAt": step.created.clone().unwrap_or_default(),
                "CreatedSince": if self.human { since } else { step.created.clone().unwrap_or_default() },
                "CreatedBy": if self.no_trunc { text } else { human::shorten(&text, 45) },
                "Size": if self.human { human::decimal_size(size) } else { size.to_string() },
                "Comment": step.comment.clone().unwrap_or_default(),
            });
            items.push(Context { dot, ..Context::default() });
        }
        let format = if self.quiet && self.format.is_none() { Some("{{.ID}}") } else { self.format.as_deref() };
        let layout = Layout {
            format,
            table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
            headings: &[
                ("ID", "IMAGE"),
                ("CreatedSince", "CREATED"),
                ("CreatedAt", "CREATED AT"),
                ("CreatedBy", "CREATED BY"),
                ("Size", "SIZE"),
                ("Comment", "COMMENT"),
            ],
        };
        list::print(&layout, &items)?;
        Ok(0)
    }
}

//! `rtctl system df`

use std::collections::BTreeSet;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use cri::image::{ImagesUsage, Reference, Store};
use serde_json::{Value, json};

use crate::flag::time;
use crate::output::list::{self, Layout};
use crate::output::{human, say};
use crate::store::id;
use crate::store::record::{MountKind, Origin};
use crate::store::roots::Roots;
use crate::store::view::Container;
use crate::store::volume::Volume;
use crate::store::volume::users::Users;
use crate::template::Context;

/// Show what takes how much of the disk
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Each image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// json, a Go template, or "table TEMPLATE"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const EXAMPLES: &str = "\
Sizes are those of du(1): blocks on the disk, what is shared counted once. Images have their layers, and the blobs that
these came from. Containers have their writable layer and their log.

Examples:
  rtctl system df
  rtctl system df -v
  rtctl system df --format '{{.Type}} {{.SizeBytes}}'";

/// What is there, counted.
struct Usage {
    images: ImagesUsage,
    containers: Vec<(Container, u64)>,
    volumes: Vec<(Volume, usize, u64)>,
}

impl Usage {
    fn take(roots: &Roots) -> Result<Usage> {
        let images = match roots.root.join("images").try_exists()? {
            true => Store::open(&roots.root)?.usage()?,
            false => ImagesUsage::default(),
        };
        let mut containers = Vec::new();
        for container in Container::list(roots)? {
            let bytes = cri::disk::usage(&roots.upper(&container.id))?;
            containers.push((container, bytes));
        }
        let users = Users::read(roots)?;
        let mut volumes = Vec::new();
        for volume in Volume::list(roots)? {
            let bytes = cri::disk::usage(&volume.dir)?;
            let links = users.of(&volume.name).len();
            volumes.push((volume, links, bytes));
        }
        Ok(Usage { images, containers, volumes })
    }

    /// The ids of images that containers were made from.
    fn used_images(&self) -> BTreeSet<String> {
        let id = |container: &Container| match container.record.as_ref().map(|record| &record.origin) {
            Ok(Origin::Image { id, .. }) => Some(id.clone()),
            Ok(Origin::Rootfs(_)) | Err(_) => None,
        };
        self.containers.iter().filter_map(|(container, _)| id(container)).collect()
    }
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let usage = Usage::take(roots)?;
        match (self.verbose, self.format.as_deref()) {
            (true, Some("json")) => say(&serde_json::to_string(&verbose(&usage))?)?,
            (true, Some(format)) => list::documents(Some(format), &[verbose(&usage)], "")?,
            (true, None) => tables(&verbose(&usage))?,
            (false, format) => summary(&usage, format)?,
        }
        Ok(0)
    }
}

fn summary(usage: &Usage, format: Option<&str>) -> Result<()> {
    let used = usage.used_images();
    let active_images = usage.images.images.iter().filter(|other| used.contains(&other.image.id.to_string())).count();
    let free_images = usage.images.reclaimable(|image| used.contains(&image.id.to_string()));
    let lives = |container: &Container| container.phase().lives();
    let bytes_of = |alive| usage.containers.iter().filter(move |(container, _)| lives(container) == alive);
    let (running, stopped) = (bytes_of(true), bytes_of(false));
    let linked = usage.volumes.iter().filter(|(_, links, _)| *links > 0);
    let unlinked = usage.volumes.iter().filter(|(_, links, _)| *links == 0);
    let containers: u64 = usage.containers.iter().map(|(_, bytes)| bytes).sum();
    let volumes: u64 = usage.volumes.iter().map(|(_, _, bytes)| bytes).sum();
    let rows = [
        row("Images", usage.images.images.len(), active_images, usage.images.total, free_images),
        row("Containers", usage.containers.len(), running.count(), containers, stopped.map(|(_, bytes)| bytes).sum()),
        row("Local Volumes", usage.volumes.len(), linked.count(), volumes, unlinked.map(|(_, _, bytes)| bytes).sum()),
    ];
    let layout = Layout {
        format,
        table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        headings: &[
            ("Type", "TYPE"),
            ("TotalCount", "TOTAL"),
            ("Active", "ACTIVE"),
            ("Size", "SIZE"),
            ("Reclaimable", "RECLAIMABLE"),
        ],
    };
    list::print(&layout, &rows.map(|dot| Context { dot, ..Context::default() }))
}

fn row(kind: &str, total: usize, active: usize, size: u64, reclaimable: u64) -> Value {
    let percent = (reclaimable * 100).checked_div(size);
    let shown = match percent {
        Some(percent) => format!("{} ({percent}%)", human::decimal_size(reclaimable)),
        None => human::decimal_size(reclaimable),
    };
    json!({
        "Type": kind,
        "TotalCount": total.to_string(),
        "Active": active.to_string(),
        "Size": human::decimal_size(size),
        "SizeBytes": size,
        "Reclaimable": shown,
        "ReclaimableBytes": reclaimable,
    })
}

/// Everything as one document.
fn verbose(usage: &Usage) -> Value {
    let now = time::since_epoch(SystemTime::now());
    let mut images = Vec::new();
    for other in &usage.images.images {
        let id = other.image.id.to_string();
        let from_it = |container: &Container| matches!(container.record.as_ref().map(|record| &record.origin), Ok(Origin::Image { id: from, .. }) if *from == id);
        let containers = usage.containers.iter().filter(|(container, _)| from_it(container)).count();
        let created = other.image.config.created.as_deref().and_then(time::date);
        let names: Vec<Option<&Reference>> = match other.image.names.as_slice() {
            [] => vec![None],
            names => names.iter().map(Some).collect(),
        };
        for name in names {
            let none = || "<none>".to_owned();
            images.push(json!({
                "Repository": name.map_or_else(none, Reference::familiar_repository),
                "Tag": name.and_then(Reference::tag).map_or_else(none, str::to_owned),
                "ID": other.image.id.short(),
                "CreatedSince": created.map_or_else(|| "N/A".to_owned(), |created| human::ago(created, now)),
                "Size": human::decimal_size(other.size),
                "SizeBytes": other.size,
                "SharedSize": human::decimal_size(other.shared),
                "SharedSizeBytes": other.shared,
                "UniqueSize": human::decimal_size(other.size - other.shared),
                "UniqueSizeBytes": other.size - other.shared,
                "Containers": containers.to_string(),
            }));
        }
    }
    let containers: Vec<Value> =
        usage.containers.iter().map(|(container, bytes)| row_of(container, *bytes, now)).collect();
    let volumes: Vec<Value> = usage
        .volumes
        .iter()
        .map(|(volume, links, bytes)| {
            json!({
                "Name": volume.name,
                "Links": links.to_string(),
                "Size": human::decimal_size(*bytes),
                "SizeBytes": bytes,
            })
        })
        .collect();
    json!({"Images": images, "Containers": containers, "Volumes": volumes})
}

fn row_of(container: &Container, bytes: u64, now: u64) -> Value {
    let record = container.record.as_ref().ok();
    let command = record.map(|record| record.command.join(" ")).unwrap_or_default();
    let is_volume = |kind: &MountKind| matches!(kind, MountKind::Volume { .. });
    let volumes = record.map_or(0, |record| record.mounts.iter().filter(|mount| is_volume(&mount.kind)).count());
    json!({
        "ID": id::short(&container.id),
        "Image": record.map(|record| record.origin.name()).unwrap_or_default(),
        "Command": format!("\"{}\"", human::shorten(&command, 20)),
        "LocalVolumes": volumes.to_string(),
        "Size": human::decimal_size(bytes),
        "SizeBytes": bytes,
        "RunningFor": record.map_or_else(String::new, |record| human::ago(record.created, now)),
        "Status": container.phase().word(),
        "Names": container.name.clone().unwrap_or_default(),
    })
}

fn tables(document: &Value) -> Result<()> {
    let tables: [(&str, &str, &str, &[(&str, &str)]); 3] = [
        (
            "Images space usage:",
            "Images",
            "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
            &[
                ("Repository", "REPOSITORY"),
                ("Tag", "TAG"),
                ("ID", "IMAGE ID"),
                ("CreatedSince", "CREATED"),
                ("Size", "SIZE"),
                ("SharedSize", "SHARED SIZE"),
                ("UniqueSize", "UNIQUE SIZE"),
                ("Containers", "CONTAINERS"),
            ],
        ),
        (
            "\nContainers space usage:",
            "Containers",
            "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
            &[
                ("ID", "CONTAINER ID"),
                ("Image", "IMAGE"),
                ("Command", "COMMAND"),
                ("LocalVolumes", "LOCAL VOLUMES"),
                ("Size", "SIZE"),
                ("RunningFor", "CREATED"),
                ("Status", "STATUS"),
                ("Names", "NAMES"),
            ],
        ),
        (
            "\nLocal Volumes space usage:",
            "Volumes",
            "{{.Name}}\t{{.Links}}\t{{.Size}}",
            &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
        ),
    ];
    for (title, member, table, headings) in tables {
        say(&format!("{title}\n"))?;
        let rows = document[member].as_array().context("a list")?;
        let rows: Vec<Context> = rows.iter().map(|dot| Context { dot: dot.clone(), ..Context::default() }).collect();
        list::print(&Layout { format: None, table, headings }, &rows)?;
    }
    Ok(())
}

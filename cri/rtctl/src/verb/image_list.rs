//! `rtctl images`

use std::time::SystemTime;

use anyhow::Result;
use cri::image::{Digest, Image, Reference, Store};
use serde_json::json;

use crate::flag::time;
use crate::output::human;
use crate::output::list::{self, Layout};
use crate::store::roots::Roots;
use crate::template::Context;

/// List images
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rtctl images\n  rtctl images --format '{{.Repository}}:{{.Tag}} {{.Size}}'\n\nFields: ID Repository Tag Digest CreatedSince CreatedAt Size"
)]
pub(crate) struct Args {
    /// All images; there are no intermediate ones to hide
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only those that match: dangling=true|false, reference=NAME, label=NAME[=VALUE]
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
    /// json, a Go template, or "table TEMPLATE"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only images of this name
    repository: Option<String>,
}

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Dangling(bool),
    Reference(String),
    Label(String, Option<String>),
}

fn filter(text: &str) -> Result<Filter, String> {
    match text.split_once('=') {
        Some(("dangling", "true" | "1")) => Ok(Filter::Dangling(true)),
        Some(("dangling", "false" | "0")) => Ok(Filter::Dangling(false)),
        Some(("reference", pattern)) => Ok(Filter::Reference(pattern.to_owned())),
        Some(("label", label)) => Ok(match label.split_once('=') {
            Some((name, value)) => Filter::Label(name.to_owned(), Some(value.to_owned())),
            None => Filter::Label(label.to_owned(), None),
        }),
        Some((name @ ("before" | "since" | "until"), _)) => Err(format!("filter {name} is not built yet")),
        Some(_) | None => Err(format!("{text:?}: must be dangling=true|false, reference=NAME or label=NAME[=VALUE]")),
    }
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let images = Store::open(&roots.root)?.list()?;
        let now = time::since_epoch(SystemTime::now());
        let mut items = Vec::new();
        for image in &images {
            for name in rows(image) {
                let wanted = match name {
                    Some(name) => self.wanted(name),
                    None => self.repository.is_none(),
                };
                if wanted && self.matches(image, name) {
                    items.push(self.item(image, name, now));
                }
            }
        }
        if self.quiet && self.format.is_none() {
            let mut seen = std::collections::HashSet::new();
            items.retain(|item| seen.insert(item.dot["ID"].to_string()));
            list::print(&Layout { format: Some("{{.ID}}"), table: "", headings: &[] }, &items)?;
            return Ok(0);
        }
        let layout = Layout {
            format: self.format.as_deref(),
            table: match self.digests {
                true => "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
                false => "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
            },
            headings: &[
                ("ID", "IMAGE ID"),
                ("Repository", "REPOSITORY"),
                ("Tag", "TAG"),
                ("Digest", "DIGEST"),
                ("CreatedSince", "CREATED"),
                ("CreatedAt", "CREATED AT"),
                ("Size", "SIZE"),
            ],
        };
        list::print(&layout, &items)?;
        Ok(0)
    }

    /// Whether the image's name is the one asked for, with any tag where none was given.
    fn wanted(&self, name: &Reference) -> bool {
        let Some(wanted) = &self.repository else { return true };
        name.familiar() == *wanted || name.familiar_repository() == *wanted || name.repository() == *wanted
    }

    fn matches(&self, image: &Image, name: Option<&Reference>) -> bool {
        self.filter.iter().all(|filter| match filter {
            Filter::Dangling(dangling) => image.names.is_empty() == *dangling,
            Filter::Reference(pattern) => name.is_some_and(|name| {
                matches(pattern, &name.familiar()) || matches(pattern, &name.familiar_repository())
            }),
            Filter::Label(label, value) => {
                let found = image.config.labels.get(label);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
        })
    }

    fn item(&self, image: &Image, name: Option<&Reference>, now: u64) -> Context {
        let none = || "<none>".to_owned();
        let created = image.config.created.as_deref().and_then(time::date);
        let id = if self.no_trunc { image.id.to_string() } else { image.id.short().to_owned() };
        let dot = json!({
            "ID": id,
            "Repository": name.map_or_else(none, Reference::familiar_repository),
            "Tag": name.and_then(Reference::tag).map_or_else(none, str::to_owned),
            "Digest": name.and_then(|name| digest(image, name)).map_or_else(none, ToString::to_string),
            "CreatedSince": created.map_or_else(|| "N/A".to_owned(), |created| human::ago(created, now)),
            "CreatedAt": image.config.created.clone().unwrap_or_else(|| "N/A".to_owned()),
            "Size": human::decimal_size(image.unpacked_bytes),
        });
        Context { dot, ..Context::default() }
    }
}

/// What an image is listed under: its tags; without any the repositories it was pulled from; else nothing.
fn rows(image: &Image) -> Vec<Option<&Reference>> {
    if !image.names.is_empty() {
        return image.names.iter().map(Some).collect();
    }
    let mut rows: Vec<Option<&Reference>> = Vec::new();
    for digest in &image.digests {
        if !rows.iter().flatten().any(|other| other.repository() == digest.repository()) {
            rows.push(Some(digest));
        }
    }
    if rows.is_empty() { vec![None] } else { rows }
}

/// The digest by which the repository of a name knows the image.
fn digest<'i>(image: &'i Image, name: &Reference) -> Option<&'i Digest> {
    let same = |other: &&Reference| other.repository() == name.repository();
    image.digests.iter().find(same).and_then(Reference::digest)
}

/// Whether a name fits a pattern in which `*` stands for any characters but `/` and `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Positions in the name that the pattern so far can end at.
    let mut at: Vec<bool> = vec![false; name.len() + 1];
    at[0] = true;
    for part in &pattern {
        let mut next = vec![false; name.len() + 1];
        for place in 0..=name.len() {
            let before = place > 0 && name[place - 1] != '/';
            next[place] = match part {
                '*' => at[place] || (before && next[place - 1]),
                '?' => before && at[place - 1],
                c => place > 0 && name[place - 1] == *c && at[place - 1],
            };
        }
        at = next;
    }
    at[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox:latest", true),
            ("*:latest", "busybox:latest", true),
            ("b?sybox", "busybox", true),
            ("busy", "busybox", false),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn filters() {
        assert_eq!(filter("dangling=true"), Ok(Filter::Dangling(true)));
        assert_eq!(filter("label=a=b"), Ok(Filter::Label("a".to_owned(), Some("b".to_owned()))));
        for text in ["dangling=maybe", "since=x", "x", "x=y"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}

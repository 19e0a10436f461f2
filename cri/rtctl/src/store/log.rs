//! Where the output of a container goes: options and what is known of the container, as the shim's [`LogTarget`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;
use shim::layout::{LogFile, LogTarget};

use super::id;
use super::record::Origin;
use crate::flag::log::{Driver, LogOptions};
use crate::template::{Context, Template};

/// Where systemd's journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Field of the journal that has the container's name.
pub(crate) const NAME_FIELD: &str = "CONTAINER_NAME";

/// What records may say of a container.
pub(crate) struct Facts<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) origin: &'a Origin,
    pub(crate) command: &'a [String],
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// `NAME=value` pairs.
    pub(crate) env: &'a [String],
}

/// The target; `None` for no log. `dir` is the container's own directory of data.
pub(crate) fn target(options: &LogOptions, facts: &Facts<'_>, dir: &Path) -> Result<Option<LogTarget>> {
    let file = |name: &str| LogFile {
        path: options.path.clone().unwrap_or_else(|| dir.join(name)),
        max_size: options.max_size,
        max_files: options.max_files,
        max_line: None,
        within: None,
    };
    Ok(match options.driver {
        Driver::None => None,
        Driver::K8sFile => Some(LogTarget::K8sFile(file("log"))),
        Driver::JsonFile => {
            let mut attributes = chosen(options, facts);
            if let Some(tag) = &options.tag {
                attributes.insert("tag".to_owned(), render(tag, facts)?);
            }
            let name = format!("{}-json.log", facts.id);
            Some(LogTarget::JsonFile { file: file(&name), attributes })
        }
        Driver::Journald => {
            let chosen = chosen(options, facts).into_iter();
            let mut fields: BTreeMap<String, String> =
                chosen.filter_map(|(name, value)| Some((field_name(&name)?, value))).collect();
            let tag = render(options.tag.as_deref().unwrap_or("{{.ID}}"), facts)?;
            for (name, value) in [
                ("CONTAINER_ID", id::short(facts.id)),
                ("CONTAINER_ID_FULL", facts.id),
                (NAME_FIELD, facts.name),
                ("IMAGE_NAME", facts.origin.name()),
                ("CONTAINER_TAG", tag.as_str()),
                ("SYSLOG_IDENTIFIER", tag.as_str()),
            ] {
                fields.insert(name.to_owned(), value.to_owned());
            }
            Some(LogTarget::Journald { socket: journal(), fields })
        }
    })
}

/// `RT_JOURNAL_SOCKET`, or where systemd has it.
fn journal() -> PathBuf {
    std::env::var_os("RT_JOURNAL_SOCKET").filter(|path| !path.is_empty()).unwrap_or_else(|| JOURNAL.into()).into()
}

/// The labels and variables that were asked for, as far as the container has them.
fn chosen(options: &LogOptions, facts: &Facts<'_>) -> BTreeMap<String, String> {
    let mut chosen = BTreeMap::new();
    for name in &options.labels {
        chosen.extend(facts.labels.get(name).map(|value| (name.clone(), value.clone())));
    }
    for name in &options.env {
        let value = facts.env.iter().find_map(|pair| pair.split_once('=').filter(|(other, _)| other == name));
        chosen.extend(value.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    chosen
}

/// A name that the journal takes: capital letters, digits and underscores, no underscore first; at most 64.
fn field_name(name: &str) -> Option<String> {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .skip_while(|c| *c == '_' || c.is_ascii_digit())
        .take(64)
        .collect();
    (!name.is_empty()).then_some(name)
}

/// Docker's tag templates.
fn render(tag: &str, facts: &Facts<'_>) -> Result<String> {
    let image = match facts.origin {
        Origin::Image { id, .. } => id.as_str(),
        Origin::Rootfs(_) => "",
    };
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    let dot = json!({
        "ID": id::short(facts.id),
        "FullID": facts.id,
        "Name": facts.name,
        "ImageID": digits.get(..12).unwrap_or(digits),
        "ImageFullID": image,
        "ImageName": facts.origin.name(),
        "Command": facts.command.join(" "),
        "DaemonName": "rt",
    });
    let rendered = Template::parse(tag).and_then(|template| template.render(&Context { dot, ..Context::default() }));
    rendered.context("--log-opt tag")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields() {
        for (name, expected) in [
            ("com.example.team", Some("COM_EXAMPLE_TEAM")),
            ("_hidden", Some("HIDDEN")),
            ("9lives", Some("LIVES")),
            ("__", None),
            ("", None),
        ] {
            assert_eq!(field_name(name).as_deref(), expected, "{name:?}");
        }
        assert_eq!(field_name(&"x".repeat(100)).unwrap().len(), 64);
    }

    #[test]
    fn attributes_and_tags() {
        let flags = crate::flag::log::LogFlags {
            log_driver: Driver::JsonFile,
            log_opt: ["tag={{.Name}}/{{.ID}}", "labels=team,nope", "env=MODE"].map(str::to_owned).to_vec(),
        };
        let (labels, env) = ([("team".to_owned(), "red".to_owned())].into(), ["MODE=a=b".to_owned()]);
        let origin = Origin::Image { name: "busybox".to_owned(), id: "sha256:0123".to_owned() };
        let id = "f".repeat(64);
        let facts = Facts { id: &id, name: "web", origin: &origin, command: &[], labels: &labels, env: &env };
        let target = target(&flags.options().unwrap(), &facts, Path::new("/dir")).unwrap().unwrap();
        let LogTarget::JsonFile { file, attributes } = target else { panic!("{target:?}") };
        assert_eq!(file.path, Path::new("/dir").join(format!("{id}-json.log")));
        let text: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(text, ["MODE=a=b", "tag=web/ffffffffffff", "team=red"]);
    }
}

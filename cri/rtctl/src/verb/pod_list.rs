//! `rtctl pod ls`

use std::time::SystemTime;

use anyhow::Result;
use serde_json::json;

use crate::flag::time;
use crate::output::human;
use crate::output::list::{self, Layout};
use crate::store::id;
use crate::store::pod::Pod;
use crate::store::roots::Roots;
use crate::store::view::Container;
use crate::template::Context;

/// List pods
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    /// Only those that match: id, name, label, status, ctr-names, ctr-ids, ctr-number
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
    /// json, a Go template, or "table TEMPLATE"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  rtctl pod ls
  rtctl pod ls -q --filter status=exited
  rtctl pod ls --format '{{.Name}}: {{.Status}}, {{.NumberOfContainers}}'

Fields: ID Name Status Created CreatedAt NumberOfContainers ContainerIDs ContainerNames Labels Shared Hostname";

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Id(String),
    Name(String),
    Label(String, Option<String>),
    Status(String),
    ContainerName(String),
    ContainerId(String),
    ContainerNumber(usize),
}

fn filter(text: &str) -> Result<Filter, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: write it as NAME=VALUE"))?;
    let value = value.to_owned();
    Ok(match name {
        "id" => Filter::Id(value),
        "name" => Filter::Name(value),
        "label" => match value.split_once('=') {
            Some((name, value)) => Filter::Label(name.to_owned(), Some(value.to_owned())),
            None => Filter::Label(value, None),
        },
        "status" => {
            let known = ["created", "running", "degraded", "paused", "exited", "removing", "dead"];
            let value = value.to_ascii_lowercase();
            if !known.contains(&value.as_str()) {
                return Err(format!("status {value:?}: must be one of {}", known.join(", ")));
            }
            Filter::Status(value)
        }
        "ctr-names" => Filter::ContainerName(value),
        "ctr-ids" => Filter::ContainerId(value),
        "ctr-number" => {
            Filter::ContainerNumber(value.parse().map_err(|_| format!("ctr-number {value:?}: must be a number"))?)
        }
        _ => {
            return Err(format!(
                "unknown filter {name:?}; there are id, name, label, status, ctr-names, ctr-ids, ctr-number"
            ));
        }
    })
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let now = time::since_epoch(SystemTime::now());
        let mut items = Vec::new();
        for pod in Pod::list(roots)? {
            let containers = pod.containers(roots)?;
            if self.filter.iter().all(|filter| holds(filter, &pod, &containers)) {
                items.push(self.item(&pod, &containers, now));
            }
        }
        if self.quiet && self.format.is_none() {
            return list::print(&Layout { format: Some("{{.ID}}"), table: "", headings: &[] }, &items).map(|()| 0);
        }
        let layout = Layout {
            format: self.format.as_deref(),
            table: "{{.ID}}\t{{.Name}}\t{{.Status}}\t{{.Created}}\t{{.NumberOfContainers}}",
            headings: &[
                ("ID", "POD ID"),
                ("Name", "NAME"),
                ("Status", "STATUS"),
                ("Created", "CREATED"),
                ("CreatedAt", "CREATED AT"),
                ("NumberOfContainers", "# OF CONTAINERS"),
                ("ContainerIDs", "CONTAINER IDS"),
                ("ContainerNames", "CONTAINERS"),
                ("Labels", "LABELS"),
                ("Shared", "SHARED"),
                ("Hostname", "HOSTNAME"),
            ],
        };
        list::print(&layout, &items)?;
        Ok(0)
    }

    fn item(&self, pod: &Pod, containers: &[Container], now: u64) -> Context {
        let record = pod.record.as_ref().ok();
        let cut = |text: &str| if self.no_trunc { text.to_owned() } else { id::short(text).to_owned() };
        let created = record.map_or(0, |record| record.created);
        let labels = record.map(|record| record.labels.clone()).unwrap_or_default();
        let label_text: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let names: Vec<&str> = containers.iter().map(Container::shown).collect();
        let ids: Vec<String> = containers.iter().map(|container| cut(&container.id)).collect();
        let problem = match (&pod.record, &pod.status) {
            (Err(problem), _) | (_, Err(problem)) => format!(": {problem}"),
            (Ok(_), Ok(_)) => String::new(),
        };
        let dot = json!({
            "ID": cut(&pod.id),
            "Name": record.map_or("<unreadable>", |record| record.name.as_str()),
            "Status": format!("{}{problem}", pod.phase(containers).word()),
            "Created": if created == 0 { String::new() } else { human::ago(created, now) },
            "CreatedAt": if created == 0 { String::new() } else { time::rfc3339(created) },
            "NumberOfContainers": containers.len(),
            "ContainerIDs": ids.join(","),
            "ContainerNames": names.join(","),
            "Labels": label_text.join(","),
            "Shared": record.map(shared).unwrap_or_default().join(","),
            "Hostname": record.map_or("", |record| record.hostname.as_str()),
        });
        Context { dot, methods: [("Label", json!(labels))].into() }
    }
}

/// Names of the namespaces that its containers share.
pub(super) fn shared(record: &crate::store::pod::record::PodRecord) -> Vec<&'static str> {
    use runtime::spec::NamespaceKind;
    let name = |kind: &NamespaceKind| match kind {
        NamespaceKind::Network => "net",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::Pid => "pid",
        NamespaceKind::User => "user",
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Time => "time",
    };
    let user = (!record.uids.is_empty()).then_some("user");
    record.share.iter().map(name).chain(user).collect()
}

fn holds(filter: &Filter, pod: &Pod, containers: &[Container]) -> bool {
    match filter {
        Filter::Id(prefix) => pod.id.starts_with(prefix.as_str()),
        Filter::Name(part) => pod.shown().contains(part.as_str()),
        Filter::Label(name, value) => pod.record.as_ref().is_ok_and(|record| {
            let found = record.labels.get(name);
            found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        }),
        Filter::Status(word) => pod.phase(containers).word().eq_ignore_ascii_case(word),
        Filter::ContainerName(name) => containers.iter().any(|container| container.shown() == name),
        Filter::ContainerId(prefix) => containers.iter().any(|container| container.id.starts_with(prefix.as_str())),
        Filter::ContainerNumber(number) => containers.len() == *number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        assert_eq!(filter("status=Running"), Ok(Filter::Status("running".to_owned())));
        assert_eq!(filter("label=a=b"), Ok(Filter::Label("a".to_owned(), Some("b".to_owned()))));
        assert_eq!(filter("ctr-number=2"), Ok(Filter::ContainerNumber(2)));
        for text in ["status", "status=gone", "ctr-number=x", "nope=1"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}

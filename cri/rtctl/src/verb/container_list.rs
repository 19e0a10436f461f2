//! `rtctl ps`

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Result, bail};
use cri::network::Attachment;
use serde_json::json;
use shim::layout::HealthStatus;

use crate::flag::network::NetworkMode;
use crate::flag::port::{self, Port};
use crate::flag::time;
use crate::output::human;
use crate::output::list::{self, Layout};
use crate::output::network::{container_port, ports_text, published};
use crate::store::endpoint::Endpoints;
use crate::store::lineage::Lineage;
use crate::store::pod::Pod;
use crate::store::record::MountKind;
use crate::store::roots::Roots;
use crate::store::view::{Container, Phase};
use crate::store::{id, network};
use crate::template::Context;

/// List containers
#[derive(Debug, clap::Args)]
#[command(visible_alias = "list", after_help = EXAMPLES)]
pub(crate) struct Args {
    /// All, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// The newest one
    #[arg(short, long)]
    latest: bool,
    /// The newest ones, so many
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = -1, hide_default_value = true)]
    last: i64,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    /// Show their pods, too
    #[arg(short, long)]
    pod: bool,
    /// Show the size of what they wrote
    #[arg(short, long)]
    size: bool,
    /// Only those that match: id, name, label, status, health, exited, ancestor, before, since, volume, network, publish, expose, pod
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
    /// json, a Go template, or "table TEMPLATE"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  rtctl ps -a
  rtctl ps -aq --filter status=exited
  rtctl ps --format '{{.Names}}: {{.Status}}'
  rtctl ps --format 'table {{.ID}}\\t{{.Label \"tier\"}}'

Fields: ID Names Image Command CreatedAt RunningFor Status State Ports Size Labels Mounts Networks Pod PodName";

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Id(String),
    Name(String),
    Label(String, Option<String>),
    Status(String),
    Health(String),
    Exited(i32),
    Ancestor(String),
    Before(String),
    Since(String),
    Volume(String),
    Network(String),
    Publish(Vec<Port>),
    Expose(Vec<Port>),
    Pod(String),
}

/// Whether a name passes the filter: `^` and `$` tie a part of it to the beginning and the end.
fn name_matches(name: &str, pattern: &str) -> bool {
    let (start, rest) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let (end, part) = rest.strip_suffix('$').map_or((false, rest), |rest| (true, rest));
    // docker's names start with a slash.
    let part = part.strip_prefix('/').unwrap_or(part);
    match (start, end) {
        (true, true) => name == part,
        (true, false) => name.starts_with(part),
        (false, true) => name.ends_with(part),
        (false, false) => name.contains(part),
    }
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
            let known = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
            if !known.contains(&value.as_str()) {
                return Err(format!("status {value:?}: must be one of {}", known.join(", ")));
            }
            Filter::Status(value)
        }
        "health" => {
            let known = ["starting", "healthy", "unhealthy", "none"];
            if !known.contains(&value.as_str()) {
                return Err(format!("health {value:?}: must be one of {}", known.join(", ")));
            }
            Filter::Health(value)
        }
        "exited" => Filter::Exited(value.parse().map_err(|_| format!("exited {value:?}: must be an exit code"))?),
        "ancestor" => Filter::Ancestor(value),
        "before" => Filter::Before(value),
        "since" => Filter::Since(value),
        "volume" => Filter::Volume(value),
        "network" => Filter::Network(value),
        "publish" => Filter::Publish(port::exposed(&value)?),
        "expose" => Filter::Expose(port::exposed(&value)?),
        "pod" => Filter::Pod(value),
        "is-task" | "isolation" => {
            return Err(format!("filter {name} is not built yet"));
        }
        _ => return Err(format!("unknown filter {name:?}")),
    })
}

impl Args {
    pub(crate) fn run(mut self, roots: &Roots) -> Result<u8> {
        for filter in &mut self.filter {
            if let Filter::Pod(query) = filter {
                *query = Pod::find(roots, query)?.id;
            }
        }
        let all = Container::list(roots)?;
        let limit = if self.latest { 1 } else { usize::try_from(self.last).unwrap_or(usize::MAX) };
        let every_state = self.all || limit != usize::MAX || self.filter.iter().any(names_state);
        let bounds = self.bounds(roots)?;
        let networks = Connected::read(roots);
        let ancestors = self.filter.iter().filter_map(|filter| match filter {
            Filter::Ancestor(image) => Some(image.as_str()),
            _ => None,
        });
        let lineage = Lineage::read(roots, ancestors);
        let chosen = all
            .iter()
            .filter(|container| every_state || container.phase().lives() || container.phase() == Phase::Dead)
            .filter(|container| self.matches(container, &networks, &lineage) && bounds.contain(container))
            .take(limit);
        let now = time::since_epoch(SystemTime::now());
        let pods = pod_names(roots)?;
        let seen = Seen { networks: &networks, pods: &pods };
        let items: Vec<Context> = chosen.map(|container| self.item(container, roots, &seen, now)).collect();
        if self.quiet && self.format.is_none() {
            return list::print(&Layout { format: Some("{{.ID}}"), table: "", headings: &[] }, &items).map(|()| 0);
        }
        let layout = Layout {
            format: self.format.as_deref(),
            table: match (self.size, self.pod) {
                (true, true) => {
                    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}\t{{.Pod}}\t{{.PodName}}"
                }
                (false, true) => {
                    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Pod}}\t{{.PodName}}"
                }
                (true, false) => {
                    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}"
                }
                (false, false) => {
                    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
                }
            },
            headings: &[
                ("ID", "CONTAINER ID"),
                ("Names", "NAMES"),
                ("Image", "IMAGE"),
                ("Command", "COMMAND"),
                ("CreatedAt", "CREATED AT"),
                ("RunningFor", "CREATED"),
                ("Status", "STATUS"),
                ("State", "STATE"),
                ("Ports", "PORTS"),
                ("Size", "SIZE"),
                ("Labels", "LABELS"),
                ("Mounts", "MOUNTS"),
                ("Networks", "NETWORKS"),
                ("LocalVolumes", "LOCAL VOLUMES"),
                ("Pod", "POD ID"),
                ("PodName", "PODNAME"),
            ],
        };
        match self.no_trunc {
            true => list::print_whole(&layout, &items)?,
            false => list::print(&layout, &items)?,
        }
        Ok(0)
    }

    fn bounds(&self, roots: &Roots) -> Result<Bounds> {
        let mut bounds = Bounds { before: u64::MAX, since: 0 };
        for filter in &self.filter {
            let created = |query: &str| -> Result<u64> { Ok(Container::find(roots, query)?.record()?.created) };
            match filter {
                Filter::Before(query) => bounds.before = bounds.before.min(created(query)?),
                Filter::Since(query) => bounds.since = bounds.since.max(created(query)?),
                _ => {}
            }
        }
        if self.latest && self.last >= 0 {
            bail!("--latest and --last exclude each other");
        }
        Ok(bounds)
    }

    /// Filters of one kind are alternatives, except labels; those of different kinds must all hold.
    fn matches(&self, container: &Container, networks: &Connected, lineage: &Lineage) -> bool {
        let groups: [fn(&Filter) -> bool; 11] = [
            |filter| matches!(filter, Filter::Id(_)),
            |filter| matches!(filter, Filter::Name(_)),
            |filter| matches!(filter, Filter::Status(_)),
            |filter| matches!(filter, Filter::Health(_)),
            |filter| matches!(filter, Filter::Exited(_)),
            |filter| matches!(filter, Filter::Ancestor(_)),
            |filter| matches!(filter, Filter::Volume(_)),
            |filter| matches!(filter, Filter::Network(_)),
            |filter| matches!(filter, Filter::Publish(_)),
            |filter| matches!(filter, Filter::Expose(_)),
            |filter| matches!(filter, Filter::Pod(_)),
        ];
        let any = groups.iter().all(|group| {
            let mut members = self.filter.iter().filter(|filter| group(filter)).peekable();
            members.peek().is_none() || members.any(|filter| holds(filter, container, networks, lineage))
        });
        any && self
            .filter
            .iter()
            .filter(|filter| matches!(filter, Filter::Label(..)))
            .all(|filter| holds(filter, container, networks, lineage))
    }

    fn item(&self, container: &Container, roots: &Roots, seen: &Seen<'_>, now: u64) -> Context {
        let Seen { networks, pods } = seen;
        let shown_id = if self.no_trunc { container.id.as_str() } else { id::short(&container.id) };
        let record = container.record.as_ref();
        let image = record.map_or("<unreadable>", |record| record.origin.name());
        let command = record.map(|record| record.command.join(" ")).unwrap_or_default();
        let command = if self.no_trunc { command } else { human::shorten(&command, 20) };
        let created = record.map_or(0, |record| record.created);
        let labels = record.map(|record| record.config.labels.clone()).unwrap_or_default();
        let labels_text: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mounts = record.map(|record| record.mounts.clone()).unwrap_or_default();
        let mount_names: Vec<String> = mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Volume { name, .. } => Some(name.clone()),
                MountKind::Bind | MountKind::Image { .. } => Some(mount.source.clone()),
                MountKind::Tmpfs => None,
            })
            .map(|name| if self.no_trunc { name } else { human::shorten(&name, 15) })
            .collect();
        let volumes = mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Volume { .. })).count();
        let size = if self.size { written(roots, &container.id) } else { 0 };
        let dot = json!({
            "ID": shown_id,
            "Names": container.name.as_deref().unwrap_or("<unreadable>"),
            "Image": image,
            "Command": format!("{command:?}"),
            "CreatedAt": if created == 0 { String::new() } else { time::rfc3339(created) },
            "RunningFor": if created == 0 { String::new() } else { human::ago(created, now) },
            "Status": status(container, now),
            "State": container.phase().word(),
            "Ports": networks.ports(container),
            "Size": human::decimal_size(size),
            "Labels": labels_text.join(","),
            "Mounts": mount_names.join(","),
            "Networks": networks.names(container).join(","),
            "LocalVolumes": volumes.to_string(),
            "Pod": container.pod().map(|pod| if self.no_trunc { pod } else { id::short(pod) }).unwrap_or_default(),
            "PodName": container.pod().and_then(|pod| pods.get(pod)).cloned().unwrap_or_default(),
        });
        Context { dot, methods: [("Label", json!(labels))].into() }
    }
}

/// What else is known about containers.
struct Seen<'a> {
    networks: &'a Connected,
    /// Names of pods by their ids.
    pods: &'a BTreeMap<String, String>,
}

/// Names of all pods by their ids.
fn pod_names(roots: &Roots) -> Result<BTreeMap<String, String>> {
    let named = |pod: Pod| (pod.id.clone(), pod.shown().to_owned());
    Ok(Pod::list(roots)?.into_iter().map(named).collect())
}

fn names_state(filter: &Filter) -> bool {
    matches!(filter, Filter::Status(_) | Filter::Exited(_))
}

/// What all containers are on.
struct Connected(Vec<Attachment>);

impl Connected {
    /// Reads it. A list without it is better than none.
    fn read(roots: &Roots) -> Connected {
        Connected(network::all_attachments(roots).unwrap_or_else(|error| {
            eprintln!("rtctl: {error:#}");
            Vec::new()
        }))
    }

    fn of(&self, container: &Container) -> Vec<Attachment> {
        let own = self.0.iter().filter(|attachment| container.phase().lives() && attachment.container == container.id);
        own.cloned().collect()
    }

    fn ports(&self, container: &Container) -> String {
        let Ok(record) = &container.record else { return String::new() };
        // As docker: one that does not run listens on nothing.
        let exposed = if container.phase().lives() { record.config.exposed_ports.as_slice() } else { &[] };
        ports_text(&published(&self.of(container)), exposed)
    }

    /// Networks that it is on, or will be on; or what it has instead.
    fn names(&self, container: &Container) -> Vec<String> {
        match container.record.as_ref().map(|record| &record.host.network) {
            Ok(NetworkMode::Networks(_)) => {
                let wanted = Endpoints::read(&container.dir).map(|endpoints| endpoints.networks).unwrap_or_default();
                wanted.into_iter().map(|endpoint| endpoint.network).collect()
            }
            Ok(mode) => vec![mode.show()],
            Err(_) => Vec::new(),
        }
    }

    fn on(&self, container: &Container, query: &str) -> bool {
        let by_id = |attachment: &Attachment| query.len() >= 12 && attachment.network_id.starts_with(query);
        self.names(container).iter().any(|name| name == query) || self.of(container).iter().any(by_id)
    }
}

struct Bounds {
    before: u64,
    since: u64,
}

impl Bounds {
    fn contain(&self, container: &Container) -> bool {
        let Ok(record) = &container.record else { return self.before == u64::MAX && self.since == 0 };
        record.created < self.before && (self.since == 0 || record.created > self.since)
    }
}

fn holds(filter: &Filter, container: &Container, networks: &Connected, lineage: &Lineage) -> bool {
    let record = container.record.as_ref().ok();
    match filter {
        Filter::Id(prefix) => container.id.starts_with(prefix.as_str()),
        Filter::Name(pattern) => container.name.as_deref().is_some_and(|name| name_matches(name, pattern)),
        Filter::Label(name, value) => record.is_some_and(|record| {
            let found = record.config.labels.get(name);
            found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        }),
        Filter::Status(word) => container.phase().word() == word,
        Filter::Health(word) => health(container).map_or("none", HealthStatus::word) == word,
        Filter::Exited(code) => {
            container.phase() == Phase::Exited && last_exit(container).is_some_and(|exit| exit.code == *code)
        }
        Filter::Ancestor(image) => record.is_some_and(|record| match &record.origin {
            crate::store::record::Origin::Image { name, id } => {
                let digits = id.strip_prefix("sha256:").unwrap_or(id);
                name == image
                    || lineage.descends(id, image)
                    || name.strip_suffix(":latest") == Some(image)
                    || id == image
                    || digits.starts_with(image.as_str())
            }
            crate::store::record::Origin::Rootfs(rootfs) => rootfs.dir == *image,
        }),
        Filter::Volume(text) => record.is_some_and(|record| {
            let is = |mount: &crate::store::record::MountPoint| {
                let named = matches!(&mount.kind, MountKind::Volume { name, .. } if name == text);
                named || mount.destination == *text || mount.source == *text
            };
            record.mounts.iter().any(is)
        }),
        Filter::Pod(id) => container.pod() == Some(id),
        Filter::Network(query) => networks.on(container, query),
        Filter::Publish(ports) => networks
            .of(container)
            .iter()
            .any(|attachment| attachment.ports.iter().any(|port| ports.contains(&container_port(port)))),
        Filter::Expose(ports) => record.is_some_and(|record| {
            record.config.exposed_ports.iter().filter_map(|text| port::one(text).ok()).any(|port| ports.contains(&port))
        }),
        Filter::Before(_) | Filter::Since(_) => true,
    }
}

fn last_exit(container: &Container) -> Option<&shim::layout::Exit> {
    container.status.as_ref().ok()?.as_ref()?.last_exit.as_ref()
}

/// What its health checks say, if there are any.
fn health(container: &Container) -> Option<HealthStatus> {
    container.status.as_ref().ok()?.as_ref()?.health
}

/// `Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`, `Created`.
pub(super) fn status(container: &Container, now: u64) -> String {
    let started = match &container.status {
        Ok(Some(status)) => status.started_at,
        Ok(None) | Err(_) => 0,
    };
    let up = || human::duration(std::time::Duration::from_nanos(now.saturating_sub(started)));
    let ended = || match last_exit(container) {
        Some(exit) => format!("({}) {}", exit.code, human::ago(exit.finished_at, now)),
        None => String::new(),
    };
    match container.phase() {
        Phase::Created => "Created".to_owned(),
        Phase::Running => match health(container) {
            None => format!("Up {}", up()),
            Some(HealthStatus::Starting) => format!("Up {} (health: starting)", up()),
            Some(known) => format!("Up {} ({})", up(), known.word()),
        },
        Phase::Paused => format!("Up {} (Paused)", up()),
        Phase::Restarting => format!("Restarting {}", ended()),
        Phase::Removing => "Removal In Progress".to_owned(),
        Phase::Exited => format!("Exited {}", ended()),
        Phase::Dead => match (&container.record, &container.status) {
            (Err(problem), _) | (_, Err(problem)) => format!("Dead: {problem}"),
            (Ok(_), Ok(_)) => "Dead".to_owned(),
        },
    }
}

/// Bytes in the writable layer; what cannot be read does not count.
pub(super) fn written(roots: &Roots, id: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    let mut pending = vec![roots.upper(id).join("fs")];
    while let Some(dir) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                pending.push(entry.path());
            } else {
                total += meta.blocks() * 512;
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (pattern, name, expected) in [
            ("web", "myweb2", true),
            ("^web$", "web", true),
            ("^/web$", "web", true),
            ("^web$", "web2", false),
            ("^web", "web2", true),
            ("web$", "myweb", true),
            ("web$", "web2", false),
        ] {
            assert_eq!(name_matches(name, pattern), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn filters() {
        assert_eq!(filter("status=exited"), Ok(Filter::Status("exited".to_owned())));
        assert_eq!(filter("label=a"), Ok(Filter::Label("a".to_owned(), None)));
        assert_eq!(filter("label=a=b=c"), Ok(Filter::Label("a".to_owned(), Some("b=c".to_owned()))));
        assert_eq!(filter("exited=3"), Ok(Filter::Exited(3)));
        for text in ["status", "status=gone", "exited=x", "nope=1", "health=ill"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}

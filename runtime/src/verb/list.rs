//! `list`: all containers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use runtime::state::{Access, ContainerId, Error, Record};
use runtime::sys::Call;

use super::{Context, Failure, Verb};
use crate::args::{Flag, Parsed};
use crate::log::timestamp;

pub(super) const VERB: Verb = Verb {
    name: "list",
    usage: "list [options]",
    summary: "show all containers",
    flags: &[
        Flag { name: "format", short: Some('f'), value: Some("table|json"), help: "format (default table)" },
        Flag { name: "quiet", short: Some('q'), value: None, help: "ids only" },
    ],
    least: 0,
    most: 0,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let json = match parsed.value("format") {
        None | Some("table") => false,
        Some("json") => true,
        Some(other) => return Err(Failure::new(format!("--format: {other:?} is neither table nor json"))),
    };
    let rows = rows(context)?;
    if parsed.is_set("quiet") {
        rows.iter().for_each(|row| println!("{}", row.id));
    } else if json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        println!("{}", serde_json::Value::Array(rows));
    } else {
        let width = rows.iter().map(|row| row.id.len()).max().unwrap_or(0).max(2);
        let bundles = rows.iter().map(|row| row.bundle.len()).max().unwrap_or(0).max(6);
        println!(
            "{:<width$}   {:<10}  {:<10}  {:<bundles$}  {:<20}  OWNER",
            "ID", "PID", "STATUS", "BUNDLE", "CREATED"
        );
        for Row { id, pid, status, created, bundle, owner, .. } in rows {
            println!("{id:<width$}   {pid:<10}  {status:<10}  {bundle:<bundles$}  {created:<20}  {owner}");
        }
    }
    Ok(0)
}

struct Row {
    id: String,
    pid: i32,
    status: String,
    created: String,
    bundle: String,
    rootfs: String,
    owner: String,
    annotations: BTreeMap<String, String>,
}

impl Row {
    fn json(&self) -> serde_json::Value {
        let Self { id, pid, status, created, bundle, rootfs, owner, annotations } = self;
        // Callers parse it as a time: this is Go's of no time.
        let created = if created.is_empty() { "0001-01-01T00:00:00Z" } else { created.as_str() };
        serde_json::json!({
            "ociVersion": super::SPEC_VERSION, "id": id, "pid": pid, "status": status, "bundle": bundle, "rootfs": rootfs,
            "created": created, "annotations": annotations, "owner": owner,
        })
    }
}

/// A container that cannot be read is shown as such, never left out.
fn rows(context: &Context<'_>) -> Result<Vec<Row>, Failure> {
    let entries = match std::fs::read_dir(&context.root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.call(|| format!("opendir({:?})", context.root))?,
    };
    let mut rows = Vec::new();
    for entry in entries {
        let entry = entry.call(|| format!("readdir({:?})", context.root))?;
        let Ok(id) = entry.file_name().into_string() else { continue };
        let Ok(parsed) = id.parse::<ContainerId>() else { continue };
        match context.container(&parsed, Access::Look) {
            Ok(container) => {
                let record = container.record.as_ref();
                rows.push(Row {
                    id,
                    pid: container.init.as_ref().map_or(0, |init| init.pid.as_raw()),
                    status: container.status_word().to_owned(),
                    created: record.map(created).unwrap_or_default(),
                    bundle: record.map(|record| record.bundle.display().to_string()).unwrap_or_default(),
                    rootfs: record.and_then(rootfs).map(|rootfs| rootfs.display().to_string()).unwrap_or_default(),
                    owner: record.map(owner).unwrap_or_default(),
                    annotations: record.map(|record| record.spec.annotations.clone()).unwrap_or_default(),
                });
            }
            Err(failure) if failure.message == Error::Missing(parsed.clone()).to_string() => {}
            Err(failure) => {
                context.log.warning(&failure.message);
                rows.push(Row {
                    id,
                    pid: 0,
                    status: "unknown".to_owned(),
                    created: String::new(),
                    bundle: String::new(),
                    rootfs: String::new(),
                    owner: String::new(),
                    annotations: BTreeMap::new(),
                });
            }
        }
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rows)
}

/// Creation time of a container, RFC 3339.
pub(super) fn created(record: &Record) -> String {
    timestamp(UNIX_EPOCH + Duration::from_nanos(record.created))
}

/// Root file system of a container.
pub(super) fn rootfs(record: &Record) -> Option<PathBuf> {
    record.spec.root.as_ref().map(|root| record.bundle.join(&root.path))
}

/// Name of the user who made a container, passwd(5); its number where it has none.
pub(super) fn owner(record: &Record) -> String {
    let uid = record.owner.to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or(uid)
}

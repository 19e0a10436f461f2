//! `rtctl volume inspect`

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::flag::time;
use crate::output::list;
use crate::store::roots::Roots;
use crate::store::volume::Volume;
use crate::store::volume::users::Users;

/// Show all that is known of volumes
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl volume inspect -f '{{.Mountpoint}}' data")]
pub(crate) struct Args {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let users = Users::read(roots)?;
        let mut documents = Vec::new();
        let mut code = 0;
        for name in &self.volumes {
            match Volume::find(roots, name).and_then(|volume| document(&volume, &users)) {
                Ok(document) => documents.push(document),
                Err(error) => {
                    eprintln!("rtctl: {error:#}");
                    code = 1;
                }
            }
        }
        if self.format.is_none() || !documents.is_empty() {
            list::documents(self.format.as_deref(), &documents, &list::pretty(&documents)?)?;
        }
        Ok(code)
    }
}

/// The document of a volume, in docker's shape; `UsedBy` is ours.
pub(super) fn document(volume: &Volume, users: &Users) -> Result<Value> {
    let record = volume.record.as_ref().map_err(|problem| anyhow!("volume {}: {problem}", volume.name))?;
    Ok(json!({
        "CreatedAt": time::rfc3339(record.created),
        "Driver": "local",
        "Labels": record.labels,
        "Mountpoint": volume.data(),
        "Name": volume.name,
        "Options": record.options,
        "Scope": "local",
        "Anonymous": record.anonymous,
        "UsedBy": users.of(&volume.name),
    }))
}

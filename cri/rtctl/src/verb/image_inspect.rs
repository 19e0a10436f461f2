//! `rtctl image inspect`

use anyhow::Result;
use cri::image::Store;
use serde_json::{Value, json};

use crate::image::explain;
use crate::output::list;
use crate::store::roots::Roots;

/// Show all that is known of images
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl image inspect -f '{{json .Config.Cmd}}' busybox")]
pub(crate) struct Args {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let mut documents = Vec::new();
        let mut code = 0;
        for name in &self.images {
            match document(roots, name) {
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

/// The document of an image, in docker's shape.
pub(super) fn document(roots: &Roots, name: &str) -> Result<Value> {
    let store = Store::open(&roots.root)?;
    let image = store.resolve(name).map_err(|error| explain(error, name))?;
    let config = &image.config;
    let set = |list: &[String]| list.iter().map(|name| (name.clone(), json!({}))).collect::<serde_json::Map<_, _>>();
    Ok(json!({
        "Id": image.id.to_string(),
        "RepoTags": image.names.iter().map(|name| name.familiar()).collect::<Vec<_>>(),
        "RepoDigests": image.digests.iter().map(|name| name.familiar()).collect::<Vec<_>>(),
        "Created": config.created,
        "Author": config.author.clone().unwrap_or_default(),
        "Architecture": config.platform.architecture,
        "Variant": config.platform.variant.clone().unwrap_or_default(),
        "Os": config.platform.os,
        "Size": image.unpacked_bytes,
        "Config": {
            "User": config.user,
            "ExposedPorts": set(&config.exposed_ports),
            "Env": config.env,
            "Cmd": config.cmd,
            "Entrypoint": config.entrypoint,
            "Volumes": set(&config.volumes),
            "WorkingDir": config.working_dir,
            "Labels": config.labels,
            "StopSignal": config.stop_signal.clone().unwrap_or_default(),
            "Healthcheck": config.healthcheck,
        },
        "RootFS": {
            "Type": "layers",
            "Layers": config.diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
    }))
}

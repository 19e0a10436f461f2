//! `rtctl info`

use anyhow::Result;
use cri::image::Store;
use cri::spec::{CgroupMode, Host};
use serde_json::json;

use crate::flag::log::{DEFAULT_MAX_FILES, DEFAULT_MAX_SIZE, Driver};
use crate::output::list;
use crate::output::say;
use crate::store::roots::Roots;
use crate::store::start;
use crate::store::view::{Container, Phase};

/// Show what there is, and where
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl info --format '{{.Root}}'")]
pub(crate) struct Args {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let containers = Container::list(roots)?;
        let count = |phase| containers.iter().filter(|container| container.phase() == phase).count();
        let images = match roots.root.join("images").try_exists()? {
            true => Store::open(&roots.root)?.list()?.len(),
            false => 0,
        };
        let host = Host::read()?;
        let cgroup = match host.cgroup {
            CgroupMode::V1 => "1",
            CgroupMode::V2 => "2",
        };
        let kernel = nix::sys::utsname::uname()?;
        let shim =
            start::program().map_or_else(|error| format!("missing ({error})"), |path| path.display().to_string());
        let bounding: Vec<String> = host.bounding.iter().map(ToString::to_string).collect();
        let missing: Vec<String> = cri::spec::all_capabilities().filter(|name| !bounding.contains(name)).collect();
        let document = json!({
            "Containers": containers.len(),
            "ContainersRunning": count(Phase::Running),
            "ContainersPaused": count(Phase::Paused),
            "ContainersStopped": count(Phase::Exited) + count(Phase::Created),
            "Images": images,
            "Root": roots.root,
            "State": roots.state,
            "Shim": shim,
            "CgroupVersion": cgroup,
            "KernelVersion": kernel.release().to_string_lossy(),
            "Architecture": std::env::consts::ARCH,
            "AppArmor": host.apparmor,
            "MissingCapabilities": missing,
            "NetworkModes": ["none", "host", "container", "ns"],
            "LoggingDriver": Driver::default().name(),
            "LogFiles": format!("{DEFAULT_MAX_FILES} of {DEFAULT_MAX_SIZE} bytes each, unless --log-opt says otherwise"),
            "Events": roots.state.join(shim::events::NAME),
            "ServerVersion": env!("CARGO_PKG_VERSION"),
        });
        match self.format.as_deref() {
            Some("json") => say(&serde_json::to_string(&document)?)?,
            Some(format) => list::documents(Some(format), &[document], "")?,
            None => {
                if let serde_json::Value::Object(map) = &document {
                    for (name, value) in map {
                        match value {
                            serde_json::Value::String(text) => say(&format!("{name}: {text}"))?,
                            other => say(&format!("{name}: {other}"))?,
                        }
                    }
                }
            }
        }
        Ok(0)
    }
}

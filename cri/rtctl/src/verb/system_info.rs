//! `rtctl info`

use anyhow::Result;
use cri::image::Store;
use serde_json::{Value, json};

use crate::flag::log::{DEFAULT_MAX_FILES, DEFAULT_MAX_SIZE, Driver};
use crate::host::Facts;
use crate::host::finding::{Level, findings};
use crate::host::probe::Probed;
use crate::output::{human, list, say};
use crate::store::roots::Roots;
use crate::store::view::{Container, Phase};
use crate::store::volume;

/// Show what there is, where, and what the machine can do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

const EXAMPLES: &str = "\
Warnings say what is limited and what to do; rtctl system check lists all that was looked at.

Examples:
  rtctl info
  rtctl info --format '{{.CgroupVersion}} {{.SecurityOptions}}'
  rtctl info --format json";

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let facts = Facts::read(roots)?;
        let document = document(roots, &facts)?;
        match self.format.as_deref() {
            Some("json") => say(&serde_json::to_string(&document)?)?,
            Some(format) => list::documents(Some(format), &[document], "")?,
            None => show(&document)?,
        }
        Ok(0)
    }
}

/// As docker's where docker has it.
fn document(roots: &Roots, facts: &Facts) -> Result<Value> {
    let containers = Container::list(roots)?;
    let count = |phase| containers.iter().filter(|container| container.phase() == phase).count();
    let images = match roots.root.join("images").try_exists()? {
        true => Store::open(&roots.root)?.list()?.len(),
        false => 0,
    };
    let mut security = Vec::new();
    if facts.seccomp == Probed::Works {
        security.push("name=seccomp,profile=builtin");
    }
    if facts.apparmor {
        security.push("name=apparmor");
    }
    if facts.selinux {
        security.push("name=selinux");
    }
    if facts.user_namespaces == Probed::Works {
        security.push("name=userns");
    }
    let cgroups = &facts.cgroups;
    let has = |name: &str| cgroups.controllers.contains_key(name);
    let warnings: Vec<String> = findings(facts)
        .into_iter()
        .filter(|finding| finding.level != Level::Ok)
        .map(|finding| match finding.advice.as_str() {
            "" => format!("{}: {}", finding.what, finding.how),
            advice => format!("{}: {}; {advice}", finding.what, finding.how),
        })
        .collect();
    let shim = match &facts.shim {
        Ok(path) => path.display().to_string(),
        Err(problem) => format!("missing ({problem})"),
    };
    Ok(json!({
        "Containers": containers.len(),
        "ContainersRunning": count(Phase::Running),
        "ContainersPaused": count(Phase::Paused),
        "ContainersStopped": count(Phase::Exited) + count(Phase::Created),
        "Images": images,
        "Volumes": volume::names(roots)?.len(),
        "Networks": networks(roots),
        "Driver": "overlay",
        "Root": roots.root,
        "State": roots.state,
        "Storage": facts.storage,
        "Shim": shim,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if cgroups.version == "hybrid" { "1" } else { cgroups.version.as_str() },
        "CgroupMode": cgroups.version,
        "CgroupControllers": cgroups.controllers,
        "MemoryLimit": has("memory"),
        "SwapLimit": cgroups.swap.unwrap_or(false),
        "CpuCfsQuota": has("cpu"),
        "CPUSet": has("cpuset"),
        "PidsLimit": has("pids"),
        "SecurityOptions": security,
        "Probed": {
            "Overlay": facts.overlay,
            "Seccomp": facts.seccomp,
            "UserNamespaces": facts.user_namespaces,
            "NetworkNamespaces": facts.network_namespaces,
        },
        "AppArmor": facts.apparmor,
        "SELinux": facts.selinux,
        "MissingCapabilities": facts.missing_capabilities,
        "IPv4Forwarding": facts.forwarding.0,
        "IPv6Forwarding": facts.forwarding.1,
        "CniConfigurations": facts.cni,
        "KernelVersion": facts.kernel,
        "OperatingSystem": facts.operating_system,
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "NCPU": facts.cpus,
        "MemTotal": facts.memory,
        "LoggingDriver": Driver::default().name(),
        "LogFiles": format!("{DEFAULT_MAX_FILES} of {DEFAULT_MAX_SIZE} bytes each, unless --log-opt says otherwise"),
        "Events": roots.state.join(shim::events::NAME),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Warnings": warnings,
    }))
}

/// Names of the networks that were made; what cannot be read has none.
fn networks(roots: &Roots) -> Vec<String> {
    let entries = std::fs::read_dir(roots.root.join("networks")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
    names.sort();
    names
}

/// For people: a line each, warnings last.
fn show(document: &Value) -> Result<()> {
    let Value::Object(map) = document else { return Ok(()) };
    for (name, value) in map {
        match value {
            Value::Array(list) if name == "Warnings" && list.is_empty() => {}
            Value::Array(list) if name == "Warnings" => {
                say("Warnings:")?;
                for warning in list {
                    say(&format!("  {}", warning.as_str().unwrap_or_default()))?;
                }
            }
            Value::Number(bytes) if name == "MemTotal" => {
                say(&format!("{name}: {}", human::binary_size(bytes.as_u64().unwrap_or(0))))?;
            }
            Value::Array(list) => {
                let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                say(&format!("{name}: {}", if words.is_empty() { "none".to_owned() } else { words.join(" ") }))?;
            }
            Value::Object(members) => {
                say(&format!("{name}:"))?;
                for (member, value) in members {
                    say(&format!("  {member}: {}", plain(value)))?;
                }
            }
            value => say(&format!("{name}: {}", plain(value)))?,
        }
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

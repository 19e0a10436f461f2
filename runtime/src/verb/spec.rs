//! `spec`: writes a configuration to start from.

use runtime::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::{getegid, geteuid};
use runtime::sys::Call;
use serde_json::{Value, json};

use super::create::BUNDLE;
use super::{Context, Failure, SPEC_VERSION, Verb};
use crate::args::{Flag, Parsed};

pub(super) const VERB: Verb = Verb {
    name: "spec",
    usage: "spec [options]",
    summary: "write a config.json to start from",
    flags: &[BUNDLE, Flag { name: "rootless", short: None, value: None, help: "for an ordinary user" }],
    least: 0,
    most: 0,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

fn run(_: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let path = Path::new(parsed.value("bundle").unwrap_or(".")).join("config.json");
    let example = if parsed.is_set("rootless") { rootless() } else { example() };
    let text = format!("{example:#}\n");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o666)
        .open(&path)
        .call(|| format!("open({path:?}, O_CREAT|O_EXCL)"))?;
    file.write_all(text.as_bytes()).call(|| format!("write({path:?})"))?;
    Ok(0)
}

/// A shell with the usual mounts, namespaces and masks, and three capabilities.
fn example() -> Value {
    let mut spec: Value = json::from_str(include_str!("spec.json")).expect("it is JSON");
    spec["ociVersion"] = SPEC_VERSION.into();
    spec
}

/// The same for an ordinary user: a user namespace with his own ids alone, the host's network, and no control group. There is no
/// group for terminals; sysfs, which belongs to the network namespace, is the host's, recursively read-only for the control
/// groups in it (CVE-2023-25809).
fn rootless() -> Value {
    let mut spec = example();
    let other: Value = json::from_str(include_str!("spec_rootless.json")).expect("it is JSON");
    let linux = spec["linux"].as_object_mut().expect("it is an object");
    linux.remove("resources");
    linux.insert("namespaces".to_owned(), other["namespaces"].clone());
    for (maps, host) in [("uidMappings", geteuid().as_raw()), ("gidMappings", getegid().as_raw())] {
        linux.insert(maps.to_owned(), json!([{ "containerID": 0, "hostID": host, "size": 1 }]));
    }
    let mounts = spec["mounts"].as_array_mut().expect("it is an array");
    mounts.retain(|mount| mount["type"] != "cgroup");
    for mount in mounts {
        if let Some(changed) = mount["destination"].as_str().and_then(|destination| other.get(destination)) {
            *mount = changed.clone();
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use runtime::plan::Plan;
    use runtime::spec::Spec;

    #[test]
    fn the_example_is_taken_by_our_own_plan() {
        let spec: Spec = serde_json::from_value(super::example()).unwrap();
        Plan::new(&spec).map(|_| ()).unwrap();
        let spec: Spec = serde_json::from_value(super::rootless()).unwrap();
        Plan::new(&spec).map(|_| ()).unwrap();
    }
}

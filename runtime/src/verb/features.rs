//! `features`: what this program honours, for callers that ask before they use it.

use runtime::json;
use runtime::plan::{LANDLOCK, MEMORY_FLAGS, MEMORY_MODES};
use serde_json::Value;

use super::{Context, Failure, SPEC_VERSION, Verb};
use crate::args::Parsed;

pub(super) const VERB: Verb = Verb {
    name: "features",
    usage: "features",
    summary: "show what is supported as JSON",
    flags: &[],
    least: 0,
    most: 0,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "copy-symlink",
    "defaults",
    "dest-nofollow",
    "dev",
    "diratime",
    "exec",
    "idmap",
    "loud",
    "newinstance",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "src-nofollow",
    "strictatime",
    "suid",
    "symfollow",
    "tmpcopyup",
    "unbindable",
];

fn run(_: &Context<'_>, _: &Parsed) -> Result<u8, Failure> {
    let capabilities: Vec<String> = {
        let mut all: Vec<_> = caps::all().into_iter().collect();
        all.sort_by_key(|capability| capability.index());
        all.iter().map(ToString::to_string).collect()
    };
    let mut features: Value = json::from_str(include_str!("features.json")).expect("it is JSON");
    features["ociVersionMax"] = SPEC_VERSION.into();
    features["mountOptions"] = MOUNT_OPTIONS.into();
    features["linux"]["capabilities"] = capabilities.into();
    features["linux"]["memoryPolicy"]["modes"] = words(MEMORY_MODES).into();
    features["linux"]["memoryPolicy"]["flags"] = words(MEMORY_FLAGS).into();
    features["annotations"]["io.rt.runtime.version"] = env!("CARGO_PKG_VERSION").into();
    features["potentiallyUnsafeConfigAnnotations"] = [LANDLOCK].as_slice().into();
    println!("{features:#}");
    Ok(0)
}

fn words(table: &[(&'static str, u32)]) -> Vec<&'static str> {
    table.iter().map(|(word, _)| *word).collect()
}

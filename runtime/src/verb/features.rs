//! `features`: what this program honours, for callers that ask before they use it.

use std::process::ExitCode;

use runtime::seccomp;
use serde_json::json;

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
    run,
};

const MOUNT_OPTIONS: &[&str] = &[
    "async", "atime", "bind", "defaults", "dev", "diratime", "exec", "loud", "noatime", "nodev", "nodiratime", "noexec",
    "noiversion", "nolazytime", "nomand", "norelatime", "nostrictatime", "nosuid", "nosymfollow", "private", "ratime", "rbind",
    "rdev", "rdiratime", "relatime", "rexec", "rnoatime", "rnodev", "rnodiratime", "rnoexec", "rnorelatime",
    "rnostrictatime", "rnosuid", "rnosymfollow", "ro", "rprivate", "rrelatime", "rro", "rrw", "rshared", "rslave",
    "rstrictatime", "rsuid", "rsymfollow", "runbindable", "rw", "shared", "silent", "slave", "strictatime", "suid",
    "symfollow", "unbindable",
];

fn run(_: &Context<'_>, _: &Parsed) -> Result<ExitCode, Failure> {
    let capabilities: Vec<String> = {
        let mut all: Vec<_> = caps::all().into_iter().collect();
        all.sort_by_key(|capability| capability.index());
        all.iter().map(ToString::to_string).collect()
    };
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false },
            "seccomp": seccomp::features(),
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": false } },
            "netDevices": { "enabled": false },
        },
        "annotations": { "io.rt.runtime.version": env!("CARGO_PKG_VERSION") },
    });
    println!("{features:#}");
    Ok(ExitCode::SUCCESS)
}

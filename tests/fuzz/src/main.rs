//! Fuzz targets: parsers of what images, registries, plugins, users and containers give. One program; `RT_FUZZ_TARGET` names the
//! target. A target that ends without a panic found nothing: what an input means is for the tests.
//!
//!     hack/fuzz [TARGET] [COUNT]

#![no_main]

mod container;
mod flag;
mod image;
mod network;
mod node;
mod registry;

// What is a part of a program is compiled in here.
#[path = "../../../cri/rtctl/src/logs/record.rs"]
#[allow(dead_code, reason = "the program uses all of it")]
mod record;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

type Target = fn(&[u8]);

/// By name: where the seeds are in `corpus`.
const TARGETS: &[(&str, Target)] = &[
    ("image_reference", image::reference),
    ("image_digest", image::digest),
    ("image_manifest", image::manifest),
    ("image_index", image::index),
    ("image_config", image::config),
    ("image_archive", image::archive),
    ("image_layer", image::layer),
    ("image_accounts", image::accounts),
    ("registry_challenge", registry::challenge),
    ("registry_hosts", registry::hosts),
    ("registry_refusal", registry::refusal),
    ("cni_config", network::cni_config),
    ("cni_result", network::cni_result),
    ("resolv_conf", network::resolv_conf),
    ("oci_config", container::config),
    ("seccomp_profile", container::seccomp_profile),
    ("cdi_spec", container::cdi),
    ("shim_packet", node::packet),
    ("shim_record", node::files),
    ("log_record", node::log),
];

fuzz_target!(|data: &[u8]| target()(data));

fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var("RT_FUZZ_TARGET").unwrap_or_default();
        match TARGETS.iter().find(|(known, _)| *known == name) {
            Some((_, target)) => *target,
            None => {
                for (known, _) in TARGETS {
                    println!("{known}");
                }
                std::process::exit(2);
            }
        }
    })
}

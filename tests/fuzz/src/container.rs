//! What configurations of containers give.

use cri::spec::cdi;
use runtime::plan::Plan;
use runtime::seccomp::compile;
use runtime::spec::{Spec, parse};

pub(crate) fn config(data: &[u8]) {
    let Ok(spec) = parse::<Spec>("config.json", data) else { return };
    let written = serde_json::to_vec(&spec).expect("a spec is plain data");
    parse::<Spec>("config.json", &written).expect("what is written can be read");
    let _ = Plan::new(&spec);
    if let Some(seccomp) = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) {
        let _ = compile(seccomp);
    }
}

pub(crate) fn seccomp_profile(data: &[u8]) {
    let Ok(profile) = cri::spec::parse_seccomp_profile(data, &[], (6, 1)) else { return };
    let _ = compile(&profile);
}

pub(crate) fn cdi(data: &[u8]) {
    let _ = cdi::Document::parse("device.json", data);
}

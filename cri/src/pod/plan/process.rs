//! Processes beside the first.

use runtime::spec::{Process, Spec};

/// A process that runs `command` in a container: as the container's own one in all else.
#[allow(dead_code, reason = "the calls that run processes follow")]
pub(in crate::pod) fn exec_process(spec: &Spec, command: Vec<String>, terminal: bool) -> Process {
    let own = spec.process.clone().unwrap_or_default();
    let mut env = own.env.clone();
    if terminal && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    Process { terminal, console_size: None, args: command, env, ..own }
}

//! Capabilities and profiles.

use runtime::spec::Capabilities;

use super::super::config::{self, ContainerConfig, Profile};
use super::super::error::Error;
use super::Defaults;
use super::refusal::{explain, refuse};
use crate::spec::{CapabilityChange, Host, SeccompChoice, Security, effective_capabilities, parse_seccomp_profile};

/// The name of a capability as in capabilities(7), however it was written.
fn full_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" || upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

fn full_names(names: &[String]) -> Vec<String> {
    names.iter().map(|name| full_name(name)).collect()
}

/// What is added and dropped: in both lists means dropped, but with all dropped what is added by its name stays. Ambient ones are
/// added like the others first.
pub(super) fn capability_change(lists: &config::Capabilities) -> CapabilityChange {
    let drop = full_names(&lists.drop);
    let drop_all = drop.iter().any(|name| name == "ALL");
    let kept = |name: &String| !drop.contains(name) || (drop_all && name != "ALL");
    let add = full_names(&lists.add).into_iter().chain(full_names(&lists.add_ambient)).filter(kept).collect();
    CapabilityChange { add, drop }
}

/// Puts the ambient capabilities into all sets: a program of an ordinary user keeps them across execve(2).
pub(super) fn add_ambient(lists: &config::Capabilities, sets: &mut Capabilities) {
    let wanted = full_names(&lists.add_ambient);
    let ambient: Vec<String> = sets.bounding.iter().filter(|name| wanted.contains(name)).cloned().collect();
    for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
        let missing: Vec<String> = ambient.iter().filter(|name| !set.contains(name)).cloned().collect();
        set.extend(missing);
    }
    sets.ambient = ambient;
}

const SECCOMP: &str = "linux.security_context.seccomp";

/// A filter from its text; `name` says which.
fn filter(config: &ContainerConfig, text: &str, name: &str, host: &Host) -> Result<SeccompChoice, Error> {
    let change = capability_change(&config.capabilities);
    let bounding = effective_capabilities(&change, config.privileged, host).map_err(explain)?;
    let profile = parse_seccomp_profile(text.as_bytes(), &bounding, host.kernel).map_err(explain)?;
    // Wrong actions and operators are found now and not when the container starts.
    runtime::seccomp::compile(&profile).map_err(|error| refuse(SECCOMP, format!("{name}: {error}")))?;
    Ok(SeccompChoice::Profile(Box::new(profile)))
}

/// What confines the program. `profile` is the text of a system call filter of the node.
///
/// # Errors
/// The filter cannot be compiled, or the node has no AppArmor for the profile that was asked for by name.
pub(super) fn security(
    config: &ContainerConfig,
    profile: Option<&str>,
    defaults: &Defaults,
    host: &Host,
) -> Result<Security, Error> {
    let seccomp = match &config.seccomp {
        _ if config.privileged => SeccompChoice::Unconfined,
        None | Some(Profile::Unconfined) => SeccompChoice::Unconfined,
        Some(Profile::RuntimeDefault) => match &defaults.seccomp {
            Some(text) => filter(config, text, "the node's default profile", host)?,
            None => SeccompChoice::Default,
        },
        Some(Profile::Localhost(path)) => {
            let text = profile.ok_or_else(|| refuse(SECCOMP, format!("{path} was not read")))?;
            filter(config, text, path, host)?
        }
    };
    let apparmor = match &config.apparmor {
        _ if config.privileged => None,
        Some(Profile::Localhost(name)) => Some(name.clone()),
        Some(Profile::RuntimeDefault) | None => defaults.apparmor.clone().filter(|_| host.apparmor),
        Some(Profile::Unconfined) => None,
    };
    // What is masked is set by the lists that were given, and nothing else.
    Ok(Security { seccomp, no_new_privileges: config.no_new_privs, apparmor, unconfined_paths: true, labels: None })
}

//! Landlock by annotation: the specification has no member for it yet (runtime-spec pull request 1241). Accesses are the kernel's bits
//! as numbers, so that what a newer kernel knows needs no newer runtime.
//!
//! ```json
//! "io.rt.landlock": "{\"fs\": 2, \"net\": 3, \"scoped\": 3, \"paths\": [{\"access\": 2, \"paths\": [\"/data\"]}], \"ports\": [{\"access\": 2, \"port\": 443}]}"
//! ```

use crate::json;
use std::collections::BTreeMap;

use super::{PlanError, refuse};
use crate::spec::Member;
use crate::sys::landlock::Handled;

/// The annotation.
pub const ANNOTATION: &str = "io.rt.landlock";

/// Rules for a process and all it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Landlock {
    /// What is denied unless a rule allows it.
    pub handled: Handled,
    /// Accesses below paths of the container.
    pub paths: Vec<(u64, String)>,
    /// Accesses to ports.
    pub ports: Vec<(u64, u64)>,
}

/// The rules of the annotation, if there is one; also for processes that enter the container.
///
/// # Errors
/// [`PlanError`] with the path of the member.
pub fn landlock(annotations: &BTreeMap<String, String>) -> Result<Option<Landlock>, PlanError> {
    let Some(text) = annotations.get(ANNOTATION) else { return Ok(None) };
    let at = format!("annotations[{ANNOTATION:?}]");
    let value = json::from_str(text).map_err(|error| refuse(&at, format!("is no JSON: {error}")))?;
    let member = Member::new(&value, at)?;
    let mask = |member: &Member<'_>, name: &str| {
        member.number(name, 0, i64::MAX).map(|number| number.unwrap_or(0).unsigned_abs())
    };
    let mut landlock = Landlock {
        handled: Handled { fs: mask(&member, "fs")?, net: mask(&member, "net")?, scoped: mask(&member, "scoped")? },
        ..Landlock::default()
    };
    if landlock.handled == Handled::default() {
        return Err(member.own("needs fs, net or scoped: nothing is denied otherwise").into());
    }
    for rule in member.members("paths")? {
        for (index, path) in rule.list("paths")?.iter().enumerate() {
            let path = path.as_str().filter(|path| path.starts_with('/') && !path.contains('\0'));
            let path = path.ok_or_else(|| rule.wrong(&format!("paths[{index}]"), "must be an absolute path"))?;
            landlock.paths.push((mask(&rule, "access")?, path.to_owned()));
        }
    }
    for rule in member.members("ports")? {
        let port = rule.number("port", 0, 65535)?.ok_or_else(|| rule.wrong("port", "is missing"))?;
        landlock.ports.push((mask(&rule, "access")?, port.unsigned_abs()));
    }
    Ok(Some(landlock))
}

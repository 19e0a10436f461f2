//! Seccomp profiles as docker's `--security-opt seccomp=FILE` reads them.
//!
//! They are the OCI document with three additions, which are resolved here: `archMap` instead of `architectures`, `name`
//! instead of `names`, and rules that hold only for some capabilities, architectures or kernels (`includes`, `excludes`).

use caps::Capability;
use runtime::spec::{Seccomp, SeccompArg, SeccompRule};
use serde::Deserialize;

use super::error::Error;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<Architecture>,
    #[serde(default)]
    flags: Vec<String>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    // `null` is how Go writes an empty list.
    args: Option<Vec<SeccompArg>>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// Reads a profile for a container with these capabilities, on a kernel of this `(major, minor)` version.
///
/// # Errors
/// [`Error::SeccompProfile`] with the JSON path.
pub fn parse(text: &[u8], bounding: &[Capability], kernel: (u32, u32)) -> Result<Seccomp, Error> {
    let profile: Profile = runtime::spec::parse("profile", text).map_err(|error| match error {
        runtime::spec::LoadError::Invalid { at, problem, .. } => Error::SeccompProfile { at, problem },
        other => Error::SeccompProfile { at: ".".to_owned(), problem: other.to_string() },
    })?;
    let wrong = |at: String, problem: &str| Err(Error::SeccompProfile { at, problem: problem.to_owned() });
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return wrong("archMap".to_owned(), "excludes architectures");
    }
    let mut architectures = profile.architectures;
    for entry in profile.arch_map {
        if entry.architecture == NATIVE {
            architectures.push(entry.architecture);
            architectures.extend(entry.sub_architectures);
        }
    }
    let mut syscalls = Vec::new();
    for (index, rule) in profile.syscalls.into_iter().enumerate() {
        let at = |member: &str| format!("syscalls[{index}].{member}");
        let mut names = rule.names;
        match rule.name {
            Some(_) if !names.is_empty() => return wrong(at("name"), "excludes names"),
            Some(name) => names.push(name),
            None if names.is_empty() => return wrong(at("names"), "missing"),
            None => {}
        }
        let holds = |condition: &Condition, member| {
            holds(condition, bounding, kernel).map_err(|problem| Error::SeccompProfile { at: at(member), problem })
        };
        let included = match &rule.includes {
            Some(condition) => holds(condition, "includes")?.all(),
            None => true,
        };
        let excluded = match &rule.excludes {
            Some(condition) => holds(condition, "excludes")?.any(),
            None => false,
        };
        if included && !excluded {
            let args = rule.args.unwrap_or_default();
            syscalls.push(SeccompRule { names, action: rule.action, errno_ret: rule.errno_ret, args });
        }
    }
    Ok(Seccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures,
        flags: profile.flags,
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls,
    })
}

/// The parts of a condition: `None` where it says nothing.
struct Holds([Option<bool>; 3]);

impl Holds {
    fn all(&self) -> bool {
        self.0.iter().flatten().all(|part| *part)
    }

    fn any(&self) -> bool {
        self.0.iter().flatten().any(|part| *part)
    }
}

fn holds(condition: &Condition, bounding: &[Capability], kernel: (u32, u32)) -> Result<Holds, String> {
    let has = |name: &String| bounding.iter().any(|capability| capability.to_string() == *name);
    // An include wants all capabilities of its list, an exclude any; lists have one element in practice, and docker
    // reads longer ones this way too.
    let caps = (!condition.caps.is_empty()).then(|| condition.caps.iter().all(has));
    let arches = (!condition.arches.is_empty()).then(|| condition.arches.iter().any(|arch| arch == GO_ARCH));
    let min_kernel = match &condition.min_kernel {
        None => None,
        Some(text) => {
            let version = kernel_version(text).ok_or_else(|| format!("minKernel {text:?} is no kernel version"))?;
            Some(kernel >= version)
        }
    };
    Ok(Holds([caps, arches, min_kernel]))
}

/// `4.8` or a longer version.
pub fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The machine's architecture in Go's spelling.
const GO_ARCH: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// The machine's architecture in libseccomp's spelling.
const NATIVE: &str = if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let text = br#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": null},
                {"name": "bpf", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
                {"names": ["s390"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}}
            ]}"#;
        let names = |bounding: &[Capability], kernel| -> Vec<String> {
            parse(text, bounding, kernel).unwrap().syscalls.into_iter().flat_map(|rule| rule.names).collect()
        };
        assert_eq!(names(&[], (6, 1)), ["read", "clone", "ptrace"]);
        assert_eq!(names(&[Capability::CAP_BPF, Capability::CAP_SYS_ADMIN], (4, 4)), ["read", "bpf"]);
        assert_eq!(parse(text, &[], (6, 1)).unwrap().architectures.len(), 2);
    }

    #[test]
    fn errors_name_the_path() {
        let cases: &[(&str, &str)] = &[
            ("{", "."),
            ("{}", "."),
            (r#"{"defaultAction": 1}"#, "defaultAction"),
            (r#"{"defaultAction": "x", "syscalls": [{"action": "y"}]}"#, "syscalls[0].names"),
            (
                r#"{"defaultAction": "x", "syscalls": [{"name": "a", "names": ["b"], "action": "y"}]}"#,
                "syscalls[0].name",
            ),
            (
                r#"{"defaultAction": "x", "syscalls": [{"name": "a", "action": "y", "includes": {"minKernel": "z"}}]}"#,
                "syscalls[0].includes",
            ),
        ];
        for (text, path) in cases {
            match parse(text.as_bytes(), &[], (6, 1)) {
                Err(Error::SeccompProfile { at, .. }) => assert_eq!(&at, path, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn kernel_versions() {
        for (text, expected) in
            [("6.18.3-debian", Some((6, 18))), ("4.8", Some((4, 8))), ("5", None), ("x.y", None), ("", None)]
        {
            assert_eq!(kernel_version(text), expected, "{text}");
        }
    }
}

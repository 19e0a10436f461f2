//! `process` as what the child will set on itself.

use std::path::PathBuf;
use std::str::FromStr;

use caps::Capability;

use super::{PlanError, present, refuse, scheduling};
use crate::spec;
use crate::sys::caps::CapSet;
use crate::sys::process::Argv;
use crate::sys::scheduling::Scheduler;

/// A process, checked and resolved as far as it can be outside of the container.
pub struct Process {
    /// argv.
    pub args: Argv,
    /// Environment as given; HOME is added inside where it is missing.
    pub env: Vec<Vec<u8>>,
    /// Working directory, absolute.
    pub cwd: PathBuf,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// umask(2).
    pub umask: u32,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// Resource number, soft and hard limit.
    pub rlimits: Vec<Rlimit>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// AppArmor profile for execve.
    pub apparmor: Option<String>,
    /// SELinux label for execve.
    pub selinux: Option<String>,
    /// oom_score_adj.
    pub oom_score_adj: Option<i32>,
    /// Whether it gets a pseudo terminal.
    pub terminal: bool,
    /// Size of that terminal, rows and columns.
    pub console_size: Option<spec::ConsoleSize>,
    /// Scheduling policy.
    pub scheduler: Option<Scheduler>,
    /// I/O class and priority, as ioprio_set(2) takes them.
    pub io_priority: Option<u32>,
    /// What is asked for that nobody can give, for the log.
    pub warnings: Vec<String>,
    /// Processors, a bit each, of a process that enters a container: until it is in its groups, and then.
    pub affinity: [Option<Vec<u64>>; 2],
}

/// The five sets; what is not named is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Bounding set.
    pub bounding: CapSet,
    /// Effective set.
    pub effective: CapSet,
    /// Permitted set.
    pub permitted: CapSet,
    /// Inheritable set.
    pub inheritable: CapSet,
    /// Ambient set.
    pub ambient: CapSet,
}

/// An element of `process.rlimits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// RLIMIT_* number.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A variable as the program gets it: its value need not be UTF-8.
fn bytes(variable: &str, process: &spec::Process) -> Vec<u8> {
    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
    match process.env_bytes.get(name) {
        Some(bytes) if String::from_utf8_lossy(bytes) == value => [name.as_bytes(), b"=", bytes].concat(),
        Some(_) | None => variable.as_bytes().to_vec(),
    }
}

/// Checks and converts `process`; `at` is its JSON path.
///
/// # Errors
/// [`PlanError`] with the path of the member and the rule.
pub fn process(process: &spec::Process, at: &str) -> Result<Process, PlanError> {
    let args = Argv::new(&process.args).ok_or_else(|| refuse(&format!("{at}.args"), "an argument has a NUL byte"))?;
    if process.args.first().is_none_or(String::is_empty) {
        return Err(refuse(&format!("{at}.args"), "needs at least the name of a program"));
    }
    for (index, variable) in process.env.iter().enumerate() {
        let nul = bytes(variable, process).contains(&0);
        if nul || variable.starts_with('=') || variable.is_empty() {
            return Err(refuse(&format!("{at}.env[{index}]"), "must be NAME=value without a NUL byte"));
        }
    }
    if !process.cwd.starts_with('/') || process.cwd.contains('\0') {
        return Err(refuse(&format!("{at}.cwd"), format!("{:?} is not an absolute path", process.cwd)));
    }
    if process.user.umask.is_some_and(|umask| umask > 0o777) {
        return Err(refuse(&format!("{at}.user.umask"), "must be at most 0777"));
    }
    if process.oom_score_adj.is_some_and(|value| !(-1000..=1000).contains(&value)) {
        return Err(refuse(&format!("{at}.oomScoreAdj"), "must be from -1000 to 1000"));
    }
    let (capabilities, unknown) = capabilities(process.capabilities.as_ref(), at)?;
    Ok(Process {
        args,
        env: process.env.iter().map(|variable| bytes(variable, process)).collect(),
        cwd: PathBuf::from(&process.cwd),
        uid: process.user.uid,
        gid: process.user.gid,
        groups: process.user.additional_gids.clone(),
        umask: process.user.umask.unwrap_or(0o022),
        capabilities,
        rlimits: rlimits(&process.rlimits, at)?,
        no_new_privileges: process.no_new_privileges,
        apparmor: process.apparmor_profile.clone().filter(|profile| !profile.is_empty()),
        selinux: process.selinux_label.clone().filter(|label| !label.is_empty()),
        oom_score_adj: process.oom_score_adj,
        terminal: process.terminal,
        console_size: process.console_size.filter(|size| size.height > 0 && size.width > 0),
        scheduler: present(process.scheduler.as_ref())
            .map(|value| scheduling::scheduler(value, format!("{at}.scheduler")))
            .transpose()?,
        io_priority: present(process.io_priority.as_ref())
            .map(|value| scheduling::io_priority(value, format!("{at}.ioPriority")))
            .transpose()?,
        affinity: process
            .exec_cpu_affinity
            .as_ref()
            .map(|given| scheduling::affinity(given, at))
            .transpose()?
            .unwrap_or_default(),
        warnings: match unknown.is_empty() {
            true => Vec::new(),
            false => vec![format!("config.json: {at}.capabilities: unknown and left out: {unknown:?}")],
        },
    })
}

/// The sets, and the names in them that are no capability: these cannot be granted, which is a reason for a warning alone
/// (OCI runtime-spec config.md, "Linux Process").
fn capabilities<'a>(sets: Option<&'a spec::Capabilities>, at: &str) -> Result<(Capabilities, Vec<&'a str>), PlanError> {
    let mut unknown = Vec::new();
    let Some(sets) = sets else { return Ok((Capabilities::default(), unknown)) };
    let mut parse = |set: &'a [String]| -> CapSet {
        set.iter()
            .filter_map(|text| {
                let known = Capability::from_str(text).ok();
                if known.is_none() && !unknown.contains(&text.as_str()) {
                    unknown.push(text);
                }
                known
            })
            .collect()
    };
    let parsed = Capabilities {
        bounding: parse(&sets.bounding),
        effective: parse(&sets.effective),
        permitted: parse(&sets.permitted),
        inheritable: parse(&sets.inheritable),
        ambient: parse(&sets.ambient),
    };
    let contained = |inner: CapSet, outer: CapSet, names: (&str, &str)| match first(inner.without(outer)) {
        Some(capability) => {
            Err(refuse(&format!("{at}.capabilities.{}", names.0), format!("{capability} must be in {}, too", names.1)))
        }
        None => Ok(()),
    };
    contained(parsed.effective, parsed.permitted, ("effective", "permitted"))?;
    // Wide-spread documents name ambient capabilities that are not inheritable; the kernel would grant none of these, and neither
    // does runc (CVE-2022-29162: they were made inheritable once).
    let ambient = CapSet(parsed.ambient.0 & parsed.permitted.0 & parsed.inheritable.0);
    Ok((Capabilities { ambient, ..parsed }, unknown))
}

/// A capability of the set.
fn first(set: CapSet) -> Option<Capability> {
    if set == CapSet::default() {
        return None;
    }
    caps::all().into_iter().find(|capability| set.has(*capability))
}

fn rlimits(limits: &[spec::Rlimit], at: &str) -> Result<Vec<Rlimit>, PlanError> {
    let mut parsed: Vec<Rlimit> = Vec::with_capacity(limits.len());
    for (index, limit) in limits.iter().enumerate() {
        let at = format!("{at}.rlimits[{index}]");
        let resource = resource(&limit.kind)
            .ok_or_else(|| refuse(&format!("{at}.type"), format!("unknown resource {:?}", limit.kind)))?;
        if limit.soft > limit.hard {
            return Err(refuse(
                &format!("{at}.soft"),
                format!("{} is above the hard limit {}", limit.soft, limit.hard),
            ));
        }
        if parsed.iter().any(|other| other.resource == resource) {
            return Err(refuse(&format!("{at}.type"), format!("{} is given twice", limit.kind)));
        }
        parsed.push(Rlimit { resource, soft: limit.soft, hard: limit.hard });
    }
    Ok(parsed)
}

fn resource(name: &str) -> Option<u32> {
    Some(match name {
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_LOCKS" => libc::RLIMIT_LOCKS,
        "RLIMIT_SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "RLIMIT_MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => libc::RLIMIT_NICE,
        "RLIMIT_RTPRIO" => libc::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => libc::RLIMIT_RTTIME,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Process, String> {
        let process: spec::Process = spec::parse("config.json", json.as_bytes()).map_err(|error| error.to_string())?;
        super::process(&process, "process").map_err(|error| error.to_string())
    }

    #[test]
    fn absent_capabilities_are_empty() {
        let plan = plan(r#"{"args":["x"],"cwd":"/"}"#).unwrap();
        assert_eq!(plan.capabilities, Capabilities::default());
    }

    #[test]
    fn unknown_capabilities_are_left_out() {
        let sets = r#"{"bounding":["CAP_KILL","CAP_FLY"],"permitted":["CAP_FLY","KILL"]}"#;
        let plan = plan(&format!(r#"{{"args":["x"],"cwd":"/","capabilities":{sets}}}"#)).unwrap();
        assert_eq!((plan.capabilities.bounding, plan.capabilities.permitted), (CapSet(1 << 5), CapSet(0)));
        assert_eq!(plan.warnings, ["config.json: process.capabilities: unknown and left out: [\"CAP_FLY\", \"KILL\"]"]);
    }

    #[test]
    fn names_the_member_that_is_wrong() {
        for (json, message) in [
            (r#"{"args":[],"cwd":"/"}"#, "process.args: needs at least the name of a program"),
            (r#"{"args":["x"],"cwd":"tmp"}"#, "process.cwd: \"tmp\" is not an absolute path"),
            (r#"{"args":["x"],"cwd":"/","env":["A=1","=2"]}"#, "process.env[1]: must be NAME=value without a NUL byte"),
            (
                r#"{"args":["x"],"cwd":"/","capabilities":{"effective":["CAP_KILL"]}}"#,
                "process.capabilities.effective: CAP_KILL must be in permitted, too",
            ),
            (
                r#"{"args":["x"],"cwd":"/","rlimits":[{"type":"RLIMIT_NOFILE","soft":9,"hard":3}]}"#,
                "process.rlimits[0].soft: 9 is above the hard limit 3",
            ),
            (r#"{"args":["x"],"cwd":"/","oomScoreAdj":1001}"#, "process.oomScoreAdj: must be from -1000 to 1000"),
            (
                r#"{"args":["x"],"cwd":"/","scheduler":{"policy":"SCHED_IDLE","nice":-21}}"#,
                "process.scheduler.nice: -21 is not a whole number from -20 to 19",
            ),
            (
                r#"{"args":["x"],"cwd":"/","ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}}"#,
                "process.ioPriority.priority: 8 is not a whole number from 0 to 7",
            ),
            (
                r#"{"args":["x"],"cwd":"/","execCPUAffinity":{"initial":"0-"}}"#,
                "process.execCPUAffinity.initial: \"0-\" is no list such as 0-3,7",
            ),
        ] {
            let Err(error) = plan(json) else { panic!("{json} was taken") };
            assert_eq!(error, format!("config.json: {message}"));
        }
    }

    #[test]
    fn values_that_are_not_text() {
        let text = r#"{"args":["x"],"cwd":"/","env":["A=a\ufffdb","B=2","C=","D"],
            "rt.envBytes":{"A":[97,255,98],"B":[51],"D":[52],"E":[53]}}"#;
        let spec: spec::Process = serde_json::from_str(text).unwrap();
        let plan = process(&spec, "process").unwrap();
        assert_eq!(plan.env, [&b"A=a\xffb"[..], b"B=2", b"C=", b"D"]);
        let again: spec::Process = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again.env_bytes, spec.env_bytes);
        let text = r#"{"args":["x"],"cwd":"/","env":["A=\ufffd\u0000"],"rt.envBytes":{"A":[255,0]}}"#;
        let error = process(&serde_json::from_str(text).unwrap(), "process").map(drop).unwrap_err();
        assert_eq!(error.to_string(), "config.json: process.env[0]: must be NAME=value without a NUL byte");
    }
}

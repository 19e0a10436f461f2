//! What follows from the facts: what is missing, what is limited, and what to do.

use super::Facts;
use super::probe::Probed;
use crate::output::human;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Something is limited.
    Warning,
    /// No container can run.
    Missing,
}

impl Level {
    /// As shown.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Missing => "MISSING",
        }
    }
}

/// One thing that containers need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// What it is about.
    pub(crate) what: &'static str,
    /// How it is.
    pub(crate) how: String,
    /// What to do; empty where there is nothing.
    pub(crate) advice: String,
}

/// Capabilities without which no container can be made.
const NEEDED: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
];

/// Free bytes below which a warning is due.
const LITTLE_SPACE: u64 = 1 << 30;

/// Judges the facts.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    vec![
        user(facts),
        kernel(facts),
        capabilities(facts),
        shim(facts),
        cgroup_version(facts),
        controllers(facts),
        swap(facts),
        probed("overlay", &facts.overlay, Level::Missing, "modprobe overlay, or a kernel with CONFIG_OVERLAY_FS"),
        probed(
            "seccomp",
            &facts.seccomp,
            Level::Missing,
            "a kernel with CONFIG_SECCOMP_FILTER, or --security-opt seccomp=unconfined",
        ),
        probed(
            "network namespaces",
            &facts.network_namespaces,
            Level::Missing,
            "a kernel with CONFIG_NET_NS, or --network host",
        ),
        probed(
            "user namespaces",
            &facts.user_namespaces,
            Level::Warning,
            "only --userns needs them: sysctl user.max_user_namespaces",
        ),
        modules(facts),
        forwarding(facts),
        space(facts),
    ]
}

fn finding(level: Level, what: &'static str, how: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level, what, how: how.into(), advice: advice.into() }
}

fn user(facts: &Facts) -> Finding {
    match facts.root_user {
        true => finding(Level::Ok, "user", "root", ""),
        false => finding(Level::Missing, "user", "not root", "run rtctl with sudo"),
    }
}

/// The oldest kernel that is tested.
const KERNEL: (u32, u32) = (6, 1);

fn kernel(facts: &Facts) -> Finding {
    let mut numbers = facts.kernel.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version >= KERNEL {
        true => finding(Level::Ok, "kernel", &facts.kernel, ""),
        false => finding(
            Level::Warning,
            "kernel",
            &facts.kernel,
            format!("{}.{} is the oldest that is tested", KERNEL.0, KERNEL.1),
        ),
    }
}

fn capabilities(facts: &Facts) -> Finding {
    let missing = &facts.missing_capabilities;
    let needed: Vec<&str> = missing.iter().map(String::as_str).filter(|name| NEEDED.contains(name)).collect();
    if !needed.is_empty() {
        return finding(
            Level::Missing,
            "capabilities",
            format!("without {}", needed.join(", ")),
            "start rtctl where they are not dropped",
        );
    }
    if missing.is_empty() {
        return finding(Level::Ok, "capabilities", "all", "");
    }
    let effects: Vec<&str> = missing
        .iter()
        .filter_map(|name| match name.as_str() {
            "CAP_SYS_RESOURCE" => Some("no --ulimit above the host's own, no --oom-score-adj below it"),
            "CAP_NET_ADMIN" => Some("no networks but none and host"),
            "CAP_MKNOD" => Some("no device nodes"),
            _ => None,
        })
        .collect();
    finding(
        Level::Warning,
        "capabilities",
        format!("without {}", missing.join(", ")),
        if effects.is_empty() { "containers cannot have them either".to_owned() } else { effects.join("; ") },
    )
}

fn shim(facts: &Facts) -> Finding {
    match &facts.shim {
        Ok(path) => finding(Level::Ok, "rt-shim", path.display().to_string(), ""),
        Err(problem) => {
            finding(Level::Missing, "rt-shim", problem, "install rt-shim beside rtctl, or name it in RT_SHIM")
        }
    }
}

fn cgroup_version(facts: &Facts) -> Finding {
    match facts.cgroups.version.as_str() {
        "" => finding(Level::Missing, "cgroups", "none are mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        "2" => finding(Level::Ok, "cgroups", "version 2", ""),
        version => finding(
            Level::Warning,
            "cgroups",
            format!("version {version}"),
            "limits work; for version 2 start the kernel with systemd.unified_cgroup_hierarchy=1",
        ),
    }
}

fn controllers(facts: &Facts) -> Finding {
    let absent: Vec<&str> =
        ["cpu", "memory", "pids"].into_iter().filter(|name| !facts.cgroups.controllers.contains_key(*name)).collect();
    let there: Vec<&str> = facts.cgroups.controllers.keys().map(String::as_str).collect();
    match absent.is_empty() {
        true => finding(Level::Ok, "controllers", there.join(" "), ""),
        false => finding(
            Level::Warning,
            "controllers",
            format!("without {}", absent.join(", ")),
            "such limits are refused; on Debian's Raspberry Pi kernels start with cgroup_enable=memory",
        ),
    }
}

fn swap(facts: &Facts) -> Finding {
    match facts.cgroups.swap {
        Some(true) => finding(Level::Ok, "swap limits", "can be set", ""),
        Some(false) => finding(
            Level::Warning,
            "swap limits",
            "cannot be set",
            "--memory-swap is refused; start the kernel with swapaccount=1",
        ),
        None => finding(Level::Ok, "swap limits", "unknown", ""),
    }
}

fn probed(what: &'static str, probed: &Probed, level: Level, advice: &str) -> Finding {
    match probed {
        Probed::Works => finding(Level::Ok, what, "tried, works", ""),
        Probed::Unknown => finding(Level::Warning, what, "could not be tried", ""),
        Probed::Fails(problem) => finding(level, what, problem, advice),
    }
}

fn modules(facts: &Facts) -> Finding {
    let how = match (facts.apparmor, facts.selinux) {
        (true, _) => "apparmor",
        (false, true) => "selinux",
        (false, false) => "none",
    };
    match facts.selinux && !facts.selinux_labels {
        true => finding(
            Level::Warning,
            "security module",
            how,
            "the SELinux policy has no labels for containers; install container-selinux",
        ),
        false => finding(Level::Ok, "security module", how, ""),
    }
}

fn forwarding(facts: &Facts) -> Finding {
    match facts.forwarding.0 {
        Some(true) => finding(Level::Ok, "ip forwarding", "on", ""),
        Some(false) => {
            finding(Level::Ok, "ip forwarding", "off", "the first container on a bridge network turns it on")
        }
        None => finding(Level::Warning, "ip forwarding", "no IPv4 in the kernel", "bridge networks need it"),
    }
}

fn space(facts: &Facts) -> Finding {
    let storage = &facts.storage;
    let how = format!(
        "{} of {} free on {}",
        human::decimal_size(storage.free),
        human::decimal_size(storage.total),
        storage.path.display()
    );
    match storage.free {
        free if free < LITTLE_SPACE && storage.total > 0 => finding(
            Level::Warning,
            "disk",
            how,
            "rtctl system df shows what takes it; rtctl image prune and rtctl container prune free it",
        ),
        _ => finding(Level::Ok, "disk", how, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn good() -> Facts {
        let controllers =
            ["cpu", "memory", "pids"].map(|name| (name.to_owned(), PathBuf::from("/sys/fs/cgroup"))).into();
        Facts {
            root_user: true,
            kernel: "6.1.0-13-amd64".to_owned(),
            cgroups: super::super::Cgroups { version: "2".to_owned(), controllers, swap: Some(true) },
            seccomp: Probed::Works,
            overlay: Probed::Works,
            user_namespaces: Probed::Works,
            network_namespaces: Probed::Works,
            forwarding: (Some(true), Some(true)),
            storage: super::super::Storage { free: 9 << 30, total: 10 << 30, ..Default::default() },
            shim: Ok("/usr/bin/rt-shim".into()),
            operating_system: String::new(),
            cpus: 1,
            memory: 1,
            apparmor: false,
            selinux: false,
            selinux_labels: false,
            missing_capabilities: Vec::new(),
            cni: Vec::new(),
        }
    }

    #[test]
    fn a_good_host_has_nothing_to_say() {
        let found = findings(&good());
        assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:?}");
    }

    #[test]
    fn each_fact_is_judged() {
        type Change = fn(&mut Facts);
        let cases: &[(&str, Level, &str, Change)] = &[
            ("user", Level::Missing, "sudo", |facts| facts.root_user = false),
            ("kernel", Level::Warning, "6.1 is the oldest", |facts| facts.kernel = "5.10.0".to_owned()),
            ("capabilities", Level::Missing, "not dropped", |facts| {
                facts.missing_capabilities = vec!["CAP_SYS_ADMIN".to_owned()]
            }),
            ("capabilities", Level::Warning, "--ulimit", |facts| {
                facts.missing_capabilities = vec!["CAP_SYS_RESOURCE".to_owned()]
            }),
            ("capabilities", Level::Warning, "cannot have them", |facts| {
                facts.missing_capabilities = vec!["CAP_BPF".to_owned()]
            }),
            ("rt-shim", Level::Missing, "RT_SHIM", |facts| facts.shim = Err("gone".to_owned())),
            ("cgroups", Level::Missing, "mount -t cgroup2", |facts| facts.cgroups.version.clear()),
            ("cgroups", Level::Warning, "unified_cgroup_hierarchy", |facts| {
                facts.cgroups.version = "hybrid".to_owned()
            }),
            ("controllers", Level::Warning, "cgroup_enable=memory", |facts| {
                drop(facts.cgroups.controllers.remove("memory"))
            }),
            ("swap limits", Level::Warning, "swapaccount=1", |facts| facts.cgroups.swap = Some(false)),
            ("overlay", Level::Missing, "modprobe overlay", |facts| {
                facts.overlay = Probed::Fails("fsopen: ENODEV".to_owned())
            }),
            ("seccomp", Level::Missing, "CONFIG_SECCOMP", |facts| facts.seccomp = Probed::Fails("EINVAL".to_owned())),
            ("user namespaces", Level::Warning, "max_user_namespaces", |facts| {
                facts.user_namespaces = Probed::Fails("ENOSPC".to_owned())
            }),
            ("security module", Level::Warning, "container-selinux", |facts| facts.selinux = true),
            ("ip forwarding", Level::Warning, "bridge networks", |facts| facts.forwarding.0 = None),
            ("disk", Level::Warning, "rtctl system df", |facts| facts.storage.free = 5),
        ];
        for (what, level, advice, change) in cases {
            let mut facts = good();
            change(&mut facts);
            let found: Vec<Finding> =
                findings(&facts).into_iter().filter(|finding| finding.level != Level::Ok).collect();
            assert_eq!(found.len(), 1, "{what}: {found:?}");
            assert_eq!((found[0].what, found[0].level), (*what, *level));
            assert!(found[0].advice.contains(advice), "{found:?}");
        }
    }
}

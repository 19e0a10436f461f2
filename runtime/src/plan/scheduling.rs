//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity` and `linux.memoryPolicy`.

use serde_json::Value;

use super::PlanError;
use crate::spec::{CpuAffinity, Member, number_set};
use crate::sys::scheduling::Scheduler;

/// SCHED_* (config.md, "Linux Process").
const POLICIES: &[(&str, u32)] = &[
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

const FLAGS: &[(&str, u32)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

const IO_CLASSES: &[(&str, u32)] = &[("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// MPOL_* modes of `linux.memoryPolicy`.
pub const MEMORY_MODES: &[(&str, u32)] = &[
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// MPOL_F_* flags of `linux.memoryPolicy`.
pub const MEMORY_FLAGS: &[(&str, u32)] =
    &[("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];

/// Where the memory of a process comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// Mode and flags.
    pub mode: u32,
    /// Nodes, a bit each.
    pub nodes: Vec<u64>,
}

/// Checks and converts `process.scheduler`.
pub(super) fn scheduler(value: &Value, at: String) -> Result<Scheduler, PlanError> {
    let member = Member::new(value, at)?;
    let policy = member.word("policy", POLICIES)?;
    let of = |name: &str, most: i64, policies: &[u32]| match member.number(name, 0, most)? {
        Some(number) if number != 0 && !policies.contains(&policy) => {
            Err(member.wrong(name, "means nothing for this policy"))
        }
        number => Ok(number.unwrap_or(0).unsigned_abs()),
    };
    let nice = member.number("nice", -20, 19)?.unwrap_or(0);
    Ok(Scheduler {
        policy,
        flags: member.bits("flags", FLAGS)?.into(),
        nice: i32::try_from(nice).unwrap_or(0),
        priority: u32::try_from(of("priority", 99, &[1, 2])?).unwrap_or(0),
        runtime: of("runtime", i64::MAX, &[6])?,
        deadline: of("deadline", i64::MAX, &[6])?,
        period: of("period", i64::MAX, &[6])?,
        ..Scheduler::default()
    })
}

/// Checks and converts `process.ioPriority`.
pub(super) fn io_priority(value: &Value, at: String) -> Result<u32, PlanError> {
    let member = Member::new(value, at)?;
    let class = member.word("class", IO_CLASSES)?;
    let priority = member.number("priority", 0, 7)?.unwrap_or(0);
    Ok(class << 13 | u32::try_from(priority).unwrap_or(0))
}

/// Checks and converts `process.execCPUAffinity`: processors before and after the process has entered the container's groups.
pub(super) fn affinity(given: &CpuAffinity, at: &str) -> Result<[Option<Vec<u64>>; 2], PlanError> {
    let set = |text: &Option<String>, name: &str| match text.as_deref().filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => number_set(text).map(Some).ok_or_else(|| {
            super::refuse(&format!("{at}.execCPUAffinity.{name}"), format!("{text:?} is no list such as 0-3,7"))
        }),
    };
    Ok([set(&given.initial, "initial")?, set(&given.last, "final")?])
}

/// Checks and converts `linux.memoryPolicy`; also for processes that enter the container.
///
/// # Errors
/// [`PlanError`] with the path of the member.
pub fn memory_policy(value: &Value) -> Result<MemoryPolicy, PlanError> {
    let member = Member::new(value, "linux.memoryPolicy")?;
    let mode = member.word("mode", MEMORY_MODES)?;
    let flags = member.bits("flags", MEMORY_FLAGS)?;
    let text = member.text("nodes")?;
    let none = text.trim().is_empty();
    let nodes = match none {
        true => Vec::new(),
        false => number_set(text).ok_or_else(|| member.wrong("nodes", format!("{text:?} is no list such as 0-3,7")))?,
    };
    match mode {
        0 | 4 if !none => Err(member.wrong("nodes", "means nothing for this mode"))?,
        0 if flags != 0 => Err(member.wrong("flags", "means nothing for this mode"))?,
        0 | 1 | 4 => {}
        _ if none => Err(member.wrong("nodes", "is missing; this mode needs it"))?,
        _ => {}
    }
    Ok(MemoryPolicy { mode: mode | flags, nodes })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schedulers() {
        let plan = |value: Value| scheduler(&value, "process.scheduler".into()).map_err(|error| error.at);
        let fifo = plan(json!({"policy": "SCHED_FIFO", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]})).unwrap();
        assert_eq!((fifo.policy, fifo.priority, fifo.flags), (1, 5, 1));
        for (value, at) in [
            (json!([]), "process.scheduler"),
            (json!({}), "process.scheduler.policy"),
            (json!({"policy": "SCHED_FAST"}), "process.scheduler.policy"),
            (json!({"policy": "SCHED_OTHER", "nice": 20}), "process.scheduler.nice"),
            (json!({"policy": "SCHED_OTHER", "priority": 1}), "process.scheduler.priority"),
            (json!({"policy": "SCHED_FIFO", "runtime": 1}), "process.scheduler.runtime"),
            (json!({"policy": "SCHED_FIFO", "flags": ["X"]}), "process.scheduler.flags[0]"),
        ] {
            assert_eq!(plan(value).unwrap_err(), at);
        }
    }

    #[test]
    fn memory_policies() {
        let plan = |value: Value| memory_policy(&value).map_err(|error| error.at);
        let bind = plan(json!({"mode": "MPOL_BIND", "nodes": "0,2", "flags": ["MPOL_F_STATIC_NODES"]})).unwrap();
        assert_eq!(bind, MemoryPolicy { mode: 2 | 1 << 15, nodes: vec![5] });
        for (value, at) in [
            (json!({"mode": "MPOL_NEAR"}), "linux.memoryPolicy.mode"),
            (json!({"mode": "MPOL_BIND"}), "linux.memoryPolicy.nodes"),
            (json!({"mode": "MPOL_BIND", "nodes": "x"}), "linux.memoryPolicy.nodes"),
            (json!({"mode": "MPOL_DEFAULT", "nodes": "0"}), "linux.memoryPolicy.nodes"),
            (json!({"mode": "MPOL_DEFAULT", "flags": ["MPOL_F_STATIC_NODES"]}), "linux.memoryPolicy.flags"),
        ] {
            assert_eq!(plan(value).unwrap_err(), at);
        }
    }
}

//! `events`: what a container uses, as one event of JSON.

use runtime::cgroup::Stats;
use runtime::state::Access;
use serde_json::json;

use super::{Context, Failure, Verb};
use crate::args::{Flag, Parsed};

pub(super) const VERB: Verb = Verb {
    name: "events",
    usage: "events --stats ID",
    summary: "show what a container uses as JSON",
    flags: &[
        Flag { name: "stats", short: None, value: None, help: "show it once and end" },
        Flag { name: "interval", short: None, value: Some("DURATION"), help: "not built yet" },
    ],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    if !parsed.is_set("stats") {
        return Err(Failure::new("a stream of events is not built yet; use --stats"));
    }
    let container = context.open(parsed, Access::Look)?;
    let (record, _) = container.alive("it uses nothing")?;
    let cgroup =
        container.cgroup.as_ref().ok_or_else(|| Failure::new(format!("container {} has no cgroup", record.id)))?;
    println!("{}", json!({ "type": "stats", "id": record.id, "data": data(&cgroup.stats()?) }));
    Ok(0)
}

/// The figures as runc names them.
fn data(stats: &Stats) -> serde_json::Value {
    let cpu = &stats.cpu;
    let memory = stats.memory.as_ref().map(|memory| {
        json!({
            "usage": { "usage": memory.usage_bytes, "max": memory.peak_bytes, "limit": memory.limit_bytes },
            "swap": { "usage": memory.swap_usage_bytes, "limit": memory.swap_limit_bytes },
            "cache": memory.file_bytes,
            "raw": {
                "anon": memory.anon_bytes, "inactive_file": memory.inactive_file_bytes,
                "pgfault": memory.page_faults, "pgmajfault": memory.major_page_faults, "oom_kill": memory.oom_kills,
            },
        })
    });
    json!({
        "cpu": {
            "usage": { "total": cpu.usage_ns, "user": cpu.user_ns, "kernel": cpu.system_ns },
            "throttling": {
                "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods, "throttledTime": cpu.throttled_ns,
            },
        },
        "memory": memory,
        "pids": stats.pids.as_ref().map(|pids| json!({ "current": pids.current, "limit": pids.limit })),
    })
}

//! Writes for cgroup v2 (Documentation/admin-guide/cgroup-v2.rst of the kernel).

use std::collections::BTreeMap;

use super::{
    Amount, CheckedMemory, Current, Error, LIMIT, RESERVATION, SWAP, Write, device, invalid, io_weight, list,
    set_amount,
};
use crate::cgroup::controller::Controller::{self, Cpu, Cpuset, Io, Memory};
use crate::spec;

fn value(amount: Amount) -> String {
    match amount {
        Amount::Unlimited => "max".to_owned(),
        Amount::Of(amount) => amount.to_string(),
    }
}

/// `cpuset.cpus`, `cpuset.mems`: the files have the same names in v1.
pub(super) fn cpuset(cpu: &spec::Cpu) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    for (field, file, value) in
        [("linux.resources.cpu.cpus", "cpuset.cpus", &cpu.cpus), ("linux.resources.cpu.mems", "cpuset.mems", &cpu.mems)]
    {
        writes.extend(list(field, value)?.map(|list| Write::new(Cpuset, field, file, list)));
    }
    Ok(writes)
}

/// Weight, quota, burst, idle.
pub(super) fn cpu(cpu: &spec::Cpu, current: &Current) -> Result<Vec<Write>, Error> {
    for (set, field) in [
        (cpu.realtime_period.is_some_and(|value| value != 0), "linux.resources.cpu.realtimePeriod"),
        (cpu.realtime_runtime.is_some_and(|value| value != 0), "linux.resources.cpu.realtimeRuntime"),
    ] {
        if set {
            return Err(invalid(field, "cgroup v2 has no realtime limits"));
        }
    }
    let mut writes = Vec::new();
    if let Some(idle) = cpu.idle {
        check_idle(idle)?;
        // KERNEL(5.15): cpu.idle
        let write = Write::new(Cpu, "linux.resources.cpu.idle", "cpu.idle", idle);
        writes.push(write.absent_is_fine_if(idle == 0));
    }
    // An idle group has a fixed weight, the kernel refuses another one.
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0 && cpu.idle != Some(1)) {
        writes.push(Write::new(Cpu, "linux.resources.cpu.shares", "cpu.weight", weight(shares)));
    }
    let quota = set_amount("linux.resources.cpu.quota", cpu.quota)?;
    let period = cpu.period.filter(|period| *period != 0);
    let maximum = match (quota, period) {
        (None, None) => None,
        // A lone quota leaves the period as it is.
        (Some(quota), None) => Some(("linux.resources.cpu.quota", value(quota))),
        (Some(quota), Some(period)) => Some(("linux.resources.cpu.quota", format!("{} {period}", value(quota)))),
        (None, Some(period)) => {
            let old = current.cpu_max.as_deref().and_then(|text| text.split_ascii_whitespace().next());
            Some(("linux.resources.cpu.period", format!("{} {period}", old.unwrap_or("max"))))
        }
    };
    if let Some((field, maximum)) = maximum {
        // Refused while it is less than the old burst.
        writes.push(Write::new(Cpu, field, "cpu.max", maximum).may_come_last());
    }
    if let Some(burst) = cpu.burst {
        // KERNEL(5.14): cpu.max.burst
        let write = Write::new(Cpu, "linux.resources.cpu.burst", "cpu.max.burst", burst);
        writes.push(write.may_come_last().absent_is_fine_if(burst == 0));
    }
    Ok(writes)
}

pub(super) fn check_idle(idle: i64) -> Result<(), Error> {
    match idle {
        0 | 1 => Ok(()),
        idle => Err(invalid("linux.resources.cpu.idle", format!("{idle} is neither 0 nor 1"))),
    }
}

/// `cpu.weight` (1 to 10000) of v1 shares (2 to 262144): the curve on which 2 is 1, 1024 (v1's default) is 100 (v2's
/// default) and 262144 is 10000, 10^((log2(s)² + 125 log2(s)) / 612 − 7/34), as the other runtimes do since 2025; before, a
/// straight line gave v1's default a weight of 39.
pub fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            #[expect(clippy::cast_precision_loss, reason = "at most 18 bits")]
            let log = (shares as f64).log2();
            let weight = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 10000")]
            let weight = weight as u64;
            weight
        }
    }
}

/// Limits of memory and of swap: the specification counts both together, v2 apart.
pub(super) fn memory(memory: &spec::Memory, current: &Current) -> Result<Vec<Write>, Error> {
    let CheckedMemory { limit, both, reservation } = CheckedMemory::new(memory)?;
    if memory.swappiness.is_some() {
        return Err(invalid("linux.resources.memory.swappiness", "cgroup v2 has no swappiness"));
    }
    if memory.disable_oom_killer == Some(true) {
        let problem = "on cgroup v2 the OOM killer cannot be disabled";
        return Err(invalid("linux.resources.memory.disableOOMKiller", problem));
    }
    if let (Some(true), Some(Amount::Of(limit)), Some(usage)) =
        (memory.check_before_update, limit, current.memory_usage)
        && limit < usage
    {
        let problem = format!("{usage} bytes are in use, {limit} would make the OOM killer run (checkBeforeUpdate)");
        return Err(invalid(LIMIT, problem));
    }
    let swap = match (limit, both) {
        (_, Some(Amount::Unlimited)) => Some((SWAP, Amount::Unlimited)),
        (Some(Amount::Of(limit)), Some(Amount::Of(both))) => Some((SWAP, Amount::Of(both - limit))),
        (Some(Amount::Unlimited), None) => Some((LIMIT, Amount::Unlimited)),
        (Some(Amount::Of(_)) | None, None) => None,
        (Some(Amount::Unlimited) | None, Some(Amount::Of(_))) => {
            return Err(invalid(SWAP, "a limit of memory and swap together needs a memory limit"));
        }
    };
    let mut writes = Vec::new();
    if let Some((field, swap)) = swap {
        // Without the file there is no swap, so that "none" and "any amount" are both true.
        let any = matches!(swap, Amount::Unlimited | Amount::Of(0));
        writes.push(Write::new(Memory, field, "memory.swap.max", value(swap)).absent_is_fine_if(any));
    }
    if let Some(limit) = limit {
        writes.push(Write::new(Memory, LIMIT, "memory.max", value(limit)));
    }
    if let Some(reservation) = reservation {
        writes.push(Write::new(Memory, RESERVATION, "memory.low", value(reservation)));
    }
    Ok(writes)
}

/// `io.weight` (1 to 10000) of a v1 weight (10 to 1000).
pub fn weight_of_io(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// Weights and throttles. BFQ has its own weights, on the scale of v1.
pub(super) fn block_io(io: &spec::BlockIo) -> Result<Vec<Write>, Error> {
    let no_leaves = |field: String| invalid(field, "cgroup v2 has no leaf weights");
    let mut writes = Vec::new();
    if let Some(weight) = io_weight("linux.resources.blockIO.weight", io.weight)? {
        let write = Write::new(Io, "linux.resources.blockIO.weight", "io.bfq.weight", weight);
        writes.push(write.or("io.weight", weight_of_io(weight)));
    }
    if io.leaf_weight.is_some_and(|weight| weight != 0) {
        return Err(no_leaves("linux.resources.blockIO.leafWeight".to_owned()));
    }
    for (index, entry) in io.weight_device.iter().enumerate() {
        let field = format!("linux.resources.blockIO.weightDevice[{index}]");
        if entry.leaf_weight.is_some_and(|weight| weight != 0) {
            return Err(no_leaves(format!("{field}.leafWeight")));
        }
        let device = device(&field, entry.major, entry.minor)?;
        if let Some(weight) = io_weight(format!("{field}.weight"), entry.weight)? {
            let write = Write::new(Io, format!("{field}.weight"), "io.bfq.weight", format!("{device} {weight}"));
            writes.push(write.or("io.weight", format!("{device} {}", weight_of_io(weight))));
        }
    }
    // One line per device takes all its throttles.
    let mut maxima: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (throttles, name, key) in [
        (&io.throttle_read_bps_device, "throttleReadBpsDevice", "rbps"),
        (&io.throttle_write_bps_device, "throttleWriteBpsDevice", "wbps"),
        (&io.throttle_read_iops_device, "throttleReadIOPSDevice", "riops"),
        (&io.throttle_write_iops_device, "throttleWriteIOPSDevice", "wiops"),
    ] {
        for (index, throttle) in throttles.iter().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{index}]");
            let device = device(&field, throttle.major, throttle.minor)?;
            let (_, line) = maxima.entry(device).or_insert_with(|| (field, String::new()));
            match throttle.rate {
                // v1's way to take a limit away.
                0 => line.push_str(&format!(" {key}=max")),
                rate => line.push_str(&format!(" {key}={rate}")),
            }
        }
    }
    writes.extend(
        maxima.into_iter().map(|(device, (field, line))| Write::new(Io, field, "io.max", format!("{device}{line}"))),
    );
    Ok(writes)
}

/// JSON path of a member of `linux.resources.unified`.
pub(super) fn unified_field(key: &str) -> String {
    format!("linux.resources.unified[{key:?}]")
}

/// A member of `linux.resources.unified`: the controller that its file needs, `None` for those of the core, and the writes,
/// one a line.
pub(super) fn unified(key: &str, value: &str) -> Result<(Option<Controller>, Vec<Write>), Error> {
    /// Files of the core that are limits; the others move, freeze or kill processes.
    const CORE: [&str; 3] = ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];
    let field = || unified_field(key);
    if key.contains(['/', '\0']) {
        return Err(invalid(field(), "it must be the name of a file, without slashes"));
    }
    let Some((prefix, rest)) = key.split_once('.') else {
        return Err(invalid(field(), "it must have the form CONTROLLER.PARAMETER"));
    };
    let controller = match (prefix, Controller::v2(prefix)) {
        ("cgroup", _) if CORE.contains(&key) => None,
        ("cgroup", _) => return Err(invalid(field(), "it is not a limit")),
        (_, Some(controller)) if !rest.is_empty() => Some(controller),
        _ => return Err(invalid(field(), format!("no controller of cgroup v2 is called {prefix:?}"))),
    };
    let write = |line: &str| Write::new(controller, field(), key.to_owned(), line);
    let writes: Vec<Write> = value.lines().filter(|line| !line.trim().is_empty()).map(write).collect();
    if writes.is_empty() {
        return Err(invalid(field(), "it has no value"));
    }
    Ok((controller, writes))
}

//! Writes for cgroup v1 (Documentation/admin-guide/cgroup-v1 of the kernel).

use super::{
    Amount, CheckedMemory, Current, Error, LIMIT, RESERVATION, SWAP, Write, device, invalid, io_weight, list,
    set_amount,
};
use crate::cgroup::controller::Controller::{Cpu, Cpuset, Io, Memory, NetCls, NetPrio};
use crate::spec::{self, Member};

fn value(amount: Amount) -> String {
    match amount {
        Amount::Unlimited => "-1".to_owned(),
        Amount::Of(amount) => amount.to_string(),
    }
}

/// `cpuset.cpus`, `cpuset.mems`.
pub(super) fn cpuset(cpu: &spec::Cpu) -> Result<Vec<Write>, Error> {
    let cpus = list("linux.resources.cpu.cpus", &cpu.cpus)?;
    let mems = list("linux.resources.cpu.mems", &cpu.mems)?;
    let write = |field, file, list| Write::new(Cpuset, field, file, list);
    Ok(cpus
        .map(|cpus| write("linux.resources.cpu.cpus", "cpuset.cpus", cpus))
        .into_iter()
        .chain(mems.map(|mems| write("linux.resources.cpu.mems", "cpuset.mems", mems)))
        .collect())
}

/// Shares, quota, burst, idle, realtime.
///
/// The kernel refuses a quota, period or burst that contradicts another one of them or exceeds the parent's share, at every
/// moment of a change: what is refused at first is tried again when the others are in place.
pub(super) fn cpu(cpu: &spec::Cpu) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    let mut push = |field, file, value: String| writes.push(Write::new(Cpu, field, file, value).may_come_last());
    if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
        push("linux.resources.cpu.realtimePeriod", "cpu.rt_period_us", period.to_string());
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|runtime| *runtime != 0) {
        push("linux.resources.cpu.realtimeRuntime", "cpu.rt_runtime_us", runtime.to_string());
    }
    if let Some(idle) = cpu.idle {
        super::v2::check_idle(idle)?;
        push("linux.resources.cpu.idle", "cpu.idle", idle.to_string());
    }
    // An idle group has a fixed weight, the kernel refuses another one.
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0 && cpu.idle != Some(1)) {
        push("linux.resources.cpu.shares", "cpu.shares", shares.to_string());
    }
    if let Some(period) = cpu.period.filter(|period| *period != 0) {
        push("linux.resources.cpu.period", "cpu.cfs_period_us", period.to_string());
    }
    if let Some(quota) = set_amount("linux.resources.cpu.quota", cpu.quota)? {
        push("linux.resources.cpu.quota", "cpu.cfs_quota_us", value(quota));
    }
    if let Some(burst) = cpu.burst {
        let write = Write::new(Cpu, "linux.resources.cpu.burst", "cpu.cfs_burst_us", burst).may_come_last();
        writes.push(write.absent_is_fine_if(burst == 0));
    }
    Ok(writes)
}

/// Limits of memory, and of memory and swap together.
///
/// The second may at no time be less than the first. Writing the first first is right when both fall; when both rise, the
/// kernel refuses it and takes it after the second.
pub(super) fn memory(memory: &spec::Memory, current: &Current) -> Result<Vec<Write>, Error> {
    let CheckedMemory { limit, both, reservation } = CheckedMemory::new(memory)?;
    let mut writes = Vec::new();
    if let Some(limit) = limit {
        writes.push(Write::new(Memory, LIMIT, "memory.limit_in_bytes", value(limit)).may_come_last());
    }
    match (limit, both) {
        (_, Some(both)) => {
            let write = Write::new(Memory, SWAP, "memory.memsw.limit_in_bytes", value(both)).may_come_last();
            writes.push(write.absent_is_fine_if(both == Amount::Unlimited));
        }
        // No limit of memory means none of both, or it would not be so.
        (Some(Amount::Unlimited), None) => {
            writes.push(Write::new(Memory, LIMIT, "memory.memsw.limit_in_bytes", "-1").absent_is_fine());
        }
        (Some(Amount::Of(_)) | None, None) => {}
    }
    if let Some(reservation) = reservation {
        writes.push(Write::new(Memory, RESERVATION, "memory.soft_limit_in_bytes", value(reservation)));
    }
    match memory.swappiness {
        None => {}
        Some(swappiness @ 0..=100) => {
            writes.push(Write::new(Memory, "linux.resources.memory.swappiness", "memory.swappiness", swappiness));
        }
        Some(swappiness) => {
            let problem = format!("{swappiness} is not from 0 to 100");
            return Err(invalid("linux.resources.memory.swappiness", problem));
        }
    }
    if let Some(disable) = memory.disable_oom_killer.filter(|disable| *disable || !current.fresh) {
        let field = "linux.resources.memory.disableOOMKiller";
        let write = Write::new(Memory, field, "memory.oom_control", u8::from(disable));
        writes.push(write.absent_is_fine_if(!disable));
    }
    Ok(writes)
}

/// Weights and throttles.
pub(super) fn block_io(io: &spec::BlockIo) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    if let Some(weight) = io_weight("linux.resources.blockIO.weight", io.weight)? {
        let write = Write::new(Io, "linux.resources.blockIO.weight", "blkio.bfq.weight", weight);
        writes.push(write.or("blkio.weight", weight));
    }
    if let Some(weight) = io_weight("linux.resources.blockIO.leafWeight", io.leaf_weight)? {
        writes.push(Write::new(Io, "linux.resources.blockIO.leafWeight", "blkio.leaf_weight", weight));
    }
    for (index, entry) in io.weight_device.iter().enumerate() {
        let field = format!("linux.resources.blockIO.weightDevice[{index}]");
        let device = device(&field, entry.major, entry.minor)?;
        if let Some(weight) = io_weight(format!("{field}.weight"), entry.weight)? {
            let line = format!("{device} {weight}");
            let write = Write::new(Io, format!("{field}.weight"), "blkio.bfq.weight_device", &line);
            writes.push(write.or("blkio.weight_device", line));
        }
        if let Some(weight) = io_weight(format!("{field}.leafWeight"), entry.leaf_weight)? {
            let line = format!("{device} {weight}");
            writes.push(Write::new(Io, format!("{field}.leafWeight"), "blkio.leaf_weight_device", line));
        }
    }
    for (throttles, name, file) in [
        (&io.throttle_read_bps_device, "throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        (&io.throttle_write_bps_device, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        (&io.throttle_read_iops_device, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        (&io.throttle_write_iops_device, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ] {
        for (index, throttle) in throttles.iter().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{index}]");
            let line = format!("{} {}", device(&field, throttle.major, throttle.minor)?, throttle.rate);
            writes.push(Write::new(Io, field, file, line));
        }
    }
    Ok(writes)
}

/// Class and priorities of packets.
pub(super) fn network(value: &serde_json::Value) -> Result<Vec<Write>, Error> {
    let member = Member::new(value, "linux.resources.network")?;
    let mut writes = Vec::new();
    if let Some(class) = member.number("classID", 0, u32::MAX.into())? {
        writes.push(Write::new(NetCls, format!("{}.classID", member.at()), "net_cls.classid", class));
    }
    for entry in member.members("priorities")? {
        let name = entry.text("name")?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(entry.wrong("name", "must be the name of an interface").into());
        }
        let priority = entry.number("priority", 0, u32::MAX.into())?.unwrap_or(0);
        writes.push(Write::new(NetPrio, entry.at().to_owned(), "net_prio.ifpriomap", format!("{name} {priority}")));
    }
    Ok(writes)
}

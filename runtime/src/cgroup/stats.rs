//! What a group uses.

use std::collections::BTreeMap;

use serde::Serialize;

use super::controller::Controller;
use super::dir::Dir;
use super::pressure::Pressures;
use super::{Cgroup, Error, wait};

/// What a group and all below it use; a part is absent where its controller is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory and swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStats>,
    /// Tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<PidsStats>,
    /// Block devices that were used.
    pub io: Vec<IoStats>,
    /// Huge pages, by page size.
    pub hugetlb: Vec<HugetlbStats>,
    /// Time lost by waiting for resources.
    pub pressure: Pressures,
}

/// CPU time since the group was made, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CpuStats {
    /// All.
    pub usage_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// Periods in which the group could run, where it has a quota.
    pub periods: u64,
    /// Those of them in which the quota was used up.
    pub throttled_periods: u64,
    /// Time spent waiting for the next period, added up over CPUs.
    pub throttled_ns: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryStats {
    /// All that is charged to the group, page cache included.
    pub usage_bytes: u64,
    /// Highest usage so far, where the kernel tells (v2: 5.19).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Limit; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Usage without the page cache that is easily given back (`inactive_file`): what the kubelet evicts by.
    pub working_set_bytes: u64,
    /// Page cache that is easily given back.
    pub inactive_file_bytes: u64,
    /// Anonymous memory.
    pub anon_bytes: u64,
    /// Page cache.
    pub file_bytes: u64,
    /// Files mapped into processes.
    pub mapped_file_bytes: u64,
    /// The kernel's own memory, where it is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_bytes: Option<u64>,
    /// Memory that is kept for the group: `memory.min`, on v1 the soft limit; 0 means none.
    pub reserved_bytes: u64,
    /// How often the limit was hit: `memory.failcnt` on v1, `max` of `memory.events` on v2.
    pub limit_hits: u64,
    /// Swap in use.
    pub swap_usage_bytes: u64,
    /// Limit of swap alone; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_limit_bytes: Option<u64>,
    /// Page faults.
    pub page_faults: u64,
    /// Page faults that had to read.
    pub major_page_faults: u64,
    /// Processes taken by the OOM killer.
    pub oom_kills: u64,
}

/// Tasks (threads).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// Limit; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// One block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IoStats {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read operations.
    pub read_operations: u64,
    /// Write operations.
    pub write_operations: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HugetlbStats {
    /// Such as `2MB`.
    pub page_size: String,
    /// In use.
    pub usage_bytes: u64,
    /// Highest usage so far, where the kernel tells (v1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Limit; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Allocations that the limit refused.
    pub failures: u64,
}

impl Cgroup {
    /// Reads what the group and all below it use.
    ///
    /// # Errors
    /// [`Error::System`]; [`Error::Malformed`] when a file is not what the kernel's documentation says.
    pub fn stats(&self) -> Result<Stats, Error> {
        let v2 = self.v2.as_ref().map(|v2| &v2.dir);
        let mut stats = Stats::default();
        match (self.v1_of(Controller::Cpuacct), self.v1_of(Controller::Cpu)) {
            // The core of v2 counts CPU time, on hybrid hosts too.
            (None, None) => stats.cpu = v2.map(|dir| dir.read("cpu.stat")).transpose()?.map(cpu2).unwrap_or_default(),
            (accounting, quota) => {
                if let Some(dir) = accounting {
                    stats.cpu.usage_ns = number(dir, "cpuacct.usage")?;
                    stats.cpu.user_ns = number(dir, "cpuacct.usage_user")?;
                    stats.cpu.system_ns = number(dir, "cpuacct.usage_sys")?;
                }
                if let Some(dir) = quota {
                    throttling1(&dir.read("cpu.stat")?, &mut stats.cpu);
                }
            }
        }
        stats.memory = match self.v1_of(Controller::Memory) {
            Some(dir) => Some(memory1(dir)?),
            None => v2.map(memory2).transpose()?.flatten(),
        };
        if let Some(memory) = &mut stats.memory {
            memory.oom_kills = self.oom_kills()?;
        }
        let pids = self.v1_of(Controller::Pids).or(v2);
        if let Some((dir, current)) =
            pids.map(|dir| Ok::<_, Error>((dir, dir.read_if_there("pids.current")?))).transpose()?
            && let Some(current) = current
        {
            let limit = maximum(dir, "pids.max")?;
            stats.pids = Some(PidsStats { current: parse(dir, "pids.current", &current)?, limit });
        }
        stats.io = match self.v1_of(Controller::Io) {
            Some(dir) => {
                let bytes = dir.read_if_there("blkio.throttle.io_service_bytes_recursive")?;
                let operations = dir.read_if_there("blkio.throttle.io_serviced_recursive")?;
                io1(&bytes.unwrap_or_default(), &operations.unwrap_or_default())
            }
            None => v2
                .map(|dir| dir.read_if_there("io.stat"))
                .transpose()?
                .flatten()
                .map(|text| io2(&text))
                .unwrap_or_default(),
        };
        stats.hugetlb = match self.v1_of(Controller::Hugetlb) {
            Some(dir) => hugetlb(dir, ".usage_in_bytes", |dir, size| {
                Ok(HugetlbStats {
                    peak_bytes: Some(number(dir, &format!("hugetlb.{size}.max_usage_in_bytes"))?),
                    limit_bytes: bytes1(dir, &format!("hugetlb.{size}.limit_in_bytes"))?,
                    failures: number(dir, &format!("hugetlb.{size}.failcnt"))?,
                    ..HugetlbStats::default()
                })
            })?,
            None => v2
                .map(|dir| {
                    hugetlb(dir, ".current", |dir, size| {
                        let events = dir.read(&format!("hugetlb.{size}.events"))?;
                        Ok(HugetlbStats {
                            limit_bytes: maximum(dir, &format!("hugetlb.{size}.max"))?,
                            failures: wait::value(&events, "max").unwrap_or(0),
                            ..HugetlbStats::default()
                        })
                    })
                })
                .transpose()?
                .unwrap_or_default(),
        };
        // Pressure belongs to the core of v2: a hybrid host has it, too.
        if let Some(dir) = v2 {
            stats.pressure = Pressures::read(dir)?;
        }
        Ok(stats)
    }
}

fn parse(dir: &Dir, file: &str, text: &str) -> Result<u64, Error> {
    let malformed = |_| Error::Malformed { path: dir.path().join(file), content: text.to_owned() };
    text.trim().parse().map_err(malformed)
}

fn number(dir: &Dir, file: &str) -> Result<u64, Error> {
    parse(dir, file, &dir.read(file)?)
}

/// A v2 limit (and v1's `pids.max`): `max` means none.
fn maximum(dir: &Dir, file: &str) -> Result<Option<u64>, Error> {
    match dir.read_if_there(file)?.as_deref().map(str::trim) {
        None | Some("max") => Ok(None),
        Some(text) => parse(dir, file, text).map(Some),
    }
}

/// A v1 limit in bytes: all the pages of an `i64` mean none.
fn bytes1(dir: &Dir, file: &str) -> Result<Option<u64>, Error> {
    const NO_LIMIT: u64 = (i64::MAX as u64) & !0xffff;
    let Some(text) = dir.read_if_there(file)? else { return Ok(None) };
    Ok(Some(parse(dir, file, &text)?).filter(|bytes| *bytes < NO_LIMIT))
}

fn cpu2(text: String) -> CpuStats {
    let of = |key| wait::value(&text, key).unwrap_or(0);
    CpuStats {
        usage_ns: of("usage_usec") * 1000,
        user_ns: of("user_usec") * 1000,
        system_ns: of("system_usec") * 1000,
        periods: of("nr_periods"),
        throttled_periods: of("nr_throttled"),
        throttled_ns: of("throttled_usec") * 1000,
    }
}

fn throttling1(text: &str, cpu: &mut CpuStats) {
    let of = |key| wait::value(text, key).unwrap_or(0);
    cpu.periods = of("nr_periods");
    cpu.throttled_periods = of("nr_throttled");
    cpu.throttled_ns = of("throttled_time");
}

fn memory1(dir: &Dir) -> Result<MemoryStats, Error> {
    let stat = dir.read("memory.stat")?;
    let of = |key| wait::value(&stat, key).unwrap_or(0);
    let usage_bytes = number(dir, "memory.usage_in_bytes")?;
    let limit_bytes = bytes1(dir, "memory.limit_in_bytes")?;
    let both = bytes1(dir, "memory.memsw.limit_in_bytes")?;
    let optional = |file| dir.read_if_there(file)?.map(|text| parse(dir, file, &text)).transpose();
    Ok(MemoryStats {
        usage_bytes,
        peak_bytes: Some(number(dir, "memory.max_usage_in_bytes")?),
        limit_bytes,
        working_set_bytes: usage_bytes.saturating_sub(of("total_inactive_file")),
        inactive_file_bytes: of("total_inactive_file"),
        anon_bytes: of("total_rss"),
        file_bytes: of("total_cache"),
        mapped_file_bytes: of("total_mapped_file"),
        kernel_bytes: optional("memory.kmem.usage_in_bytes")?,
        reserved_bytes: bytes1(dir, "memory.soft_limit_in_bytes")?.unwrap_or(0),
        limit_hits: number(dir, "memory.failcnt")?,
        swap_usage_bytes: of("total_swap"),
        swap_limit_bytes: both.map(|both| both.saturating_sub(limit_bytes.unwrap_or(0))),
        page_faults: of("total_pgfault"),
        major_page_faults: of("total_pgmajfault"),
        oom_kills: 0,
    })
}

fn memory2(dir: &Dir) -> Result<Option<MemoryStats>, Error> {
    let Some(usage) = dir.read_if_there("memory.current")? else { return Ok(None) };
    let usage_bytes = parse(dir, "memory.current", &usage)?;
    let stat = dir.read("memory.stat")?;
    let of = |key| wait::value(&stat, key).unwrap_or(0);
    let optional = |file| dir.read_if_there(file)?.map(|text| parse(dir, file, &text)).transpose();
    let events = dir.read_if_there("memory.events")?.unwrap_or_default();
    Ok(Some(MemoryStats {
        usage_bytes,
        peak_bytes: optional("memory.peak")?,
        limit_bytes: maximum(dir, "memory.max")?,
        working_set_bytes: usage_bytes.saturating_sub(of("inactive_file")),
        inactive_file_bytes: of("inactive_file"),
        anon_bytes: of("anon"),
        file_bytes: of("file"),
        mapped_file_bytes: of("file_mapped"),
        kernel_bytes: Some(kernel2(&stat)),
        reserved_bytes: maximum(dir, "memory.min")?.unwrap_or(0),
        limit_hits: wait::value(&events, "max").unwrap_or(0),
        swap_usage_bytes: optional("memory.swap.current")?.unwrap_or(0),
        swap_limit_bytes: maximum(dir, "memory.swap.max")?,
        page_faults: of("pgfault"),
        major_page_faults: of("pgmajfault"),
        oom_kills: 0,
    }))
}

/// The kernel's own memory by `memory.stat` of v2. KERNEL(5.18): `kernel` is the sum; before, what it is made of.
fn kernel2(stat: &str) -> u64 {
    let of = |key| wait::value(stat, key);
    let parts = ["kernel_stack", "pagetables", "sec_pagetables", "percpu", "slab", "vmalloc"];
    of("kernel").unwrap_or_else(|| parts.into_iter().filter_map(of).sum())
}

/// The entry of a device named `major:minor`; other lines (`Total`, ...) have none.
fn io_of<'a>(devices: &'a mut BTreeMap<(u32, u32), IoStats>, name: &str) -> Option<&'a mut IoStats> {
    let (major, minor) = name.split_once(':')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    Some(devices.entry((major, minor)).or_insert(IoStats { major, minor, ..IoStats::default() }))
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 ...`; a device that was never used has no keys.
fn io2(text: &str) -> Vec<IoStats> {
    let mut devices = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (Ok(value), Some(io)) = (value.parse(), io_of(&mut devices, name)) else { continue };
            match key {
                "rbytes" => io.read_bytes = value,
                "wbytes" => io.write_bytes = value,
                "rios" => io.read_operations = value,
                "wios" => io.write_operations = value,
                _ => {}
            }
        }
    }
    devices.into_values().collect()
}

/// `8:0 Read 4096`.
fn io1(bytes: &str, operations: &str) -> Vec<IoStats> {
    let mut devices = BTreeMap::new();
    for (text, is_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [name, operation @ ("Read" | "Write"), value] = words[..] else { continue };
            let (Ok(value), Some(io)) = (value.parse(), io_of(&mut devices, name)) else { continue };
            match (operation, is_bytes) {
                ("Read", true) => io.read_bytes = value,
                ("Read", false) => io.read_operations = value,
                (_, true) => io.write_bytes = value,
                (_, false) => io.write_operations = value,
            }
        }
    }
    devices.into_values().collect()
}

fn hugetlb(
    dir: &Dir,
    usage: &str,
    rest: impl Fn(&Dir, &str) -> Result<HugetlbStats, Error>,
) -> Result<Vec<HugetlbStats>, Error> {
    let mut all = Vec::new();
    for file in dir.files()? {
        let size = file.strip_prefix("hugetlb.").and_then(|name| name.strip_suffix(usage));
        // `hugetlb.2MB.rsvd.current` is about reservations.
        let Some(page_size) = size.filter(|size| !size.contains('.')) else { continue };
        let rest = rest(dir, page_size)?;
        all.push(HugetlbStats { page_size: page_size.to_owned(), usage_bytes: number(dir, &file)?, ..rest });
    }
    all.sort_by(|a, b| a.page_size.cmp(&b.page_size));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu() {
        let text = "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7\n";
        let expected = CpuStats {
            usage_ns: 30_000,
            user_ns: 20_000,
            system_ns: 10_000,
            periods: 4,
            throttled_periods: 2,
            throttled_ns: 7000,
        };
        assert_eq!(cpu2(text.to_owned()), expected);
        let mut cpu = CpuStats::default();
        throttling1("nr_periods 4\nnr_throttled 2\nthrottled_time 7\nnr_bursts 0\n", &mut cpu);
        assert_eq!(cpu, CpuStats { periods: 4, throttled_periods: 2, throttled_ns: 7, ..CpuStats::default() });
    }

    #[test]
    fn io() {
        let sda =
            IoStats { major: 8, minor: 0, read_bytes: 1, write_bytes: 2, read_operations: 3, write_operations: 4 };
        let v2 = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:0\n(unknown) rbytes=9\n";
        assert_eq!(io2(v2), [sda]);
        let bytes = "8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Total 3\nTotal 3\n";
        assert_eq!(io1(bytes, "8:0 Read 3\n8:0 Write 4\nTotal 7\n"), [sda]);
        assert_eq!(io1("", ""), []);
    }
}

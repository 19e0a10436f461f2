//! What pods and containers use, as the wire has it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use proto::v1;
use runtime::cgroup::{MemoryStats, Pressure, Stall};

use crate::disk::Usage;
use crate::network::InterfaceCounters;
use crate::stats::{Measured, Reading};

/// The interface that a pod's traffic is told of first: what network plugins make.
const DEFAULT_INTERFACE: &str = "eth0";

/// A number that may be 0, which is not the same as none.
pub(super) fn number(value: u64) -> v1::UInt64Value {
    v1::UInt64Value { value }
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// CPU time. CRI: CpuUsage
pub(super) fn cpu(reading: &Reading) -> v1::CpuUsage {
    v1::CpuUsage {
        timestamp: nanoseconds(reading.at),
        usage_core_nano_seconds: Some(number(reading.stats.cpu.usage_ns)),
        usage_nano_cores: Some(number(reading.nano_cores)),
        psi: reading.stats.pressure.cpu.as_ref().map(psi),
    }
}

/// Memory; without a limit nothing is told about what is left. CRI: MemoryUsage
pub(super) fn memory(reading: &Reading) -> Option<v1::MemoryUsage> {
    let memory = reading.stats.memory.as_ref()?;
    Some(v1::MemoryUsage {
        timestamp: nanoseconds(reading.at),
        working_set_bytes: Some(number(memory.working_set_bytes)),
        available_bytes: memory.limit_bytes.map(|limit| number(limit.saturating_sub(memory.working_set_bytes))),
        usage_bytes: Some(number(memory.usage_bytes)),
        rss_bytes: Some(number(memory.anon_bytes)),
        page_faults: Some(number(memory.page_faults)),
        major_page_faults: Some(number(memory.major_page_faults)),
        psi: reading.stats.pressure.memory.as_ref().map(psi),
    })
}

/// Swap; without a limit nothing is told about what is left. CRI: SwapUsage
pub(super) fn swap(reading: &Reading) -> Option<v1::SwapUsage> {
    let memory: &MemoryStats = reading.stats.memory.as_ref()?;
    Some(v1::SwapUsage {
        timestamp: nanoseconds(reading.at),
        swap_available_bytes: memory
            .swap_limit_bytes
            .map(|limit| number(limit.saturating_sub(memory.swap_usage_bytes))),
        swap_usage_bytes: Some(number(memory.swap_usage_bytes)),
    })
}

/// Waiting for block devices, where the kernel counts it. CRI: IoUsage
pub(super) fn io(reading: &Reading) -> Option<v1::IoUsage> {
    let pressure = reading.stats.pressure.io.as_ref()?;
    Some(v1::IoUsage { timestamp: nanoseconds(reading.at), psi: Some(psi(pressure)) })
}

/// CRI: PsiStats. The kernel counts microseconds, the wire nanoseconds.
fn psi(pressure: &Pressure) -> v1::PsiStats {
    let data = |stall: &Stall| v1::PsiData {
        total: stall.total_us.saturating_mul(1000),
        avg10: f64::from(stall.avg10) / 100.0,
        avg60: f64::from(stall.avg60) / 100.0,
        avg300: f64::from(stall.avg300) / 100.0,
    };
    v1::PsiStats { full: Some(data(&pressure.full)), some: Some(data(&pressure.some)) }
}

/// What something takes of a file system that a directory on it stands for. CRI: FilesystemUsage
pub(super) fn filesystem(directory: &Path, usage: Usage, at: SystemTime) -> v1::FilesystemUsage {
    v1::FilesystemUsage {
        timestamp: nanoseconds(at),
        fs_id: Some(v1::FilesystemIdentifier { mountpoint: directory.display().to_string() }),
        used_bytes: Some(number(usage.bytes)),
        inodes_used: Some(number(usage.inodes)),
    }
}

/// What a writable layer takes; `directory` stands for its file system. CRI: FilesystemUsage
pub(super) fn writable_layer(directory: &Path, measured: &Measured) -> v1::FilesystemUsage {
    filesystem(directory, measured.usage, measured.at)
}

/// What went through a pod's interfaces. The first one is the default unless one has the usual name; the others follow.
/// CRI: NetworkUsage
pub(super) fn network(at: SystemTime, counters: &[InterfaceCounters]) -> v1::NetworkUsage {
    let default = counters.iter().position(|one| one.name == DEFAULT_INTERFACE).unwrap_or(0);
    let message = |counters: &InterfaceCounters| v1::NetworkInterfaceUsage {
        name: counters.name.clone(),
        rx_bytes: Some(number(counters.rx_bytes)),
        rx_errors: Some(number(counters.rx_errors)),
        tx_bytes: Some(number(counters.tx_bytes)),
        tx_errors: Some(number(counters.tx_errors)),
    };
    let others = counters.iter().enumerate().filter(|(at, _)| *at != default).map(|(_, one)| message(one));
    v1::NetworkUsage {
        timestamp: nanoseconds(at),
        default_interface: counters.get(default).map(message),
        interfaces: others.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runtime::cgroup::{CpuStats, Pressures, Stats};

    use super::*;

    fn reading() -> Reading {
        let memory = MemoryStats {
            usage_bytes: 100,
            working_set_bytes: 60,
            limit_bytes: Some(200),
            anon_bytes: 40,
            page_faults: 7,
            major_page_faults: 3,
            swap_usage_bytes: 5,
            swap_limit_bytes: Some(8),
            ..MemoryStats::default()
        };
        let some = Stall { avg10: 125, avg60: 10, avg300: 1, total_us: 9 };
        Reading {
            at: UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001),
            stats: Stats {
                cpu: CpuStats { usage_ns: 11, ..CpuStats::default() },
                memory: Some(memory),
                pressure: Pressures { cpu: Some(Pressure { some, full: Stall::default() }), ..Pressures::default() },
                ..Stats::default()
            },
            nano_cores: 12,
        }
    }

    #[test]
    fn figures() {
        let mut reading = reading();
        let cpu = cpu(&reading);
        assert_eq!((cpu.timestamp, cpu.usage_core_nano_seconds.unwrap().value), (1_700_000_000_000_000_001, 11));
        assert_eq!(cpu.usage_nano_cores.unwrap().value, 12);
        let some = cpu.psi.unwrap().some.unwrap();
        assert_eq!((some.total, some.avg10, some.avg60, some.avg300), (9000, 1.25, 0.1, 0.01));
        let told = memory(&reading).unwrap();
        assert_eq!(told.available_bytes.unwrap().value, 140);
        assert_eq!((told.working_set_bytes.unwrap().value, told.usage_bytes.unwrap().value), (60, 100));
        assert_eq!((told.rss_bytes.unwrap().value, told.major_page_faults.unwrap().value), (40, 3));
        assert_eq!(told.psi, None);
        let swapped = swap(&reading).unwrap();
        assert_eq!((swapped.swap_usage_bytes.unwrap().value, swapped.swap_available_bytes.unwrap().value), (5, 3));
        assert_eq!(io(&reading), None, "the kernel does not count it");

        reading.stats.memory.as_mut().unwrap().limit_bytes = None;
        assert_eq!(memory(&reading).unwrap().available_bytes, None);
        reading.stats.memory = None;
        assert_eq!((memory(&reading), swap(&reading)), (None, None));
    }

    #[test]
    fn interfaces() {
        let interface = |name: &str, rx_bytes| InterfaceCounters { name: name.into(), rx_bytes, ..Default::default() };
        let names = |counters: &[InterfaceCounters]| {
            let network = network(UNIX_EPOCH, counters);
            let name = |one: v1::NetworkInterfaceUsage| one.name;
            (network.default_interface.map(name), network.interfaces.into_iter().map(name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]), (None, vec![]));
        assert_eq!(names(&[interface("net1", 1), interface("eth0", 2)]), (Some("eth0".into()), vec!["net1".into()]));
        assert_eq!(names(&[interface("a", 1), interface("b", 2)]), (Some("a".into()), vec!["b".into()]));
    }
}

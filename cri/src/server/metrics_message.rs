//! Metrics of pods and containers, as the wire has them. Values are whole numbers, so seconds lose their fractions.

use std::time::{SystemTime, UNIX_EPOCH};

use proto::v1;

use super::metric_table::{self as table, Definition};
use super::stats_message::{nanoseconds, number};
use crate::network::InterfaceCounters;
use crate::pod::config::Resources;
use crate::stats::{FileSystem, Measured, Processes, Reading, block_device};

/// What cAdvisor calls what belongs to a pod as a whole.
const POD: &str = "POD";
/// The kernel's, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
/// That of cgroup v1.
const DEFAULT_SHARES: u64 = 1024;

/// Whom figures are about.
#[derive(Debug, Clone, Default)]
pub(super) struct Whom {
    /// Name of the container.
    pub(super) container: String,
    /// Its control group.
    pub(super) cgroup: String,
    /// Its image, as it was asked for.
    pub(super) image: String,
    /// Its id.
    pub(super) id: String,
    /// The pod's namespace in the cluster.
    pub(super) namespace: String,
    /// The pod's name.
    pub(super) pod: String,
}

/// All figures of a container.
#[derive(Debug, Clone)]
pub(super) struct ContainerFigures<'a> {
    pub(super) reading: &'a Reading,
    pub(super) processes: &'a Processes,
    pub(super) layer: Option<&'a Measured>,
    pub(super) filesystem: Option<&'a FileSystem>,
    pub(super) resources: &'a Resources,
    pub(super) started: SystemTime,
}

/// Collects metrics about somebody.
struct Metrics {
    labels: Vec<String>,
    all: Vec<v1::Metric>,
}

impl Metrics {
    fn about(whom: &Whom) -> Metrics {
        let Whom { container, cgroup, image, id, namespace, pod } = whom.clone();
        Metrics { labels: vec![container, cgroup, image, id, namespace, pod], all: Vec::new() }
    }

    fn add(&mut self, definition: Definition, value: u64) {
        self.with(definition, &[], value);
    }

    /// One with further labels.
    fn with(&mut self, definition: Definition, labels: &[&str], value: u64) {
        let label_values = self.labels.iter().cloned().chain(labels.iter().map(|label| (*label).to_owned())).collect();
        self.all.push(v1::Metric {
            name: definition.name.into(),
            // The figure is of now.
            timestamp: 0,
            metric_type: definition.kind.into(),
            label_values,
            value: Some(number(value)),
        });
    }

    /// The last one was measured before.
    fn at(&mut self, at: SystemTime) {
        if let Some(last) = self.all.last_mut() {
            last.timestamp = nanoseconds(at);
        }
    }
}

/// The metrics of a pod as a whole: what went through its interfaces.
pub(super) fn pod(whom: &Whom, counters: &[InterfaceCounters]) -> Vec<v1::Metric> {
    let mut metrics = Metrics::about(&Whom { container: POD.into(), ..whom.clone() });
    for one in counters {
        let interface = [one.name.as_str()];
        metrics.with(table::NETWORK_RX_BYTES, &interface, one.rx_bytes);
        metrics.with(table::NETWORK_RX_ERRORS, &interface, one.rx_errors);
        metrics.with(table::NETWORK_RX_DROPPED, &interface, one.rx_dropped);
        metrics.with(table::NETWORK_RX_PACKETS, &interface, one.rx_packets);
        metrics.with(table::NETWORK_TX_BYTES, &interface, one.tx_bytes);
        metrics.with(table::NETWORK_TX_ERRORS, &interface, one.tx_errors);
        metrics.with(table::NETWORK_TX_DROPPED, &interface, one.tx_dropped);
        metrics.with(table::NETWORK_TX_PACKETS, &interface, one.tx_packets);
    }
    metrics.all
}

/// The metrics of a container.
pub(super) fn container(whom: &Whom, figures: &ContainerFigures<'_>) -> Vec<v1::Metric> {
    let mut metrics = Metrics::about(whom);
    cpu(&mut metrics, figures.reading);
    memory(&mut metrics, figures.reading);
    pressure(&mut metrics, figures.reading);
    io(&mut metrics, figures.reading);
    disk(&mut metrics, figures);
    processes(&mut metrics, figures);
    spec(&mut metrics, figures);
    metrics.add(table::LAST_SEEN, seconds(figures.reading.at));
    metrics.add(table::START_TIME, seconds(figures.started));
    metrics.all
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn cpu(metrics: &mut Metrics, reading: &Reading) {
    const SECOND: u64 = 1_000_000_000;
    let cpu = &reading.stats.cpu;
    metrics.add(table::CPU_PERIODS, cpu.periods);
    metrics.add(table::CPU_THROTTLED_PERIODS, cpu.throttled_periods);
    metrics.add(table::CPU_THROTTLED, cpu.throttled_ns / SECOND);
    metrics.add(table::CPU_SYSTEM, cpu.system_ns / SECOND);
    metrics.with(table::CPU_USAGE, &["total"], cpu.usage_ns / SECOND);
    metrics.add(table::CPU_USER, cpu.user_ns / SECOND);
}

fn memory(metrics: &mut Metrics, reading: &Reading) {
    for huge in &reading.stats.hugetlb {
        let size = [huge.page_size.as_str()];
        metrics.with(table::HUGETLB, &size, huge.usage_bytes);
        if let Some(peak) = huge.peak_bytes {
            metrics.with(table::HUGETLB_PEAK, &size, peak);
        }
    }
    let Some(memory) = &reading.stats.memory else { return };
    metrics.add(table::MEMORY_CACHE, memory.file_bytes);
    metrics.add(table::MEMORY_HITS, memory.limit_hits);
    // A container is its group with all below it, so both scopes are the same.
    for scope in ["container", "hierarchy"] {
        metrics.with(table::MEMORY_FAULTS, &["pgfault", scope], memory.page_faults);
        metrics.with(table::MEMORY_FAULTS, &["pgmajfault", scope], memory.major_page_faults);
    }
    if let Some(kernel) = memory.kernel_bytes {
        metrics.add(table::MEMORY_KERNEL, kernel);
    }
    metrics.add(table::MEMORY_MAPPED, memory.mapped_file_bytes);
    if let Some(peak) = memory.peak_bytes {
        metrics.add(table::MEMORY_PEAK, peak);
    }
    metrics.add(table::MEMORY_RSS, memory.anon_bytes);
    metrics.add(table::MEMORY_SWAP, memory.swap_usage_bytes);
    metrics.add(table::MEMORY_USAGE, memory.usage_bytes);
    metrics.add(table::MEMORY_WORKING_SET, memory.working_set_bytes);
    metrics.add(table::OOM_EVENTS, memory.oom_kills);
}

fn pressure(metrics: &mut Metrics, reading: &Reading) {
    const SECOND: u64 = 1_000_000;
    let pressure = &reading.stats.pressure;
    let resources = [
        (pressure.cpu, table::PRESSURE_CPU_STALLED, table::PRESSURE_CPU_WAITING),
        (pressure.io, table::PRESSURE_IO_STALLED, table::PRESSURE_IO_WAITING),
        (pressure.memory, table::PRESSURE_MEMORY_STALLED, table::PRESSURE_MEMORY_WAITING),
    ];
    for (pressure, stalled, waiting) in resources {
        if let Some(pressure) = pressure {
            metrics.add(stalled, pressure.full.total_us / SECOND);
            metrics.add(waiting, pressure.some.total_us / SECOND);
        }
    }
}

fn io(metrics: &mut Metrics, reading: &Reading) {
    for io in &reading.stats.io {
        let device = block_device(io.major, io.minor);
        let (major, minor) = (io.major.to_string(), io.minor.to_string());
        metrics.with(table::BLKIO, &[&device, &major, &minor, "Read"], io.read_bytes);
        metrics.with(table::BLKIO, &[&device, &major, &minor, "Write"], io.write_bytes);
        metrics.with(table::FS_READ_BYTES, &[&device], io.read_bytes);
        metrics.with(table::FS_READS, &[&device], io.read_operations);
        metrics.with(table::FS_WRITTEN_BYTES, &[&device], io.write_bytes);
        metrics.with(table::FS_WRITES, &[&device], io.write_operations);
    }
}

fn disk(metrics: &mut Metrics, figures: &ContainerFigures<'_>) {
    if let Some(filesystem) = figures.filesystem {
        metrics.add(table::FS_INODES_FREE, filesystem.free_inodes);
        metrics.add(table::FS_INODES, filesystem.inodes);
        metrics.add(table::FS_LIMIT, filesystem.bytes);
    }
    if let Some(layer) = figures.layer {
        metrics.add(table::FS_USAGE, layer.usage.bytes);
        metrics.at(layer.at);
    }
}

fn processes(metrics: &mut Metrics, figures: &ContainerFigures<'_>) {
    let processes = figures.processes;
    let pids = figures.reading.stats.pids;
    metrics.add(table::FILE_DESCRIPTORS, processes.descriptors);
    metrics.add(table::PROCESSES, processes.count);
    metrics.add(table::SOCKETS, processes.sockets);
    metrics.add(table::THREADS, pids.map_or(processes.threads, |pids| pids.current));
    metrics.add(table::THREADS_MAX, pids.and_then(|pids| pids.limit).unwrap_or(0));
    if let Some(limit) = processes.open_files_limit {
        metrics.with(table::ULIMITS_SOFT, &["max_open_files"], limit);
    }
}

fn spec(metrics: &mut Metrics, figures: &ContainerFigures<'_>) {
    let given = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let resources = figures.resources;
    metrics.add(table::SPEC_CPU_PERIOD, given(resources.cpu_period).unwrap_or(DEFAULT_PERIOD));
    if let Some(quota) = given(resources.cpu_quota) {
        metrics.add(table::SPEC_CPU_QUOTA, quota);
    }
    metrics.add(table::SPEC_CPU_SHARES, given(resources.cpu_shares).unwrap_or(DEFAULT_SHARES));
    let Some(memory) = &figures.reading.stats.memory else { return };
    let both = memory.limit_bytes.zip(memory.swap_limit_bytes).map(|(memory, swap)| memory.saturating_add(swap));
    metrics.add(table::SPEC_MEMORY_LIMIT, memory.limit_bytes.unwrap_or(0));
    metrics.add(table::SPEC_MEMORY_RESERVATION, memory.reserved_bytes);
    metrics.add(table::SPEC_MEMORY_SWAP_LIMIT, both.unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use runtime::cgroup::{CpuStats, HugetlbStats, IoStats, MemoryStats, PidsStats, Pressure, Pressures, Stall, Stats};

    use super::*;
    use crate::disk::Usage;

    fn full() -> Reading {
        let stall = |total_us| Stall { total_us, ..Stall::default() };
        let pressure = |some, full| Some(Pressure { some: stall(some), full: stall(full) });
        Reading {
            at: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            nano_cores: 1,
            stats: Stats {
                cpu: CpuStats {
                    usage_ns: 7_900_000_000,
                    user_ns: 5_000_000_000,
                    system_ns: 2_900_000_000,
                    periods: 11,
                    throttled_periods: 12,
                    throttled_ns: 13_000_000_000,
                },
                memory: Some(MemoryStats {
                    usage_bytes: 20,
                    peak_bytes: Some(21),
                    limit_bytes: Some(64),
                    working_set_bytes: 22,
                    anon_bytes: 23,
                    file_bytes: 24,
                    mapped_file_bytes: 25,
                    kernel_bytes: Some(26),
                    limit_hits: 27,
                    swap_usage_bytes: 28,
                    swap_limit_bytes: Some(6),
                    page_faults: 29,
                    major_page_faults: 30,
                    oom_kills: 31,
                    reserved_bytes: 32,
                    ..MemoryStats::default()
                }),
                pids: Some(PidsStats { current: 3, limit: Some(99) }),
                io: vec![IoStats {
                    major: 0,
                    minor: 4_000_000,
                    read_bytes: 1,
                    write_bytes: 2,
                    read_operations: 3,
                    write_operations: 4,
                }],
                hugetlb: vec![HugetlbStats {
                    page_size: "2MB".into(),
                    usage_bytes: 5,
                    peak_bytes: Some(6),
                    ..HugetlbStats::default()
                }],
                pressure: Pressures {
                    cpu: pressure(1_999_999, 1_000_000),
                    memory: pressure(3_000_000, 2_000_000),
                    io: pressure(5_000_000, 4_000_000),
                },
            },
        }
    }

    fn whom() -> Whom {
        Whom {
            container: "web".into(),
            cgroup: "/kubepods/pod1/c1".into(),
            image: "nginx:1".into(),
            id: "c1".into(),
            namespace: "default".into(),
            pod: "shop".into(),
        }
    }

    /// By name and the labels after those that all have.
    fn values(metrics: &[v1::Metric]) -> BTreeMap<(String, Vec<String>), u64> {
        let key = |metric: &v1::Metric| (metric.name.clone(), metric.label_values[table::LABELS.len()..].to_vec());
        let values: BTreeMap<_, _> =
            metrics.iter().map(|metric| (key(metric), metric.value.as_ref().unwrap().value)).collect();
        assert_eq!(values.len(), metrics.len(), "no metric twice");
        values
    }

    fn of_container(resources: &Resources) -> Vec<v1::Metric> {
        let layer = Measured { usage: Usage { bytes: 4096, inodes: 1 }, at: UNIX_EPOCH + Duration::from_nanos(9) };
        let figures = ContainerFigures {
            reading: &full(),
            processes: &Processes { count: 2, threads: 9, descriptors: 14, sockets: 5, open_files_limit: Some(1024) },
            layer: Some(&layer),
            filesystem: Some(&FileSystem { bytes: 100, inodes: 50, free_inodes: 40 }),
            resources,
            started: UNIX_EPOCH + Duration::from_secs(1_600_000_000),
        };
        container(&whom(), &figures)
    }

    #[test]
    fn everything_that_is_announced_is_told_with_its_labels() {
        let interface = InterfaceCounters {
            name: "eth0".into(),
            rx_bytes: 1,
            rx_packets: 2,
            rx_errors: 3,
            rx_dropped: 4,
            tx_bytes: 5,
            tx_packets: 6,
            tx_errors: 7,
            tx_dropped: 8,
        };
        let of_pod = pod(&whom(), &[interface]);
        assert!(of_pod.iter().all(|metric| metric.label_values[0] == "POD" && metric.label_values[6] == "eth0"));
        let network: Vec<u64> = of_pod.iter().map(|metric| metric.value.as_ref().unwrap().value).collect();
        assert_eq!(network, [1, 3, 4, 2, 5, 7, 8, 6]);
        let resources = Resources { cpu_quota: 20_000, ..Resources::default() };
        let metrics = [of_pod, of_container(&resources)].concat();
        let descriptors = table::descriptors();
        assert_eq!(descriptors.len(), 56);
        for descriptor in &descriptors {
            assert!(!descriptor.help.is_empty());
            let mut told = metrics.iter().filter(|metric| metric.name == descriptor.name).peekable();
            assert!(told.peek().is_some(), "{} is announced and not told", descriptor.name);
            for metric in told {
                assert_eq!(metric.label_values.len(), descriptor.label_keys.len(), "{}", metric.name);
            }
        }
        for metric in &metrics {
            assert!(descriptors.iter().any(|descriptor| descriptor.name == metric.name), "{}", metric.name);
        }
        assert_eq!(
            metrics.last().unwrap().label_values,
            ["web", "/kubepods/pod1/c1", "nginx:1", "c1", "default", "shop"]
        );
    }

    #[test]
    fn values_of_a_container() {
        let resources = Resources { cpu_quota: 20_000, cpu_shares: 2, ..Resources::default() };
        let metrics = of_container(&resources);
        let values = values(&metrics);
        let device = "0:4000000";
        let table: &[(&str, &[&str], u64)] = &[
            ("cpu_usage_seconds_total", &["total"], 7),
            ("cpu_user_seconds_total", &[], 5),
            ("cpu_system_seconds_total", &[], 2),
            ("cpu_cfs_throttled_seconds_total", &[], 13),
            ("memory_failures_total", &["pgmajfault", "container"], 30),
            ("memory_failures_total", &["pgfault", "hierarchy"], 29),
            ("memory_cache", &[], 24),
            ("memory_rss", &[], 23),
            ("memory_working_set_bytes", &[], 22),
            ("memory_max_usage_bytes", &[], 21),
            ("memory_failcnt", &[], 27),
            ("oom_events_total", &[], 31),
            ("pressure_cpu_waiting_seconds_total", &[], 1),
            ("pressure_io_stalled_seconds_total", &[], 4),
            ("blkio_device_usage_total", &[device, "0", "4000000", "Write"], 2),
            ("fs_reads_total", &[device], 3),
            ("fs_usage_bytes", &[], 4096),
            ("fs_inodes_free", &[], 40),
            ("threads", &[], 3),
            ("threads_max", &[], 99),
            ("processes", &[], 2),
            ("ulimits_soft", &["max_open_files"], 1024),
            ("spec_cpu_period", &[], 100_000),
            ("spec_cpu_quota", &[], 20_000),
            ("spec_cpu_shares", &[], 2),
            ("spec_memory_limit_bytes", &[], 64),
            ("spec_memory_swap_limit_bytes", &[], 70),
            ("spec_memory_reservation_limit_bytes", &[], 32),
            ("last_seen", &[], 1_700_000_000),
            ("start_time_seconds", &[], 1_600_000_000),
            ("hugetlb_max_usage_bytes", &["2MB"], 6),
        ];
        for (name, labels, expected) in table {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            let key = (format!("container_{name}"), labels);
            assert_eq!(values.get(&key), Some(expected), "{key:?}");
        }
        let measured: Vec<_> = metrics.iter().filter(|metric| metric.timestamp != 0).collect();
        assert_eq!(measured.len(), 1);
        assert_eq!((measured[0].name.as_str(), measured[0].timestamp), ("container_fs_usage_bytes", 9));
    }

    #[test]
    fn without_controllers_only_what_is_known_is_told() {
        let mut reading = full();
        reading.stats = Stats::default();
        let figures = ContainerFigures {
            reading: &reading,
            processes: &Processes { count: 1, threads: 9, ..Processes::default() },
            layer: None,
            filesystem: None,
            resources: &Resources::default(),
            started: UNIX_EPOCH,
        };
        let values = values(&container(&whom(), &figures));
        let has = |name: &str| values.keys().any(|(found, _)| found == &format!("container_{name}"));
        for absent in ["memory_usage_bytes", "pressure_cpu_waiting_seconds_total", "fs_usage_bytes", "spec_cpu_quota"] {
            assert!(!has(absent), "{absent}");
        }
        assert_eq!(values[&("container_threads".into(), vec![])], 9, "counted by /proc");
        assert_eq!(values[&("container_spec_cpu_shares".into(), vec![])], 1024);
    }
}

//! The metrics of pods and containers: names, help, labels. What a kubelet shows at /metrics/cadvisor; names and labels are those of
//! cAdvisor, so that dashboards go on working.

use proto::v1;

/// Labels of every metric, in this order. `container` is `POD` for what belongs to a pod as a whole.
pub(super) const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) kind: v1::MetricType,
    /// Labels after [`LABELS`].
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident $name:literal $kind:ident [$($label:literal)*] $help:literal;)*) => {
        $(pub(super) const $constant: Definition = Definition {
            name: concat!("container_", $name),
            kind: v1::MetricType::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*
        /// All of them.
        pub(super) const ALL: &[Definition] = &[$($constant),*];
    };
}

metrics! {
    BLKIO "blkio_device_usage_total" Counter ["device" "major" "minor" "operation"] "Bytes read from and written to a block device";
    CPU_PERIODS "cpu_cfs_periods_total" Counter [] "Periods in which the container could run, if its CPU time has a quota";
    CPU_THROTTLED_PERIODS "cpu_cfs_throttled_periods_total" Counter [] "Periods in which the quota of CPU time was used up";
    CPU_THROTTLED "cpu_cfs_throttled_seconds_total" Counter [] "Time spent waiting for the next period, in seconds";
    CPU_SYSTEM "cpu_system_seconds_total" Counter [] "CPU time in the kernel, in seconds";
    CPU_USAGE "cpu_usage_seconds_total" Counter ["cpu"] "CPU time, in seconds";
    CPU_USER "cpu_user_seconds_total" Counter [] "CPU time in user mode, in seconds";
    FILE_DESCRIPTORS "file_descriptors" Gauge [] "Open file descriptors";
    FS_INODES_FREE "fs_inodes_free" Gauge [] "Free inodes of the file system of the writable layer";
    FS_INODES "fs_inodes_total" Gauge [] "Inodes of the file system of the writable layer";
    FS_LIMIT "fs_limit_bytes" Gauge [] "Size of the file system of the writable layer, in bytes";
    FS_READ_BYTES "fs_reads_bytes_total" Counter ["device"] "Bytes read from a block device";
    FS_READS "fs_reads_total" Counter ["device"] "Read operations of a block device";
    FS_USAGE "fs_usage_bytes" Gauge [] "What the writable layer takes on the disk, in bytes";
    FS_WRITTEN_BYTES "fs_writes_bytes_total" Counter ["device"] "Bytes written to a block device";
    FS_WRITES "fs_writes_total" Counter ["device"] "Write operations of a block device";
    HUGETLB_PEAK "hugetlb_max_usage_bytes" Gauge ["pagesize"] "Most huge pages in use so far, in bytes";
    HUGETLB "hugetlb_usage_bytes" Gauge ["pagesize"] "Huge pages in use, in bytes";
    LAST_SEEN "last_seen" Gauge [] "When these figures were read, in seconds since 1970";
    MEMORY_CACHE "memory_cache" Gauge [] "Page cache, in bytes";
    MEMORY_HITS "memory_failcnt" Counter [] "How often the limit of memory was hit";
    MEMORY_FAULTS "memory_failures_total" Counter ["failure_type" "scope"] "Page faults";
    MEMORY_KERNEL "memory_kernel_usage" Gauge [] "Memory of the kernel, in bytes";
    MEMORY_MAPPED "memory_mapped_file" Gauge [] "Files mapped into memory, in bytes";
    MEMORY_PEAK "memory_max_usage_bytes" Gauge [] "Most memory in use so far, in bytes";
    MEMORY_RSS "memory_rss" Gauge [] "Anonymous memory, in bytes";
    MEMORY_SWAP "memory_swap" Gauge [] "Swap in use, in bytes";
    MEMORY_USAGE "memory_usage_bytes" Gauge [] "Memory in use, page cache included, in bytes";
    MEMORY_WORKING_SET "memory_working_set_bytes" Gauge [] "Memory in use without page cache that is easily given back, in bytes";
    NETWORK_RX_BYTES "network_receive_bytes_total" Counter ["interface"] "Bytes received";
    NETWORK_RX_ERRORS "network_receive_errors_total" Counter ["interface"] "Bad packets received";
    NETWORK_RX_DROPPED "network_receive_packets_dropped_total" Counter ["interface"] "Packets thrown away while receiving";
    NETWORK_RX_PACKETS "network_receive_packets_total" Counter ["interface"] "Packets received";
    NETWORK_TX_BYTES "network_transmit_bytes_total" Counter ["interface"] "Bytes sent";
    NETWORK_TX_ERRORS "network_transmit_errors_total" Counter ["interface"] "Packets that could not be sent";
    NETWORK_TX_DROPPED "network_transmit_packets_dropped_total" Counter ["interface"] "Packets thrown away while sending";
    NETWORK_TX_PACKETS "network_transmit_packets_total" Counter ["interface"] "Packets sent";
    OOM_EVENTS "oom_events_total" Counter [] "Processes killed because memory was short";
    PRESSURE_CPU_STALLED "pressure_cpu_stalled_seconds_total" Counter [] "Time in which all tasks waited for a CPU, in seconds";
    PRESSURE_CPU_WAITING "pressure_cpu_waiting_seconds_total" Counter [] "Time in which some task waited for a CPU, in seconds";
    PRESSURE_IO_STALLED "pressure_io_stalled_seconds_total" Counter [] "Time in which all tasks waited for block devices, in seconds";
    PRESSURE_IO_WAITING "pressure_io_waiting_seconds_total" Counter [] "Time in which some task waited for block devices, in seconds";
    PRESSURE_MEMORY_STALLED "pressure_memory_stalled_seconds_total" Counter [] "Time in which all tasks waited for memory, in seconds";
    PRESSURE_MEMORY_WAITING "pressure_memory_waiting_seconds_total" Counter [] "Time in which some task waited for memory, in seconds";
    PROCESSES "processes" Gauge [] "Processes";
    SOCKETS "sockets" Gauge [] "Open sockets";
    SPEC_CPU_PERIOD "spec_cpu_period" Gauge [] "Period of the quota of CPU time, in microseconds";
    SPEC_CPU_QUOTA "spec_cpu_quota" Gauge [] "Quota of CPU time in a period, in microseconds";
    SPEC_CPU_SHARES "spec_cpu_shares" Gauge [] "Weight of CPU time, as cgroup v1 has it";
    SPEC_MEMORY_LIMIT "spec_memory_limit_bytes" Gauge [] "Limit of memory in bytes, 0 if there is none";
    SPEC_MEMORY_RESERVATION "spec_memory_reservation_limit_bytes" Gauge [] "Memory that is kept for the container in bytes, 0 if none is";
    SPEC_MEMORY_SWAP_LIMIT "spec_memory_swap_limit_bytes" Gauge [] "Limit of memory and swap together in bytes, 0 if there is none";
    START_TIME "start_time_seconds" Gauge [] "When the container was started, in seconds since 1970";
    THREADS "threads" Gauge [] "Threads";
    THREADS_MAX "threads_max" Gauge [] "Limit of threads, 0 if there is none";
    ULIMITS_SOFT "ulimits_soft" Gauge ["ulimit"] "Soft resource limits of the container's first process";
}

/// The messages of all of them. CRI: MetricDescriptor
pub(super) fn descriptors() -> Vec<v1::MetricDescriptor> {
    let message = |definition: &Definition| v1::MetricDescriptor {
        name: definition.name.into(),
        help: definition.help.into(),
        label_keys: LABELS.iter().chain(definition.labels).map(|label| (*label).to_owned()).collect(),
    };
    ALL.iter().map(message).collect()
}

//! This process, by the names that Prometheus' client libraries agree on.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads /proc/self at each scrape. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process;

/// What /proc/self/stat says, proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

fn stat(text: &str) -> Option<Stat> {
    // The name may hold anything but ends with the last bracket. The field behind it is the third.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: field(14)?.checked_add(field(15)?)?,
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// When the machine started, in seconds since 1970. It does not change.
fn boot_time() -> Option<u64> {
    static TIME: OnceLock<Option<u64>> = OnceLock::new();
    *TIME.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
    })
}

fn configured(variable: SysconfVar) -> Option<u64> {
    u64::try_from(sysconf(variable).ok()??).ok()
}

#[allow(clippy::cast_precision_loss, reason = "ticks and bytes stay far below 2^52")]
fn seconds(ticks: u64) -> Option<f64> {
    Some(ticks as f64 / configured(SysconfVar::CLK_TCK)? as f64)
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(stat) {
            if let Some(cpu) = seconds(stat.cpu_ticks) {
                counter(&mut encoder, "process_cpu_seconds", "Time on processors, user and kernel, in seconds.", cpu)?;
            }
            #[allow(clippy::cast_precision_loss, reason = "seconds since 1970")]
            if let (Some(boot), Some(start)) = (boot_time(), seconds(stat.start_ticks)) {
                let help = "When the process started, in seconds since 1970.";
                gauge(&mut encoder, "process_start_time_seconds", help, boot as f64 + start)?;
            }
            gauge(&mut encoder, "process_threads", "Threads.", stat.threads)?;
            gauge(&mut encoder, "process_virtual_memory_bytes", "Address space in bytes.", stat.virtual_bytes)?;
            if let Some(page) = configured(SysconfVar::PAGE_SIZE) {
                let bytes = stat.resident_pages.saturating_mul(page);
                gauge(&mut encoder, "process_resident_memory_bytes", "Memory in bytes.", bytes)?;
            }
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            // The one that reads is not counted.
            gauge(&mut encoder, "process_open_fds", "Open descriptors.", (entries.count() as u64).saturating_sub(1))?;
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            gauge(&mut encoder, "process_max_fds", "Most descriptors that may be open.", soft)?;
        }
        Ok(())
    }
}

fn gauge<N>(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: N) -> Result<(), std::fmt::Error>
where
    ConstGauge<N>: EncodeMetric,
{
    let metric = ConstGauge::new(value);
    let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> Result<(), std::fmt::Error> {
    let metric = ConstCounter::new(value);
    let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_stat() {
        let text = "42 (a) b) S 1 1 1 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 9 0 1234 5678 90 18446744073709551615 1\n";
        let expected = Stat { cpu_ticks: 12, threads: 9, start_ticks: 1234, virtual_bytes: 5678, resident_pages: 90 };
        assert_eq!(stat(text), Some(expected));
        for broken in ["", "42", "42 (a", "42 (a) S 1", "42 (a) S x x x x x x x x x x x x x x x x x x x x x x"] {
            assert_eq!(stat(broken), None, "{broken}");
        }
    }
}

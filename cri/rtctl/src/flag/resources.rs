//! Limits: the flags of `run`, `create` and `update`, as `linux.resources`.

use anyhow::{Context, Result, bail};
use clap::Args;
use runtime::spec::{BlockIo, Cpu, Memory, Pids, Resources, ThrottleDevice};

use super::size;

/// Limits that can be changed later.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct ResourceFlags {
    /// Number of CPUs, such as 1.5
    #[arg(long, value_name = "DECIMAL", value_parser = size::nano_cpus)]
    pub(crate) cpus: Option<u64>,
    /// CPU time per period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Length of a CPU period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u64).range(1000..=1_000_000))]
    cpu_period: Option<u64>,
    /// Relative CPU weight, 2 to 262144
    #[arg(short = 'c', long, value_name = "WEIGHT", value_parser = clap::value_parser!(u64).range(0..=262_144))]
    cpu_shares: Option<u64>,
    /// CPUs it may run on, such as 0-3,7
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    cpuset_mems: Option<String>,
    /// Memory limit, such as 64m
    #[arg(short = 'm', long, value_name = "BYTES", value_parser = size::bytes)]
    memory: Option<u64>,
    /// Soft memory limit
    #[arg(long, value_name = "BYTES", value_parser = size::bytes)]
    memory_reservation: Option<u64>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = size::bytes_or_unlimited, allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// Number of processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    pids_limit: Option<i64>,
    /// Relative block I/O weight, 10 to 1000
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(0..=1000))]
    blkio_weight: Option<u16>,
}

/// Limits that are set once.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct FixedResourceFlags {
    /// Willingness to swap, 0 to 100 (cgroup v1)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(0..=100))]
    memory_swappiness: Option<u64>,
    /// Wait instead of being killed at the memory limit (cgroup v1)
    #[arg(long)]
    oom_kill_disable: bool,
    /// Bytes per second read from a device
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = size::device_rate)]
    device_read_bps: Vec<(String, u64)>,
    /// Bytes per second written to a device
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = size::device_rate)]
    device_write_bps: Vec<(String, u64)>,
    /// Operations per second read from a device
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = size::device_rate)]
    device_read_iops: Vec<(String, u64)>,
    /// Operations per second written to a device
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = size::device_rate)]
    device_write_iops: Vec<(String, u64)>,
}

/// A list of CPUs or memory nodes as the kernel reads it: cpuset(7) "List format".
fn cpu_list(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no list such as 0-3,7");
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| -> Option<u32> {
            if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
        };
        match (number(low), number(high)) {
            (Some(low), Some(high)) if low <= high => {}
            _ => return Err(wrong()),
        }
    }
    Ok(text.to_owned())
}

/// Period in microseconds that `--cpus` is turned into.
const CPU_PERIOD: u64 = 100_000;

/// Least memory of a container, in bytes; with less, not even its start is possible.
const MEMORY_MINIMUM: u64 = 6 << 20;

impl ResourceFlags {
    /// Whether nothing was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.resources().is_ok_and(|resources| resources == Resources::default())
    }

    /// As `linux.resources`, with contradictions refused.
    pub(crate) fn resources(&self) -> Result<Resources> {
        if self.cpus.is_some() && (self.cpu_quota.is_some() || self.cpu_period.is_some()) {
            bail!("--cpus excludes --cpu-quota and --cpu-period: it sets both");
        }
        let (quota, period) = match self.cpus {
            Some(0) | None => (self.cpu_quota, self.cpu_period),
            Some(nano) => {
                let quota = u128::from(nano) * u128::from(CPU_PERIOD) / 1_000_000_000;
                // The kernel takes no less than a millisecond.
                if quota < 1000 {
                    bail!("--cpus {}: at least 0.01", show_nano(nano));
                }
                (Some(i64::try_from(quota).context("--cpus: too large")?), Some(CPU_PERIOD))
            }
        };
        let cpu = Cpu {
            shares: self.cpu_shares.filter(|shares| *shares != 0),
            quota: quota.filter(|quota| *quota != 0),
            period,
            cpus: self.cpuset_cpus.clone(),
            mems: self.cpuset_mems.clone(),
            ..Cpu::default()
        };
        let memory = self.memory()?;
        let weight = self.blkio_weight.filter(|weight| *weight != 0);
        if weight.is_some_and(|weight| weight < 10) {
            bail!("--blkio-weight: must be 10 to 1000, or 0 for none");
        }
        let block_io = BlockIo { weight, ..BlockIo::default() };
        Ok(Resources {
            cpu: (cpu != Cpu::default()).then_some(cpu),
            memory: (memory != Memory::default()).then_some(memory),
            pids: self.pids_limit.map(|limit| Pids { limit: Some(if limit == 0 { -1 } else { limit }) }),
            block_io: (block_io != BlockIo::default()).then_some(block_io),
            ..Resources::default()
        })
    }

    fn memory(&self) -> Result<Memory> {
        let limit = self.memory.filter(|limit| *limit != 0);
        if limit.is_some_and(|limit| limit < MEMORY_MINIMUM) {
            bail!("--memory: the minimum is 6m");
        }
        let swap = match (limit, self.memory_swap) {
            (_, None | Some(0)) => None,
            (_, Some(-1)) => Some(-1),
            (None, Some(_)) => bail!("--memory-swap needs --memory: it is the sum of both"),
            (Some(limit), Some(swap)) if swap.cast_unsigned() < limit => {
                bail!("--memory-swap is smaller than --memory: it is the sum of memory and swap");
            }
            (Some(_), Some(swap)) => Some(swap),
        };
        // As docker: as much swap again as memory, when only the memory is limited.
        let swap = swap.or(limit.map(|limit| limit.saturating_mul(2).min(i64::MAX.cast_unsigned()).cast_signed()));
        let reservation = self.memory_reservation.filter(|soft| *soft != 0);
        if let (Some(limit), Some(soft)) = (limit, reservation)
            && soft > limit
        {
            bail!("--memory-reservation is larger than --memory");
        }
        Ok(Memory {
            limit: limit.map(u64::cast_signed),
            reservation: reservation.map(u64::cast_signed),
            swap,
            ..Memory::default()
        })
    }
}

/// Billionths as a decimal number.
fn show_nano(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl FixedResourceFlags {
    /// Adds these to `resources`; looks at the devices.
    pub(crate) fn add_to(&self, resources: &mut Resources) -> Result<()> {
        if self.memory_swappiness.is_some() || self.oom_kill_disable {
            let memory = resources.memory.get_or_insert_default();
            memory.swappiness = self.memory_swappiness;
            memory.disable_oom_killer = self.oom_kill_disable.then_some(true);
        }
        let rates = [&self.device_read_bps, &self.device_write_bps, &self.device_read_iops, &self.device_write_iops];
        if rates.iter().all(|list| list.is_empty()) {
            return Ok(());
        }
        let block_io = resources.block_io.get_or_insert_default();
        block_io.throttle_read_bps_device = throttle("--device-read-bps", &self.device_read_bps)?;
        block_io.throttle_write_bps_device = throttle("--device-write-bps", &self.device_write_bps)?;
        block_io.throttle_read_iops_device = throttle("--device-read-iops", &self.device_read_iops)?;
        block_io.throttle_write_iops_device = throttle("--device-write-iops", &self.device_write_iops)?;
        Ok(())
    }
}

fn throttle(option: &str, list: &[(String, u64)]) -> Result<Vec<ThrottleDevice>> {
    let device = |(path, rate): &(String, u64)| {
        let node = cri::spec::DeviceNode::read(path.as_ref()).with_context(|| format!("{option} {path}"))?;
        match node {
            Some(node) if node.kind == cri::spec::NodeKind::Block => {
                Ok(ThrottleDevice { major: node.major.cast_signed(), minor: node.minor.cast_signed(), rate: *rate })
            }
            Some(_) | None => bail!("{option} {path}: not a block device"),
        }
    };
    list.iter().map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: ResourceFlags,
    }

    fn parse(line: &str) -> Result<Resources, String> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.flags.resources().map_err(|error| error.to_string())
    }

    #[test]
    fn limits() {
        let cpu = |line: &str| parse(line).unwrap().cpu.unwrap();
        assert_eq!((cpu("--cpus 1.5").quota, cpu("--cpus 1.5").period), (Some(150_000), Some(100_000)));
        assert_eq!(cpu("--cpu-quota 5000 --cpu-period 10000").quota, Some(5000));
        assert_eq!(cpu("--cpu-quota -1").quota, Some(-1));
        assert_eq!(cpu("-c 512 --cpuset-cpus 0-1,3").shares, Some(512));
        let memory = |line: &str| parse(line).unwrap().memory.unwrap();
        assert_eq!((memory("-m 64m").limit, memory("-m 64m").swap), (Some(64 << 20), Some(128 << 20)));
        assert_eq!(memory("-m 64m --memory-swap 64m").swap, Some(64 << 20));
        assert_eq!(memory("-m 64m --memory-swap -1").swap, Some(-1));
        assert_eq!(parse("--pids-limit 10").unwrap().pids.unwrap().limit, Some(10));
        assert_eq!(parse("--pids-limit -1").unwrap().pids.unwrap().limit, Some(-1));
        assert_eq!(parse("").unwrap(), Resources::default());
        assert_eq!(parse("--cpus 0 -m 0").unwrap(), Resources::default());
    }

    #[test]
    fn refusals() {
        for (line, expected) in [
            ("--cpus 1 --cpu-quota 1000", "--cpus excludes"),
            ("--cpus 0.001", "at least 0.01"),
            ("-m 1m", "the minimum is 6m"),
            ("--memory-swap 64m", "needs --memory"),
            ("-m 64m --memory-swap 32m", "is smaller than --memory"),
            ("-m 64m --memory-reservation 65m", "is larger than --memory"),
            ("--blkio-weight 5", "10 to 1000"),
            ("--cpuset-cpus 3-1", "is no list"),
            ("--cpuset-cpus a", "is no list"),
            ("--cpuset-cpus +1", "is no list"),
            ("-m lots", "is no size"),
            ("--pids-limit -2", "-2 is not in"),
            ("--cpu-period 5", "5 is not in"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}

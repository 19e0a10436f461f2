//! `rtctl stats`

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollTimeout, poll};
use runtime::cgroup::Stats;
use serde_json::json;

use super::container_top::cgroup;
use crate::output::human;
use crate::output::list::{self, Layout};
use crate::store::id;
use crate::store::roots::Roots;
use crate::store::view::Container;
use crate::template::Context;

/// Show what containers use
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rtctl stats\n  rtctl stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}}' web\n\nFields: ID Name Container CPUPerc MemUsage MemPerc NetIO BlockIO PIDs"
)]
pub(crate) struct Args {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// json, a Go template, or "table TEMPLATE"
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Once, instead of every second
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    /// Names or ids; all that run when none is given
    containers: Vec<String>,
}

/// Time between two readings.
const PERIOD: Duration = Duration::from_secs(1);

/// One reading of one container.
struct Reading {
    container: Container,
    stats: Option<Stats>,
    at: Instant,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let mut before = self.read(roots)?;
        let clear = std::io::stdout().is_terminal() && !self.no_stream;
        loop {
            let timeout = PollTimeout::try_from(PERIOD).unwrap_or(PollTimeout::ZERO);
            match poll(&mut [], timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("poll"),
            }
            let after = self.read(roots)?;
            if clear {
                print!("\x1b[H\x1b[2J");
            }
            self.print(&before, &after)?;
            std::io::stdout().flush().context("write(stdout)")?;
            if self.no_stream {
                return Ok(0);
            }
            before = after;
        }
    }

    fn read(&self, roots: &Roots) -> Result<Vec<Reading>> {
        let containers = if self.containers.is_empty() {
            let mut all = Container::list(roots)?;
            all.retain(|container| self.all || container.pid().is_some());
            all
        } else {
            self.containers.iter().map(|query| Container::find(roots, query)).collect::<Result<_>>()?
        };
        let mut readings = Vec::new();
        for container in containers {
            let group = match container.pid() {
                Some(_) => cgroup(&container)?,
                None => None,
            };
            let stats = match group.as_ref().map(runtime::cgroup::Cgroup::stats) {
                Some(Ok(stats)) => Some(stats),
                // It may have ended between the two steps.
                Some(Err(error)) if Container::find(roots, &container.id)?.pid().is_some() => return Err(error.into()),
                Some(Err(_)) | None => None,
            };
            readings.push(Reading { container, stats, at: Instant::now() });
        }
        Ok(readings)
    }

    fn print(&self, before: &[Reading], after: &[Reading]) -> Result<()> {
        let total = memory_total()?;
        let items: Vec<Context> = after
            .iter()
            .map(|reading| {
                let earlier = before.iter().find(|earlier| earlier.container.id == reading.container.id);
                self.item(earlier, reading, total)
            })
            .collect();
        let layout = Layout {
            format: self.format.as_deref(),
            table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
            headings: &[
                ("ID", "CONTAINER ID"),
                ("Container", "CONTAINER"),
                ("Name", "NAME"),
                ("CPUPerc", "CPU %"),
                ("MemUsage", "MEM USAGE / LIMIT"),
                ("MemPerc", "MEM %"),
                ("NetIO", "NET I/O"),
                ("BlockIO", "BLOCK I/O"),
                ("PIDs", "PIDS"),
            ],
        };
        list::print(&layout, &items)
    }

    fn item(&self, before: Option<&Reading>, now: &Reading, total: u64) -> Context {
        let container = &now.container;
        let none = || "--".to_owned();
        let mut cpu = none();
        let (mut usage, mut percent, mut block, mut pids) =
            ("-- / --".to_owned(), none(), "-- / --".to_owned(), none());
        if let Some(stats) = &now.stats {
            let earlier = before.and_then(|before| Some((before.stats.as_ref()?, before.at)));
            if let Some((earlier, at)) = earlier {
                let used = stats.cpu.usage_ns.saturating_sub(earlier.cpu.usage_ns);
                cpu = format!("{:.2}%", ratio(used, u64::try_from((now.at - at).as_nanos()).unwrap_or(u64::MAX)));
            }
            if let Some(memory) = &stats.memory {
                let limit = memory.limit_bytes.unwrap_or(total).min(total);
                let used = memory.usage_bytes.saturating_sub(memory.inactive_file_bytes);
                usage = format!("{} / {}", human::binary_size(used), human::binary_size(limit));
                percent = format!("{:.2}%", ratio(used, limit));
            }
            let read = stats.io.iter().map(|device| device.read_bytes).sum();
            let written = stats.io.iter().map(|device| device.write_bytes).sum();
            block = format!("{} / {}", human::decimal_size(read), human::decimal_size(written));
            if let Some(tasks) = &stats.pids {
                pids = tasks.current.to_string();
            }
        }
        let short = if self.no_trunc { container.id.as_str() } else { id::short(&container.id) };
        let dot = json!({
            "ID": short,
            "Container": container.id,
            "Name": container.shown(),
            "CPUPerc": cpu,
            "MemUsage": usage,
            "MemPerc": percent,
            // There is no network whose traffic could be counted: none has no interfaces, host is everybody's.
            "NetIO": "-- / --",
            "BlockIO": block,
            "PIDs": pids,
        });
        Context { dot, ..Context::default() }
    }
}

/// Percent.
#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Bytes of memory of the host.
fn memory_total() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    match total {
        Some(kilobytes) => Ok(kilobytes * 1024),
        None => bail!("/proc/meminfo has no MemTotal"),
    }
}

//! `events`: what a container uses and when it runs out of memory, as lines of JSON.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;
use runtime::cgroup::{Cgroup, Stats};
use runtime::state::Access;
use runtime::sys::Call;
use serde_json::{Value, json};

use super::{Context, Failure, Verb};
use crate::args::{Flag, Parsed};

pub(super) const VERB: Verb = Verb {
    name: "events",
    usage: "events [options] ID",
    summary: "show what a container uses as lines of JSON, until it ends",
    flags: &[
        Flag { name: "stats", short: None, value: None, help: "show it once and end" },
        Flag { name: "interval", short: None, value: Some("DURATION"), help: "how often, such as 500ms (default 5s)" },
    ],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let interval = match parsed.value("interval") {
        None => Duration::from_secs(5),
        Some(text) => duration(text).filter(|interval| !interval.is_zero()).ok_or_else(|| {
            Failure::new(format!("--interval: {text:?} is no duration above 0, such as 500ms or 1m30s"))
        })?,
    };
    let container = context.open(parsed, Access::Look)?;
    let (record, init) = container.alive("it uses nothing")?;
    let cgroup = container.cgroup("nothing is counted")?;
    let stats = || Ok::<_, Failure>(event("stats", &record.id, Some(data(&cgroup.stats()?))));
    if parsed.is_set("stats") {
        println!("{}", stats()?);
        return Ok(0);
    }
    let oom = cgroup.oom_fd()?;
    let mut kills = cgroup.oom_kills()?;
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        // Rounded up, or it would come back a little too early and ask again.
        let left = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let priority = oom.as_ref().is_some_and(|oom| oom.interest().contains(EpollFlags::EPOLLPRI));
        let interest = if priority { PollFlags::POLLPRI } else { PollFlags::POLLIN };
        let mut fds = [
            PollFd::new(init.pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(oom.as_ref().map_or(init.pidfd.as_fd(), AsFd::as_fd), interest),
        ];
        match poll(&mut fds, left) {
            Err(Errno::EINTR) => continue,
            result => result.call(|| "poll()".to_owned())?,
        };
        let [ended, memory] = fds.map(|fd| fd.any().unwrap_or(false));
        if memory && let Some(oom) = &oom {
            // The group may be gone; then so is the process, in a moment.
            let _ = oom.acknowledge();
        }
        kills = tell_kills(cgroup, &record.id, kills);
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            next += interval;
            match stats() {
                Ok(event) => println!("{event}"),
                Err(failure) => context.log.warning(&failure.message),
            }
        }
    }
}

/// Says how often the OOM killer has come since the last look; gives the new count.
fn tell_kills(cgroup: &Cgroup, id: &str, before: u64) -> u64 {
    // A group that has gone tells nothing any more.
    let now = cgroup.oom_kills().unwrap_or(before);
    for _ in before..now {
        println!("{}", event("oom", id, None));
    }
    now.max(before)
}

fn event(kind: &str, id: &str, data: Option<Value>) -> Value {
    match data {
        Some(data) => json!({ "type": kind, "id": id, "data": data }),
        None => json!({ "type": kind, "id": id }),
    }
}

/// The figures as runc names them; no limit is the largest number.
fn data(stats: &Stats) -> Value {
    let cpu = &stats.cpu;
    let limit = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let memory = stats.memory.as_ref().map(|memory| {
        json!({
            "usage": {
                "usage": memory.usage_bytes, "max": memory.peak_bytes.unwrap_or(0), "limit": limit(memory.limit_bytes),
                "failcnt": memory.limit_hits,
            },
            "swap": { "usage": memory.swap_usage_bytes, "limit": limit(memory.swap_limit_bytes), "failcnt": 0 },
            "kernel": { "usage": memory.kernel_bytes.unwrap_or(0), "limit": 0, "failcnt": 0 },
            "cache": memory.file_bytes,
            "raw": {
                "anon": memory.anon_bytes, "file": memory.file_bytes, "inactive_file": memory.inactive_file_bytes,
                "file_mapped": memory.mapped_file_bytes,
                "pgfault": memory.page_faults, "pgmajfault": memory.major_page_faults, "oom_kill": memory.oom_kills,
            },
        })
    });
    let io = |value: fn(&runtime::cgroup::IoStats) -> [(&'static str, u64); 2]| {
        let of = |io: &runtime::cgroup::IoStats| {
            value(io).map(|(op, value)| json!({ "major": io.major, "minor": io.minor, "op": op, "value": value }))
        };
        Value::Array(stats.io.iter().flat_map(of).collect())
    };
    let hugetlb = stats.hugetlb.iter().map(|pages| {
        let figures =
            json!({ "usage": pages.usage_bytes, "max": pages.peak_bytes.unwrap_or(0), "failcnt": pages.failures });
        (pages.page_size.clone(), figures)
    });
    json!({
        "cpu": {
            "usage": { "total": cpu.usage_ns, "user": cpu.user_ns, "kernel": cpu.system_ns },
            "throttling": {
                "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods, "throttledTime": cpu.throttled_ns,
            },
        },
        "memory": memory.unwrap_or_else(|| json!({})),
        "pids": stats.pids.as_ref().map_or_else(
            || json!({}),
            |pids| json!({ "current": pids.current, "limit": pids.limit.unwrap_or(0) }),
        ),
        "blkio": {
            "ioServiceBytesRecursive": io(|io| [("Read", io.read_bytes), ("Write", io.write_bytes)]),
            "ioServicedRecursive": io(|io| [("Read", io.read_operations), ("Write", io.write_operations)]),
        },
        "hugetlb": hugetlb.collect::<serde_json::Map<_, _>>(),
    })
}

/// A duration as Go writes it: numbers with units, such as `1m30s` or `1.5h`.
fn duration(text: &str) -> Option<Duration> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut rest = text;
    let mut all: u64 = 0;
    while !rest.is_empty() {
        let (whole, behind) = rest.split_at(digits(rest));
        let behind_point = behind.strip_prefix('.').unwrap_or("");
        let (fraction, behind) = match behind.strip_prefix('.') {
            Some(_) => behind_point.split_at(digits(behind_point)),
            None => ("", behind),
        };
        let unit = &behind[..behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len())];
        let nanoseconds: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        all = all.checked_add(whole.parse::<u64>().ok()?.checked_mul(nanoseconds)?)?;
        let mut part = nanoseconds;
        for digit in fraction.bytes() {
            part /= 10;
            all = all.checked_add(u64::from(digit - b'0') * part)?;
        }
        rest = &behind[unit.len()..];
    }
    (!text.is_empty()).then(|| Duration::from_nanos(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("5s", Some(5000)),
            ("100ms", Some(100)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("0s", Some(0)),
        ] {
            assert_eq!(duration(text).map(|duration| duration.as_millis()), millis, "{text}");
        }
        for text in ["", "5", "s", "-1s", "5x", "1s2", "1..5s", "99999999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}

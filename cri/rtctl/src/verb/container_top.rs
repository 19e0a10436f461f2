//! `rtctl top`

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use runtime::cgroup::{Cgroup, Host};

use crate::flag::time;
use crate::output::table;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Show the processes of a container, with their numbers on the host
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With options, the host's ps(1) is run with them; its output needs a PID column.\n\nExamples:\n  rtctl top web\n  rtctl top web -o pid,rss,args"
)]
pub(crate) struct Args {
    /// Name or id, then options for ps(1)
    #[arg(value_name = "CONTAINER [OPTION...]", trailing_var_arg = true, required = true)]
    words: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let Some((query, options)) = self.words.split_first() else { bail!("name a container") };
        let container = Container::find(roots, query)?;
        if container.pid().is_none() {
            container.require_running()?;
        }
        show(&[container], options)
    }
}

/// Prints the processes of running containers.
pub(super) fn show(containers: &[Container], options: &[String]) -> Result<u8> {
    let mut pids: Vec<i32> = Vec::new();
    for container in containers {
        let group =
            cgroup(container)?.with_context(|| format!("container {} has no control group", container.shown()))?;
        pids.extend(group.processes()?.iter().map(|pid| pid.as_raw()));
    }
    pids.sort_unstable();
    let text = if options.is_empty() { own(&pids) } else { ps(&pids, options)? };
    print!("{}", table::align(&text));
    Ok(0)
}

/// The container's control group, if it has one now.
pub(super) fn cgroup(container: &Container) -> Result<Option<Cgroup>> {
    let spec = container.spec()?;
    let path = shim::local::cgroup_path(&spec, &container.id).parse()?;
    Ok(Cgroup::open(&Host::detect()?, &path)?)
}

/// The host's ps, and of its lines those of the container.
fn ps(pids: &[i32], options: &[String]) -> Result<String> {
    let output = Command::new("ps").args(options).arg("-e").output().context("running ps")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("ps {}: {}", options.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut lines = text.lines();
    let heading: Vec<&str> = lines.next().unwrap_or("").split_whitespace().collect();
    let Some(column) = heading.iter().position(|name| *name == "PID") else {
        bail!("ps {}: its output has no PID column; add pid to -o", options.join(" "));
    };
    let cells = |line: &str| -> String {
        let mut cells: Vec<&str> = line.split_whitespace().collect();
        // The last column may hold spaces.
        let last = cells.split_off((heading.len() - 1).min(cells.len()));
        cells.push("");
        cells.join("\t") + &last.join(" ")
    };
    let mut shown = heading.join("\t") + "\n";
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|text| text.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            shown.push_str(&cells(line));
            shown.push('\n');
        }
    }
    Ok(shown)
}

/// As `ps -ef`; processes that end meanwhile are left out.
fn own(pids: &[i32]) -> String {
    let mut text = "UID\tPID\tPPID\tC\tSTIME\tTTY\tTIME\tCMD\n".to_owned();
    let boot = boot_time();
    for pid in pids {
        if let Some(process) = Process::read(*pid) {
            text.push_str(&process.line(boot));
            text.push('\n');
        }
    }
    text
}

/// Seconds since the epoch at which the host started.
fn boot_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or(0)
}

/// Clock ticks per second in /proc: always 100 for programs (USER_HZ).
const TICKS: u64 = 100;

struct Process {
    uid: u32,
    pid: i32,
    parent: i32,
    terminal: i32,
    /// In ticks.
    cpu: u64,
    /// In ticks since the host started.
    started: u64,
    command: String,
}

impl Process {
    fn read(pid: i32) -> Option<Process> {
        use std::os::unix::fs::MetadataExt;
        let uid = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let args = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Process::parse(uid, pid, &String::from_utf8_lossy(&stat), &args)
    }

    /// Source: proc_pid_stat(5).
    fn parse(uid: u32, pid: i32, stat: &str, args: &[u8]) -> Option<Process> {
        // The name is in parentheses and may hold any character, parentheses too.
        let (head, rest) = stat.rsplit_once(") ")?;
        let name = head.split_once('(')?.1;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let command = match args.split(|byte| *byte == 0).next() {
            Some([]) | None => format!("[{name}]"),
            Some(_) => {
                let trimmed = args.strip_suffix(b"\0").unwrap_or(args);
                String::from_utf8_lossy(trimmed).replace('\0', " ")
            }
        };
        Some(Process {
            uid,
            pid,
            parent: fields.get(1)?.parse().ok()?,
            terminal: fields.get(4)?.parse().ok()?,
            cpu: number(14)? + number(15)?,
            started: number(22)?,
            command: command.replace(['\t', '\n'], " "),
        })
    }

    fn line(&self, boot: u64) -> String {
        let started = boot + self.started / TICKS;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let age = now.saturating_sub(started).max(1);
        let load = self.cpu * 100 / TICKS / age;
        let clock = time::rfc3339(started * 1_000_000_000);
        let stime = if age < 86400 { clock.get(11..16) } else { clock.get(5..10) };
        let seconds = self.cpu / TICKS;
        // Major 136 is the pseudo terminals'.
        let terminal = match (self.terminal >> 8) & 0xfff {
            0 => "?".to_owned(),
            136..=143 => format!("pts/{}", (self.terminal & 0xff) | ((self.terminal >> 12) & 0xfff00)),
            4 => format!("tty{}", self.terminal & 0xff),
            _ => "?".to_owned(),
        };
        format!(
            "{}\t{}\t{}\t{load}\t{}\t{terminal}\t{:02}:{:02}:{:02}\t{}",
            self.uid,
            self.pid,
            self.parent,
            stime.unwrap_or(""),
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            self.command
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let rest = "S 1 7 7 34817 7 4194304 1 0 0 0 150 50 0 0 20 0 1 0 12345 1 1";
        let process = Process::parse(0, 7, &format!("7 (a) b) {rest}"), b"sleep\x009\x00").unwrap();
        assert_eq!((process.parent, process.cpu, process.started), (1, 200, 12345));
        assert_eq!(process.command, "sleep 9");
        assert!(process.line(1_000_000_000).contains("\tpts/1\t00:00:02\tsleep 9"));
        assert_eq!(Process::parse(0, 7, &format!("7 (kth) {rest}"), b"").unwrap().command, "[kth]");
        for text in ["", "7 (x", "7 (x) S", "7 x) S 1 1 1 1"] {
            assert!(Process::parse(0, 7, text, b"").is_none(), "{text}");
        }
    }
}

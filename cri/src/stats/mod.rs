//! What pods and containers use: CPU, memory, I/O, processes, disk and network.
//!
//! ```text
//!  Subject (cgroup, start) ──▶ Collector::group ──▶ Reading: figures of the kernel, and the rate of CPU
//!  upper directory         ──▶ Collector::layer ──▶ bytes and inodes, measured in the background
//!  pids                    ──▶ Processes::of    ──▶ processes, threads, descriptors, sockets
//!  network namespace       ──▶ network::counters
//! ```
//!
//! Nothing is collected ahead: figures are read when they are asked for, but for the walk through a writable layer, which may take
//! long. No message of any wire here, nothing asynchronous: callers choose the thread.

mod device;
mod layers;
mod processes;
mod rate;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use runtime::cgroup::{self, Cgroup, Host, Stats};
use runtime::rooted::Quoted;
use runtime::sys::{Call, CallError};

pub use device::block_device;
pub use layers::{Measured, WritableLayers};
pub use processes::Processes;
pub use rate::Rate;

/// How long the last figures of a group are kept when nobody asks for it.
const KEPT: Duration = Duration::from_secs(600);

/// A group of processes: a container's, or a pod's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its id: rates are kept by it.
    pub id: String,
    /// Its control group.
    pub cgroup: cgroup::Path,
    /// When it was started.
    pub started: SystemTime,
}

/// What a group used until a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// When that was.
    pub at: SystemTime,
    /// The kernel's figures.
    pub stats: Stats,
    /// CPU time per second lately, in nanoseconds: 10^9 is one CPU.
    pub nano_cores: u64,
}

/// A file system, as statvfs(3) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Size in bytes.
    pub bytes: u64,
    /// All inodes; 0 where they are made as needed.
    pub inodes: u64,
    /// Inodes that are not in use.
    pub free_inodes: u64,
}

/// Reads figures, and keeps what the next ones are compared with.
#[derive(Debug)]
pub struct Collector {
    host: Host,
    rates: Mutex<HashMap<String, Kept>>,
    layers: WritableLayers,
}

#[derive(Debug)]
struct Kept {
    rate: Rate,
    asked: Instant,
}

impl Collector {
    /// Looks where the host has its control groups.
    ///
    /// # Errors
    /// As [`Host::detect`].
    pub fn new() -> Result<Collector, cgroup::Error> {
        Ok(Collector { host: Host::detect()?, rates: Mutex::default(), layers: WritableLayers::default() })
    }

    /// What a group used until now; `None`: it is gone.
    ///
    /// # Errors
    /// [`cgroup::Error`].
    pub fn group(&self, subject: &Subject) -> Result<Option<Reading>, cgroup::Error> {
        let Some(group) = Cgroup::open(&self.host, &subject.cgroup)? else { return Ok(None) };
        let stats = match group.stats() {
            Ok(stats) => stats,
            // It was removed while it was looked at.
            Err(error) if matches!(error.errno(), Some(Errno::ENODEV | Errno::ENOENT)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let at = SystemTime::now();
        let age = at.duration_since(subject.started).unwrap_or_default();
        Ok(Some(Reading { at, nano_cores: self.nano_cores(&subject.id, stats.cpu.usage_ns, age), stats }))
    }

    /// What the processes of a group have open; `None`: the group is gone.
    ///
    /// # Errors
    /// [`cgroup::Error`].
    pub fn processes(&self, subject: &Subject) -> Result<Option<Processes>, cgroup::Error> {
        let Some(group) = Cgroup::open(&self.host, &subject.cgroup)? else { return Ok(None) };
        Ok(Some(Processes::of(&group.processes()?)))
    }

    /// How many processes a group has; `None`: the group is gone.
    ///
    /// # Errors
    /// [`cgroup::Error`].
    pub fn process_count(&self, subject: &Subject) -> Result<Option<u64>, cgroup::Error> {
        let Some(group) = Cgroup::open(&self.host, &subject.cgroup)? else { return Ok(None) };
        Ok(Some(group.processes()?.len() as u64))
    }

    /// What a writable layer takes on the disk, measured lately; as [`WritableLayers::usage`].
    pub fn layer(&self, upper: &Path, until: Instant) -> Option<Measured> {
        self.layers.usage(upper, until)
    }

    fn nano_cores(&self, id: &str, usage_ns: u64, age: Duration) -> u64 {
        let now = Instant::now();
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if !rates.contains_key(id) {
            rates.retain(|_, kept| now.duration_since(kept.asked) < KEPT);
        }
        let kept = rates.entry(id.to_owned()).or_insert_with(|| Kept { rate: Rate::since(now, age), asked: now });
        kept.asked = now;
        kept.rate.add(now, usage_ns)
    }
}

impl Reading {
    /// What several groups use together, where they have none in common. Pressure cannot be added up and is left out.
    pub fn sum<'a>(at: SystemTime, all: impl Iterator<Item = &'a Reading>) -> Reading {
        let mut sum = Reading { at, stats: Stats::default(), nano_cores: 0 };
        for one in all {
            sum.nano_cores += one.nano_cores;
            sum.stats.cpu.usage_ns += one.stats.cpu.usage_ns;
            sum.stats.cpu.user_ns += one.stats.cpu.user_ns;
            sum.stats.cpu.system_ns += one.stats.cpu.system_ns;
            if let Some(memory) = &one.stats.memory {
                let sum = sum.stats.memory.get_or_insert_default();
                sum.usage_bytes += memory.usage_bytes;
                sum.working_set_bytes += memory.working_set_bytes;
                sum.inactive_file_bytes += memory.inactive_file_bytes;
                sum.anon_bytes += memory.anon_bytes;
                sum.file_bytes += memory.file_bytes;
                sum.swap_usage_bytes += memory.swap_usage_bytes;
                sum.page_faults += memory.page_faults;
                sum.major_page_faults += memory.major_page_faults;
            }
        }
        sum
    }
}

impl FileSystem {
    /// The file system of a directory.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn of(path: &Path) -> Result<FileSystem, CallError> {
        use std::os::unix::ffi::OsStrExt;
        let stat = statvfs(path).call(|| format!("statvfs({})", Quoted(path.as_os_str().as_bytes())))?;
        Ok(FileSystem {
            bytes: stat.blocks() * stat.fragment_size(),
            inodes: stat.files(),
            free_inodes: stat.files_free(),
        })
    }
}

#[cfg(test)]
mod tests {
    use runtime::cgroup::{CpuStats, MemoryStats, Pressure, Pressures};

    use super::*;

    #[test]
    fn sums() {
        let now = SystemTime::now();
        let one = Reading {
            at: now,
            stats: Stats {
                cpu: CpuStats { usage_ns: 5, ..CpuStats::default() },
                memory: Some(MemoryStats { usage_bytes: 7, limit_bytes: Some(9), ..MemoryStats::default() }),
                pressure: Pressures { cpu: Some(Pressure::default()), ..Pressures::default() },
                ..Stats::default()
            },
            nano_cores: 3,
        };
        let sum = Reading::sum(now, [&one, &one].into_iter());
        assert_eq!((sum.stats.cpu.usage_ns, sum.nano_cores), (10, 6));
        let memory = sum.stats.memory.unwrap();
        assert_eq!((memory.usage_bytes, memory.limit_bytes), (14, None), "others may have no limit");
        assert_eq!(sum.stats.pressure, Pressures::default());
        assert_eq!(Reading::sum(now, std::iter::empty()).stats, Stats::default());
    }

    #[test]
    fn root_a_real_group() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let host = Host::detect().unwrap();
        let path: cgroup::Path = format!("rt-figures-{}", std::process::id()).parse().unwrap();
        let group = Cgroup::create(&host, &path).unwrap();
        let mut shell = std::process::Command::new("sh");
        let mut child = shell.args(["-c", "echo; read line"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        group.add(nix::unistd::Pid::from_raw(child.id().cast_signed())).unwrap();
        let collector = Collector::new().unwrap();
        let subject = Subject { id: "a".into(), cgroup: path, started: SystemTime::now() };
        let reading = collector.group(&subject).unwrap().unwrap();
        assert!(reading.stats.pids.is_none_or(|pids| pids.current == 1), "{reading:?}");
        assert_eq!(collector.process_count(&subject).unwrap(), Some(1));
        assert_eq!(collector.processes(&subject).unwrap().unwrap().count, 1);
        drop(child.stdin.take());
        child.wait().unwrap();
        group.remove().unwrap();
        assert_eq!(collector.group(&subject).unwrap(), None);
        assert_eq!(collector.process_count(&subject).unwrap(), None);
        assert_eq!(collector.processes(&subject).unwrap(), None);
    }
}

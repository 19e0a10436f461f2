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

    /// What a writable layer takes on the disk, measured lately; `None`: that is not known yet.
    pub fn layer(&self, upper: &Path) -> Option<Measured> {
        self.layers.usage(upper)
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

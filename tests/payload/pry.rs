//! Looks at all that the kernel shows of the other processes, the youngest first: what a container sees of one that enters it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::say;

/// Says each thing once: what the descriptors of others are, programs that could be opened for writing, and what is in the file `path`
/// below their roots and working directories. Ends when there is a file `/tmp/stop`, with the number of looks at others.
pub(crate) fn pry(path: &str) {
    let mut said = HashSet::new();
    let mut held: HashMap<PathBuf, File> = HashMap::new();
    let mut tell = |line: String| {
        if said.insert(line.clone()) {
            say(&line);
        }
    };
    let (mut looks, mut next) = (0u64, std::process::id() + 1);
    tell("ready".to_owned());
    while fs::symlink_metadata("/tmp/stop").is_err() {
        // Many may have come and gone unseen.
        next = next.max(youngest());
        for _ in 0..1000 {
            // One that lives is looked at again and again, as long as there is no younger one.
            let first = next;
            for pid in first..first + 4 {
                let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
                next = pid;
                looks += 1;
                for fd in fds.flatten() {
                    if let Ok(target) = fs::read_link(fd.path()) {
                        tell(format!("descriptor {}", target.display()));
                    }
                }
                let exe = format!("/proc/{pid}/exe");
                if let Ok(target) = fs::read_link(&exe)
                    && !held.contains_key(&target)
                    && let Ok(file) = File::open(&exe)
                {
                    held.insert(target, file);
                }
                for place in ["root", "cwd"] {
                    if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/{place}/{path}")) {
                        tell(format!("{place} {text}"));
                    }
                }
            }
        }
    }
    // A program that runs is busy; it is held until nobody runs it.
    for _ in 0..10_000 {
        for (target, file) in &held {
            if OpenOptions::new().append(true).open(format!("/proc/self/fd/{}", file.as_raw_fd())).is_ok() {
                tell(format!("writable {}", target.display()));
            }
        }
    }
    tell(format!("programs {}", held.len()));
    tell(format!("looks {looks}"));
}

/// The process id that was given last in this pid namespace, proc_loadavg(5).
fn youngest() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next_back().and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

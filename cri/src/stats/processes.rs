//! What processes have open, by /proc.

use std::fs;
use std::io;

use nix::unistd::Pid;

/// Most descriptors that are looked at: reading a million links would take a second.
const DESCRIPTORS: u64 = 200_000;

/// What the processes of a group have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Processes {
    /// How many there are.
    pub count: u64,
    /// Their threads.
    pub threads: u64,
    /// Their open file descriptors.
    pub descriptors: u64,
    /// Those of them that are sockets.
    pub sockets: u64,
    /// How many descriptors the first of them may have open (RLIMIT_NOFILE, soft).
    pub open_files_limit: Option<u64>,
}

impl Processes {
    /// Looks at processes. One that ended meanwhile has nothing; one that this process cannot see counts alone.
    pub fn of(pids: &[Pid]) -> Processes {
        let mut processes = Processes { count: pids.len() as u64, ..Processes::default() };
        for pid in pids.iter().filter(|pid| pid.as_raw() > 0) {
            processes.threads += threads(*pid).unwrap_or(0);
            let _ = processes.add_descriptors(*pid);
            if processes.open_files_limit.is_none() {
                let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok();
                processes.open_files_limit = limits.as_deref().and_then(open_files);
            }
        }
        processes
    }

    /// Counts what it can of a process that may end at any moment.
    fn add_descriptors(&mut self, pid: Pid) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            if self.descriptors >= DESCRIPTORS {
                break;
            }
            let entry = entry?;
            self.descriptors += 1;
            let target = fs::read_link(entry.path());
            if target.is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:")) {
                self.sockets += 1;
            }
        }
        Ok(())
    }
}

/// Field 20 of /proc/PID/stat, proc_pid_stat(5). The second field may have blanks and brackets.
fn threads(pid: Pid) -> Option<u64> {
    parse_threads(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_threads(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    // The first word after the bracket is field 3.
    rest.split_ascii_whitespace().nth(20 - 3)?.parse().ok()
}

/// The soft limit of the line `Max open files` of /proc/PID/limits.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn known_texts() {
        let stat = b"7 (a b) c) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 13 0 99 1024 5";
        assert_eq!(parse_threads(stat), Some(13));
        for broken in [&b""[..], b"7 (a", b"7 (a) S 1", b"7 (a) S \xff"] {
            assert_eq!(parse_threads(broken), None);
        }
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files  unlimited unlimited files"), None);
        assert_eq!(open_files(""), None);
    }

    #[test]
    fn a_real_process() {
        // 0 is a socket; there may be more descriptors than those that were opened here.
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -Sn 123; exec 7</dev/null; echo ready; read line"])
            .stdin(std::os::fd::OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        // 0 stands for a process of another pid namespace.
        let found = Processes::of(&[Pid::from_raw(0), pid]);
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        drop(ours);
        child.wait().unwrap();
        let expected = Processes { count: 2, threads: 1, descriptors, sockets: 1, open_files_limit: Some(123) };
        assert_eq!(found, expected);
        assert_eq!(Processes::of(&[pid]), Processes { count: 1, ..Processes::default() }, "it has ended");
    }
}

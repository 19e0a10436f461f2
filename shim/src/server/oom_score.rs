//! `oom_score_adj` of processes that run, proc_pid_oom_score_adj(5).

use std::fs::OpenOptions;
use std::io::{Read, Write};

use nix::errno::Errno;
use runtime::cgroup::Cgroup;
use runtime::sys::{Call, CallError};

use super::Failure;

/// How often processes are looked for that were born meanwhile, with the old value.
const ROUNDS: u32 = 8;

/// Gives the processes of a group that have the value `old` another one. What a program has chosen for a process of its own stays.
///
/// # Errors
/// The kernel's answer: lowering it below what the process began with needs CAP_SYS_RESOURCE.
pub(super) fn change(cgroup: &Cgroup, old: i32, new: i32) -> Result<(), Failure> {
    let mut changed = Vec::new();
    for _ in 0..ROUNDS {
        let before = changed.len();
        for pid in cgroup.processes().map_err(Failure::internal)? {
            let path = format!("/proc/{pid}/oom_score_adj");
            match change_one(&path, old, new) {
                Ok(true) => changed.push(path),
                Ok(false) => {}
                // It has ended.
                Err(CallError { errno: Errno::ENOENT | Errno::ESRCH, .. }) => {}
                Err(error) => {
                    // All or nothing; a process that has ended meanwhile needs nothing.
                    for path in changed {
                        let _ = change_one(&path, new, old);
                    }
                    return Err(Failure::internal(error));
                }
            }
        }
        if changed.len() == before || old == new {
            break;
        }
    }
    Ok(())
}

fn change_one(path: &str, old: i32, new: i32) -> Result<bool, CallError> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).call(|| format!("open({path:?}, O_RDWR)"))?;
    let mut text = String::new();
    file.read_to_string(&mut text).call(|| format!("read({path:?})"))?;
    if text.trim().parse() != Ok(old) {
        return Ok(false);
    }
    file.write_all(new.to_string().as_bytes()).call(|| format!("write({path:?}, \"{new}\")"))?;
    Ok(true)
}

//! When and where the process runs.

use nix::errno::Errno;

use crate::plan::{MemoryPolicy, Process};
use crate::sys::scheduling::{set_affinity, set_io_priority, set_memory_policy, set_scheduler};
use crate::sys::{Call, CallError};

/// All processors that there can be: the kernel leaves out those that the groups do not have.
const ALL: [u64; 128] = [u64::MAX; 128];

/// In its groups the process may run on what they have, and not only on what the caller happened to run on; or on what is asked for.
pub(super) fn processors(asked: Option<&[u64]>) -> Result<(), CallError> {
    set_affinity(asked.unwrap_or(&ALL)).call(|| match asked {
        Some(asked) => format!("sched_setaffinity({asked:x?})"),
        None => "sched_setaffinity(<all>)".to_owned(),
    })
}

/// Policies of processors and disks, while there are the capabilities for them.
pub(super) fn priorities(process: &Process) -> Result<(), CallError> {
    if let Some(scheduler) = &process.scheduler {
        set_scheduler(scheduler).call(|| format!("sched_setattr({scheduler:?})"))?;
    }
    match process.io_priority {
        Some(value) => set_io_priority(value).call(|| format!("ioprio_set(class {}, {})", value >> 13, value & 7)),
        None => Ok(()),
    }
}

/// Where memory comes from; what is allocated until execve is gone then.
pub(super) fn memory(policy: Option<&MemoryPolicy>) -> Result<(), CallError> {
    let Some(MemoryPolicy { mode, nodes }) = policy else { return Ok(()) };
    set_memory_policy(*mode, nodes).call(|| match set_memory_policy(0, &[]) {
        Err(Errno::ENOSYS) => "set_mempolicy(): linux.memoryPolicy needs a kernel with NUMA".to_owned(),
        _ => format!("set_mempolicy({mode:#x}, {nodes:x?}): linux.memoryPolicy"),
    })
}

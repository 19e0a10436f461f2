//! When and where a process runs: sched(7), ioprio_set(2), set_mempolicy(2).

use nix::errno::Errno;

use super::check;

/// struct sched_attr of sched_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Scheduler {
    /// Its own size; set by [`set_scheduler`].
    pub size: u32,
    /// SCHED_* number.
    pub policy: u32,
    /// SCHED_FLAG_* bits.
    pub flags: u64,
    /// -20 to 19, of SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// 1 to 99, of SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Nanoseconds, of SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds, of SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, of SCHED_DEADLINE.
    pub period: u64,
    /// Clamp of utilization.
    pub util_min: u32,
    /// Clamp of utilization.
    pub util_max: u32,
}

/// Scheduling policy of the calling thread, sched_setattr(2).
///
/// # Errors
/// EPERM without CAP_SYS_NICE for what is better than before; EINVAL for a policy or value that the kernel does not have; EBUSY where
/// deadlines cannot be kept.
pub fn set_scheduler(scheduler: &Scheduler) -> Result<(), Errno> {
    let size = u32::try_from(size_of::<Scheduler>()).map_err(|_| Errno::E2BIG)?;
    let scheduler = Scheduler { size, ..*scheduler };
    // SAFETY: the structure lives until the call returns and names its own size.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const scheduler, 0) })?;
    Ok(())
}

/// I/O priority of the calling thread, ioprio_set(2): class in the bits from 13 on, priority below.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN or CAP_SYS_NICE for the real-time class.
pub fn set_io_priority(value: u32) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })?;
    Ok(())
}

/// Processors that the calling thread may run on, a bit each, sched_setaffinity(2). Those outside of its cpuset are left out.
///
/// # Errors
/// EINVAL: none is left.
pub fn set_affinity(processors: &[u64]) -> Result<(), Errno> {
    // SAFETY: pointer and length are of one slice.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(processors), processors.as_ptr()) })?;
    Ok(())
}

/// Processors that the calling thread may run on, sched_getaffinity(2).
///
/// # Errors
/// EINVAL: the kernel has more than 8192.
pub fn affinity() -> Result<Vec<u64>, Errno> {
    let mut processors = vec![0_u64; 128];
    let size = size_of_val(processors.as_slice());
    // SAFETY: pointer and length are of one vector.
    check(unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, processors.as_mut_ptr()) })?;
    Ok(processors)
}

/// Memory nodes that the calling thread takes memory from, a bit each, set_mempolicy(2); a program that it executes inherits it.
///
/// # Errors
/// EINVAL: no such mode, or no such node here. ENOSYS: a kernel without NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel counts one bit less than it is told.
    let bits = nodes.len() * 64 + 1;
    let nodes = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: `nodes` is null or has the bits that are announced.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes, bits) })?;
    Ok(())
}

//! Ending a shim that does not answer: it is stopped, or waits for a disk that does not come back. Its containers die with it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use runtime::sys::process::{pidfd_open, pidfd_send_signal};
use runtime::sys::{Call, CallError};

use crate::record;

/// Kills the shim that a record names by process id and start time, in the boot `boot_id`, and waits until it has ended; one that
/// is gone is done.
///
/// # Errors
/// The kernel's answer; `ETIMEDOUT`: it has been killed and did not end within `limit`.
pub fn kill((pid, start): (i32, u64), boot_id: &str, limit: Duration) -> Result<(), CallError> {
    let pidfd = match pidfd_open(Pid::from_raw(pid)) {
        Err(Errno::ESRCH | Errno::EINVAL) => return Ok(()),
        answer => answer.call(|| format!("pidfd_open({pid})"))?,
    };
    // The descriptor is of the process that has this number now: only if it is still the one of the record.
    if record::start_time(pid)? != Some(start) || record::boot_id()? != boot_id {
        return Ok(());
    }
    match pidfd_send_signal(&pidfd, nix::libc::SIGKILL) {
        Err(Errno::ESRCH) => return Ok(()),
        answer => answer.call(|| format!("pidfd_send_signal(<rt-shim {pid}>, SIGKILL)"))?,
    };
    let until = Instant::now() + limit;
    loop {
        let left = PollTimeout::try_from(until.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], left) {
            Err(Errno::EINTR) => {}
            Ok(0) => return Err(CallError { call: format!("poll(<rt-shim {pid}>), killed"), errno: Errno::ETIMEDOUT }),
            answer => return answer.call(|| format!("poll(<rt-shim {pid}>)")).map(|_| ()),
        }
    }
}

//! Waiting for what a group does, with an end.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::pread;

use super::Error;
use super::dir::Dir;

/// Waits until `key` of `cgroup.events` is `wanted`; `false` when the time is over. The kernel raises POLLPRI on the open
/// file whenever it changes after a read. A group that is gone has no processes: any state is taken for granted.
pub(super) fn event(dir: &Dir, key: &str, wanted: bool, deadline: Instant) -> Result<bool, Error> {
    let file = "cgroup.events";
    let fd = match dir.open_file(file, OFlag::O_RDONLY) {
        Ok(fd) => fd,
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => return Ok(true),
        Err(error) => return Err(error),
    };
    loop {
        let mut buffer = [0; 256];
        let count = match pread(&fd, &mut buffer, 0) {
            Ok(count) => count,
            Err(Errno::ENODEV) => return Ok(true),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Error::on("read", &dir.path().join(file), errno)),
        };
        let text = String::from_utf8_lossy(&buffer[..count]);
        match value(&text, key) {
            Some(value) if (value != 0) == wanted => return Ok(true),
            Some(_) => {}
            None => return Err(Error::Malformed { path: dir.path().join(file), content: text.into_owned() }),
        }
        let Some(timeout) = left(deadline) else { return Ok(false) };
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::on("poll", &dir.path().join(file), errno)),
        }
    }
}

/// The number after `key` in lines of `key number`.
pub(super) fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The time until `deadline`, rounded up; `None` when it is over.
pub(super) fn left(deadline: Instant) -> Option<PollTimeout> {
    let left = deadline.checked_duration_since(Instant::now())?;
    let millis = i32::try_from(left.as_millis()).unwrap_or(i32::MAX - 1) + 1;
    Some(PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX))
}

/// Rests of growing length, for the few states that no event announces (v1).
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Pause {
        Pause(Duration::from_micros(20))
    }
}

impl Pause {
    /// Rests, at most 5 ms.
    pub(super) fn rest(&mut self) {
        std::thread::sleep(self.0);
        self.0 = (self.0 * 2).min(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_keyed_files() {
        let text = "populated 1\nfrozen 0\noom_kill 12\noom_kill_disable 0\n";
        assert_eq!(value(text, "populated"), Some(1));
        assert_eq!(value(text, "frozen"), Some(0));
        assert_eq!(value(text, "oom_kill"), Some(12));
        assert_eq!(value(text, "oom"), None);
        assert_eq!(value("", "oom"), None);
    }
}

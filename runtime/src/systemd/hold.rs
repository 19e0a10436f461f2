//! The process that holds a new scope until the container is in it.

use std::os::fd::OwnedFd;

use nix::unistd::Pid;

use crate::launch::{Channel, pair};
use crate::sys::clone::{Clone3, Parent, clone3};
use crate::sys::process::{Block, exit_now, pidfd_send_signal, wait};
use crate::sys::{Call, CallError};

/// A placeholder. It ends when this is dropped, and along with the calling process.
pub struct Hold {
    /// Its process id.
    pub pid: Pid,
    pidfd: OwnedFd,
    /// It waits for the other end of this.
    _channel: Channel,
}

impl Hold {
    /// Starts one. The calling process must have one thread.
    ///
    /// # Errors
    /// clone3(2).
    pub fn new() -> Result<Self, CallError> {
        let (ours, theirs) = pair()?;
        match clone3(0, None, Parent::Caller).call(|| "clone3()".to_owned())? {
            Clone3::Parent(pid, pidfd) => Ok(Self { pid, pidfd, _channel: ours }),
            Clone3::Child => {
                drop(ours);
                // The end of the channel is what is waited for.
                let _ = theirs.wait();
                exit_now(0)
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A child that was not waited for: both can only say that it has ended.
        let _ = pidfd_send_signal(&self.pidfd, libc::SIGKILL);
        let _ = wait(&self.pidfd, Block::Yes);
    }
}

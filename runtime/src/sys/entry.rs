//! Starting a program without the start-up of the Rust runtime.
//!
//! That start-up looks for the stack's guard page in /proc/self/maps, installs an alternative signal stack and handlers, and
//! ignores SIGPIPE: some twenty system calls, twice for a program that executes itself once more, and an ignored signal that a
//! container would inherit. What is needed of it is done here: descriptors 0, 1 and 2 are open.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

/// Makes a function `fn() -> i32` the program; its result is the exit code. The crate needs `#![no_main]`.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
            $crate::sys::entry::open_standard_streams();
            $run()
        }
    };
}

/// Opens /dev/null where a standard stream is closed, so that no other descriptor is taken for one. Ends the program where that
/// is not possible.
pub fn open_standard_streams() {
    let mut fds = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: an array of three structures that lives until the call returns.
    let polled = Errno::result(unsafe { libc::poll(fds.as_mut_ptr(), 3, 0) });
    if polled.is_ok() && fds.iter().all(|fd| fd.revents & libc::POLLNVAL == 0) {
        return;
    }
    loop {
        match openat(AT_FDCWD, "/dev/null", OFlag::O_RDWR | OFlag::O_NOCTTY, Mode::empty()) {
            Ok(null) if null.as_raw_fd() <= 2 => leave(null),
            Ok(_) => return,
            Err(_) => super::process::exit_now(125),
        }
    }
}

fn leave(stream: OwnedFd) {
    let _ = stream.into_raw_fd();
}

//! Starting a program without the start-up of the Rust runtime.
//!
//! That start-up looks for the stack's guard page in /proc/self/maps, installs an alternative signal stack and handlers, and
//! ignores SIGPIPE: some twenty system calls, twice for a program that executes itself once more, and an ignored signal that a
//! container would inherit. What is needed of it is done here: descriptors 0, 1 and 2 are open.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

/// Makes a function `fn() -> i32` the program; its result is the exit code. The crate needs `#![no_main]`.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(count: i32, arguments: *const *mut u8) -> i32 {
            // SAFETY: these are what main gets.
            unsafe { $crate::sys::entry::keep_arguments(count, arguments) };
            $crate::sys::entry::open_standard_streams();
            $run()
        }
    };
}

/// Where the kernel put the program's arguments, and how many bytes they have.
static ARGUMENTS: (AtomicPtr<u8>, AtomicUsize) = (AtomicPtr::new(std::ptr::null_mut()), AtomicUsize::new(0));

/// Notes where the arguments are; for [`entry`](crate::entry).
///
/// # Safety
/// The arguments must be what main gets.
pub unsafe fn keep_arguments(count: i32, arguments: *const *mut u8) {
    let Some(last) = usize::try_from(count).ok().and_then(|count| count.checked_sub(1)) else { return };
    // SAFETY: main gets an array of that many C strings, which the kernel puts one behind the other.
    let (first, end) = unsafe {
        let last = *arguments.add(last);
        (*arguments, last.add(std::ffi::CStr::from_ptr(last.cast()).count_bytes()))
    };
    ARGUMENTS.0.store(first, Ordering::Relaxed);
    ARGUMENTS.1.store(end.addr() - first.addr(), Ordering::Relaxed);
}

/// Replaces what /proc/PID/cmdline and ps(1) show by `title`, as far as it fits: the arguments tell paths of the host. They
/// cannot be read any more afterwards.
pub fn replace_arguments(title: &str) {
    let (first, length) = (ARGUMENTS.0.load(Ordering::Relaxed), ARGUMENTS.1.load(Ordering::Relaxed));
    if first.is_null() {
        return;
    }
    for index in 0..length {
        let byte = title.as_bytes().get(index).copied().unwrap_or(0);
        // SAFETY: the arguments lie on the stack above main's frame, writable, for as long as the process lives; one thread.
        unsafe { first.add(index).write(byte) };
    }
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

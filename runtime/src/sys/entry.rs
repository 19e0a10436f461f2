//! Starting a program without the start-up of the Rust runtime.
//!
//! That start-up looks for the stack's guard page in /proc/self/maps, installs an alternative signal stack and handlers, and
//! ignores SIGPIPE: some twenty system calls, twice for a program that executes itself once more, and an ignored signal that a
//! container would inherit. What is needed of it is done here: descriptors 0, 1 and 2 are open.

use std::ffi::CStr;
use std::ops::Range;
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

/// The array of their addresses, and how many there are; the environment's follows.
static ARRAY: (AtomicPtr<*mut u8>, AtomicUsize) = (AtomicPtr::new(std::ptr::null_mut()), AtomicUsize::new(0));

/// Notes where the arguments are; for [`entry`](crate::entry).
///
/// # Safety
/// The arguments must be what main gets.
pub unsafe fn keep_arguments(count: i32, arguments: *const *mut u8) {
    let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else { return };
    // SAFETY: main gets an array of that many C strings.
    let strings = unsafe { strings(arguments, count) };
    // SAFETY: as above.
    ARGUMENTS.0.store(unsafe { *arguments }, Ordering::Relaxed);
    ARGUMENTS.1.store(strings.len() - 1, Ordering::Relaxed);
    ARRAY.0.store(arguments.cast_mut(), Ordering::Relaxed);
    ARRAY.1.store(count, Ordering::Relaxed);
}

/// What a program begins with on its stack, by address.
pub(super) struct Stack {
    /// Where the stack began.
    pub(super) start: usize,
    /// The arguments.
    pub(super) arguments: Range<usize>,
    /// The environment.
    pub(super) environment: Range<usize>,
}

/// What the kernel put on the stack of this program; `None` without [`entry`](crate::entry).
pub(super) fn stack() -> Option<Stack> {
    let (array, count) = (ARRAY.0.load(Ordering::Relaxed).cast_const(), ARRAY.1.load(Ordering::Relaxed));
    if array.is_null() {
        return None;
    }
    // SAFETY: the kernel puts two arrays on the stack, which end with a null pointer each, below the strings that they point to. They
    // stay there, and nobody writes to them.
    let (arguments, environment) = unsafe {
        let variables = array.add(count + 1);
        let mut more = 0;
        while !(*variables.add(more)).is_null() {
            more += 1;
        }
        (strings(array, count), strings(variables, more))
    };
    // The number of arguments lies below their array.
    let start = array.addr() - size_of::<usize>();
    let environment = if environment.is_empty() { arguments.end..arguments.end } else { environment };
    Some(Stack { start, arguments, environment })
}

/// Where the strings of an array are, which the kernel puts one behind the other, the last one's end included.
///
/// # Safety
/// The array must have that many C strings.
unsafe fn strings(array: *const *mut u8, count: usize) -> Range<usize> {
    let Some(last) = count.checked_sub(1) else { return 0..0 };
    // SAFETY: the caller's promise.
    let (first, last) = unsafe { (*array, *array.add(last)) };
    // SAFETY: as above.
    let length = unsafe { CStr::from_ptr(last.cast()) }.count_bytes();
    first.addr()..last.addr() + length + 1
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

//! seccomp(2).

use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU32;

use nix::errno::Errno;

use crate::seccomp::{Instruction, Program};

/// struct sock_fprog of linux/filter.h.
#[repr(C)]
struct Filter {
    length: u16,
    instructions: *const Instruction,
}

/// Puts a program before every further system call of this thread, its children, and whatever it executes; with
/// SECCOMP_FILTER_FLAG_TSYNC of all threads of the process.
///
/// The caller has CAP_SYS_ADMIN in its user namespace or set no_new_privs before. One system call, no allocation.
///
/// # Errors
/// The kernel's answer: EACCES (neither of the two), EINVAL (the program is not one, or a flag is not known), ENOMEM (too
/// many instructions in all filters of the process), ESRCH (a thread cannot follow), EBUSY (a filter of the process has a listener).
///
/// The number of the listener, for a program that has one; execve(2) closes it.
///
/// Source: seccomp(2), SECCOMP_SET_MODE_FILTER.
pub fn load(program: &Program) -> Result<Option<i32>, Errno> {
    let length = u16::try_from(program.instructions.len()).map_err(|_| Errno::EINVAL)?;
    let filter = Filter { length, instructions: program.instructions.as_ptr() };
    // SAFETY: the kernel reads `filter` and the `length` instructions that it points to, which live until the call is
    // over; Filter and Instruction have the layouts of struct sock_fprog and struct sock_filter.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::c_ulong::from(program.flags),
            &raw const filter,
        )
    };
    let answer = Errno::result(answer)?;
    Ok(i32::try_from(answer).ok().filter(|_| program.notifies()))
}

/// A number in memory that this process shares with those that it forks from now on, mmap(2). It is never unmapped: for a process
/// that goes on to execute a program.
///
/// # Errors
/// ENOMEM.
pub fn shared_word() -> Result<&'static AtomicU32, Errno> {
    let length = size_of::<AtomicU32>();
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, at no particular place.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if place == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: the mapping is aligned to a page, zeroed, large enough, and is never unmapped.
    Ok(unsafe { &*place.cast::<AtomicU32>() })
}

/// A descriptor by the number that [`load`] told, in a process that shares the descriptors of the one that loaded the program.
#[must_use]
pub fn borrow(listener: i32) -> BorrowedFd<'static> {
    // SAFETY: nobody owns it, so nobody closes it before execve(2), for which the process that loaded it waits.
    unsafe { BorrowedFd::borrow_raw(listener) }
}

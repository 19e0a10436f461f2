//! seccomp(2).

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
/// many instructions in all filters of the process), ESRCH (a thread cannot follow).
///
/// Source: seccomp(2), SECCOMP_SET_MODE_FILTER.
pub fn load(program: &Program) -> Result<(), Errno> {
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
    Errno::result(answer).map(drop)
}

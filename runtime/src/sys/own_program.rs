//! The file that this process runs, exchanged for the same file on another mount.
//!
//! What /proc/PID/exe leads to is the file that was executed, and with it the mount by which it was opened: by one that can be written to,
//! whoever reaches the link can write to the program (CVE-2019-5736). prctl(2) PR_SET_MM_MAP replaces it, but only once nothing of the
//! former is mapped any more:
//!
//! ```text
//!  code and constants   mapped anew, from the other file, at the same place: the same pages of the page cache
//!  data                 copied to memory of no file, which then takes its place
//!  /proc/PID/exe        the other file
//! ```
//!
//! That is a tenth of what executing the program once more costs: nothing of it is read or relocated again, and the C library does not ask
//! the processor again what it can do, which in a virtual machine is answered by its host.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::with_exposed_provenance_mut as at;

use nix::errno::Errno;

use super::entry::stack;

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Header;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Header;

const EXECUTABLE: u32 = 1;
const WRITABLE: u32 = 2;
const READABLE: u32 = 4;
const PT_GNU_RELRO: u32 = 0x6474_e552;

/// prctl_mm_map of linux/prctl.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Map {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// What is to be done, in whole pages.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Address, length, protection, and offset in the file.
    again: Vec<(usize, usize, i32, i64)>,
    /// Address and length.
    copied: Vec<(usize, usize)>,
    /// Address and length of what is only read after relocation.
    relocated: Option<(usize, usize)>,
    code: (usize, usize),
    data: (usize, usize),
}

/// Has this process run from `file`, which must be the file that it runs, opened for reading by another mount.
///
/// The caller must have one thread. When it fails, the program goes on as before.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE; EINVAL: the kernel is built without CONFIG_CHECKPOINT_RESTORE.
pub fn run_from(file: impl AsFd) -> Result<(), Errno> {
    let stack = stack().ok_or(Errno::ENOTSUP)?;
    // SAFETY: no pointer is passed.
    let (headers, count) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    let (headers, count) = (address(headers)?, address(count)?);
    if headers == 0 {
        return Err(Errno::ENOTSUP);
    }
    // SAFETY: the kernel tells where it has mapped the program's headers, which nobody writes to.
    let table = unsafe { std::slice::from_raw_parts(at::<Header>(headers).cast_const(), count) };
    // SAFETY: it only asks.
    let page = address(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })?;
    let plan = plan(table, headers, page)?;
    for (start, length, protection, offset) in &plan.again {
        map_again(*start, *length, *protection, file.as_fd(), *offset)?;
    }
    for (start, length) in &plan.copied {
        copy(*start, *length)?;
    }
    if let Some((start, length)) = plan.relocated {
        // SAFETY: these pages have been so since the program was relocated, and nobody has written to them.
        Errno::result(unsafe { libc::mprotect(at(start), length, libc::PROT_READ) })?;
    }
    // SAFETY: it only asks for the end of the heap.
    let heap = u64::try_from(unsafe { libc::syscall(libc::SYS_brk, 0) }).map_err(|_| Errno::EOVERFLOW)?;
    let map = Map {
        start_code: plan.code.0 as u64,
        end_code: plan.code.1 as u64,
        start_data: plan.data.0 as u64,
        end_data: plan.data.1 as u64,
        // It only has to lie in the heap: below this it cannot shrink any more.
        start_brk: heap,
        brk: heap,
        start_stack: stack.start as u64,
        arg_start: stack.arguments.start as u64,
        arg_end: stack.arguments.end as u64,
        env_start: stack.environment.start as u64,
        env_end: stack.environment.end as u64,
        auxv: 0,
        auxv_size: 0,
        exe_fd: file.as_fd().as_raw_fd().cast_unsigned(),
    };
    // SAFETY: the structure lives until the call returns and the size given is its own. What it tells of this process is true, but for the
    // start of the heap.
    Errno::result(unsafe {
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP as libc::c_ulong, &raw const map, size_of::<Map>(), 0)
    })?;
    Ok(())
}

/// From the program headers, which are at the address `headers`.
fn plan(table: &[Header], headers: usize, page: usize) -> Result<Plan, Errno> {
    let own = table.iter().find(|header| header.p_type == libc::PT_PHDR).ok_or(Errno::ENOTSUP)?;
    let base = headers.wrapping_sub(address(own.p_vaddr)?);
    let (down, up) = (|address: usize| address & !(page - 1), |address: usize| (address + page - 1) & !(page - 1));
    let mut plan = Plan { code: (usize::MAX, 0), ..Plan::default() };
    for header in table {
        let start = base.wrapping_add(address(header.p_vaddr)?);
        let end = start + address(header.p_filesz)?;
        if header.p_type == PT_GNU_RELRO {
            let end = down(start + address(header.p_memsz)?);
            plan.relocated = Some((down(start), end - down(start))).filter(|(_, length)| *length > 0);
        }
        if header.p_type != libc::PT_LOAD || start == end {
            continue;
        }
        let has = |flag| header.p_flags & flag != 0;
        plan.code.0 = plan.code.0.min(start);
        if has(EXECUTABLE) {
            plan.code.1 = plan.code.1.max(end);
        }
        plan.data = (plan.data.0.max(start), plan.data.1.max(end));
        let (first, length) = (down(start), up(end) - down(start));
        if has(WRITABLE) {
            match plan.copied.last_mut() {
                Some((before, sum)) if *before + *sum == first => *sum += length,
                _ => plan.copied.push((first, length)),
            }
            continue;
        }
        let protection = [(READABLE, libc::PROT_READ), (EXECUTABLE, libc::PROT_EXEC)];
        let protection = protection.iter().filter(|(flag, _)| has(*flag)).fold(0, |all, (_, bit)| all | bit);
        let offset = down(address(header.p_offset)?);
        plan.again.push((first, length, protection, i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?));
    }
    if plan.code.0 < plan.code.1 { Ok(plan) } else { Err(Errno::ENOTSUP) }
}

fn map_again(start: usize, length: usize, protection: i32, file: BorrowedFd<'_>, offset: i64) -> Result<(), Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
    // SAFETY: what is there now are the same bytes of the same file, and nobody may write to them: a program that runs cannot be changed.
    let mapped = unsafe { libc::mmap(at(start), length, protection, flags, file.as_raw_fd(), offset) };
    if mapped == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
}

/// Puts a copy of these pages in their place.
fn copy(start: usize, length: usize) -> Result<(), Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    // SAFETY: new memory, at a place that the kernel chooses.
    let copy = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    if copy == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: both are mapped with that length. There is no other thread, and between the copy and its move nothing is written to variables
    // of the program, only to the stack: the copy is the same when it takes their place.
    let moved = unsafe {
        std::ptr::copy_nonoverlapping(at::<u8>(start).cast_const(), copy.cast::<u8>(), length);
        libc::mremap(copy, length, length, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, at::<c_void>(start))
    };
    if moved == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
}

fn address(number: impl TryInto<usize>) -> Result<usize, Errno> {
    number.try_into().map_err(|_| Errno::EOVERFLOW)
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    fn header(kind: u32, flags: u32, offset: u64, address: u64, (file, memory): (u64, u64)) -> Header {
        Header {
            p_type: kind,
            p_flags: flags,
            p_offset: offset,
            p_vaddr: address,
            p_paddr: address,
            p_filesz: file,
            p_memsz: memory,
            p_align: 0x1000,
        }
    }

    #[test]
    fn what_is_mapped_again_and_what_is_copied() {
        let table = [
            header(libc::PT_PHDR, READABLE, 0x40, 0x40, (0x230, 0x230)),
            header(libc::PT_LOAD, READABLE, 0, 0, (0x384b4, 0x384b4)),
            header(libc::PT_LOAD, READABLE | EXECUTABLE, 0x384c0, 0x394c0, (0x17_75d0, 0x17_75d0)),
            header(libc::PT_LOAD, READABLE | WRITABLE, 0x1a_fa90, 0x1b_1a90, (0xb9b8, 0xc570)),
            header(libc::PT_LOAD, READABLE | WRITABLE, 0x1b_b448, 0x1b_e448, (0x2bc8, 0x8cb8)),
            header(PT_GNU_RELRO, READABLE, 0x1a_fa90, 0x1b_1a90, (0xb9b8, 0xc570)),
        ];
        let base = 0x7f00_0000_0000;
        let read = libc::PROT_READ;
        let expected = Plan {
            again: vec![(base, 0x39000, read, 0), (base + 0x39000, 0x17_8000, read | libc::PROT_EXEC, 0x38000)],
            copied: vec![(base + 0x1b_1000, 0x11000)],
            relocated: Some((base + 0x1b_1000, 0xd000)),
            code: (base, base + 0x1b_0a90),
            data: (base + 0x1b_e448, base + 0x1c_1010),
        };
        assert_eq!(plan(&table, base + 0x40, 0x1000), Ok(expected));
        assert_eq!(plan(&table[1..], base + 0x40, 0x1000), Err(Errno::ENOTSUP), "without a header of the headers");
        assert_eq!(plan(&table[..2], base + 0x40, 0x1000), Err(Errno::ENOTSUP), "without code");
    }
}

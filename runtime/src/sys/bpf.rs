//! bpf(2) for the device programs of cgroup v2.
//!
//! Every call passes the whole `union bpf_attr`, zeroed: kernels 6.17 to 7.1 write past a shorter one in `BPF_PROG_QUERY`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// An instruction, laid out as `struct bpf_insn` of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high ones.
    pub registers: u8,
    /// Signed offset, of a jump or of memory.
    pub offset: i16,
    /// Signed constant.
    pub immediate: i32,
}

/// A loaded program, by its kernel-wide number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramId(u32);

/// At most 15 bytes, so that a NUL ends it (`BPF_OBJ_NAME_LEN`).
pub type Name = [u8; 16];

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

#[derive(Clone, Copy)]
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: Name,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Attach {
    target_fd: RawFd,
    attach_bpf_fd: RawFd,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: RawFd,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Query {
    target_fd: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Info {
    bpf_fd: RawFd,
    info_len: u32,
    info: u64,
}

/// `union bpf_attr`. Larger than any kernel's so far (about 170 bytes); the kernel takes a longer one if its tail is zero.
#[repr(C)]
union Attributes {
    whole: [u64; 32],
    load: Load,
    attach: Attach,
    query: Query,
    id: u32,
    info: Info,
}

impl Attributes {
    fn zeroed() -> Attributes {
        Attributes { whole: [0; 32] }
    }
}

/// # Safety
/// The pointers in `attributes` that `command` uses must be valid for what it does with them.
unsafe fn bpf(command: libc::c_int, attributes: &mut Attributes) -> Result<libc::c_long, Errno> {
    let size = size_of::<Attributes>();
    // SAFETY: `attributes` is `size` writable bytes; what it points to is the caller's promise.
    Errno::result(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) })
}

/// Takes a descriptor that the kernel has just made; BPF descriptors are close-on-exec from birth.
fn owned(result: libc::c_long) -> OwnedFd {
    let fd = RawFd::try_from(result).expect("descriptors are ints");
    // SAFETY: the kernel returned a new descriptor, nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Loads a `BPF_PROG_TYPE_CGROUP_DEVICE` program.
///
/// # Errors
/// errno of bpf(2), `BPF_PROG_LOAD`: EPERM without CAP_BPF or CAP_SYS_ADMIN (before Linux 5.11 also when RLIMIT_MEMLOCK is
/// too low), EINVAL and EACCES when the verifier refuses it, E2BIG when it is too long.
pub fn load_device_program(program: &[Instruction], name: Name) -> Result<OwnedFd, Errno> {
    let mut attributes = Attributes::zeroed();
    attributes.load = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        insns: program.as_ptr().expose_provenance() as u64,
        license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: name,
    };
    // SAFETY: `insns` points to `insn_cnt` instructions and `license` to a C string, both only read; no log is asked for.
    unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }.map(owned)
}

/// Attaches a device program to the cgroup v2 directory `group`, beside what others attached, or atomically in place of
/// `replaced`. All programs of a group and of the groups above it must allow an access.
///
/// # Errors
/// errno of bpf(2), `BPF_PROG_ATTACH`: ENOENT when `replaced` is not attached.
pub fn attach_device_program(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attributes = Attributes::zeroed();
    attributes.attach = Attach {
        target_fd: group.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        // KERNEL(5.6): BPF_F_REPLACE
        attach_flags: BPF_F_ALLOW_MULTI | if replaced.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replaced.map_or(0, |fd| fd.as_raw_fd()),
    };
    // SAFETY: the command uses no pointers.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }.map(drop)
}

/// The device programs attached to `group` itself.
///
/// # Errors
/// errno of bpf(2), `BPF_PROG_QUERY`; ENOSPC when there are more than 64, which the kernel does not allow.
pub fn device_programs(group: BorrowedFd<'_>) -> Result<Vec<ProgramId>, Errno> {
    let mut ids = [0_u32; 64];
    let mut attributes = Attributes::zeroed();
    attributes.query = Query {
        target_fd: group.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: 64,
    };
    // SAFETY: `prog_ids` points to `prog_cnt` writable numbers.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    // SAFETY: the kernel filled in the same variant.
    let count = unsafe { attributes.query.prog_cnt };
    Ok(ids.iter().take(count as usize).copied().map(ProgramId).collect())
}

/// Opens a loaded program; `None` if it is gone.
///
/// # Errors
/// errno of bpf(2), `BPF_PROG_GET_FD_BY_ID`.
pub fn open_program(id: ProgramId) -> Result<Option<OwnedFd>, Errno> {
    let mut attributes = Attributes::zeroed();
    attributes.id = id.0;
    // SAFETY: the command uses no pointers.
    match unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attributes) } {
        Ok(fd) => Ok(Some(owned(fd))),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The name that a program was loaded with.
///
/// # Errors
/// errno of bpf(2), `BPF_OBJ_GET_INFO_BY_FD`.
pub fn program_name(program: BorrowedFd<'_>) -> Result<Name, Errno> {
    /// Offset of `name` in `struct bpf_prog_info`.
    const NAME: usize = 64;
    let mut info = [0_u64; 32];
    let mut attributes = Attributes::zeroed();
    attributes.info = Info {
        bpf_fd: program.as_raw_fd(),
        info_len: u32::try_from(size_of_val(&info)).expect("256 bytes"),
        info: info.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: `info` points to `info_len` writable bytes, zeroed, so that no array of the program is asked for.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    let mut name = Name::default();
    for (half, bytes) in name.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&info[NAME / 8 + half].to_ne_bytes());
    }
    Ok(name)
}

//! System call filters: OCI profiles compiled to programs of seccomp(2).
//!
//! ```text
//!  spec::Seccomp ──profile──▶ Profile ──decide──▶ Decisions ──tree──▶ Node ──emit──▶ Program
//!     texts                   numbers             per number          ranges         instructions
//! ```
//!
//! Pure; [`crate::sys::seccomp::load`] is the effect. Invariants:
//!
//! * A caller whose architecture the profile does not name is killed. The host's own is always named.
//! * 32-bit and x32 callers get the same policy as 64-bit ones, functions of socketcall(2) and ipc(2) included.
//! * Calls newer than the newest one that the profile names answer ENOSYS where the default action would refuse them, so
//!   that programs fall back to what they used before (as runc does).
//! * What rules mean is what libseccomp and runc take them for; `tests/seccomp` compares. Where the two leave a door open,
//!   this compiler does not: a rule about arguments of a function of socketcall(2) or ipc(2) cannot be checked there, and
//!   so never allows that function; and the version in ipc(2)'s first argument does not hide the function.

mod arch;
mod decide;
mod default;
mod emit;
mod profile;
mod table;
mod tree;

use crate::spec;

pub use arch::{Arch, calls};
pub use default::{default_profile, default_profile_for};

/// Most instructions that the kernel takes (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// One instruction: struct sock_filter of linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// Instructions that a jump skips if it holds.
    pub jt: u8,
    /// Instructions that a jump skips if it does not.
    pub jf: u8,
    /// Its operand.
    pub k: u32,
}

/// What seccomp(2) takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// At most [`MAX_INSTRUCTIONS`].
    pub instructions: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_*.
    pub flags: u32,
}

impl Program {
    /// Whether a listener decides on some calls (SECCOMP_FILTER_FLAG_NEW_LISTENER).
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.flags & profile::NEW_LISTENER != 0
    }
}

/// Why a profile cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A member is wrong.
    #[error("{at}: {problem}")]
    Invalid {
        /// JSON path such as `linux.seccomp.syscalls[3].args[0].op`.
        at: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The kernel would not take it.
    #[error("linux.seccomp: {instructions} instructions, more than {MAX_INSTRUCTIONS}")]
    TooLong {
        /// How many it has.
        instructions: usize,
    },
}

/// What is wrong with a member of a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No such action.
    #[error("{0:?} is not an action")]
    UnknownAction(String),
    /// No such architecture.
    #[error("{0:?} is not an architecture")]
    UnknownArchitecture(String),
    /// No such flag.
    #[error("{0:?} is not a flag")]
    UnknownFlag(String),
    /// No such operator.
    #[error("{0:?} is not an operator")]
    UnknownOperator(String),
    /// The default action would hold up the process before it can hand the listener over.
    #[error("SCMP_ACT_NOTIFY cannot be the default: nobody could hand the listener over")]
    NotifiesAll,
    /// As [`Problem::NotifiesAll`], of the call by which runtimes hand it over.
    #[error("SCMP_ACT_NOTIFY cannot be for write: runtimes need it to hand the listener over")]
    NotifiesWrite,
    /// A name or a list that must have something in it.
    #[error("must not be empty")]
    Empty,
    /// A number is too large.
    #[error("{value} is more than {limit}")]
    OutOfRange {
        /// The number.
        value: u32,
        /// The largest that is allowed.
        limit: u32,
    },
    /// An errno where the action has none.
    #[error("{0} takes no errno")]
    NoErrno(String),
    /// A listener, or metadata for it, that is not there.
    #[error("needs listenerPath")]
    NoListener,
    /// Another rule has the same conditions for the same system call.
    #[error("contradicts syscalls[{other}]: same system call, same conditions, another action")]
    Contradiction {
        /// Index of that rule.
        other: usize,
    },
}

/// Compiles a profile for this host.
///
/// Names of calls that no architecture has are skipped, as are architectures that this host's kernel cannot present.
///
/// # Errors
/// [`Error`]: what is wrong, by its JSON path, or that the program is too long.
///
/// Source: OCI runtime-spec config-linux.md, seccomp.
pub fn compile(profile: &spec::Seccomp) -> Result<Program, Error> {
    compile_for(Arch::NATIVE, profile)
}

/// Compiles a profile for a host of another architecture.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(host: Arch, profile: &spec::Seccomp) -> Result<Program, Error> {
    let profile = profile::read(host, profile)?;
    let decisions = decide::decide(&profile)?;
    let groups: Vec<_> = profile
        .arches
        .iter()
        .filter(|&&arch| arch == host || arch.audit() != host.audit())
        .map(|&arch| (arch, tree::calls(&profile, arch, &decisions)))
        .collect();
    let instructions = emit::emit(&groups, host.big_endian());
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(Error::TooLong { instructions: instructions.len() });
    }
    Ok(Program { instructions, flags: profile.flags })
}

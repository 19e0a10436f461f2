//! landlock(7).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::{check, owned};

const RULE_PATH_BENEATH: i32 = 1;
const RULE_NET_PORT: i32 = 2;

/// struct landlock_ruleset_attr: what is denied unless a rule allows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handled {
    /// LANDLOCK_ACCESS_FS_* bits.
    pub fs: u64,
    /// LANDLOCK_ACCESS_NET_* bits; KERNEL(6.7).
    pub net: u64,
    /// LANDLOCK_SCOPE_* bits; KERNEL(6.12).
    pub scoped: u64,
}

/// Makes a set of rules, landlock_create_ruleset(2).
///
/// # Errors
/// ENOSYS, EOPNOTSUPP: no Landlock. EINVAL: an access that this kernel does not know. E2BIG: a kind that it does not know. ENOMSG:
/// nothing is handled.
pub fn ruleset(handled: &Handled) -> Result<OwnedFd, Errno> {
    // SAFETY: the structure lives until the call returns and the size is its own.
    owned(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, handled, size_of::<Handled>(), 0) })
}

/// Allows accesses below a file or directory, landlock_add_rule(2).
///
/// # Errors
/// EINVAL: an access that is not handled, or that a file cannot have.
pub fn allow_path(ruleset: &OwnedFd, accesses: u64, parent: impl AsFd) -> Result<(), Errno> {
    #[repr(C, packed)]
    struct PathBeneath {
        accesses: u64,
        parent: i32,
    }
    let rule = PathBeneath { accesses, parent: parent.as_fd().as_raw_fd() };
    let number = libc::SYS_landlock_add_rule;
    // SAFETY: the structure lives until the call returns and is what the kind of rule says.
    check(unsafe { libc::syscall(number, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &raw const rule, 0) })?;
    Ok(())
}

/// Allows accesses to a port, landlock_add_rule(2).
///
/// # Errors
/// EINVAL: an access that is not handled, or no port.
pub fn allow_port(ruleset: &OwnedFd, accesses: u64, port: u64) -> Result<(), Errno> {
    let rule = [accesses, port];
    let number = libc::SYS_landlock_add_rule;
    // SAFETY: the structure lives until the call returns and is what the kind of rule says.
    check(unsafe { libc::syscall(number, ruleset.as_raw_fd(), RULE_NET_PORT, rule.as_ptr(), 0) })?;
    Ok(())
}

/// Puts the calling thread and its children under the rules, landlock_restrict_self(2).
///
/// # Errors
/// EPERM: neither no_new_privs nor CAP_SYS_ADMIN. E2BIG: 16 layers are there already.
pub fn restrict(ruleset: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })?;
    Ok(())
}

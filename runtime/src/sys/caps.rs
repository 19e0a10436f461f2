//! Capability sets of the calling thread, capabilities(7), in as few calls as the kernel allows.

use caps::Capability;
use nix::errno::Errno;

use super::check;

/// A set of capabilities, bit n for capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSet(pub u64);

impl CapSet {
    /// Whether `capability` is in it.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.0 & capability.bitmask() != 0
    }

    /// Those of `self` that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |set, capability| set | capability.bitmask()))
    }
}

/// Effective, permitted and inheritable sets in one capset(2).
///
/// # Errors
/// EPERM: a new permitted capability is not in the old permitted set, or a new inheritable one not in the bounding set.
pub fn set(effective: CapSet, permitted: CapSet, inheritable: CapSet) -> Result<(), Errno> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: word(effective.0 >> shift),
        permitted: word(permitted.0 >> shift),
        inheritable: word(inheritable.0 >> shift),
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads two data structures; both pointers live until the call returns.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
    Ok(())
}

/// The low 32 bits.
fn word(bits: u64) -> u32 {
    u32::try_from(bits & 0xffff_ffff).expect("32 bits fit")
}

/// Takes a capability out of the bounding set, prctl(2) PR_CAPBSET_DROP.
///
/// # Errors
/// EINVAL: the kernel has no such capability. EPERM without CAP_SETPCAP.
pub fn drop_bounding(number: u8) -> Result<(), Errno> {
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, u64::from(number), 0, 0, 0) })?;
    Ok(())
}

/// Puts a capability into the ambient set, prctl(2) PR_CAP_AMBIENT_RAISE.
///
/// # Errors
/// EPERM: it is not both permitted and inheritable.
pub fn raise_ambient(number: u8) -> Result<(), Errno> {
    const RAISE: u64 = 2;
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAP_AMBIENT, RAISE, u64::from(number), 0, 0) })?;
    Ok(())
}

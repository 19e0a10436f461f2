//! Architectures, their system call numbers, and the calls that some of them multiplex.

use super::table::{ARCHES, ROWS, X};

/// Bit that tells calls of x32 from those of x86_64: both have AUDIT_ARCH_X86_64.
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// First private call of arm.
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;
/// The same in the table.
const ARM_PRIVATE_ROW: u16 = 0xf000;

/// More than there are ordinary calls, and than there are with the private ones of arm: see the test.
const ORDINARY: u32 = 1024;
pub(super) const SLOTS: usize = ORDINARY as usize + 16;

/// A system call ABI. The order is that of the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit calls of x86.
    X86_64,
    /// 32-bit calls of x86 (i386).
    X86,
    /// 64-bit calls of x86 with 32-bit pointers.
    X32,
    /// 64-bit calls of ARM.
    Aarch64,
    /// 32-bit calls of ARM (EABI).
    Arm,
    /// RISC-V, 64 bits.
    Riscv64,
    /// POWER, 64 bits, little endian.
    Ppc64le,
    /// IBM Z, 64 bits.
    S390x,
    /// IBM Z, 31 bits.
    S390,
}

/// What an architecture's name in a profile stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// One that programs are compiled for.
    Known(Arch),
    /// One of the specification's list that no supported host can present.
    Foreign,
}

impl Arch {
    /// The architecture that this program is built for.
    pub const NATIVE: Arch = if cfg!(target_arch = "x86_64") {
        Arch::X86_64
    } else if cfg!(target_arch = "x86") {
        Arch::X86
    } else if cfg!(target_arch = "aarch64") {
        Arch::Aarch64
    } else if cfg!(target_arch = "arm") {
        Arch::Arm
    } else if cfg!(target_arch = "riscv64") {
        Arch::Riscv64
    } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
        Arch::Ppc64le
    } else if cfg!(target_arch = "s390x") {
        Arch::S390x
    } else {
        panic!("seccomp: no system call table for this architecture")
    };

    /// What kernels of this architecture can run, itself first.
    pub fn presents(self) -> &'static [Arch] {
        match self {
            Arch::X86_64 => &[Arch::X86_64, Arch::X86, Arch::X32],
            Arch::X86 => &[Arch::X86],
            Arch::X32 => &[Arch::X32],
            Arch::Aarch64 => &[Arch::Aarch64, Arch::Arm],
            Arch::Arm => &[Arch::Arm],
            Arch::Riscv64 => &[Arch::Riscv64],
            Arch::Ppc64le => &[Arch::Ppc64le],
            Arch::S390x => &[Arch::S390x, Arch::S390],
            Arch::S390 => &[Arch::S390],
        }
    }

    /// Its name in a profile (OCI runtime-spec config-linux.md, seccomp).
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "SCMP_ARCH_X86_64",
            Arch::X86 => "SCMP_ARCH_X86",
            Arch::X32 => "SCMP_ARCH_X32",
            Arch::Aarch64 => "SCMP_ARCH_AARCH64",
            Arch::Arm => "SCMP_ARCH_ARM",
            Arch::Riscv64 => "SCMP_ARCH_RISCV64",
            Arch::Ppc64le => "SCMP_ARCH_PPC64LE",
            Arch::S390x => "SCMP_ARCH_S390X",
            Arch::S390 => "SCMP_ARCH_S390",
        }
    }

    /// `arch` of struct seccomp_data: AUDIT_ARCH_* of linux/audit.h.
    pub fn audit(self) -> u32 {
        const BITS64: u32 = 0x8000_0000;
        const LITTLE: u32 = 0x4000_0000;
        match self {
            Arch::X86_64 | Arch::X32 => 62 | BITS64 | LITTLE,
            Arch::X86 => 3 | LITTLE,
            Arch::Aarch64 => 183 | BITS64 | LITTLE,
            Arch::Arm => 40 | LITTLE,
            Arch::Riscv64 => 243 | BITS64 | LITTLE,
            Arch::Ppc64le => 21 | BITS64 | LITTLE,
            Arch::S390x => 22 | BITS64,
            Arch::S390 => 22,
        }
    }

    /// Whether arguments have 64 bits. Where they do not, the upper word is not looked at: a 64-bit program that uses the
    /// 32-bit entry can leave anything there, and the kernel ignores it.
    pub(super) fn wide(self) -> bool {
        match self {
            Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64 | Arch::Ppc64le | Arch::S390x => true,
            Arch::X86 | Arch::X32 | Arch::Arm | Arch::S390 => false,
        }
    }

    /// Whether the upper word of an argument comes first in memory.
    pub(super) fn big_endian(self) -> bool {
        match self {
            Arch::S390x | Arch::S390 => true,
            Arch::X86_64 | Arch::X86 | Arch::X32 | Arch::Aarch64 | Arch::Arm | Arch::Riscv64 | Arch::Ppc64le => false,
        }
    }

    /// Whether socketcall(2) and ipc(2) exist.
    pub(super) fn multiplexes(self) -> bool {
        match self {
            Arch::X86 | Arch::Ppc64le | Arch::S390x | Arch::S390 => true,
            Arch::X86_64 | Arch::X32 | Arch::Aarch64 | Arch::Arm | Arch::Riscv64 => false,
        }
    }

    /// Whether `number` is one of the calls that ARM keeps outside the ordinary range.
    pub(super) fn private(self, number: u32) -> bool {
        self == Arch::Arm && number >= ARM_PRIVATE
    }

    /// Numbers without their gaps: below [`SLOTS`], in the same order.
    pub(super) fn slot(self, number: u32) -> usize {
        let number = if self.private(number) { number - ARM_PRIVATE + ORDINARY } else { number & !X32_BIT };
        number as usize
    }

    /// The number that has a slot.
    pub(super) fn of_slot(self, slot: usize) -> u32 {
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        match slot {
            ..ORDINARY if self == Arch::X32 => X32_BIT + slot,
            ..ORDINARY => slot,
            _ => ARM_PRIVATE + (slot - ORDINARY),
        }
    }

    /// Number of a call, as the kernel presents it to a filter.
    pub fn number(self, call: &str) -> Option<u32> {
        numbers(call).and_then(|row| self.of_row(row))
    }

    /// The number in this architecture's column.
    pub(super) fn of_row(self, row: &[u16; ARCHES]) -> Option<u32> {
        match row[self as usize] {
            X => None,
            number if self == Arch::X32 => Some(X32_BIT + u32::from(number)),
            number if self == Arch::Arm && number >= ARM_PRIVATE_ROW => {
                Some(ARM_PRIVATE + u32::from(number - ARM_PRIVATE_ROW))
            }
            number => Some(u32::from(number)),
        }
    }
}

impl Named {
    /// Reads `linux.seccomp.architectures[]`.
    pub(super) fn parse(name: &str) -> Option<Named> {
        const FOREIGN: &str = "MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PARISC PARISC64 LOONGARCH64 M68K SH \
                               SHEB";
        let known = [
            Arch::X86_64,
            Arch::X86,
            Arch::X32,
            Arch::Aarch64,
            Arch::Arm,
            Arch::Riscv64,
            Arch::Ppc64le,
            Arch::S390x,
            Arch::S390,
        ];
        if let Some(arch) = known.into_iter().find(|arch| arch.name() == name) {
            return Some(Named::Known(arch));
        }
        let short = name.strip_prefix("SCMP_ARCH_")?;
        FOREIGN.split_ascii_whitespace().any(|foreign| foreign == short).then_some(Named::Foreign)
    }
}

/// Numbers of a call on all architectures.
pub(super) fn numbers(call: &str) -> Option<&'static [u16; ARCHES]> {
    let (mut low, mut high) = (0, NUMBERS.len());
    while low < high {
        let middle = low.midpoint(high);
        match call.as_bytes().cmp(name(middle)) {
            std::cmp::Ordering::Less => high = middle,
            std::cmp::Ordering::Equal => return Some(&NUMBERS[middle]),
            std::cmp::Ordering::Greater => low = middle + 1,
        }
    }
    None
}

/// All calls by name, sorted.
pub fn calls() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(name, _)| *name)
}

/// The function's number within socketcall(2) or ipc(2), with the multiplexing call.
///
/// Sources: linux/net.h SYS_*, linux/ipc.h SEMOP to SHMCTL.
pub(super) fn multiplexed(call: &str) -> Option<(Multiplexer, u32)> {
    use Multiplexer::{Ipc, Socketcall};
    const FUNCTIONS: [(&str, Multiplexer, u32); 32] = [
        ("accept", Socketcall, 5),
        ("accept4", Socketcall, 18),
        ("bind", Socketcall, 2),
        ("connect", Socketcall, 3),
        ("getpeername", Socketcall, 7),
        ("getsockname", Socketcall, 6),
        ("getsockopt", Socketcall, 15),
        ("listen", Socketcall, 4),
        ("msgctl", Ipc, 14),
        ("msgget", Ipc, 13),
        ("msgrcv", Ipc, 12),
        ("msgsnd", Ipc, 11),
        ("recv", Socketcall, 10),
        ("recvfrom", Socketcall, 12),
        ("recvmmsg", Socketcall, 19),
        ("recvmsg", Socketcall, 17),
        ("semctl", Ipc, 3),
        ("semget", Ipc, 2),
        ("semop", Ipc, 1),
        ("semtimedop", Ipc, 4),
        ("send", Socketcall, 9),
        ("sendmmsg", Socketcall, 20),
        ("sendmsg", Socketcall, 16),
        ("sendto", Socketcall, 11),
        ("setsockopt", Socketcall, 14),
        ("shmat", Ipc, 21),
        ("shmctl", Ipc, 24),
        ("shmdt", Ipc, 22),
        ("shmget", Ipc, 23),
        ("shutdown", Socketcall, 13),
        ("socket", Socketcall, 1),
        ("socketpair", Socketcall, 8),
    ];
    let found = FUNCTIONS.binary_search_by(|(name, ..)| name.cmp(&call)).ok()?;
    let (_, multiplexer, function) = FUNCTIONS[found];
    Some((multiplexer, function))
}

/// A call whose first argument says which function is meant, and whose other arguments lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Multiplexer {
    /// socketcall(2).
    Socketcall,
    /// ipc(2); the upper half of its first argument is a version.
    Ipc,
}

impl Multiplexer {
    /// Name of the call itself.
    pub(super) fn call(self) -> &'static str {
        match self {
            Multiplexer::Socketcall => "socketcall",
            Multiplexer::Ipc => "ipc",
        }
    }
}

// The table as the program carries it: names in one string and numbers beside them, without a pointer for each name (a
// pointer is relocated at every start, into a private page).

/// Length of all names.
const LENGTH: usize = {
    let (mut length, mut row) = (0, 0);
    while row < ROWS.len() {
        length += ROWS[row].0.len();
        row += 1;
    }
    length
};

static NAMES: [u8; LENGTH] = {
    let (mut names, mut at, mut row) = ([0; LENGTH], 0, 0);
    while row < ROWS.len() {
        let name = ROWS[row].0.as_bytes();
        let mut byte = 0;
        while byte < name.len() {
            names[at] = name[byte];
            at += 1;
            byte += 1;
        }
        row += 1;
    }
    names
};

/// Where each name ends in [`NAMES`].
#[allow(clippy::cast_possible_truncation, reason = "the names are a few thousand bytes, as the assertion says")]
static ENDS: [u16; ROWS.len()] = {
    assert!(LENGTH <= u16::MAX as usize);
    let (mut ends, mut at, mut row) = ([0; ROWS.len()], 0, 0);
    while row < ROWS.len() {
        at += ROWS[row].0.len();
        ends[row] = at as u16;
        row += 1;
    }
    ends
};

static NUMBERS: [[u16; ARCHES]; ROWS.len()] = {
    let (mut numbers, mut row) = ([[X; ARCHES]; ROWS.len()], 0);
    while row < ROWS.len() {
        numbers[row] = ROWS[row].1;
        row += 1;
    }
    numbers
};

fn name(row: usize) -> &'static [u8] {
    let start = if row == 0 { 0 } else { ENDS[row - 1] };
    &NAMES[usize::from(start)..usize::from(ENDS[row])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        let names: Vec<&str> = calls().collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        for (name, row) in &ROWS {
            assert_eq!(numbers(name), Some(row), "{name}");
        }
        assert_eq!(numbers("socke"), None);
        assert_eq!(numbers(""), None);
        assert_eq!(numbers("zzz"), None);
    }

    #[test]
    fn multiplexed_functions() {
        assert_eq!(multiplexed("socket"), Some((Multiplexer::Socketcall, 1)));
        assert_eq!(multiplexed("accept"), Some((Multiplexer::Socketcall, 5)));
        assert_eq!(multiplexed("shmget"), Some((Multiplexer::Ipc, 23)));
        assert_eq!(multiplexed("read"), None);
        // 20 functions of socketcall(2) and 12 of ipc(2).
        let functions: Vec<_> = calls().filter_map(multiplexed).collect();
        let unique: std::collections::BTreeSet<_> = functions.iter().copied().collect();
        assert_eq!((functions.len(), unique.len()), (32, 32));
    }

    #[test]
    fn numbers_are_as_the_kernel_presents_them() {
        for (arch, call, number) in [
            (Arch::X86_64, "openat2", Some(437)),
            (Arch::X86_64, "chown32", None),
            (Arch::X86, "socketcall", Some(102)),
            (Arch::X32, "rt_sigaction", Some(X32_BIT + 512)),
            (Arch::Arm, "set_tls", Some(0xf_0005)),
            (Arch::Aarch64, "openat", Some(56)),
            (Arch::S390x, "file_setattr", Some(469)),
        ] {
            assert_eq!(arch.number(call), number, "{call} on {arch:?}");
        }
    }

    #[test]
    fn slots() {
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm, Arch::Ppc64le, Arch::S390] {
            for (name, row) in &ROWS {
                let Some(number) = arch.of_row(row) else { continue };
                assert!(arch.slot(number) < SLOTS, "{name} of {arch:?}");
                assert_eq!(arch.of_slot(arch.slot(number)), number, "{name} of {arch:?}");
            }
        }
    }

    #[test]
    fn architecture_names() {
        assert_eq!(Named::parse("SCMP_ARCH_X32"), Some(Named::Known(Arch::X32)));
        assert_eq!(Named::parse("SCMP_ARCH_MIPSEL64N32"), Some(Named::Foreign));
        assert_eq!(Named::parse("SCMP_ARCH_VAX"), None);
        assert_eq!(Named::parse("X86"), None);
    }
}

//! What the kernel does with a program, for any caller one can think of.

use runtime::seccomp::Instruction;

/// struct seccomp_data without the instruction pointer, which no program looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) arch: u32,
    pub(crate) arguments: [u64; 6],
}

pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const KILL_THREAD: u32 = 0;
pub(crate) const TRAP: u32 = 0x0003_0000;
pub(crate) const TRACE: u32 = 0x7ff0_0000;
pub(crate) const LOG: u32 = 0x7ffc_0000;
pub(crate) const ALLOW: u32 = 0x7fff_0000;
pub(crate) const EPERM: u32 = errno(libc::EPERM);
pub(crate) const ENOSYS: u32 = errno(libc::ENOSYS);

pub(crate) const fn errno(value: libc::c_int) -> u32 {
    0x0005_0000 | value.cast_unsigned()
}

/// The program's verdict, and how many instructions it took.
pub(crate) fn run(program: &[Instruction], call: &Call, big_endian: bool) -> (u32, usize) {
    let mut at = 0;
    let mut accumulator = 0_u32;
    for steps in 1..=program.len() {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = word(call, k, big_endian),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return (k, steps),
            _ => panic!("instruction {}: code {code:#x}", at - 1),
        }
    }
    panic!("longer than the program: jumps go forward only")
}

fn word(call: &Call, offset: u32, big_endian: bool) -> u32 {
    assert!(offset.is_multiple_of(4), "load of {offset}");
    match offset {
        0 => call.number,
        4 => call.arch,
        16..64 => {
            let argument = call.arguments[(offset as usize - 16) / 8];
            let second = offset % 8 == 4;
            u32::try_from(if second == big_endian { argument & 0xffff_ffff } else { argument >> 32 }).unwrap()
        }
        _ => panic!("load of {offset}"),
    }
}

/// What the kernel checks before it takes a program (bpf_check_classic, seccomp_check_filter): every path ends in a `ret`
/// inside of it.
pub(crate) fn check(program: &[Instruction]) {
    assert!(!program.is_empty() && program.len() <= 4096, "{} instructions", program.len());
    assert_eq!(program.last().unwrap().code, 0x06);
    let mut reached = vec![false; program.len()];
    reached[0] = true;
    for (at, &Instruction { code, jt, jf, k }) in program.iter().enumerate() {
        assert!(reached[at], "instruction {at} is never reached");
        let targets = match code {
            0x06 => vec![],
            0x05 => vec![k as usize],
            0x15 | 0x25 | 0x35 | 0x45 => vec![usize::from(jt), usize::from(jf)],
            0x20 | 0x54 => vec![0],
            _ => panic!("instruction {at}: code {code:#x}"),
        };
        for target in targets {
            assert!(at + 1 + target < program.len(), "instruction {at} leaves the program");
            reached[at + 1 + target] = true;
        }
    }
}

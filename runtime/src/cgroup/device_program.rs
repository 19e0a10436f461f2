//! The device filter of cgroup v2 as an eBPF program (`BPF_PROG_TYPE_CGROUP_DEVICE`). Pure.
//!
//! Rules are tried from the last to the first. A register holds the letters of the request that no rule has decided yet:
//! a rule that denies one of them ends in a refusal, one that allows takes its letters away, and when none is left the
//! access is allowed.

use super::devices::{Access, Kind, Numbered, Rule};
use crate::sys::bpf::Instruction;

// linux/bpf.h, linux/bpf_common.h
const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER_32: u8 = 0xbc;
const MOVE_64: u8 = 0xb7;
const AND_32: u8 = 0x54;
const SHIFT_RIGHT_32: u8 = 0x74;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

const BPF_DEVCG_DEV_BLOCK: i32 = 1;
const BPF_DEVCG_DEV_CHAR: i32 = 2;

/// Result, and the request's `struct bpf_cgroup_dev_ctx` at the start, later a scratch register.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const SCRATCH: u8 = 1;
const UNDECIDED: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, immediate }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [instruction(MOVE_64, RESULT, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// Compiles a list of rules.
pub(super) fn compile(rules: &[Numbered]) -> Vec<Instruction> {
    let mut program = vec![
        // access_type: letters in the upper half, kind in the lower; then major and minor.
        instruction(LOAD_WORD, UNDECIDED, CONTEXT, 0, 0),
        instruction(MOVE_REGISTER_32, KIND, UNDECIDED, 0, 0),
        instruction(AND_32, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT_32, UNDECIDED, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for (_, rule) in rules.iter().rev() {
        match *rule {
            Rule::Everything { allow } => {
                // Code that cannot be reached is refused by the verifier, so this ends the program.
                program.extend(answer(allow));
                return program;
            }
            Rule::Some { allow, region, access } => {
                let kind = match region.kind {
                    Kind::Block => BPF_DEVCG_DEV_BLOCK,
                    Kind::Char => BPF_DEVCG_DEV_CHAR,
                };
                let mut conditions = vec![(KIND, kind)];
                let immediate = |number: u32| i32::try_from(number).expect("device numbers were checked to fit");
                conditions.extend(region.major.map(|number| (MAJOR, immediate(number))));
                conditions.extend(region.minor.map(|number| (MINOR, immediate(number))));
                let body = body(allow, access);
                let mut distance = i16::try_from(conditions.len() + body.len()).expect("at most eight");
                for (register, value) in conditions {
                    distance -= 1;
                    program.push(instruction(JUMP_IF_NOT_EQUAL, register, 0, distance, value));
                }
                program.extend(body);
            }
        }
    }
    program.extend(answer(false));
    program
}

/// What is done with a request for a device that the rule names; falls through where it leaves letters undecided.
fn body(allow: bool, access: Access) -> Vec<Instruction> {
    let bits = i32::from(access.bits());
    let mut body = match (access == Access::ALL, allow) {
        (true, _) => vec![],
        (false, true) => vec![
            instruction(AND_32, UNDECIDED, 0, 0, i32::from(Access::ALL.bits()) & !bits),
            instruction(JUMP_IF_NOT_EQUAL, UNDECIDED, 0, 2, 0),
        ],
        (false, false) => vec![
            instruction(MOVE_REGISTER_32, SCRATCH, UNDECIDED, 0, 0),
            instruction(AND_32, SCRATCH, 0, 0, bits),
            instruction(JUMP_IF_EQUAL, SCRATCH, 0, 2, 0),
        ],
    };
    body.extend(answer(allow));
    body
}

#[cfg(test)]
mod tests {
    use super::super::devices::{Region, parse, tests::rule};
    use super::*;

    /// Runs a program as the kernel would; panics on what the verifier would refuse.
    fn run(program: &[Instruction], kind: i32, access: u8, major: u32, minor: u32) -> bool {
        let context = [u64::from(access) << 16 | u64::try_from(kind).unwrap(), u64::from(major), u64::from(minor)];
        let mut registers = [0_u64; 11];
        let mut next = 0;
        loop {
            let Instruction { code, registers: pair, offset, immediate } = program[next];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let value = u64::try_from(immediate).unwrap();
            next += 1;
            let mut jump = |condition: bool| {
                assert!(offset >= 0, "loops are refused");
                if condition {
                    next += usize::try_from(offset).unwrap();
                }
            };
            match code {
                LOAD_WORD => registers[to] = context[usize::try_from(offset).unwrap() / 4],
                MOVE_REGISTER_32 => registers[to] = registers[from] & 0xffff_ffff,
                MOVE_64 => registers[to] = value,
                AND_32 => registers[to] &= value,
                SHIFT_RIGHT_32 => registers[to] = (registers[to] & 0xffff_ffff) >> value,
                JUMP_IF_EQUAL => jump(registers[to] == value),
                JUMP_IF_NOT_EQUAL => jump(registers[to] != value),
                EXIT => return registers[0] == 1,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    /// Every instruction can be reached, every jump lands inside.
    fn verify(program: &[Instruction]) {
        let mut reached = vec![false; program.len()];
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            match program[at].code {
                EXIT => {}
                JUMP_IF_EQUAL | JUMP_IF_NOT_EQUAL => {
                    open.push(at + 1);
                    open.push(at + 1 + usize::try_from(program[at].offset).unwrap());
                }
                _ => open.push(at + 1),
            }
        }
        assert!(reached.iter().all(|reached| *reached), "unreachable: {reached:?}");
    }

    /// The specification's meaning, letter by letter.
    fn oracle(rules: &[Numbered], region: Region, access: u8) -> bool {
        [1, 2, 4].into_iter().filter(|letter| access & letter != 0).all(|letter| {
            let last = rules.iter().rev().find_map(|(_, rule)| match *rule {
                Rule::Everything { allow } => Some(allow),
                Rule::Some { allow, region: of, access } => {
                    let matches = of.kind == region.kind
                        && of.major.is_none_or(|major| Some(major) == region.major)
                        && of.minor.is_none_or(|minor| Some(minor) == region.minor)
                        && access.bits() & letter != 0;
                    matches.then_some(allow)
                }
            });
            last.unwrap_or(false)
        })
    }

    #[test]
    fn programs_mean_what_the_lists_say() {
        let lists = [
            vec![rule(false, "a", -1, -1, "rwm"), rule(true, "c", -1, -1, "m"), rule(true, "c", 1, 3, "rwm")],
            vec![rule(true, "a", -1, -1, "rwm")],
            vec![rule(false, "a", -1, -1, "rwm")],
            vec![rule(true, "c", 1, 3, "rw"), rule(true, "c", 1, 3, "m")],
            vec![rule(true, "c", 1, -1, "rwm"), rule(false, "c", 1, 3, "w"), rule(true, "b", -1, 3, "r")],
            vec![rule(true, "a", -1, -1, "rwm"), rule(false, "b", 8, -1, "wm"), rule(true, "b", 8, 3, "w")],
            vec![rule(true, "a", -1, -1, "rm"), rule(false, "a", 8, 3, "m")],
            vec![rule(true, "c", 1, 3, "rwm"), rule(false, "a", -1, -1, "rwm"), rule(true, "c", 8, 1, "r")],
        ];
        for list in lists {
            let rules = parse(&list).unwrap();
            let program = compile(&rules);
            verify(&program);
            for (kind, number) in [(Kind::Block, BPF_DEVCG_DEV_BLOCK), (Kind::Char, BPF_DEVCG_DEV_CHAR)] {
                for (major, minor) in [(1, 3), (1, 5), (8, 3), (8, 1), (5, 3), (u32::MAX, u32::MAX)] {
                    for access in 1..=7 {
                        let region = Region { kind, major: Some(major), minor: Some(minor) };
                        let expected = oracle(&rules, region, access);
                        let got = run(&program, number, access, major, minor);
                        assert_eq!(got, expected, "{list:?}: {kind:?} {major}:{minor} {access}");
                    }
                }
            }
        }
    }
}

//! Ranges and rules as instructions.
//!
//! A program is built from its end: jumps go forward only, so every target is there before the jump. A place is the
//! number of instructions from it to the end. A jump reaches 255 instructions; farther ones go to a copy of the `ret`
//! that they mean, or to a `ja`, right behind them.

use super::profile::{Action, Comparison, Condition};
use super::tree::{Node, high_word, low_word};
use super::{Arch, Instruction};

// Codes of linux/bpf_common.h, as far as seccomp allows them.
pub(super) const LOAD: u16 = 0x20; // ld [k]
pub(super) const AND: u16 = 0x54; // and #k
pub(super) const JUMP: u16 = 0x05; // ja k
pub(super) const JUMP_EQUAL: u16 = 0x15; // jeq #k, jt, jf
pub(super) const JUMP_GREATER: u16 = 0x25; // jgt #k, jt, jf
pub(super) const JUMP_GREATER_EQUAL: u16 = 0x35; // jge #k, jt, jf
pub(super) const RETURN: u16 = 0x06; // ret #k

/// Offset of `arch` in struct seccomp_data.
const ARCH: u32 = 4;
/// Largest distance of a conditional jump.
const REACH: usize = u8::MAX as usize;

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Any `ret` of this action.
    Return(Action),
    /// The instruction that has so many others from it to the end, itself included.
    Place(usize),
}

struct Emitter {
    /// Last instruction first.
    code: Vec<Instruction>,
    /// The place of the nearest `ret` of each action.
    returns: Vec<(Action, usize)>,
    big_endian: bool,
}

/// The program for groups of calls by architecture; callers of other architectures are killed.
pub(super) fn emit(groups: &[(Arch, Node)], big_endian: bool) -> Vec<Instruction> {
    let mut emitter = Emitter { code: Vec::with_capacity(512), returns: Vec::new(), big_endian };
    let starts: Vec<(Arch, Target)> = groups.iter().rev().map(|(arch, calls)| (*arch, emitter.node(calls))).collect();
    let mut next = Target::Return(Action::KILL_PROCESS);
    for (arch, start) in starts {
        next = emitter.jump(JUMP_EQUAL, arch.audit(), start, next);
    }
    emitter.load(ARCH);
    emitter.code.reverse();
    emitter.code
}

impl Emitter {
    fn push(&mut self, code: u16, k: u32) -> usize {
        self.code.push(Instruction { code, jt: 0, jf: 0, k });
        self.code.len()
    }

    fn load(&mut self, offset: u32) -> Target {
        Target::Place(self.push(LOAD, offset))
    }

    /// A place within reach of a jump that `spare` more instructions may come before.
    fn near(&mut self, target: Target, spare: usize) -> usize {
        let reachable = |code: &[Instruction], place: usize| code.len() - place + spare <= REACH;
        match target {
            Target::Place(place) if reachable(&self.code, place) => place,
            Target::Place(place) => {
                let distance = self.code.len() - place;
                self.push(JUMP, u32::try_from(distance).expect("a profile of 16 MiB has no 2^32 instructions"))
            }
            Target::Return(action) => match self.returns.iter_mut().find(|(known, _)| *known == action) {
                Some((_, place)) if reachable(&self.code, *place) => *place,
                Some((_, place)) => {
                    *place = self.code.len() + 1;
                    self.push(RETURN, action.0)
                }
                None => {
                    let place = self.push(RETURN, action.0);
                    self.returns.push((action, place));
                    place
                }
            },
        }
    }

    fn jump(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        let no = self.near(no, 1);
        let yes = self.near(yes, 0);
        let offset = |place: usize| u8::try_from(self.code.len() - place).expect("near() saw to it");
        let (jt, jf) = (offset(yes), offset(no));
        self.code.push(Instruction { code, jt, jf, k });
        Target::Place(self.code.len())
    }

    fn node(&mut self, node: &Node) -> Target {
        match node {
            Node::Return(action) => Target::Return(*action),
            Node::Ranges { ranges, .. } if ranges.len() == 1 => self.node(&ranges[0].1),
            Node::Ranges { offset, ranges } => {
                let start = self.bisect(ranges);
                // The load falls through to the first comparison, which was placed last.
                debug_assert_eq!(start, Target::Place(self.code.len()));
                self.load(*offset)
            }
            Node::Chain { matches, otherwise, wide } => {
                let mut next = Target::Return(*otherwise);
                for found in matches.iter().rev() {
                    let mut holds = Target::Return(found.action);
                    for condition in found.conditions.iter().rev() {
                        holds = self.condition(condition, *wide, holds, next);
                    }
                    next = holds;
                }
                next
            }
        }
    }

    /// Finds the range of the loaded word.
    fn bisect(&mut self, ranges: &[(u32, Node)]) -> Target {
        match ranges {
            [(_, only)] => self.node(only),
            // A single value among others.
            [(_, around), (value, single), (after, rest)] if *after == value + 1 && around == rest => {
                let no = self.node(around);
                let yes = self.node(single);
                self.jump(JUMP_EQUAL, *value, yes, no)
            }
            _ => {
                let (below, from) = ranges.split_at(ranges.len() / 2);
                let yes = self.bisect(from);
                let no = self.bisect(below);
                self.jump(JUMP_GREATER_EQUAL, from[0].0, yes, no)
            }
        }
    }

    fn condition(&mut self, condition: &Condition, wide: bool, holds: Target, fails: Target) -> Target {
        let (high, low) = ((condition.value >> 32) as u32, (condition.value & 0xffff_ffff) as u32);
        let (low_at, high_at) =
            (low_word(condition.argument, self.big_endian), high_word(condition.argument, self.big_endian));
        // Less is the contrary of greater or equal.
        let (code, yes, no) = match condition.comparison {
            Comparison::Equal => (JUMP_EQUAL, holds, fails),
            Comparison::NotEqual => (JUMP_EQUAL, fails, holds),
            Comparison::Greater => (JUMP_GREATER, holds, fails),
            Comparison::LessOrEqual => (JUMP_GREATER, fails, holds),
            Comparison::GreaterOrEqual => (JUMP_GREATER_EQUAL, holds, fails),
            Comparison::Less => (JUMP_GREATER_EQUAL, fails, holds),
            Comparison::MaskedEqual(mask) => {
                let (high_mask, low_mask) = ((mask >> 32) as u32, (mask & 0xffff_ffff) as u32);
                let mut start = holds;
                for (offset, mask, value) in [(low_at, low_mask, low), (high_at, high_mask, high)] {
                    if mask != 0 {
                        self.jump(JUMP_EQUAL, value, start, fails);
                        if mask != u32::MAX {
                            self.push(AND, mask);
                        }
                        start = self.load(offset);
                    }
                }
                return start;
            }
        };
        self.jump(code, low, yes, no);
        let start = self.load(low_at);
        if !wide {
            return start;
        }
        let start = self.jump(JUMP_EQUAL, high, start, no);
        if code != JUMP_EQUAL {
            self.jump(JUMP_GREATER, high, yes, start);
        }
        self.load(high_at)
    }
}

//! Decisions as ranges: the shape between policy and instructions.
//!
//! A word (the call's number, half of an argument) is divided into ranges, neighbours of the same outcome are merged, and
//! what remains is found by bisection. Rules about one argument become ranges of its value in the same way; other rules
//! are tried one after the other.

use super::Arch;
use super::arch::{ARM_PRIVATE, X32_BIT};
use super::decide::{Decision, Decisions, Match};
use super::profile::{Action, Comparison, Condition, Profile};

/// Offset of `nr` in struct seccomp_data.
const NUMBER: u32 = 0;

/// What is left to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Nothing.
    Return(Action),
    /// In which range the word at `offset` is: ranges begin where they say and end at the next; the first begins at 0.
    Ranges {
        /// In struct seccomp_data.
        offset: u32,
        /// Sorted, never empty.
        ranges: Vec<(u32, Node)>,
    },
    /// Which of these holds first.
    Chain {
        /// Tried in this order.
        matches: Vec<Match>,
        /// If none does.
        otherwise: Action,
        /// Whether arguments have upper words.
        wide: bool,
    },
}

/// The calls of all architectures that share the AUDIT_ARCH_* value of the first.
pub(super) fn calls(profile: &Profile<'_>, arch: Arch, decisions: &[Decisions]) -> Node {
    let mut ranges = Vec::new();
    for (&abi, decisions) in profile.arches.iter().zip(decisions) {
        if abi.audit() == arch.audit() {
            add_calls(&mut ranges, profile, abi, decisions);
        }
    }
    if arch == Arch::X86_64 && !profile.arches.contains(&Arch::X32) {
        add(&mut ranges, X32_BIT, Node::Return(Action::KILL_PROCESS));
        // -1 has the bit too, but is what a tracer writes to skip a call.
        add(&mut ranges, u32::MAX, Node::Return(profile.default));
    }
    Node::Ranges { offset: NUMBER, ranges }
}

fn add_calls(ranges: &mut Vec<(u32, Node)>, profile: &Profile<'_>, abi: Arch, decisions: &Decisions) {
    let mut first = if abi == Arch::X32 { X32_BIT } else { 0 };
    let newest = decisions.newest.filter(|_| profile.enosys);
    if newest.is_some() && matches!(abi, Arch::S390x | Arch::S390) {
        // These show a call whose number they do not know as call 0, which nothing else uses.
        add(ranges, 0, Node::Return(Action::ENOSYS));
        first = 1;
    }
    let (ordinary, private) =
        decisions.calls.split_at(decisions.calls.partition_point(|(number, _)| !abi.private(*number)));
    // A function may be named whose multiplexing call is newer than all that is: as runc has it, that is new, too.
    let known = newest.map_or(ordinary.len(), |newest| ordinary.partition_point(|(number, _)| *number <= newest));
    add_from(ranges, first, &ordinary[..known], profile.default, abi);
    if let Some(newest) = newest {
        add(ranges, newest + 1, Node::Return(Action::ENOSYS));
    }
    if abi == Arch::Arm {
        add_from(ranges, ARM_PRIVATE, private, profile.default, abi);
    }
}

/// Adds decisions from the number `first` on, and the default action wherever there is none.
fn add_from(ranges: &mut Vec<(u32, Node)>, first: u32, calls: &[(u32, Decision)], default: Action, abi: Arch) {
    let mut unknown = first;
    for (number, decision) in calls.iter().filter(|(number, _)| *number >= first) {
        if *number > unknown {
            add(ranges, unknown, Node::Return(default));
        }
        add(ranges, *number, node(decision, default, abi));
        unknown = number + 1;
    }
    add(ranges, unknown, Node::Return(default));
}

/// Lets a range begin; the last one said about a start counts.
fn add(ranges: &mut Vec<(u32, Node)>, start: u32, node: Node) {
    if ranges.last().is_some_and(|(last, _)| *last == start) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|(_, last)| *last != node) {
        ranges.push((start, node));
    }
}

fn node(decision: &Decision, default: Action, abi: Arch) -> Node {
    let matches = match decision {
        Decision::Always(action) => return Node::Return(*action),
        Decision::When(matches) => matches,
    };
    ranges_of_one(matches, default, abi).unwrap_or_else(|| Node::Chain {
        matches: matches.clone(),
        otherwise: default,
        wide: abi.wide(),
    })
}

/// The decision as ranges of one argument's value; None if it is about several arguments, or about some of their bits.
fn ranges_of_one(matches: &[Match], default: Action, abi: Arch) -> Option<Node> {
    let mut starts = vec![0];
    let mut argument = None;
    for found in matches {
        let [condition] = found.conditions[..] else { return None };
        if argument.is_some_and(|argument| argument != condition.argument) {
            return None;
        }
        argument = Some(condition.argument);
        // Where the comparison's answer can change.
        let (at, after) = (Some(condition.value), condition.value.checked_add(1));
        let changes = match condition.comparison {
            Comparison::NotEqual | Comparison::Equal => [at, after],
            Comparison::Less | Comparison::GreaterOrEqual => [at, None],
            Comparison::LessOrEqual | Comparison::Greater => [None, after],
            Comparison::MaskedEqual(_) => return None,
        };
        starts.extend(changes.into_iter().flatten());
    }
    let argument = argument?;
    starts.sort_unstable();
    starts.dedup();
    let answer = |value| {
        let holds = |found: &&Match| found.conditions.iter().all(|condition| holds(condition, value));
        matches.iter().find(holds).map_or(default, |found| found.action)
    };
    let whole: Vec<(u64, Action)> = starts.into_iter().map(|start| (start, answer(start))).collect();
    Some(if abi.wide() {
        wide(&whole, argument, abi.big_endian())
    } else {
        Node::Ranges { offset: low_word(argument, abi.big_endian()), ranges: narrow(&whole) }
    })
}

fn holds(condition: &Condition, argument: u64) -> bool {
    match condition.comparison {
        Comparison::NotEqual => argument != condition.value,
        Comparison::Less => argument < condition.value,
        Comparison::LessOrEqual => argument <= condition.value,
        Comparison::Equal => argument == condition.value,
        Comparison::GreaterOrEqual => argument >= condition.value,
        Comparison::Greater => argument > condition.value,
        Comparison::MaskedEqual(mask) => argument & mask == condition.value,
    }
}

/// Ranges of 64-bit values: by the upper word, and below it by the lower one where that matters.
fn wide(whole: &[(u64, Action)], argument: u8, big_endian: bool) -> Node {
    let high = |value: u64| value >> 32;
    let mut blocks: Vec<u64> = whole.iter().flat_map(|(start, _)| [high(*start), high(*start) + 1]).collect();
    blocks.retain(|block| *block <= high(u64::MAX));
    blocks.sort_unstable();
    blocks.dedup();
    let mut ranges = Vec::new();
    for block in blocks {
        let first = block << 32;
        let reigning = whole.partition_point(|(start, _)| *start <= first) - 1;
        let within = whole[reigning..].iter().take_while(|(start, _)| high(*start) <= block);
        let within: Vec<(u64, Action)> = within.map(|&(start, action)| (start.max(first), action)).collect();
        let ranges_within = narrow(&within);
        let node = match &ranges_within[..] {
            [(_, only)] => only.clone(),
            _ => Node::Ranges { offset: low_word(argument, big_endian), ranges: ranges_within },
        };
        add(&mut ranges, low(block), node);
    }
    Node::Ranges { offset: high_word(argument, big_endian), ranges }
}

/// Ranges of the lower words of values with the same upper word.
fn narrow(values: &[(u64, Action)]) -> Vec<(u32, Node)> {
    let mut ranges = Vec::new();
    for &(start, action) in values {
        // One past the largest value of a 32-bit argument is no start.
        if start >> 32 == values[0].0 >> 32 {
            add(&mut ranges, low(start), Node::Return(action));
        }
    }
    ranges
}

#[allow(clippy::cast_possible_truncation, reason = "the lower word is what is asked for")]
fn low(value: u64) -> u32 {
    value as u32
}

/// Offset of an argument's lower word in struct seccomp_data.
pub(super) fn low_word(argument: u8, big_endian: bool) -> u32 {
    16 + 8 * u32::from(argument) + if big_endian { 4 } else { 0 }
}

/// Offset of an argument's upper word in struct seccomp_data.
pub(super) fn high_word(argument: u8, big_endian: bool) -> u32 {
    16 + 8 * u32::from(argument) + if big_endian { 0 } else { 4 }
}

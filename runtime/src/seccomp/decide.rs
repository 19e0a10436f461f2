//! What a profile means on one architecture: for each system call number one decision.
//!
//! Rules for the same call are alternatives. Where they disagree, the answers are those of libseccomp: the first rule
//! without conditions outweighs all others; conditions are tried in an order of their own, narrow ones first, not in the
//! profile's; two rules with the same conditions and different actions are an error.

use std::cmp::{Ordering, Reverse};

use super::arch::{self, Multiplexer};
use super::profile::{Action, Comparison, Condition, Profile};
use super::{Arch, Error, Problem};

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Whatever its arguments are.
    Always(Action),
    /// The first of these that holds; if none does, the profile's default action.
    When(Vec<Match>),
}

/// A conjunction of conditions with its action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Match {
    /// Sorted by argument, none of them twice, never empty.
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
    /// Index in `syscalls`.
    pub(super) rule: usize,
}

/// Decisions of one architecture.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// By number, sorted.
    pub(super) calls: Vec<(u32, Decision)>,
    /// Highest ordinary number that the profile names, with whatever action.
    pub(super) newest: Option<u32>,
}

/// Decides for all architectures of the profile, in their order.
pub(super) fn decide(profile: &Profile<'_>) -> Result<Vec<Decisions>, Error> {
    let mut sheets: Vec<Sheet> = profile.arches.iter().map(|&arch| Sheet::new(arch)).collect();
    for (index, rule) in profile.rules.iter().enumerate() {
        for name in rule.names {
            // Profiles name calls of other architectures and of newer kernels.
            let Some(row) = arch::numbers(name) else { continue };
            for sheet in &mut sheets {
                let number = sheet.arch.of_row(row);
                if let Some(number) = number.filter(|&number| !sheet.arch.private(number)) {
                    sheet.newest = sheet.newest.max(Some(number));
                }
                // What the default does anyway is no rule: it does not outweigh another one.
                if rule.action != profile.default {
                    sheet.add(number, name, &rule.alternatives, rule.action, index);
                }
            }
        }
    }
    sheets.into_iter().map(|sheet| sheet.finish(profile.default)).collect()
}

/// A rule for one number.
struct Entry {
    key: Key,
    /// Conditions in the normal form of this architecture; none of them means always.
    found: Match,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A function of a multiplexing call.
    Function(Multiplexer, u32),
    /// A number.
    Call(u32),
}

/// Rules of one architecture while they are collected.
struct Sheet {
    arch: Arch,
    entries: Vec<Entry>,
    newest: Option<u32>,
}

impl Sheet {
    fn new(arch: Arch) -> Sheet {
        Sheet { arch, entries: Vec::with_capacity(512), newest: None }
    }

    fn add(&mut self, number: Option<u32>, name: &str, alternatives: &[Vec<Condition>], action: Action, rule: usize) {
        let function = if self.arch.multiplexes() { arch::multiplexed(name) } else { None };
        let keys = [function.map(|(by, function)| Key::Function(by, function)), number.map(Key::Call)];
        for key in keys.into_iter().flatten() {
            for conditions in alternatives {
                let conditions = normal(conditions, self.arch.wide());
                self.entries.push(Entry { key, found: Match { conditions, action, rule } });
            }
        }
    }

    fn finish(mut self, default: Action) -> Result<Decisions, Error> {
        self.entries.sort_by_key(|entry| entry.key);
        // Functions sort before numbers, so that their rules are there when the number of their call is reached.
        let mut inside: Vec<(u32, Match)> = Vec::new();
        let mut calls: Vec<(u32, Decision)> = Vec::with_capacity(self.entries.len());
        let mut entries = self.entries.into_iter().peekable();
        while let Some(Entry { key, found }) = entries.next() {
            let mut matches = vec![found];
            while let Some(next) = entries.next_if(|next| next.key == key) {
                matches.push(next.found);
            }
            match key {
                Key::Function(by, function) => {
                    let rule = matches[0].rule;
                    let action = blind(combine(matches)?, default);
                    let Some(number) = self.arch.number(by.call()) else { continue };
                    if action != default {
                        let conditions = normal(&[within(by, function)], self.arch.wide());
                        inside.push((number, Match { conditions, action, rule }));
                    }
                }
                Key::Call(number) => {
                    matches.extend(inside.extract_if(.., |(call, _)| *call == number).map(|(_, found)| found));
                    calls.push((number, combine(matches)?));
                }
            }
        }
        inside.sort_by_key(|(number, _)| *number);
        for group in inside.chunk_by(|a, b| a.0 == b.0) {
            let number = group[0].0;
            let decision = combine(group.iter().map(|(_, found)| found.clone()).collect())?;
            let at = calls.partition_point(|(call, _)| *call < number);
            calls.insert(at, (number, decision));
        }
        Ok(Decisions { calls, newest: self.newest })
    }
}

/// The condition by which a multiplexing call means one of its functions.
fn within(by: Multiplexer, function: u32) -> Condition {
    let mask = match by {
        // The kernel takes an int: what a 64-bit caller leaves above it must not hide the function.
        Multiplexer::Socketcall => 0xffff_ffff,
        Multiplexer::Ipc => 0xffff,
    };
    Condition { argument: 0, comparison: Comparison::MaskedEqual(mask), value: u64::from(function) }
}

/// The action for a function whose arguments cannot be seen, because the multiplexing call has them in memory: of all that
/// could be meant the strictest.
fn blind(decision: Decision, default: Action) -> Action {
    match decision {
        Decision::Always(action) => action,
        Decision::When(matches) => matches
            .into_iter()
            .map(|found| found.action)
            .chain([default])
            .min_by_key(|action| action.leniency())
            .unwrap_or(default),
    }
}

/// Brings rules of one call into the order in which they are tried.
fn combine(mut matches: Vec<Match>) -> Result<Decision, Error> {
    if let Some(always) = matches.iter().find(|found| found.conditions.is_empty()) {
        return Ok(Decision::Always(always.action));
    }
    matches.sort_by(|a, b| order(&a.conditions, &b.conditions));
    let mut contradiction = None;
    matches.dedup_by(|next, kept| {
        let same = next.conditions == kept.conditions;
        if same && next.action != kept.action {
            contradiction = Some((next.rule, kept.rule));
        }
        same
    });
    match contradiction {
        None => Ok(Decision::When(matches)),
        Some((rule, other)) => Err(Error::Invalid {
            at: format!("linux.seccomp.syscalls[{}]", rule.max(other)),
            problem: Problem::Contradiction { other: rule.min(other) },
        }),
    }
}

/// Conditions as an architecture sees them: sorted, cut to its word, without those that always hold.
fn normal(conditions: &[Condition], wide: bool) -> Vec<Condition> {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let mut normal: Vec<Condition> = conditions
        .iter()
        .filter_map(|condition| {
            let Condition { argument, comparison, value } = *condition;
            match comparison {
                Comparison::MaskedEqual(mask) => match cut(mask) {
                    0 => None,
                    mask if mask == cut(u64::MAX) => {
                        Some(Condition { argument, comparison: Comparison::Equal, value: cut(value) })
                    }
                    mask => {
                        Some(Condition { argument, comparison: Comparison::MaskedEqual(mask), value: value & mask })
                    }
                },
                Comparison::NotEqual
                | Comparison::Less
                | Comparison::LessOrEqual
                | Comparison::Equal
                | Comparison::GreaterOrEqual
                | Comparison::Greater => Some(Condition { argument, comparison, value: cut(value) }),
            }
        })
        .collect();
    normal.sort_by_key(|condition| condition.argument);
    normal
}

/// The order in which conjunctions are tried: later arguments first; equalities before ranges; narrower ranges before
/// wider ones.
fn order(a: &[Condition], b: &[Condition]) -> Ordering {
    let rank = |condition: &Condition| {
        let value = condition.value;
        let (class, value, detail, mask) = match condition.comparison {
            Comparison::Equal => (0, Reverse(value), 0, 0),
            Comparison::NotEqual => (0, Reverse(value), 1, 0),
            Comparison::MaskedEqual(mask) => (0, Reverse(value), 2, mask),
            Comparison::Less => (1, Reverse(!value), 0, 0),
            Comparison::LessOrEqual => (1, Reverse(!value), 1, 0),
            Comparison::Greater => (2, Reverse(value), 0, 0),
            Comparison::GreaterOrEqual => (2, Reverse(value), 1, 0),
        };
        (Reverse(condition.argument), class, value, detail, mask)
    };
    a.iter().map(rank).cmp(b.iter().map(rank))
}

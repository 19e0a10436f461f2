//! What a profile means on one architecture: for each system call number one decision.
//!
//! Rules for the same call are alternatives. Where they disagree, the answers are those of libseccomp: the first rule
//! without conditions outweighs all others; conditions are tried in an order of their own, narrow ones first, not in the
//! profile's; two rules with the same conditions and different actions are an error.

use std::cmp::{Ordering, Reverse};

use super::arch::{self, Multiplexer, SLOTS};
use super::profile::{Action, Comparison, Condition, Profile, Rule};
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
                    sheet.add(number, name, index, rule);
                }
            }
        }
    }
    sheets.into_iter().map(|sheet| sheet.finish(profile.default)).collect()
}

/// Rules of one architecture while they are collected.
struct Sheet {
    arch: Arch,
    /// By slot ([`Arch::slot`]): the action of the first rule without conditions. Nearly all rules are of this kind.
    always: Vec<Option<Action>>,
    /// Rules with conditions, by number.
    conditional: Vec<(u32, Match)>,
    /// Rules for functions of multiplexing calls.
    functions: Vec<((Multiplexer, u32), Match)>,
    newest: Option<u32>,
}

impl Sheet {
    fn new(arch: Arch) -> Sheet {
        Sheet { arch, always: vec![None; SLOTS], conditional: Vec::new(), functions: Vec::new(), newest: None }
    }

    fn add(&mut self, number: Option<u32>, name: &str, index: usize, rule: &Rule<'_>) {
        let function = if self.arch.multiplexes() { arch::multiplexed(name) } else { None };
        for conditions in &rule.alternatives {
            let conditions = normal(conditions, self.arch.wide());
            let found = Match { conditions, action: rule.action, rule: index };
            if let Some(function) = function {
                self.functions.push((function, found.clone()));
            }
            match number {
                None => {}
                Some(number) if found.conditions.is_empty() => {
                    self.always[self.arch.slot(number)].get_or_insert(rule.action);
                }
                Some(number) => self.conditional.push((number, found)),
            }
        }
    }

    fn finish(mut self, default: Action) -> Result<Decisions, Error> {
        for group in groups(&mut self.functions) {
            let ((by, function), first) = &group[0];
            let Some(number) = self.arch.number(by.call()) else { continue };
            let action = blind(combine(matches(group))?, default);
            if action != default {
                let conditions = normal(&[within(*by, *function)], self.arch.wide());
                self.conditional.push((number, Match { conditions, action, rule: first.rule }));
            }
        }
        self.conditional.retain(|(number, _)| self.always[self.arch.slot(*number)].is_none());

        let always = self.always.iter().enumerate();
        let always = always.filter_map(|(slot, action)| Some((self.arch.of_slot(slot), Decision::Always((*action)?))));
        let mut calls: Vec<(u32, Decision)> = always.collect();
        for group in groups(&mut self.conditional) {
            calls.push((group[0].0, combine(matches(group))?));
        }
        calls.sort_by_key(|(number, _)| *number);
        Ok(Decisions { calls, newest: self.newest })
    }
}

/// Brings together what has the same key.
fn groups<K: Copy + Ord>(entries: &mut [(K, Match)]) -> impl Iterator<Item = &[(K, Match)]> {
    entries.sort_by_key(|(key, _)| *key);
    entries.chunk_by(|a, b| a.0 == b.0)
}

fn matches<K>(group: &[(K, Match)]) -> Vec<Match> {
    group.iter().map(|(_, found)| found.clone()).collect()
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

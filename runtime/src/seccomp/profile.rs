//! A profile's texts read into numbers, each error with its JSON path.

use super::arch::Named;
use super::{Arch, Error, Problem};
use crate::spec;

/// SECCOMP_RET_* of seccomp(2), with its data in the lower half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Action(pub(super) u32);

impl Action {
    pub(super) const KILL_PROCESS: Action = Action(0x8000_0000);
    const KILL_THREAD: Action = Action(0);
    const TRAP: Action = Action(0x0003_0000);
    const ERRNO: Action = Action(0x0005_0000);
    const NOTIFY: Action = Action(0x7fc0_0000);
    const TRACE: Action = Action(0x7ff0_0000);
    const LOG: Action = Action(0x7ffc_0000);
    const ALLOW: Action = Action(0x7fff_0000);
    pub(super) const ENOSYS: Action = Action(Action::ERRNO.0 | libc::ENOSYS.cast_unsigned());

    /// How much it lets through, least first: the order by which the kernel combines several filters.
    pub(super) fn leniency(self) -> i32 {
        (self.0 & 0xffff_0000).cast_signed()
    }

    /// Whether a call, or a tracer that knows it, goes on.
    fn permissive(self) -> bool {
        self.leniency() >= Action::TRACE.leniency()
    }
}

/// SECCOMP_FILTER_FLAG_NEW_LISTENER
pub(super) const NEW_LISTENER: u32 = 1 << 3;
/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: the kernel takes it only along with a listener. KERNEL(5.19)
const WAIT_KILLABLE: u32 = 1 << 5;

/// A comparison of `args[].op`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// `argument & mask == value`.
    MaskedEqual(u64),
}

/// An element of `args`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Argument, 0 to 5.
    pub(super) argument: u8,
    pub(super) comparison: Comparison,
    pub(super) value: u64,
}

/// An element of `syscalls`.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub(super) names: &'a [String],
    pub(super) action: Action,
    /// The rule holds if all conditions of one of these hold. Never empty; an empty alternative always holds.
    pub(super) alternatives: Vec<Vec<Condition>>,
}

/// The whole profile.
#[derive(Debug)]
pub(super) struct Profile<'a> {
    pub(super) default: Action,
    /// Flags of seccomp(2).
    pub(super) flags: u32,
    /// Architectures with rules; callers of others are killed.
    pub(super) arches: Vec<Arch>,
    /// Whether calls newer than the profile answer ENOSYS.
    pub(super) enosys: bool,
    pub(super) rules: Vec<Rule<'a>>,
}

fn invalid(at: impl Into<String>, problem: Problem) -> Error {
    Error::Invalid { at: at.into(), problem }
}

/// Reads a profile for kernels of `host`.
pub(super) fn read(host: Arch, profile: &spec::Seccomp) -> Result<Profile<'_>, Error> {
    let root = "linux.seccomp";
    let default = action(root, "defaultAction", &profile.default_action, "defaultErrnoRet", profile.default_errno_ret)?;
    let mut arches = vec![host];
    for (index, name) in profile.architectures.iter().enumerate() {
        let unknown = || invalid(format!("{root}.architectures[{index}]"), Problem::UnknownArchitecture(name.clone()));
        match Named::parse(name).ok_or_else(unknown)? {
            Named::Known(arch) if host.presents().contains(&arch) && !arches.contains(&arch) => arches.push(arch),
            // Named again, or never seen by this kernel: a rule for it would be dead code.
            Named::Known(_) | Named::Foreign => {}
        }
    }
    let mut flags = 0;
    for (index, name) in profile.flags.iter().enumerate() {
        flags |=
            flag(name).ok_or_else(|| invalid(format!("{root}.flags[{index}]"), Problem::UnknownFlag(name.clone())))?;
    }
    if profile.listener_metadata.is_some() && profile.listener_path.is_none() {
        return Err(invalid(format!("{root}.listenerMetadata"), Problem::NoListener));
    }
    if default == Action::NOTIFY {
        return Err(invalid(format!("{root}.defaultAction"), Problem::NotifiesAll));
    }
    let rules: Vec<Rule<'_>> =
        profile.syscalls.iter().enumerate().map(|(index, given)| rule(index, given)).collect::<Result<_, _>>()?;
    if rules.iter().any(|rule| rule.action == Action::NOTIFY) {
        if profile.listener_path.as_deref().is_none_or(str::is_empty) {
            return Err(invalid(format!("{root}.listenerPath"), Problem::Empty));
        }
        flags |= NEW_LISTENER;
    } else {
        flags &= !WAIT_KILLABLE;
    }
    Ok(Profile { default, flags, arches, enosys: !default.permissive() && default != Action::ENOSYS, rules })
}

/// Bits of seccomp(2) for a flag; None if its name is not known.
fn flag(name: &str) -> Option<u32> {
    const TSYNC: u32 = 1 << 0;
    const LOG: u32 = 1 << 1;
    const SPEC_ALLOW: u32 = 1 << 2;
    // With it a thread that cannot follow is reported as ESRCH and not as a thread id. KERNEL(5.7)
    const TSYNC_ESRCH: u32 = 1 << 4;
    match name {
        "SECCOMP_FILTER_FLAG_TSYNC" => Some(TSYNC | TSYNC_ESRCH),
        "SECCOMP_FILTER_FLAG_LOG" => Some(LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Some(SPEC_ALLOW),
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Some(WAIT_KILLABLE),
        _ => None,
    }
}

fn action(at: &str, member: &str, name: &str, data_member: &str, data: Option<u32>) -> Result<Action, Error> {
    // What the kernel keeps: errno values end at MAX_ERRNO, a tracer's message at 16 bits.
    const ERRNO_LIMIT: u32 = 4095;
    const MESSAGE_LIMIT: u32 = 0xffff;
    let (action, limit) = match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => (Action::KILL_THREAD, None),
        "SCMP_ACT_KILL_PROCESS" => (Action::KILL_PROCESS, None),
        "SCMP_ACT_TRAP" => (Action::TRAP, None),
        "SCMP_ACT_ERRNO" => (Action::ERRNO, Some(ERRNO_LIMIT)),
        "SCMP_ACT_TRACE" => (Action::TRACE, Some(MESSAGE_LIMIT)),
        "SCMP_ACT_LOG" => (Action::LOG, None),
        "SCMP_ACT_ALLOW" => (Action::ALLOW, None),
        "SCMP_ACT_NOTIFY" => (Action::NOTIFY, None),
        _ => return Err(invalid(format!("{at}.{member}"), Problem::UnknownAction(name.to_owned()))),
    };
    match (limit, data) {
        (None, None) => Ok(action),
        (None, Some(_)) => Err(invalid(format!("{at}.{data_member}"), Problem::NoErrno(name.to_owned()))),
        (Some(_), None) => Ok(Action(action.0 | libc::EPERM.cast_unsigned())),
        (Some(limit), Some(data)) if data <= limit => Ok(Action(action.0 | data)),
        (Some(limit), Some(data)) => {
            Err(invalid(format!("{at}.{data_member}"), Problem::OutOfRange { value: data, limit }))
        }
    }
}

fn rule(index: usize, given: &spec::SeccompRule) -> Result<Rule<'_>, Error> {
    let at = format!("linux.seccomp.syscalls[{index}]");
    let action = action(&at, "action", &given.action, "errnoRet", given.errno_ret)?;
    if given.names.is_empty() {
        return Err(invalid(format!("{at}.names"), Problem::Empty));
    }
    if let Some(position) = given.names.iter().position(String::is_empty) {
        return Err(invalid(format!("{at}.names[{position}]"), Problem::Empty));
    }
    if action == Action::NOTIFY && given.names.iter().any(|name| name == "write") {
        return Err(invalid(format!("{at}.action"), Problem::NotifiesWrite));
    }
    let conditions =
        given.args.iter().enumerate().map(|(arg, given)| condition(&at, arg, given)).collect::<Result<Vec<_>, _>>()?;
    let mut seen = 0_u8;
    let mut repeated = false;
    for condition in &conditions {
        repeated |= seen & (1 << condition.argument) != 0;
        seen |= 1 << condition.argument;
    }
    // As runc has it from its first days: a rule that names an argument twice is a list of alternatives.
    let alternatives =
        if repeated { conditions.into_iter().map(|condition| vec![condition]).collect() } else { vec![conditions] };
    Ok(Rule { names: &given.names, action, alternatives })
}

fn condition(at: &str, index: usize, given: &spec::SeccompArg) -> Result<Condition, Error> {
    let at = |member: &str| format!("{at}.args[{index}].{member}");
    let argument = match u8::try_from(given.index) {
        Ok(argument @ 0..=5) => argument,
        _ => return Err(invalid(at("index"), Problem::OutOfRange { value: given.index, limit: 5 })),
    };
    let (comparison, value) = match given.op.as_str() {
        "SCMP_CMP_NE" => (Comparison::NotEqual, given.value),
        "SCMP_CMP_LT" => (Comparison::Less, given.value),
        "SCMP_CMP_LE" => (Comparison::LessOrEqual, given.value),
        "SCMP_CMP_EQ" => (Comparison::Equal, given.value),
        "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, given.value),
        "SCMP_CMP_GT" => (Comparison::Greater, given.value),
        "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEqual(given.value), given.value_two),
        _ => return Err(invalid(at("op"), Problem::UnknownOperator(given.op.clone()))),
    };
    Ok(Condition { argument, comparison, value })
}

//! Random profiles: the compiler never panics, its programs are what the kernel takes, and they say what the profile says.

use proptest::prelude::*;
use proptest::sample::select;
use runtime::seccomp::{Arch, Error, compile_for};
use runtime::spec::{Seccomp, SeccompArg, SeccompRule};

use super::interpreter::{ALLOW, Call, ENOSYS, EPERM, KILL_PROCESS, KILL_THREAD, LOG, TRAP, check, errno, run};

/// Calls of random rules: with and without functions of the multiplexing calls, of all architectures and of one.
pub(crate) const POOL: [&str; 24] = [
    "read",
    "write",
    "openat",
    "clone",
    "clone3",
    "personality",
    "mmap2",
    "chown32",
    "arch_prctl",
    "ioctl",
    "futex",
    "execveat",
    "openat2",
    "rt_sigaction",
    "set_tls",
    "getpid",
    "prctl",
    "fcntl64",
    "statx",
    "umount2",
    "mount",
    "fork",
    "epoll_wait",
    "close_range",
];
/// Functions of socketcall(2) and ipc(2), and these themselves.
pub(crate) const MULTIPLEXED: [&str; 6] = ["socket", "accept", "recvmmsg", "semop", "shmat", "msgctl"];

pub(crate) const ACTIONS: [(&str, Option<u32>, u32); 7] = [
    ("SCMP_ACT_ALLOW", None, ALLOW),
    ("SCMP_ACT_ERRNO", None, EPERM),
    ("SCMP_ACT_ERRNO", Some(38), ENOSYS),
    ("SCMP_ACT_ERRNO", Some(13), errno(13)),
    ("SCMP_ACT_TRAP", None, TRAP),
    ("SCMP_ACT_LOG", None, LOG),
    ("SCMP_ACT_KILL_PROCESS", None, KILL_PROCESS),
];

pub(crate) const OPERATORS: [&str; 7] =
    ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"];

/// Values that meet each other, in both words.
pub(crate) const VALUES: [u64; 12] = [
    0,
    1,
    2,
    5,
    0x7fff_ffff,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x2_0000_0005,
    u64::MAX - 1,
    u64::MAX,
];

pub(crate) fn argument() -> impl Strategy<Value = SeccompArg> {
    (0_u32..6, select(&VALUES[..]), select(&VALUES[..]), select(&OPERATORS[..]))
        .prop_map(|(index, value, value_two, op)| SeccompArg { index, value, value_two, op: op.to_owned() })
}

/// Conditions about different arguments.
pub(crate) fn conjunction(at_most: usize) -> impl Strategy<Value = Vec<SeccompArg>> {
    prop::collection::vec(argument(), 0..=at_most).prop_map(|mut args| {
        args.sort_by_key(|arg| arg.index);
        args.dedup_by_key(|arg| arg.index);
        args
    })
}

/// The architectures that a profile may name on a host.
pub(crate) fn host() -> impl Strategy<Value = (Arch, Vec<String>)> {
    select(vec![Arch::X86_64, Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::Ppc64le, Arch::S390x]).prop_flat_map(
        |host| {
            let names: Vec<String> = host.presents().iter().map(|arch| arch.name().to_owned()).collect();
            (Just(host), prop::sample::subsequence(names.clone(), 0..=names.len()))
        },
    )
}

/// A profile in which all rules for a call have one action: then they are plain alternatives.
fn plain() -> impl Strategy<Value = (Arch, Seccomp)> {
    let rules = prop::collection::vec((prop::sample::subsequence(&POOL[..], 1..4), conjunction(3)), 0..12);
    let actions = prop::collection::vec(select(&ACTIONS[..]), POOL.len());
    (host(), select(&ACTIONS[..]), actions, rules).prop_map(|((host, architectures), default, actions, rules)| {
        let rule = |name: &str, args: &Vec<SeccompArg>| {
            let (action, errno_ret, _) = actions[POOL.iter().position(|pool| *pool == name).unwrap()];
            SeccompRule { names: vec![name.to_owned()], action: action.to_owned(), errno_ret, args: args.clone() }
        };
        let syscalls = rules.iter().flat_map(|(names, args)| names.iter().map(|name| rule(name, args))).collect();
        let profile = Seccomp {
            default_action: default.0.to_owned(),
            default_errno_ret: default.1,
            architectures,
            syscalls,
            ..Seccomp::default()
        };
        (host, profile)
    })
}

pub(crate) fn return_value(action: &str, errno_ret: Option<u32>) -> u32 {
    match (action, errno_ret) {
        ("SCMP_ACT_KILL", None) => KILL_THREAD,
        ("SCMP_ACT_ERRNO", Some(value)) => errno(value.cast_signed()),
        _ => ACTIONS.iter().find(|known| (known.0, known.1) == (action, errno_ret)).unwrap().2,
    }
}

/// Whether the conditions hold, for an architecture of this word.
fn holds(args: &[SeccompArg], wide: bool, arguments: &[u64; 6]) -> bool {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    args.iter().all(|arg| {
        let (a, b) = (cut(arguments[arg.index as usize]), cut(arg.value));
        match arg.op.as_str() {
            "SCMP_CMP_NE" => a != b,
            "SCMP_CMP_LT" => a < b,
            "SCMP_CMP_LE" => a <= b,
            "SCMP_CMP_EQ" => a == b,
            "SCMP_CMP_GE" => a >= b,
            "SCMP_CMP_GT" => a > b,
            _ => a & b == arg.value_two & b,
        }
    })
}

/// Arguments around the values of the profile, with and without bits above 32.
pub(crate) fn arguments() -> impl Strategy<Value = [u64; 6]> {
    prop::array::uniform6(
        (select(&VALUES[..]), select(&[0, 1, u64::MAX][..])).prop_map(|(value, more)| value.wrapping_add(more)),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn programs_say_what_profiles_say((host, profile) in plain(), calls in prop::collection::vec(arguments(), 20)) {
        let program = compile_for(host, &profile).unwrap().instructions;
        check(&program);
        let default = return_value(&profile.default_action, profile.default_errno_ret);
        for &arch in host.presents() {
            let named = arch == host || profile.architectures.iter().any(|name| name == arch.name());
            let wide = matches!(arch, Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64 | Arch::Ppc64le | Arch::S390x);
            for (name, arguments) in POOL.iter().zip(calls.iter().cycle()) {
                let Some(number) = arch.number(name) else { continue };
                let rules = || profile.syscalls.iter().filter(|rule| rule.names[0] == *name);
                let newest = profile.syscalls.iter().filter_map(|rule| arch.number(&rule.names[0])).filter(|number| *number != 0xf_0005).max();
                let permissive = matches!(profile.default_action.as_str(), "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG");
                let expected = if !named {
                    KILL_PROCESS
                } else if let Some(rule) = rules().find(|rule| holds(&rule.args, wide, arguments)) {
                    return_value(&rule.action, rule.errno_ret)
                } else if !permissive && newest.is_some_and(|newest| number > newest) && *name != "set_tls" {
                    ENOSYS
                } else {
                    default
                };
                let (found, _) = run(&program, &Call { number, arch: arch.audit(), arguments: *arguments }, host == Arch::S390x);
                prop_assert_eq!(found, expected, "{}{:x?} of {:?}: {:#x}, not {:#x}", name, arguments, arch, found, expected);
            }
        }
    }

    #[test]
    fn anything_compiles_or_is_refused(profile in anything()) {
        match compile_for(Arch::X86_64, &profile) {
            Ok(program) => check(&program.instructions),
            Err(Error::Invalid { at, .. }) => prop_assert!(at.starts_with("linux.seccomp.")),
            Err(Error::TooLong { instructions }) => prop_assert!(instructions > 4096),
        }
    }
}

/// Members of any kind, mostly ones that make sense.
fn anything() -> impl Strategy<Value = Seccomp> {
    let text = |known: Vec<&'static str>| prop_oneof![30 => select(known).prop_map(str::to_owned), 1 => ".{0,12}"];
    let actions =
        || text(vec!["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"]);
    let errno = || prop::option::weighted(0.1, prop_oneof![0_u32..5000, any::<u32>()]);
    let names = || text([&POOL[..], &MULTIPLEXED[..], &["socketcall", "ipc", "nosuchcall"]].concat());
    let arg = (0_u32..6, any::<u64>(), any::<u64>(), text(OPERATORS.to_vec()));
    let arg = prop_oneof![20 => argument(), 1 => arg.prop_map(|(index, value, value_two, op)| SeccompArg { index, value, value_two, op })];
    let rule = (prop::collection::vec(names(), 0..4), actions(), errno(), prop::collection::vec(arg, 0..8))
        .prop_map(|(names, action, errno_ret, args)| SeccompRule { names, action, errno_ret, args });
    let arches = text(vec!["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS"]);
    let flags = text(vec!["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]);
    let lists =
        (prop::collection::vec(arches, 0..4), prop::collection::vec(flags, 0..3), prop::collection::vec(rule, 0..40));
    (actions(), errno(), lists).prop_map(|(default_action, default_errno_ret, (architectures, flags, syscalls))| {
        Seccomp { default_action, default_errno_ret, architectures, flags, syscalls, ..Seccomp::default() }
    })
}

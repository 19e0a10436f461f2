//! What profiles mean, in tables; no kernel and no other library.

use caps::Capability;
use runtime::seccomp::{Arch, Error, calls, compile, compile_for, default_profile_for};
use runtime::spec::Seccomp;
use serde_json::{Value, json};

use super::interpreter::{ALLOW, Call, ENOSYS, EPERM, KILL_PROCESS, KILL_THREAD, LOG, TRACE, TRAP, check, errno, run};

const X32_BIT: u32 = 0x4000_0000;

/// Bounding set, architecture, call, arguments and the verdict.
type Case<'a> = (&'a [Capability], Arch, &'a str, &'a [u64], u32);

/// Arguments and the verdict on them.
type Verdict<'a> = (&'a [u64], u32);

fn profile(document: Value) -> Seccomp {
    serde_json::from_value(document).unwrap()
}

/// The verdict on a call by name.
fn verdict(host: Arch, profile: &Seccomp, arch: Arch, call: &str, arguments: &[u64]) -> u32 {
    verdict_of_number(host, profile, arch, arch.number(call).unwrap(), arguments)
}

fn verdict_of_number(host: Arch, profile: &Seccomp, arch: Arch, number: u32, arguments: &[u64]) -> u32 {
    let program = compile_for(host, profile).unwrap().instructions;
    check(&program);
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    run(&program, &Call { number, arch: arch.audit(), arguments: all }, host == Arch::S390x).0
}

#[test]
fn dockers_profile() {
    const ADMIN: &[Capability] = &[Capability::CAP_SYS_ADMIN];
    let table: &[Case<'_>] = &[
        (&[], Arch::X86_64, "read", &[], ALLOW),
        (&[], Arch::X86, "read", &[], ALLOW),
        (&[], Arch::X32, "read", &[], ALLOW),
        (&[], Arch::X86_64, "mount", &[], EPERM),
        (ADMIN, Arch::X86_64, "mount", &[], ALLOW),
        (ADMIN, Arch::X86, "umount", &[], ALLOW),
        (&[], Arch::X86_64, "io_uring_setup", &[], EPERM),
        (ADMIN, Arch::X86_64, "io_uring_setup", &[], EPERM),
        (&[], Arch::X86_64, "keyctl", &[], EPERM),
        (&[], Arch::X86_64, "userfaultfd", &[], EPERM),
        (&[], Arch::X86_64, "kexec_load", &[], EPERM),
        (&[], Arch::X86_64, "ptrace", &[], ALLOW),
        (&[], Arch::X86_64, "chroot", &[], EPERM),
        (&[Capability::CAP_SYS_CHROOT], Arch::X86_64, "chroot", &[], ALLOW),
        (&[Capability::CAP_SYSLOG], Arch::X86_64, "syslog", &[], ALLOW),
        (&[Capability::CAP_BPF], Arch::X86_64, "bpf", &[], ALLOW),
        (&[Capability::CAP_PERFMON], Arch::X86_64, "perf_event_open", &[], ALLOW),
        (&[Capability::CAP_SYS_TIME], Arch::X86, "clock_settime64", &[], ALLOW),
        (&[], Arch::X86, "clock_settime64", &[], EPERM),
        // clone: flags of new namespaces only with CAP_SYS_ADMIN.
        (&[], Arch::X86_64, "clone", &[0x11], ALLOW),
        (&[], Arch::X86_64, "clone", &[0x11 | 0x1000_0000], EPERM),
        (&[], Arch::X86_64, "clone", &[0x0002_0000], EPERM),
        (&[], Arch::X86, "clone", &[0x4000_0000], EPERM),
        (ADMIN, Arch::X86_64, "clone", &[0x1000_0000], ALLOW),
        (&[], Arch::X86_64, "clone3", &[], ENOSYS),
        (ADMIN, Arch::X86_64, "clone3", &[], ALLOW),
        (&[], Arch::X86_64, "personality", &[0], ALLOW),
        (&[], Arch::X86_64, "personality", &[0x2_0008], ALLOW),
        (&[], Arch::X86_64, "personality", &[0xffff_ffff], ALLOW),
        (&[], Arch::X86_64, "personality", &[0x4_0000], EPERM),
        (&[], Arch::X86_64, "personality", &[0x1_0000_0000], EPERM),
        (&[], Arch::X86_64, "personality", &[u64::MAX], EPERM),
        // socket: AF_ALG and AF_VSOCK not, also not behind bits that the kernel ignores.
        (&[], Arch::X86_64, "socket", &[1], ALLOW),
        (&[], Arch::X86_64, "socket", &[2], ALLOW),
        (&[], Arch::X86_64, "socket", &[16], ALLOW),
        (&[], Arch::X86_64, "socket", &[38], EPERM),
        (&[], Arch::X86_64, "socket", &[40], EPERM),
        (&[], Arch::X86_64, "socket", &[1 << 32 | 40], EPERM),
        (&[], Arch::X86_64, "socket", &[46], EPERM),
        (&[], Arch::X86, "socket", &[40], EPERM),
        (&[], Arch::X86, "socket", &[1 << 32 | 40], EPERM),
        (&[], Arch::X86, "socket", &[1 << 32 | 2], ALLOW),
        (&[], Arch::X86, "socketcall", &[1], ALLOW),
        (&[], Arch::X86, "ipc", &[21], ALLOW),
        (&[], Arch::X86_64, "modify_ldt", &[], ALLOW),
    ];
    for (bounding, arch, call, arguments, expected) in table {
        let profile = default_profile_for(Arch::X86_64, bounding);
        let found = verdict(Arch::X86_64, &profile, *arch, call, arguments);
        assert_eq!(found, *expected, "{call}{arguments:x?} of {arch:?} with {bounding:?}: {found:#x}");
    }
}

/// A budget: the program is loaded once for each container and run before each of its calls.
#[test]
fn dockers_profile_is_short() {
    let program = compile_for(Arch::X86_64, &default_profile_for(Arch::X86_64, &[])).unwrap().instructions;
    assert!(program.len() <= 400, "{} instructions", program.len());
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        let steps = |call: &str, argument| {
            let call = Call { number: arch.number(call)?, arch: arch.audit(), arguments: [argument; 6] };
            Some(run(&program, &call, false).1)
        };
        let all: Vec<usize> = calls().filter_map(|call| steps(call, 0)).collect();
        let longest = *all.iter().max().unwrap();
        println!("{arch:?}: {longest} steps at most, {} on average", all.iter().sum::<usize>() / all.len());
        assert!(longest <= 20, "{longest} steps on {arch:?}");
        assert!(steps("socket", 45).unwrap() <= 20);
    }
}

#[test]
fn dockers_profile_on_other_hosts() {
    let on =
        |host, arch, call, arguments: &[u64]| verdict(host, &default_profile_for(host, &[]), arch, call, arguments);
    assert_eq!(on(Arch::Aarch64, Arch::Arm, "set_tls", &[]), ALLOW);
    assert_eq!(on(Arch::Aarch64, Arch::Aarch64, "openat", &[]), ALLOW);
    assert_eq!(on(Arch::Riscv64, Arch::Riscv64, "riscv_flush_icache", &[]), ALLOW);
    assert_eq!(on(Arch::Ppc64le, Arch::Ppc64le, "swapcontext", &[]), ALLOW);
    // The second argument has the flags there, and its upper word comes first in memory.
    assert_eq!(on(Arch::S390x, Arch::S390x, "clone", &[0x1000_0000, 0x11]), ALLOW);
    assert_eq!(on(Arch::S390x, Arch::S390x, "clone", &[0, 0x1000_0000]), EPERM);
    assert_eq!(on(Arch::S390x, Arch::S390, "socket", &[40]), EPERM);
    // Calls that s390 does not know are presented as call 0.
    let s390x = default_profile_for(Arch::S390x, &[]);
    assert_eq!(verdict_of_number(Arch::S390x, &s390x, Arch::S390x, 0, &[]), ENOSYS);
}

#[test]
fn callers_of_other_architectures_are_killed() {
    let only_native = profile(json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    for (arch, number, expected) in [
        (Arch::X86_64, 0, ALLOW),
        (Arch::X86_64, X32_BIT - 1, ALLOW),
        (Arch::X86_64, X32_BIT, KILL_PROCESS),
        (Arch::X86_64, X32_BIT + 39, KILL_PROCESS),
        (Arch::X86_64, u32::MAX - 1, KILL_PROCESS),
        (Arch::X86_64, u32::MAX, ALLOW),
        (Arch::X86, 0, KILL_PROCESS),
        (Arch::Aarch64, 0, KILL_PROCESS),
    ] {
        let found = verdict_of_number(Arch::X86_64, &only_native, arch, number, &[]);
        assert_eq!(found, expected, "{number:#x} of {arch:?}: {found:#x}");
    }
    // The host's own need not be named; those that this kernel never presents are no error and no code.
    let others = profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_AARCH64", "SCMP_ARCH_MIPS64", "SCMP_ARCH_X86"],
    }));
    assert_eq!(verdict_of_number(Arch::X86_64, &others, Arch::X86, 7, &[]), ALLOW);
    assert_eq!(verdict_of_number(Arch::X86_64, &others, Arch::X86_64, 7, &[]), ALLOW);
    assert_eq!(verdict_of_number(Arch::X86_64, &others, Arch::Aarch64, 7, &[]), KILL_PROCESS);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let document = |default: &str, errno: Option<u32>| {
        profile(json!({
            "defaultAction": default, "defaultErrnoRet": errno,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{"names": ["read", "openat2", "nosuchcall"], "action": "SCMP_ACT_LOG"},
                         {"names": ["faccessat2"], "action": default, "errnoRet": errno}],
        }))
    };
    let faccessat2 = 439;
    for (default, errno_ret, below, above) in [
        ("SCMP_ACT_ERRNO", None, EPERM, ENOSYS),
        ("SCMP_ACT_ERRNO", Some(13), errno(13), ENOSYS),
        ("SCMP_ACT_ERRNO", Some(38), ENOSYS, ENOSYS),
        ("SCMP_ACT_KILL", None, KILL_THREAD, ENOSYS),
        ("SCMP_ACT_KILL_THREAD", None, KILL_THREAD, ENOSYS),
        ("SCMP_ACT_KILL_PROCESS", None, KILL_PROCESS, ENOSYS),
        ("SCMP_ACT_TRAP", None, TRAP, ENOSYS),
        // What lets calls through, or shows them to someone who can answer, stays.
        ("SCMP_ACT_ALLOW", None, ALLOW, ALLOW),
        ("SCMP_ACT_LOG", None, LOG, LOG),
        ("SCMP_ACT_TRACE", Some(7), TRACE | 7, TRACE | 7),
    ] {
        let profile = document(default, errno_ret);
        for (arch, bit) in [(Arch::X86_64, 0), (Arch::X86, 0), (Arch::X32, X32_BIT)] {
            let verdict = |number| verdict_of_number(Arch::X86_64, &profile, arch, number | bit, &[]);
            assert_eq!(verdict(437), LOG, "openat2 of {arch:?}, {default}");
            assert_eq!(verdict(438), below, "{default}");
            // Named with the default action: known to the profile all the same.
            assert_eq!(verdict(faccessat2), below, "{default}");
            assert_eq!(verdict(faccessat2 + 1), above, "{default}");
            assert_eq!(verdict(0x3000_0000), above, "{default}");
        }
    }
    // What multiplexes a call that is named may be newer than those.
    let semop = profile(json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["mount", "semop"], "action": "SCMP_ACT_ALLOW"}],
    }));
    for (host, arch) in [(Arch::X86_64, Arch::X86), (Arch::S390x, Arch::S390x)] {
        for (number, expected) in [(20, EPERM), (21, ALLOW), (22, ENOSYS), (117, ENOSYS), (118, ENOSYS)] {
            assert_eq!(verdict_of_number(host, &semop, arch, number, &[1]), expected, "{number} of {arch:?}");
        }
    }
    // Nothing named: nothing known about what is new.
    let nothing = profile(json!({"defaultAction": "SCMP_ACT_ERRNO"}));
    assert_eq!(verdict_of_number(Arch::X86_64, &nothing, Arch::X86_64, 999, &[]), EPERM);
    // The private calls of arm are not taken for new ones.
    let arm = profile(json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_ARM"],
        "syscalls": [{"names": ["read", "cacheflush"], "action": "SCMP_ACT_ALLOW"}],
    }));
    for (number, expected) in
        [(3, ALLOW), (2, EPERM), (4, ENOSYS), (0xf_0001, EPERM), (0xf_0002, ALLOW), (0xf_0003, EPERM)]
    {
        assert_eq!(verdict_of_number(Arch::Aarch64, &arm, Arch::Arm, number, &[]), expected, "{number:#x}");
    }
}

#[test]
fn operators() {
    let big = 0x0000_0002_0000_0005_u64;
    let values =
        [0, 4, 5, 6, 0x1_0000_0005, big - 1, big, big + 1, 0x2_ffff_ffff, 0x3_0000_0000, u64::MAX - 1, u64::MAX];
    for value in [0, 5, 0xffff_ffff, big, u64::MAX] {
        for second in [0, 4, big, 0xff] {
            for op in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
                let profile = profile(json!({
                    "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
                    "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                                  "args": [{"index": 1, "value": value, "valueTwo": second, "op": format!("SCMP_CMP_{op}")}]}],
                }));
                for argument in values {
                    for (arch, cut) in [(Arch::X86_64, u64::MAX), (Arch::X86, 0xffff_ffff)] {
                        let (a, b) = (argument & cut, value & cut);
                        let holds = match op {
                            "NE" => a != b,
                            "LT" => a < b,
                            "LE" => a <= b,
                            "EQ" => a == b,
                            "GE" => a >= b,
                            "GT" => a > b,
                            _ => a & b == second & b,
                        };
                        let found = verdict(Arch::X86_64, &profile, arch, "read", &[7, argument]);
                        let expected = if holds { ALLOW } else { EPERM };
                        assert_eq!(found, expected, "{argument:#x} {op} {value:#x} {second:#x} on {arch:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn rules_of_one_call() {
    let arg =
        |index: u32, op: &str, value: u64| json!({"index": index, "value": value, "op": format!("SCMP_CMP_{op}")});
    let rule =
        |action: &str, args: Value| json!({"names": ["read"], "action": format!("SCMP_ACT_{action}"), "args": args});
    let table: Vec<(&str, Vec<Value>, Vec<Verdict<'_>>)> = vec![
        (
            "conditions of a rule hold together",
            vec![rule("ALLOW", json!([arg(0, "EQ", 1), arg(2, "GT", 5)]))],
            vec![(&[1, 0, 6], ALLOW), (&[1, 0, 5], EPERM), (&[2, 0, 6], EPERM)],
        ),
        (
            "rules are alternatives",
            vec![rule("ALLOW", json!([arg(0, "EQ", 1)])), rule("ALLOW", json!([arg(1, "EQ", 2)]))],
            vec![(&[1, 0], ALLOW), (&[0, 2], ALLOW), (&[0, 1], EPERM)],
        ),
        (
            "an argument named twice makes alternatives of the whole rule",
            vec![rule("ALLOW", json!([arg(0, "GE", 8), arg(0, "EQ", 2), arg(1, "EQ", 3)]))],
            vec![(&[9], ALLOW), (&[2], ALLOW), (&[0, 3], ALLOW), (&[3, 2], EPERM)],
        ),
        (
            "a rule without conditions outweighs the others",
            vec![rule("TRAP", json!([arg(0, "EQ", 1)])), rule("ALLOW", json!([])), rule("LOG", json!([]))],
            vec![(&[1], ALLOW), (&[2], ALLOW)],
        ),
        (
            "a rule with the default action is none",
            vec![rule("ERRNO", json!([])), rule("ALLOW", json!([arg(0, "EQ", 1)]))],
            vec![(&[1], ALLOW), (&[2], EPERM)],
        ),
        (
            "narrow conditions come first",
            vec![
                rule("LOG", json!([arg(0, "GE", 0)])),
                rule("TRAP", json!([arg(0, "GE", 100)])),
                rule("ALLOW", json!([arg(0, "EQ", 200)])),
            ],
            vec![(&[200], ALLOW), (&[201], TRAP), (&[99], LOG), (&[u64::MAX], TRAP)],
        ),
        (
            "a mask of nothing always holds",
            vec![rule("ALLOW", json!([{"index": 0, "value": 0, "valueTwo": 9, "op": "SCMP_CMP_MASKED_EQ"}]))],
            vec![(&[3], ALLOW)],
        ),
        (
            "the same rule twice",
            vec![rule("ALLOW", json!([arg(0, "EQ", 1)])), rule("ALLOW", json!([arg(0, "EQ", 1)]))],
            vec![(&[1], ALLOW), (&[0], EPERM)],
        ),
    ];
    for (what, rules, calls) in table {
        let profile = profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
        for (arguments, expected) in calls {
            let found = verdict(Arch::X86_64, &profile, Arch::X86_64, "read", arguments);
            assert_eq!(found, expected, "{what}: {arguments:?}: {found:#x}");
        }
    }
}

#[test]
fn functions_of_socketcall_and_ipc() {
    let of = |default: &str, rules: Value| {
        profile(json!({
            "defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "syscalls": rules,
        }))
    };
    let on_x86 =
        |profile: &Seccomp, call, arguments: &[u64]| verdict(Arch::X86_64, profile, Arch::X86, call, arguments);

    // A rule about the function is one about its place in the multiplexing call, too.
    let connect = of("SCMP_ACT_ERRNO", json!([{"names": ["connect", "accept", "shmat"], "action": "SCMP_ACT_ALLOW"}]));
    assert_eq!(on_x86(&connect, "connect", &[]), ALLOW);
    assert_eq!(on_x86(&connect, "socketcall", &[3]), ALLOW);
    assert_eq!(on_x86(&connect, "socketcall", &[5]), ALLOW);
    assert_eq!(on_x86(&connect, "socketcall", &[2]), EPERM);
    assert_eq!(on_x86(&connect, "ipc", &[21]), ALLOW);
    assert_eq!(on_x86(&connect, "ipc", &[22]), EPERM);

    // What cannot be checked is not allowed ...
    let unix = json!([{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]);
    let unix = of("SCMP_ACT_ERRNO", unix);
    assert_eq!(on_x86(&unix, "socket", &[1]), ALLOW);
    assert_eq!(on_x86(&unix, "socketcall", &[1]), EPERM);

    // ... but refused.
    let no_vsock = json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]}]);
    let no_vsock = of("SCMP_ACT_ALLOW", no_vsock);
    assert_eq!(on_x86(&no_vsock, "socket", &[1]), ALLOW);
    assert_eq!(on_x86(&no_vsock, "socketcall", &[1]), EPERM);
    assert_eq!(on_x86(&no_vsock, "socketcall", &[3]), ALLOW);

    // The version of ipc does not hide the function, nor do bits that the kernel ignores.
    let no_shmat = json!([{"names": ["shmat", "socket"], "action": "SCMP_ACT_ERRNO"}]);
    let no_shmat = of("SCMP_ACT_ALLOW", no_shmat);
    assert_eq!(on_x86(&no_shmat, "ipc", &[1 << 16 | 21]), EPERM);
    assert_eq!(on_x86(&no_shmat, "ipc", &[1 << 32 | 21]), EPERM);
    assert_eq!(on_x86(&no_shmat, "socketcall", &[1 << 32 | 1]), EPERM);
    let on_ppc64le = |arguments: &[u64]| verdict(Arch::Ppc64le, &no_shmat, Arch::Ppc64le, "socketcall", arguments);
    assert_eq!(on_ppc64le(&[1 << 32 | 1]), EPERM);
    assert_eq!(on_ppc64le(&[2]), ALLOW);

    // A rule about the whole multiplexing call outweighs.
    let whole = json!([{"names": ["socket"], "action": "SCMP_ACT_TRAP"}, {"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"}]);
    assert_eq!(on_x86(&of("SCMP_ACT_ERRNO", whole), "socketcall", &[1]), ALLOW);
}

#[test]
fn errors_name_the_json_path() {
    let rule = |member: &str, value: Value| {
        let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]});
        rule[member] = value;
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_ALLOW"}, rule]})
    };
    let table = [
        (json!({"defaultAction": "ALLOW"}), "linux.seccomp.defaultAction: \"ALLOW\" is not an action"),
        (
            json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default: nobody could hand the listener over",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
            "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}),
            "linux.seccomp.defaultErrnoRet: 4096 is more than 4095",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "x86"]}),
            "linux.seccomp.architectures[1]: \"x86\" is not an architecture",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}),
            "linux.seccomp.flags[0]: \"SECCOMP_FILTER_FLAG_NEW_LISTENER\" is not a flag",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            "linux.seccomp.listenerMetadata: needs listenerPath",
        ),
        (rule("action", json!("SCMP_ACT_NOTIFY")), "linux.seccomp.listenerPath: must not be empty"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]}),
            "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY cannot be for write: runtimes need it to hand the listener over",
        ),
        (rule("action", json!("")), "linux.seccomp.syscalls[1].action: \"\" is not an action"),
        (rule("errnoRet", json!(1)), "linux.seccomp.syscalls[1].errnoRet: SCMP_ACT_ALLOW takes no errno"),
        (rule("names", json!([])), "linux.seccomp.syscalls[1].names: must not be empty"),
        (rule("names", json!(["read", ""])), "linux.seccomp.syscalls[1].names[1]: must not be empty"),
        (
            rule("args", json!([{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])),
            "linux.seccomp.syscalls[1].args[0].index: 6 is more than 5",
        ),
        (
            rule("args", json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 1, "op": "=="}])),
            "linux.seccomp.syscalls[1].args[1].op: \"==\" is not an operator",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
                {"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
            ]}),
            "linux.seccomp.syscalls[1]: contradicts syscalls[0]: same system call, same conditions, another action",
        ),
    ];
    for (document, expected) in table {
        assert_eq!(compile(&profile(document)).unwrap_err().to_string(), expected);
    }
}

#[test]
fn flags() {
    let flags =
        |names: &[&str]| compile(&profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": names}))).unwrap().flags;
    assert_eq!(flags(&[]), 0);
    assert_eq!(flags(&["SECCOMP_FILTER_FLAG_LOG"]), 2);
    assert_eq!(flags(&["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"]), 6);
    assert_eq!(flags(&["SECCOMP_FILTER_FLAG_TSYNC"]), 0x11);
    assert_eq!(flags(&["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), 0);
    let listened = |flags: &[&str]| {
        let rules = json!([{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]);
        let document =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "flags": flags, "syscalls": rules});
        compile(&profile(document)).unwrap()
    };
    assert_eq!(listened(&[]).flags, 8);
    assert_eq!(listened(&["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]).flags, 0x28);
    assert!(listened(&[]).notifies());
}

#[test]
fn too_many_instructions() {
    let rules: Vec<Value> = (0..2000)
        .map(|value| {
            let args = json!([{"index": 0, "value": 3 * value, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]);
            json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args})
        })
        .collect();
    let error = compile(&profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}))).unwrap_err();
    assert!(matches!(error, Error::TooLong { instructions } if instructions > 4096), "{error}");
}

#[test]
fn jumps_reach_across_long_programs() {
    // More than 255 instructions between the comparisons of read and its neighbours, and between architectures.
    let rules: Vec<Value> = (0..100)
        .map(|value| {
            let args = json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": value, "op": "SCMP_CMP_NE"}]);
            json!({"names": ["read", "close"], "action": "SCMP_ACT_ALLOW", "args": args})
        })
        .collect();
    let profile = profile(json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules,
    }));
    assert!(compile_for(Arch::X86_64, &profile).unwrap().instructions.len() > 1500);
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        for call in ["read", "close"] {
            assert_eq!(verdict(Arch::X86_64, &profile, arch, call, &[77, 78]), ALLOW, "{call} {arch:?}");
            assert_eq!(verdict(Arch::X86_64, &profile, arch, call, &[77, 77]), EPERM, "{call} {arch:?}");
            assert_eq!(verdict(Arch::X86_64, &profile, arch, call, &[100, 1]), EPERM, "{call} {arch:?}");
        }
        assert_eq!(verdict(Arch::X86_64, &profile, arch, "write", &[]), EPERM);
    }
}
